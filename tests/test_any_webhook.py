"""The webhook adapter against a real server that goes wrong in every way we could think of."""

import asyncio
import base64
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme
from pydantic import ValidationError
from standardwebhooks import Webhook as Receiver

from jtd_worker.adapter import UnknownRule
from jtd_worker.channels.any_webhook import Settings, Webhook, build
from jtd_worker.http_exchange import Timeouts
from jtd_worker.message import Attachment, Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.testing.http_server import (
    DEADLINE,
    Drip,
    HttpServer,
    Step,
    ThreadedHttpServer,
    answer,
    chunked,
    in_turn,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
SHORT = Timeouts(connect=2.0, write=1.0, read=2.0, total=4.0)

MESSAGE = Message(
    jtd_id=UUID("01890000-0000-7000-8000-000000000001"),
    tenant_id=UUID("01890000-0000-7000-8000-0000000000aa"),
    channel="whatsapp",
    event_type="notification",
    source_type="payment_received",
    idempotency_key="jtd-01890000-0000-7000-8000-000000000001",
    created_at=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    to="+14155550123",
    name="Zoë",
    subject="Paid",
    text="Your payment of 5 € arrived.",
    html="<p>Your payment of 5&nbsp;€ arrived.</p>",
    variables={"amount": 5, "currency": "EUR"},
    attachments=(Attachment(name="receipt.pdf", media_type="application/pdf", content=b"%PDF\x00\xff"),),
    reply_to="billing@tenant.example",
    locale="en-IE",
    metadata={"media_url": "https://cdn.example/p.png"},
)
BIG = replace(MESSAGE, text="x" * 16_000_000)
"""More than the socket buffers of loopback take."""


def settings(url: str, **others: Any) -> Settings:
    return Settings.model_validate({"url": url, "secret": SECRET, **others})


def webhook(url: str, timeouts: Timeouts = SHORT, **others: Any) -> Webhook:
    return Webhook(settings(url, **others), timeouts)


async def send(server: HttpServer, message: Message = MESSAGE, path: str = "", **others: Any) -> SendResult:
    async with aclosing(webhook(server.url + path, **others)) as adapter:
        return await adapter.send_one(message)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way for an attempt to go, and what must be said of it."""

    name: str
    server: Mapping[str, Any]
    kind: type[SendResult]
    left: bool
    """Whether the message may have reached the receiver's application and been accepted."""
    retry: Retry | None = None
    scope: Scope | None = None
    code: str | None = None
    wait: timedelta | None = None
    certificate: str | None = None
    """`trusted`, `untrusted` or `other_host`: the server speaks TLS."""
    url: Callable[[HttpServer], str] = field(default=lambda server: server.url)
    message: Message = MESSAGE


def sent(name: str, *steps: Any, certificate: str | None = None) -> Case:
    return Case(name=name, server={"script": steps}, kind=Sent, left=True, certificate=certificate)


def refused(status: int, retry: Retry, scope: Scope, **fields: Any) -> Case:
    wait = fields.pop("wait", None)
    return Case(
        name=fields.pop("name", f"{status}"),
        server={"script": answer(status, **fields)},
        kind=Refused,
        left=False,
        retry=retry,
        scope=scope,
        code=f"http_{status}",
        wait=wait,
    )


def throttled(name: str, wait: float, headers: Mapping[str, str]) -> Case:
    return Case(
        name=f"429 {name}",
        server={"script": answer(429, headers=headers)},
        kind=Throttled,
        left=False,
        code="http_429",
        wait=timedelta(seconds=wait),
    )


def unsure(status: int) -> Case:
    return Case(
        name=f"{status}",
        server={"script": answer(status)},
        kind=Unknown,
        left=True,
        code=f"http_{status}",
    )


def lost(name: str, *steps: Any, **others: Any) -> Case:
    server = {"script": steps, **others.pop("server", {})}
    return Case(name=name, server=server, kind=Unknown, left=True, code="answer_lost", **others)


def unreached(name: str, **others: Any) -> Case:
    return Case(
        **{
            "name": name,
            "server": {},
            "kind": Refused,
            "left": False,
            "retry": Retry.LATER,
            "scope": Scope.NETWORK,
            "code": "connect_failed",
            **others,
        }
    )


def distrusted(name: str, certificate: str) -> Case:
    return unreached(
        name,
        certificate=certificate,
        retry=Retry.AFTER_OPERATOR,
        scope=Scope.PROVIDER,
        code="certificate_invalid",
    )


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


OK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
NOW = "Wed, 02 Jan 2030 03:04:05 GMT"
IN_A_MINUTE = "Wed, 02 Jan 2030 03:05:00 GMT"
HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr><center>nginx</center></body></html>"
)
CREDENTIAL = (Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
OPERATOR = (Retry.AFTER_OPERATOR, Scope.PROVIDER)
LATER = (Retry.LATER, Scope.PROVIDER)
NEVER = (Retry.NEVER, Scope.MESSAGE)

CASES = [
    sent("200 with an id", *answer(200, b'{"id": "m-1"}')),
    sent("200 empty", *answer(200)),
    sent("200 with an HTML page", *answer(200, HTML, {"content-type": "text/html"})),
    sent("200 with JSON nested deeper than the stack", *answer(200, b"[" * 60_000)),
    sent("200 with a number that no parser takes", *answer(200, b'{"id": ' + b"9" * 50_000 + b"}")),
    sent("200 that is not UTF-8", *answer(200, b'{"id": "\xff\xfe"}')),
    sent("201", *answer(201, b'{"id": 7}')),
    sent("202", *answer(202, b"accepted")),
    sent("204 without length", b"HTTP/1.1 204 No Content\r\n\r\n"),
    sent("200 in chunks", *chunked(200, b'{"id":', b' "m-2"}')),
    sent("200 of HTTP/1.0, ended by closing", b"HTTP/1.0 200 OK\r\n\r\ndone", Step.CLOSE),
    sent("200 of an unknown version", b"HTTP/7.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
    sent("200 with an error inside", *answer(200, b'{"error": "quota", "success": false}')),
    sent("200 after 100 and 103", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n", *answer(200)),
    sent("200 that says it is packed and is not", *answer(200, b"plain", {"content-encoding": "gzip"})),
    sent("200, then the body is cut", OK_HEAD, b"half", Step.CLOSE),
    sent("200, then the chunks are cut", *chunked(200, b"half", complete=False), Step.CLOSE),
    sent("200, then nonsense instead of a chunk", *chunked(200, complete=False), b"zz\r\n"),
    sent("200, then the body hangs", OK_HEAD, Step.HANG),
    sent("200, then the body drips past the total time", OK_HEAD, Drip(b"123456789", 0.7)),
    sent("200, then a reset", OK_HEAD, Step.RESET),
    sent("200, then more than was asked for", *answer(200, b"x" * 8_000_000), Step.HANG),
    sent("200, then an endless body", *answer(200, b"x" * 200_000, length=10**12), Step.HANG),
    sent("200 over TLS", *answer(200, b'{"id": "m-3"}'), certificate="trusted"),
    sent("200 over TLS, then a reset", OK_HEAD, Step.RESET, certificate="trusted"),
    sent("200 over TLS, then broken TLS", OK_HEAD, Step.BREAK_TLS, certificate="trusted"),
    refused(300, *OPERATOR),
    refused(301, *OPERATOR, headers={"location": "/elsewhere"}),
    refused(302, *OPERATOR, headers={"location": "/elsewhere"}),
    refused(304, *OPERATOR),
    refused(307, *OPERATOR, headers={"location": "/elsewhere"}),
    refused(308, *OPERATOR, headers={"location": "//other.invalid/"}),
    refused(400, *NEVER, body=b'{"error": "no template"}'),
    refused(401, *CREDENTIAL),
    refused(402, *NEVER),
    refused(403, *CREDENTIAL),
    refused(404, *OPERATOR, body=HTML),
    refused(405, *OPERATOR),
    refused(407, *CREDENTIAL),
    refused(408, Retry.LATER, Scope.NETWORK),
    refused(409, Retry.LATER, Scope.MESSAGE),
    refused(410, *OPERATOR),
    refused(413, *NEVER),
    refused(415, *NEVER),
    refused(418, *NEVER),
    refused(422, *NEVER, name="422 with Retry-After", headers={"retry-after": "9"}),
    refused(425, *LATER),
    refused(499, *NEVER),
    refused(500, *LATER, body=HTML),
    refused(500, *LATER, name="500, then the body hangs", body=b"half", length=9),
    refused(501, *LATER),
    refused(503, *LATER),
    refused(503, *LATER, name="503 for 7 s", headers={"retry-after": "7"}, wait=timedelta(seconds=7)),
    refused(503, *LATER, name="503 for a day", headers={"retry-after": "86400"}, wait=timedelta(hours=6)),
    refused(503, *LATER, name="503 until nobody knows", headers={"retry-after": "soon"}),
    refused(511, *LATER),
    throttled("without a time", 30, {}),
    throttled("with seconds", 12, {"retry-after": "12"}),
    throttled("with no seconds", 0, {"retry-after": "0"}),
    throttled("with more seconds than there are", 21600, {"retry-after": "9" * 400}),
    throttled("with a date by the receiver's clock", 55, {"retry-after": IN_A_MINUTE, "date": NOW}),
    throttled("with a date gone by", 0, {"retry-after": "Wed, 02 Jan 2002 03:04:05 GMT"}),
    throttled("with a date far off", 21600, {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    throttled("with a date without zone", 21600, {"retry-after": "Fri, 31 Dec 9999 23:59:59 -0000"}),
    throttled(
        "with an impossible date", 30, {"retry-after": "Wed, 32 Jan 99999999999999999999 03:04:05 GMT"}
    ),
    throttled("with less than nothing", 30, {"retry-after": "-5"}),
    throttled("with a digit that is no number", 30, {"retry-after": "²"}),
    throttled("with two times", 30, {"retry-after": "5, 6"}),
    unsure(502),
    unsure(504),
    unsure(520),
    unsure(524),
    unsure(599),
    unsure(999),
    lost("101", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Step.HANG),
    lost("closed without an answer", Step.CLOSE),
    lost("reset without an answer", Step.RESET),
    lost("no answer in time", Step.HANG),
    lost("garbage instead of a status", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Step.HANG),
    lost("a status that is no number", b"HTTP/1.1 abc OK\r\n\r\n", Step.HANG),
    lost("status 000", b"HTTP/1.1 000 None\r\n\r\n", Step.HANG),
    lost("half a status", b"HTTP/1.1 20", Step.CLOSE),
    lost("a status, then a reset", b"HTTP/1.1 200 OK\r\n", Step.RESET),
    lost("headers cut", b"HTTP/1.1 200 OK\r\ncontent-le", Step.CLOSE),
    lost("headers hang", b"HTTP/1.1 200 OK\r\ncontent-le", Step.HANG),
    lost("headers drip past the total time", Drip(b"HTTP/1.1 200 OK\r\n", 0.7)),
    lost("a header without colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Step.HANG),
    lost("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Step.HANG),
    lost("endless headers", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000, Step.HANG),
    lost("only interim answers", b"HTTP/1.1 100 Continue\r\n\r\n", Step.HANG),
    lost("reset between head and body", server={"on_headers": [Step.RESET]}),
    lost("closed between head and body", server={"on_headers": [Step.CLOSE]}),
    lost("reset before anything was read", server={"on_connect": [Step.RESET]}),
    lost("closed before anything was read", server={"on_connect": [Step.CLOSE]}),
    lost("never read on", server={"on_connect": [Step.STALL]}, message=BIG),
    lost("no answer in time over TLS", Step.HANG, certificate="trusted"),
    lost("broken TLS", Step.BREAK_TLS, certificate="trusted"),
    lost("reset over TLS", Step.RESET, certificate="trusted"),
    Case(
        name="413 before the body was read",
        server={"on_headers": [*answer(413), Step.HANG]},
        kind=Refused,
        left=False,
        retry=Retry.NEVER,
        scope=Scope.MESSAGE,
        code="http_413",
    ),
    unreached("nobody listens", url=lambda _: f"http://127.0.0.1:{unused_port()}/"),
    unreached("a name that cannot be found", url=lambda _: f"https://{'a' * 64}.example/"),
    unreached(
        "no TLS: it never shakes hands",
        server={"on_connect": [Step.HANG]},
        url=lambda server: server.url.replace("http:", "https:"),
    ),
    unreached(
        "no TLS: it speaks HTTP",
        server={"on_connect": [*answer(400), Step.HANG]},
        url=lambda server: server.url.replace("http:", "https:"),
    ),
    unreached(
        "no TLS: reset in the handshake",
        server={"on_connect": [Step.RESET]},
        url=lambda server: server.url.replace("http:", "https:"),
    ),
    distrusted("a certificate that nobody vouches for", "untrusted"),
    distrusted("a certificate for another host", "other_host"),
    Case(
        name="text with half a surrogate pair",
        server={"script": answer(200)},
        message=replace(MESSAGE, text="\ud800"),
        kind=Refused,
        left=False,
        retry=Retry.NEVER,
        scope=Scope.MESSAGE,
        code="not_json",
    ),
    Case(
        name="a variable that is not a number",
        server={"script": answer(200)},
        message=replace(MESSAGE, variables={"x": float("nan")}),
        kind=Refused,
        left=False,
        retry=Retry.NEVER,
        scope=Scope.MESSAGE,
        code="not_json",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Seen:
    result: SendResult
    server: HttpServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trustme.CA]:
    """A certificate authority that the adapters of this module trust."""
    ca = trustme.CA()
    file: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield ca


def certified(ca: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(host).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def seen(authority: trustme.CA) -> Mapping[str, Seen]:
    """What came of every case; all of them ran side by side on one loop."""
    contexts = {
        None: None,
        "trusted": certified(authority, "localhost"),
        "untrusted": certified(trustme.CA(), "localhost"),
        "other_host": certified(authority, "other.example"),
    }

    async def attempt(case: Case) -> Seen:
        async with (
            HttpServer(**{"tls": contexts[case.certificate], **case.server}) as server,
            aclosing(webhook(case.url(server))) as adapter,
        ):
            return Seen(result=await adapter.send_one(case.message), server=server)

    async def attempt_all() -> list[Seen]:
        return await asyncio.gather(*map(attempt, CASES))

    return dict(zip((case.name for case in CASES), asyncio.run(attempt_all()), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_way_to_go_wrong_is_told_apart(case: Case, seen: Mapping[str, Seen]) -> None:
    result = seen[case.name].result
    assert type(result) is case.kind, result
    assert getattr(result, "code", None) == case.code
    assert getattr(result, "retry", None) == case.retry
    assert getattr(result, "scope", None) == case.scope
    assert getattr(result, "retry_after", None) == case.wait
    assert isinstance(result, Sent | Unknown) is case.left


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_receiver_saw_at_most_one_attempt_and_none_where_we_say_so(
    case: Case, seen: Mapping[str, Seen]
) -> None:
    server = seen[case.name].server
    never_begun = case.code in {"connect_failed", "certificate_invalid", "not_json"}
    assert len(server.requests) <= (0 if never_begun else 1)
    assert len(server.requests) == 1 or case.kind is not Sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reason_is_one_short_printable_line(case: Case, seen: Mapping[str, Seen]) -> None:
    reason = getattr(seen[case.name].result, "reason", "fine")
    assert 0 < len(reason) <= 300
    assert reason.isprintable()
    assert MESSAGE.to not in reason


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


async def test_a_receiver_that_takes_no_connection_is_refused_by_the_network() -> None:
    # A backlog of 0 holds one connection that nobody accepts; Linux leaves further ones without an answer.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            quick = Timeouts(connect=0.2, write=1.0, read=1.0, total=2.0)
            async with aclosing(webhook(f"http://127.0.0.1:{port}/", quick)) as adapter:
                result = await adapter.send_one(MESSAGE)
    assert isinstance(result, Refused)
    assert (result.retry, result.scope) == (Retry.LATER, Scope.NETWORK)
    assert "ConnectTimeout" in result.reason


@pytest.mark.parametrize(
    ("steps", "kind"),
    [([Step.HANG], Unknown), ([OK_HEAD, Step.HANG], Sent)],
    ids=["before the answer", "within it"],
)
async def test_the_total_time_ends_an_attempt_that_no_other_time_would(
    steps: Any, kind: type[SendResult]
) -> None:
    patient = Timeouts(read=60.0, total=0.3)
    async with HttpServer(steps) as server, aclosing(webhook(server.url, patient)) as adapter:
        async with asyncio.timeout(DEADLINE):
            assert type(await adapter.send_one(MESSAGE)) is kind
        await server.wait_until(lambda server: server.hung_up == 1)


async def test_an_answer_too_large_is_cut_without_waiting_for_its_end() -> None:
    endless = [*answer(200, b"x" * 200_000, length=10**12), Step.HANG]
    async with HttpServer(endless) as server, aclosing(webhook(server.url, Timeouts())) as adapter:
        async with asyncio.timeout(DEADLINE):
            assert isinstance(await adapter.send_one(MESSAGE), Sent)
        await server.wait_until(lambda server: server.hung_up == 1)


async def test_the_schemes_own_library_accepts_the_signature_of_each_secret() -> None:
    async with HttpServer(answer(200)) as server:
        await send(server, secret=f"{SECRET} {OLD_SECRET}")
    [request] = server.requests
    for secret in (SECRET, OLD_SECRET):
        assert Receiver(secret).verify(request.body, dict(request.headers)) == request.json
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_a_request_holds_the_whole_message_and_the_key_against_duplicates() -> None:
    async with HttpServer(answer(200)) as server:
        await send(server, path="/in?a=b")
    [request] = server.requests
    assert (request.method, request.target) == ("POST", "/hook/in?a=b")
    assert request.headers["webhook-id"] == MESSAGE.idempotency_key
    assert request.headers["idempotency-key"] == MESSAGE.idempotency_key
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "jtd-worker"
    assert request.json == {
        "type": "jtd.message",
        "timestamp": "2030-01-02T03:04:05.678901+00:00",
        "data": {
            "id": "01890000-0000-7000-8000-000000000001",
            "tenant_id": "01890000-0000-7000-8000-0000000000aa",
            "channel": "whatsapp",
            "event_type": "notification",
            "source_type": "payment_received",
            "to": "+14155550123",
            "name": "Zoë",
            "subject": "Paid",
            "text": "Your payment of 5 € arrived.",
            "html": "<p>Your payment of 5&nbsp;€ arrived.</p>",
            "variables": {"amount": 5, "currency": "EUR"},
            "attachments": [
                {"name": "receipt.pdf", "media_type": "application/pdf", "content": "JVBERgD/"},
            ],
            "reply_to": "billing@tenant.example",
            "metadata": {"media_url": "https://cdn.example/p.png"},
            "locale": "en-IE",
        },
    }
    assert (
        request.body
        == json.dumps(request.json, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )


async def test_a_second_attempt_sends_the_same_bytes_under_the_same_id() -> None:
    elsewhere = replace(
        MESSAGE,
        created_at=MESSAGE.created_at.astimezone(timezone(timedelta(hours=5, minutes=30))),
        variables=dict(reversed(list(MESSAGE.variables.items()))),
    )
    async with HttpServer(in_turn(answer(502), answer(200))) as server:
        assert isinstance(await send(server), Unknown)
        assert isinstance(await send(server, elsewhere), Sent)
    first, second = server.requests
    assert first.body == second.body
    assert server.counts == {MESSAGE.idempotency_key: 2}


async def test_the_id_in_the_answer_is_kept_bounded_and_printable() -> None:
    body = json.dumps({"id": " a\u0000b\ud800\n" + "c" * 400}).encode()
    async with HttpServer(answer(201, body)) as server:
        result = await send(server)
    assert result == Sent(provider_message_id="a b " + "c" * 196, response={"status": 201})


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id": 7.5}', b'{"id": ""}', b'{"id": null}', b'"x"', b"{"])
async def test_an_answer_without_a_usable_id_is_sent_all_the_same(body: bytes) -> None:
    async with HttpServer(answer(200, body)) as server:
        assert await send(server) == Sent(response={"status": 200})


async def test_a_reason_repeats_neither_recipient_nor_the_private_parts_of_the_url() -> None:
    message = replace(MESSAGE, to="Zoe@Example.com")
    body = (
        b"no zoe@example.com\nat /hook/T0K3N?key=abc123 or key=ABC123\x00\x1b[31m zoe%40example.com "
        + b"x" * 999
    )
    async with HttpServer(answer(422, body)) as server:
        result = await send(server, message, path="/T0K3N?key=abc123")
    assert isinstance(result, Refused)
    assert result.reason.startswith(
        "the receiver answered 422: no <recipient> at <url>?<url> or <url> [31m <recipient> xxx"
    )
    assert len(result.reason) == 300


async def test_a_recipient_at_the_cut_is_not_shown_in_part() -> None:
    async with HttpServer(answer(422, b"x" * 265 + MESSAGE.to.encode())) as server:
        result = await send(server)
    assert isinstance(result, Refused)
    assert "415" not in result.reason


async def test_a_phone_number_without_its_plus_is_masked_too() -> None:
    async with HttpServer(answer(400, b"bad number 14155550123")) as server:
        result = await send(server)
    assert isinstance(result, Refused)
    assert result.reason == "the receiver answered 400: bad number <recipient>"


async def test_nothing_is_logged_that_is_not_for_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with HttpServer(answer(200)) as server:
        await send(server, path="?token=T0K3N")
    for private in ("T0K3N", MESSAGE.to, MESSAGE.text, SECRET, "/hook"):
        assert private not in caplog.text


async def test_a_redirect_is_not_followed() -> None:
    async with HttpServer(answer(200)) as target:
        moved = answer(307, headers={"location": target.url})
        async with HttpServer(moved) as server:
            result = await send(server)
    assert isinstance(result, Refused)
    assert "set the final URL" in result.reason
    assert target.connections == 0


async def test_cookies_proxies_and_netrc_of_the_environment_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login u password p\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{unused_port()}")
    sets_cookie = answer(200, headers={"set-cookie": "a=b"})
    async with HttpServer(sets_cookie) as server, aclosing(webhook(server.url)) as adapter:
        await adapter.send_one(MESSAGE)
        await adapter.send_one(MESSAGE)
    assert len(server.requests) == 2
    for request in server.requests:
        assert not {"cookie", "authorization"} & set(request.headers)


async def test_messages_after_each_other_share_a_connection() -> None:
    async with HttpServer(answer(200, b"{}")) as server, aclosing(webhook(server.url)) as adapter:
        for _ in range(5):
            assert isinstance(await adapter.send_one(MESSAGE), Sent)
    assert server.connections == 1


async def test_a_connection_that_the_receiver_closed_while_idle_is_not_used_again() -> None:
    async with HttpServer([*answer(200), Step.CLOSE]) as server, aclosing(webhook(server.url)) as adapter:
        for _ in range(3):
            assert isinstance(await adapter.send_one(MESSAGE), Sent)
    assert server.connections == 3


async def test_a_kept_connection_that_breaks_under_a_request_leaves_it_unknown_and_unrepeated() -> None:
    script = in_turn(answer(200), [Step.CLOSE])
    async with HttpServer(script) as server, aclosing(webhook(server.url)) as adapter:
        assert isinstance(await adapter.send_one(MESSAGE), Sent)
        assert isinstance(await adapter.send_one(MESSAGE), Unknown)
    assert [request.connection for request in server.requests] == [1, 1]


async def test_a_batch_goes_out_side_by_side_and_is_answered_in_order() -> None:
    def by_key(request: Any) -> Any:
        number = int(request.headers["webhook-id"][-1])
        return [Step.WAIT, *answer(200 if number % 2 else 400, b'{"id": "m-%d"}' % number)]

    batch = [replace(MESSAGE, idempotency_key=f"key-{n}") for n in range(6)]
    async with HttpServer(by_key) as server, aclosing(webhook(server.url)) as adapter:
        sending = asyncio.create_task(adapter.send(batch))
        await server.wait_until(lambda server: len(server.requests) == len(batch))
        server.release()
        results = await sending
    assert [isinstance(result, Sent) for result in results] == [False, True] * 3
    assert isinstance(results[3], Sent)
    assert results[3].provider_message_id == "m-3"


@pytest.mark.parametrize("steps", [[Step.HANG], [OK_HEAD, Step.HANG]], ids=["before the answer", "within it"])
async def test_cancelling_closes_the_connection_in_use(steps: Any) -> None:
    async with HttpServer(steps) as server, aclosing(webhook(server.url, Timeouts())) as adapter:
        sending = asyncio.create_task(adapter.send_one(MESSAGE))
        await server.wait_until(lambda server: len(server.requests) == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.wait_until(lambda server: server.hung_up == 1)


async def test_after_a_failure_the_adapter_sends_on() -> None:
    script = in_turn([Step.RESET], [b"garbage\r\n\r\n"], [OK_HEAD, Step.CLOSE], answer(200))
    async with HttpServer(script) as server, aclosing(webhook(server.url)) as adapter:
        kinds = [type(await adapter.send_one(MESSAGE)) for _ in range(4)]
    assert kinds == [Unknown, Unknown, Sent, Sent]


def test_the_server_in_a_thread_serves_other_loops_and_is_watched_from_outside() -> None:
    with ThreadedHttpServer([Step.WAIT, *answer(200)]) as hosted:

        async def deliver() -> SendResult:
            async with aclosing(webhook(hosted.url)) as adapter:
                sending = asyncio.create_task(adapter.send_one(MESSAGE))
                await asyncio.to_thread(hosted.wait_until, lambda server: len(server.requests) == 1)
                hosted.release()
                return await sending

        assert isinstance(asyncio.run(deliver()), Sent)
        assert hosted.server.counts[MESSAGE.idempotency_key] == 1


def test_an_unknown_outcome_is_retried_under_the_same_id_unless_settings_say_otherwise() -> None:
    usual = build(settings("https://hooks.example/in"), "sms").capabilities
    assert usual.unknown_rule is UnknownRule.IDEMPOTENT_RETRY
    assert usual.needs_hand_off
    waiting = build(settings("https://hooks.example/in", unknown="wait_for_receipt"), "sms").capabilities
    assert waiting.unknown_rule is UnknownRule.WAIT_FOR_RECEIPT
    held = build(settings("https://hooks.example/in", unknown="hold"), "sms").capabilities
    assert held.unknown_rule is UnknownRule.HOLD
    assert held.needs_hand_off


@pytest.mark.parametrize(
    "url", ["https://hooks.example/in?k=v", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost/x"]
)
def test_https_anywhere_and_http_on_loopback_are_taken(url: str) -> None:
    assert str(settings(url).url) == url.replace(":80/", "/")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"url": "http://hooks.example/T0K3N"}, "use https"),
        ({"url": "http://10.0.0.1/T0K3N"}, "use https"),
        ({"url": "http://localhost.example/T0K3N"}, "use https"),
        ({"url": "https://user:T0K3N@hooks.example/"}, "user or password"),
        ({"url": "ftp://hooks.example/T0K3N"}, "scheme"),
        ({"url": "hooks.example/T0K3N"}, "valid URL"),
        ({"secret": "T0K3N"}, "whsec_"),
        ({"secret": ""}, "no signing secret"),
        ({"unknown": "T0K3N"}, "idempotent_retry"),
        ({"timeout": "T0K3N"}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_is_explained_and_not_shown(given: Mapping[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        Settings.model_validate({"url": "https://hooks.example/", "secret": SECRET, **given})
    assert "T0K3N" not in str(caught.value)


def test_settings_show_neither_url_nor_secret() -> None:
    shown = repr(settings("https://hooks.example/T0K3N"))
    assert "T0K3N" not in shown
    assert SECRET not in shown
