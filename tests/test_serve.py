"""The web process: what it takes from providers, what it refuses, and how it ends."""

import asyncio
import json
import signal
import socket
import time
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from jtd_worker import serve_settings
from jtd_worker.channels.any_webhook import ReceiptSettings, build_receipts
from jtd_worker.database import Link
from jtd_worker.errors import ConfigurationError
from jtd_worker.link_pool import LinkPool
from jtd_worker.receipt import (
    ForgedError,
    Handshake,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.receipt_inbox import ReceiptInbox
from jtd_worker.receipt_source import ReceiptSource
from jtd_worker.receipts_queue import ReceiptsQueue
from jtd_worker.registry import ProviderName
from jtd_worker.standard_webhooks import parse_secrets, sign, verify
from jtd_worker.web import _bound
from jtd_worker.web_app import make_app
from jtd_worker.web_metrics import WebMetrics
from jtd_worker.webhook_routes import source_of, webhook_routes
from tests.daemon import Daemon, eventually, serving
from tests.jobs import insert_jtd, row
from tests.wire import wire

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + "b2xk" * 8
OTHER_SECRET = "whsec_" + "b3RoZXIh" * 4
RECEIPTS = {"receipts": "sms:webhook", "receipts_sms_webhook_secrets": f"{OLD_SECRET} {SECRET}"}
CONTACT = "+14155550101"

# ---------------------------------------------------------------- the proof (vector of the scheme itself)

VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
VECTOR_TIME = datetime.fromtimestamp(1614265330, UTC)


def proved(
    *,
    message_id: str = VECTOR_ID,
    timestamp: str = "1614265330",
    signature: str = VECTOR_SIGNATURE,
    body: bytes = VECTOR_BODY,
    secrets: str = SECRET,
    seconds: float = 0,
) -> bool:
    now = VECTOR_TIME + timedelta(seconds=seconds)
    return verify(parse_secrets(secrets), message_id, timestamp, signature, body, now)


def test_the_published_vector_is_proved() -> None:
    assert proved()
    assert proved(secrets=f"{OLD_SECRET} {SECRET}"), "by the second of two secrets"
    assert proved(signature=f"v1a,AAAA v1,AAAA {VECTOR_SIGNATURE}"), "by one of several signatures"
    assert proved(seconds=300)
    assert proved(seconds=-300)


@pytest.mark.parametrize(
    "change",
    [
        {"signature": VECTOR_SIGNATURE.replace("1OE=", "1OA=")},
        {"signature": VECTOR_SIGNATURE.replace("v1,", "v2,")},
        {"signature": ""},
        {"signature": "v1,\xe9"},
        {"body": VECTOR_BODY + b" "},
        {"message_id": VECTOR_ID + "x"},
        {"timestamp": "1614265331"},
        {"timestamp": "+1614265330"},
        {"timestamp": "1614265330.0"},
        {"timestamp": "9" * 400},
        {"timestamp": ""},
        {"secrets": OTHER_SECRET},
        {"seconds": 301},
        {"seconds": -301},
    ],
    ids=str,
)
def test_whatever_differs_from_the_vector_is_not_proved(change: dict[str, Any]) -> None:
    assert not proved(**change)


# ---------------------------------------------------------------- the parser of our own scheme


def event(jtd_id: UUID | str, kind: str = "delivered", **data: Any) -> bytes:
    return json.dumps({"type": "jtd.receipt", "data": {"id": str(jtd_id), "kind": kind, **data}}).encode()


def signed(
    body: bytes, *, message_id: str | None = None, secret: str = SECRET, age: float = 0
) -> dict[str, str]:
    key, timestamp = message_id or f"evt-{uuid4()}", int(time.time() - age)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(parse_secrets(secret)[0], key, timestamp, body),
    }


def parsed(body: bytes) -> Any:
    parse = build_receipts(ReceiptSettings.model_validate({"secrets": SECRET}))
    request = WebhookRequest(
        method="POST", url="http://x/", headers=signed(body), body=body, received_at=datetime.now(UTC)
    )
    return parse(request)


def test_a_report_becomes_a_receipt() -> None:
    jtd_id = uuid4()
    body = event(jtd_id, "bounced", at="2026-01-02T03:04:05+05:30", code="550", reason="no such user")
    [receipt] = parsed(body)
    assert isinstance(receipt, Receipt)
    assert (receipt.kind, receipt.reference, receipt.code) == (ReceiptKind.BOUNCED, jtd_id, "550")
    assert receipt.at == datetime.fromisoformat("2026-01-01T21:34:05+00:00")
    assert receipt.event_key


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"[" * 100_000,
        b'{"type": "jtd.message", "data": {}}',
        event("not-an-id"),
        event(uuid4(), "vanished"),
        event(uuid4(), at="2026-01-02T03:04:05"),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_report_that_cannot_be_read_is_malformed_and_not_quoted(body: bytes) -> None:
    with pytest.raises(MalformedError) as refused:
        parsed(body)
    assert str(refused.value) == ""


def test_the_parser_refuses_what_is_forged() -> None:
    parse = build_receipts(ReceiptSettings.model_validate({"secrets": SECRET}))
    body = event(uuid4())
    for headers in ({}, signed(body, secret=OTHER_SECRET), signed(body + b" ")):
        request = WebhookRequest(
            method="POST", url="http://x/", headers=headers, body=body, received_at=datetime.now(UTC)
        )
        with pytest.raises(ForgedError):
            parse(request)


# ---------------------------------------------------------------- over HTTP


def sent_job(db: psycopg.Connection, dsn: str, folder: Path) -> UUID:
    """Make a job and let a worker send it, through the provider that is to report."""
    jtd_id = insert_jtd(db, channel_code="sms", recipient_contact=CONTACT, template_key="user_invite_sms_v1")
    db.execute(
        "UPDATE n_jtd SET status_code = 'executing', provider_code = 'webhook' WHERE id = %s", [jtd_id]
    )
    db.execute("UPDATE n_jtd SET status_code = 'sent' WHERE id = %s", [jtd_id])
    return jtd_id


def figure(url: str, name: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(name) and line[0] != "#"
    )


def test_a_report_moves_its_job_and_a_copy_changes_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    with serving(dsn, tmp_path, **RECEIPTS) as (daemon, url):
        body = event(jtd_id, "delivered")
        headers = signed(body, message_id="evt-1")
        assert httpx.post(f"{url}/webhooks/webhook", content=body, headers=headers).status_code == 200
        eventually(lambda: row(db, jtd_id)["status_code"] == "delivered")
        assert httpx.post(f"{url}/webhooks/sms/webhook", content=body, headers=headers).status_code == 200
        body = event(jtd_id, "read")
        headers = signed(body, secret=OLD_SECRET)
        assert httpx.post(f"{url}/webhooks/webhook/more", content=body, headers=headers).status_code == 200
        eventually(lambda: row(db, jtd_id)["status_code"] == "read")
        assert figure(url, 'jtd_receipts_total{channel="sms",kind="delivered",provider="webhook"}') == 2
        assert figure(url, 'jtd_receipts_known_total{channel="sms",provider="webhook"}') == 1
        assert figure(url, 'jtd_webhook_requests_total{answer="200",channel="sms",provider="webhook"}') == 3
        assert CONTACT not in daemon.text
    steps = db.execute(
        "SELECT to_status_code, performed_by_type FROM n_jtd_history"
        " WHERE jtd_id = %s AND to_status_code IN ('delivered', 'read') ORDER BY id",
        [jtd_id],
    ).fetchall()
    assert steps == [("delivered", "webhook"), ("read", "webhook")]


def test_what_is_forged_old_or_unreadable_is_refused_and_leaves_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    body = event(jtd_id, reason="planted-in-a-body")
    with serving(dsn, tmp_path, **RECEIPTS) as (daemon, url):
        for expected, headers, content in (
            (401, {}, body),
            (401, signed(body, secret=OTHER_SECRET), body),
            (401, signed(body, age=600), body),
            (401, signed(body, age=-600), body),
            (401, signed(body), body.replace(b"delivered", b"read")),
            (400, signed(b"planted-in-a-body"), b"planted-in-a-body"),
        ):
            answer = httpx.post(f"{url}/webhooks/webhook?planted-in-a-url", content=content, headers=headers)
            assert answer.status_code == expected
        assert httpx.get(f"{url}/webhooks/webhook").status_code == 401
        assert httpx.post(f"{url}/webhooks/elsewhere", content=body).status_code == 404
        assert httpx.post(f"{url}/webhooks/email/webhook", content=body).status_code == 404
        assert httpx.put(f"{url}/webhooks/webhook", content=body).status_code == 405
        assert figure(url, 'jtd_webhook_requests_total{answer="401"') == 6
        assert "planted" not in daemon.text
        assert SECRET not in daemon.text
    assert row(db, jtd_id)["status_code"] == "sent"
    assert db.execute("SELECT FROM n_jtd_receipts").fetchall() == []


def test_a_body_too_large_or_too_slow_is_refused(dsn: str, tmp_path: Path) -> None:
    with serving(dsn, tmp_path, **RECEIPTS, serve_body_bytes="2048") as (_, url):
        assert httpx.post(f"{url}/webhooks/webhook", content=b"x" * 2048).status_code == 401
        assert httpx.post(f"{url}/webhooks/webhook", content=b"x" * 2049).status_code == 413
        assert httpx.post(f"{url}/webhooks/webhook", content=iter([b"x" * 1500] * 2)).status_code == 413
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=30) as client:
            client.sendall(b"POST /webhooks/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_a_provider_is_told_to_come_again_while_the_database_is_away(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    body = event(jtd_id)
    with wire(dsn) as proxy, serving(proxy.dsn, tmp_path, **RECEIPTS) as (_, url):
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        proxy.cut()
        answer = httpx.post(f"{url}/webhooks/webhook", content=body, headers=signed(body), timeout=30)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 503, 30)
        assert "the database has not answered" in httpx.get(f"{url}/readyz").text
        assert httpx.get(f"{url}/healthz").status_code == 200
        proxy.mend()
        eventually(
            lambda: (
                httpx.post(f"{url}/webhooks/webhook", content=body, headers=signed(body)).status_code == 200
            )
        )
        eventually(lambda: row(db, jtd_id)["status_code"] == "delivered")


def test_a_provider_is_told_to_come_again_while_the_database_is_busy(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    body = event(sent_job(db, dsn, tmp_path))
    with serving(dsn, tmp_path, **RECEIPTS) as (_, url):
        with psycopg.connect(dsn) as other:
            other.execute("LOCK TABLE n_jtd_receipts")
            answer = httpx.post(f"{url}/webhooks/webhook", content=body, headers=signed(body), timeout=30)
            assert answer.status_code == 503
        answer = httpx.post(f"{url}/webhooks/webhook", content=body, headers=signed(body), timeout=30)
        assert answer.status_code == 200


def test_receipts_that_a_process_left_behind_are_applied_by_the_next(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    db.execute(
        "SELECT jtd.accept_receipts_v1('sms', 'webhook', jsonb_build_array(jsonb_build_object("
        "'kind', 'read', 'event_key', 'left', 'reference', %s::text)))",
        [jtd_id],
    )
    with serving(dsn, tmp_path, **RECEIPTS):
        eventually(lambda: row(db, jtd_id)["status_code"] == "read")


def test_a_report_in_any_words_is_stored(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    body = json.dumps(
        {"type": "jtd.receipt", "data": {"id": str(jtd_id), "kind": "read", "reason": "\0 é", "code": "\0"}}
    ).encode()
    with serving(dsn, tmp_path, **RECEIPTS) as (_, url):
        assert httpx.post(f"{url}/webhooks/webhook", content=body, headers=signed(body)).status_code == 200
        eventually(lambda: row(db, jtd_id)["status_code"] == "read")


# ---------------------------------------------------------------- what a parser is given

PROBE = ProviderName.parse("sms:probe")


async def seen(
    dsn: str, path: str, public_url: str = "", **headers: str
) -> tuple[list[WebhookRequest], httpx.Response]:
    """Return the requests that the parser of `sms:probe` is given, and what the caller reads."""
    requests: list[WebhookRequest] = []

    def parse(request: WebhookRequest) -> Handshake:
        requests.append(request)
        return Handshake(text="<challenge>")

    return requests, await asked(dsn, parse, path, public_url, **headers)


async def asked(
    dsn: str, parse: ReceiptParser, path: str, public_url: str = "", **headers: str
) -> httpx.Response:
    """Return what a caller of `sms:probe` reads, whose requests `parse` reads."""
    pool, link, metrics = LinkPool(dsn, "web", 1), Link(dsn, "receipts"), WebMetrics()
    sources = {("sms", "probe"): ReceiptSource(name=PROBE, parse=parse)}
    app = make_app(
        [webhook_routes(sources, ReceiptInbox(ReceiptsQueue(pool, link), metrics), metrics, public_url)],
        1_000,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside:8080") as client:
        return await client.get(path, headers=headers)


async def test_a_handshake_reads_back_exactly_its_text(dsn: str) -> None:
    (request,), answer = await seen(dsn, "/webhooks/probe?hub.challenge=1&x=%2F")
    assert (answer.status_code, answer.text) == (200, "<challenge>")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (request.method, request.url) == ("GET", "http://inside:8080/webhooks/probe?hub.challenge=1&x=%2F")


async def test_the_url_is_the_public_one_and_no_header_changes_it(dsn: str) -> None:
    forged = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example", "x-forwarded-prefix": "/x"}
    (request,), _ = await seen(dsn, "/webhooks/sms/probe/s%2Fecret", **forged)
    assert request.url == "http://inside:8080/webhooks/sms/probe/s%2Fecret"
    (request,), _ = await seen(dsn, "/webhooks/probe?a=1", "https://jtd.example.com/hooks", **forged)
    assert request.url == "https://jtd.example.com/hooks/webhooks/probe?a=1"
    assert "secret" not in repr(request)


@pytest.mark.parametrize("host", ["[", "[::1", "[x]"])
async def test_a_host_that_is_none_reaches_no_parser(dsn: str, host: str) -> None:
    requests, answer = await seen(dsn, "/webhooks/probe", host=host)
    assert (requests, answer.status_code) == ([], 400)


async def test_a_provider_is_told_to_come_again_while_its_certificate_cannot_be_had(dsn: str) -> None:
    def parse(request: WebhookRequest) -> Handshake:
        raise OSError("SNS cannot be reached")

    answer = await asked(dsn, parse, "/webhooks/probe")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_provider_of_two_channels_is_named_with_its_channel() -> None:
    sources = {
        (channel, "probe"): ReceiptSource(name=ProviderName.parse(f"{channel}:probe"), parse=lambda _: [])
        for channel in ("sms", "email")
    }
    assert source_of(sources, "probe") is None
    assert source_of(sources, "sms/probe/rest") is sources["sms", "probe"]
    assert source_of({("sms", "probe"): sources["sms", "probe"]}, "probe/sms") is sources["sms", "probe"]


async def test_receipts_in_any_words_are_stored_beside_others(dsn: str, db: psycopg.Connection) -> None:
    pool, link = LinkPool(dsn, "web", 1), Link(dsn, "receipts")
    odd = "\0\ud800" * 150
    receipts = [
        Receipt(
            kind=ReceiptKind.SENT,
            event_key=odd,
            provider_message_id=odd,
            recipient=odd,
            code=odd,
            reason=odd,
            details={odd: [odd, 10**400, float("nan")]},
        ),
        Receipt(kind=ReceiptKind.SENT, event_key="plain"),
    ]
    await ReceiptInbox(ReceiptsQueue(pool, link), WebMetrics()).accept(PROBE, receipts)
    await pool.aclose()
    found = db.execute("SELECT event_key FROM n_jtd_receipts WHERE provider = 'probe'").fetchall()
    assert len(found) == 2
    assert ("plain",) in found


# ---------------------------------------------------------------- the process


async def test_who_waits_for_a_connection_is_not_overtaken(dsn: str) -> None:
    done: list[str] = []

    async def ask(name: str, times: int) -> None:
        for _ in range(times):
            await pool.call("SELECT 1", seconds=20)
            done.append(name)

    async with aclosing(LinkPool(dsn, "web", 1)) as pool:
        await asyncio.gather(ask("again and again", 50), ask("once", 1))
    assert done.index("once") <= 1


def test_what_it_writes_waits_for_no_acknowledgement() -> None:
    with (
        closing(_bound("127.0.0.1:0")) as listening,
        socket.create_connection(listening.getsockname()),
        closing(listening.accept()[0]) as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_health_readiness_and_metrics(dsn: str, tmp_path: Path) -> None:
    with serving(dsn, tmp_path) as (_, url):
        assert httpx.get(f"{url}/healthz").text == "ok\n"
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        assert figure(url, "jtd_web_ready") == 1
        assert httpx.head(f"{url}/healthz").status_code == 200
        for path in ("/", "/docs", "/openapi.json", "/feed", "/u/x", "/webhooks/", "/webhooks/webhook"):
            assert httpx.get(f"{url}{path}").status_code == 404, path


def test_sigterm_ends_it_after_the_request_that_runs(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = sent_job(db, dsn, tmp_path)
    body = event(jtd_id)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    with serving(dsn, tmp_path, **RECEIPTS) as (daemon, url):
        where = urlsplit(url)
        with socket.create_connection((where.hostname, where.port), timeout=30) as client:
            head = f"POST /webhooks/webhook HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body[:5])
            eventually(lambda: httpx.get(f"{url}/healthz").status_code == 200)  # it has read that far
            daemon.signal(signal.SIGTERM)
            daemon.wait_for("web.draining")
            client.sendall(body[5:])
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert daemon.wait() == 0, daemon.text
        assert daemon.lines("web.stopped")


def test_without_the_rights_it_says_which_role_to_grant(dsn: str, tmp_path: Path) -> None:
    as_producer = psycopg.conninfo.make_conninfo(dsn, options="-c role=jtd_producer")
    with Daemon(as_producer, None, tmp_path / "daemon-0.log", http="127.0.0.1:0") as daemon:
        assert daemon.wait() == 1
        assert "permission denied for function apply_receipts_v1; grant the role" in daemon.text
        assert "jtd_web for serve" in daemon.text


def test_the_role_of_the_web_process_sees_no_table_and_calls_nothing_else(db: psycopg.Connection) -> None:
    may = db.execute(
        "SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'jtd'::regnamespace"
        " AND has_function_privilege('jtd_web', p.oid, 'EXECUTE')"
    ).fetchall()
    assert {name for (name,) in may} == {
        "accept_receipts_v1", "apply_receipts_v1", "feed_archive_v1", "feed_counts_v1", "feed_list_v1",
        "feed_look_v1", "feed_read_v1", "feed_seen_v1", "unsubscribe_offer_v1", "unsubscribe_v1",
        "uuid7",  # everybody may make ids
    }  # fmt: skip
    reached = db.execute(
        "SELECT c.oid::regclass FROM pg_class AS c"
        " WHERE c.relnamespace::regnamespace::text IN ('jtd', 'public') AND c.relkind IN ('r', 'p', 'v')"
        " AND has_table_privilege('jtd_web', c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    ).fetchall()
    assert reached == []


# ---------------------------------------------------------------- settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import os

    for name in [name for name in os.environ if name.startswith("JTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JTD_DATABASE_URL", "postgresql://x")
    return monkeypatch


def test_every_mistake_of_the_settings_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "JTD_RECEIPTS": "push:fcm,sms:pigeon,sms:webhook,push:webhook.backup",
        "JTD_RECEIPTS_SMS_WEBHOOK_SECRETS": "planted",
        "JTD_RECEIPTS_SMS_WEBHOOK_COLOUR": "red",
        "JTD_EMAIL_SMTP_PASSWORD": "planted",
    }.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        serve_settings.load()
    text = str(refused.value)
    for mistake in (
        "JTD_RECEIPTS: push:fcm reports nothing that could be received",
        "JTD_RECEIPTS: no provider 'pigeon' for channel 'sms'",
        "JTD_RECEIPTS_SMS_WEBHOOK_SECRETS: ",
        "JTD_RECEIPTS_SMS_WEBHOOK_COLOUR: is not a setting of this provider",
        "JTD_RECEIPTS: push:webhook.backup: the instances of a provider report together",
        "JTD_EMAIL_SMTP_PASSWORD is not a setting of `serve` or of a provider in JTD_RECEIPTS",
    ):
        assert mistake in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP", ""),
        ("HTTP", "8080"),
        ("PUBLIC_URL", "jtd.example.com"),
        ("PUBLIC_URL", "https://jtd.example.com/?x=1"),
        ("PUBLIC_URL", "https://user@jtd.example.com"),
        ("RECEIPTS", "webhook"),
        ("SERVE_BODY_BYTES", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"JTD_{name}", value)
    with pytest.raises(ConfigurationError, match=f"JTD_{name}"):
        serve_settings.load()


def test_the_public_url_stands_for_what_a_proxy_took_off(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JTD_PUBLIC_URL", "https://jtd.example.com/hooks/")
    assert serve_settings.load().settings.public_url == "https://jtd.example.com/hooks"
