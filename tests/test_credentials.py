"""Tenants' own credentials: who sends by what, as whom, and that one tenant's trouble is not the others'."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr

import jtd_worker.credential
import jtd_worker.outlet
from jtd_worker.channels.any_outbox import Outbox
from jtd_worker.credential import Credential, CredentialName, Credentials
from jtd_worker.errors import ConfigurationError, RefusedReferenceError
from jtd_worker.outlet import Outlet, Outlets, Own
from jtd_worker.reference import read
from jtd_worker.settings import load
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from tests.command import Ended, call
from tests.daemon import eventually, run_until_idle, running
from tests.jobs import OTHER_TENANT, TENANT, history, insert_jtd, insert_many, one, row
from tests.tenants import ALL_ON
from tests.worker_calls import Worker

SECRET = "SG.tenants-own-secret"
HOUSE_KEY = "SG.key-of-the-house"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ACCEPTED = answer(202, headers={"x-message-id": "m-1"})


def own(
    server: ThreadedHttpServer, *tenants: UUID, provider: str | None = "sendgrid", **settings: Any
) -> dict[str, Any]:
    """A document of SendGrid settings for `tenants`, TENANT by default."""
    return {
        **({"provider": provider} if provider else {}),
        "tenants": [str(tenant) for tenant in tenants or (TENANT,)],
        "base_url": server.url,
        "api_key": SECRET,
        "from": "Acme <hello@acme.example>",
        **settings,
    }


def webhook(server: ThreadedHttpServer, **settings: Any) -> dict[str, Any]:
    return {"provider": "webhook", "tenants": "*", "url": server.url, "secret": WEBHOOK_SECRET, **settings}


def house(server: ThreadedHttpServer, **settings: str) -> dict[str, str]:
    return {
        "email_sendgrid_base_url": server.url,
        "email_sendgrid_api_key": HOUSE_KEY,
        "email_sendgrid_from": "House <no-reply@house.example>",
        **settings,
    }


def put(db: psycopg.Connection, name: str, document: Mapping[str, Any]) -> None:
    db.execute("SELECT jtd.put_credential(%s, %s)", [name, Jsonb(document)])


def refer(db: psycopg.Connection, reference: object, tenant: UUID = TENANT, *, is_live: bool = True) -> None:
    db.execute(
        "INSERT INTO n_jtd_tenant_config (tenant_id, is_live, channels_enabled, provider_config_refs)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (tenant_id, is_live)"
        " DO UPDATE SET provider_config_refs = excluded.provider_config_refs",
        [tenant, is_live, Jsonb(ALL_ON), Jsonb({"email": reference})],
    )


def went(server: ThreadedHttpServer) -> list[tuple[str, str]]:
    """The key and the sender of each mail that a server got."""
    return [
        (request.headers["authorization"].removeprefix("Bearer "), request.json["from"]["email"])
        for request in server.server.requests
    ]


OWN = (SECRET, "hello@acme.example")
HOUSE = (HOUSE_KEY, "no-reply@house.example")


# ---------------------------------------------------------------- where a credential is


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("env:JTD_CREDENTIAL_ACME", "sendgrid@env:ACME"),
        ("file:acme.json", "sendgrid@file:acme.json"),
        ("file:{folder}/acme.json", "sendgrid@file:acme.json"),
        ("pg:acme", "sendgrid@acme"),
    ],
)
def test_a_tenant_sends_by_his_own_account_and_the_others_by_the_house(
    dsn: str, db: psycopg.Connection, tmp_path: Path, reference: str, code: str
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        settings = house(ours)
        document = own(theirs)
        match reference[:3]:
            case "env":
                settings["credential_acme"] = json.dumps(document)
            case "pg:":
                put(db, "acme", document)
            case _:
                # as a Kubernetes secret is mounted
                (folder / "..2030").mkdir()
                (folder / "..2030" / "acme.json").write_text(json.dumps(document))
                (folder / "acme.json").symlink_to(folder / "..2030" / "acme.json")
                settings["credential_dir"] = str(folder)
        refer(db, {"provider": "sendgrid", "credential": reference.format(folder=folder)})
        mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
        daemon = run_until_idle(dsn, "email:sendgrid", tmp_path, **settings)
    assert (went(theirs), went(ours)) == ([OWN], [HOUSE])
    assert (row(db, mine)["provider_code"], row(db, others)["provider_code"]) == (code, "sendgrid")
    assert row(db, mine)["status_code"] == "sent"
    assert SECRET not in daemon.text
    assert {line["provider"] for line in daemon.lines("jtd.sent")} == {code, "sendgrid"}
    assert SECRET not in one(db, "SELECT string_agg(h::text, '') FROM n_jtd_history AS h")


def test_a_job_that_came_while_its_claim_ran_has_its_reference_too(db: psycopg.Connection) -> None:
    refer(db, {"credential": "pg:acme"})
    jtd = insert_jtd(db)
    told = "SELECT reference FROM jtd.references_v1(%s)"
    assert json.loads(one(db, told, [jtd])) == {"credential": "pg:acme"}
    volatility = "SELECT provolatile FROM pg_proc WHERE proname = 'references_v1'"
    assert one(db, volatility) == "v", "one snapshot for claim and look would miss it"


def test_references_are_of_the_tenant_the_channel_and_the_mode_of_a_job(db: psycopg.Connection) -> None:
    refer(db, {"credential": "pg:acme"})
    refer(db, {"credential": "pg:trial"}, is_live=False)
    refer(db, {"credential": "x" * 4000}, OTHER_TENANT)
    live, test = insert_jtd(db), insert_jtd(db, is_live=False)
    sms = insert_jtd(db, channel_code="sms", recipient_contact="+14155550101")
    too_long = insert_jtd(db, tenant_id=OTHER_TENANT)
    rows = db.execute("SELECT * FROM jtd.references_v1(%s)", [[live, test, sms, too_long]]).fetchall()
    assert dict(rows) == {
        live: '{"credential": "pg:acme"}',
        test: '{"credential": "pg:trial"}',
        too_long: "too long",
    }
    db.execute("UPDATE n_jtd_tenant_config SET is_active = false")
    assert db.execute("SELECT * FROM jtd.references_v1(%s)", [[live]]).fetchall() == []


# ---------------------------------------------------------------- what may not be named


def test_what_a_tenant_may_not_name_is_refused_and_waits_unharmed(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    outside = tmp_path / "outside.json"
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        everybodys = own(theirs) | {"tenants": "*"}
        outside.write_text(json.dumps(everybodys))
        (folder / "link.json").symlink_to(outside)
        (folder / "circle").symlink_to(folder / "circle")
        os.mkfifo(folder / "pipe")
        (folder / "folder").mkdir()
        put(db, "others", own(theirs, OTHER_TENANT))
        put(db, "typo", own(theirs) | {"tenants": "*", "api_kay": SECRET})
        put(db, "nobodys", {"api_key": SECRET, "from": "a@b.example"})
        put(db, "smtp", {"provider": "smtp", "tenants": "*"})
        put(db, "inside", {"provider": "outbox", "tenants": "*"})
        put(db, "which", own(theirs, provider=None) | {"tenants": "*"})
        settings = house(ours, credential_dir=str(folder), slots="40")
        settings["credential_text"] = f"{SECRET} is no JSON"
        settings["credential_list"] = json.dumps([everybodys])
        forbidden: list[Any] = [
            {"credential": reference}
            for reference in (
                "pg:others", "pg:absent", "pg:typo", "pg:nobodys", "pg:inside", "pg:which", "pg:" + "a" * 41,
                "pg:../x", "pg:", "env:JTD_DATABASE_URL", "env:JTD_EMAIL_SENDGRID_API_KEY", "env:PATH",
                "env:JTD_CREDENTIAL_DIR", "env:JTD_CREDENTIAL_TEXT", "env:JTD_CREDENTIAL_LIST",
                "file:../outside.json", f"file:{outside}", "file:link.json", "file:circle", "file:pipe",
                "file:folder", "file:/etc/passwd", "file:.", "file:", "vault:x", SECRET,
            )
        ]  # fmt: skip
        forbidden += [
            {"credential": "pg:smtp", "provider": "sendgrid"},
            {"credential": "pg:others", "provider": "sendgrid.backup"},
            {"credentials": "pg:acme"},
            {"provider": "absent"},
            {"provider": "a:b"},
            {"fallback": "yes"},
            "pg:acme",
            ["pg:acme"],
            True,
        ]
        deep: Any = "x"
        for _ in range(900):
            deep = [deep]
        forbidden.append({"from": deep})
        tenants = [UUID(int=1000 + number) for number in range(len(forbidden))]
        for tenant, reference in zip(tenants, forbidden, strict=True):
            refer(db, reference, tenant)
        jtds = [insert_jtd(db, tenant_id=tenant) for tenant in tenants]
        good = insert_jtd(db)
        daemon = run_until_idle(dsn, "email:sendgrid", tmp_path, **settings)
    assert went(theirs) == []
    assert went(ours) == [HOUSE]
    assert row(db, good)["status_code"] == "sent"
    for jtd, reference in zip(jtds, forbidden, strict=True):
        found = row(db, jtd)
        told = (found["status_code"], found["error_code"], found["retry_count"], found["provider_code"])
        assert told == ("pending", "credential_refused", 0, None), reference
        assert SECRET not in found["error_message"]
    assert one(db, "SELECT count(*) FROM jtd.breakers") == 0
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", jtds[0])
    assert (
        "waits for the credential that its tenant's settings name, to be mended (credential_refused)"
        in sentence
    )
    assert "credential pg:others is not there, or not for this tenant" in sentence
    absent = row(db, jtds[1])["error_message"]
    assert absent == row(db, jtds[0])["error_message"].replace("others", "absent"), "it tells what there is"
    assert SECRET not in daemon.text
    assert "passwd" not in daemon.text


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"from": "Acme <a@acme.example>\r\nBcc: x@evil.example"}, "sender_refused"),
        ({"from": "a@acme.example, b@acme.example"}, "sender_refused"),
        ({"from": "not an address"}, "sender_refused"),
        ({"reply_to": "a@acme.example\nBcc: x@evil.example"}, "sender_refused"),
        ({"from": 5}, "sender_refused"),
        ({"fallback": 1}, "credential_refused"),
        ({"from": "a@acme.example", "cc": "x"}, "credential_refused"),
    ],
)
def test_a_sender_that_is_no_mailbox_is_refused_without_being_quoted(
    entry: dict[str, Any], code: str
) -> None:
    with pytest.raises(RefusedReferenceError) as refused:
        read(json.dumps(entry), "email")
    assert refused.value.code == code
    assert "acme" not in str(refused.value)


@pytest.mark.parametrize("sender", ["ACME", "+14155550101", "MG0123456789abcdef", "Acme Ltd."])
def test_elsewhere_a_sender_is_a_number_or_an_id(sender: str) -> None:
    if sender.endswith("."):
        with pytest.raises(RefusedReferenceError):
            read(json.dumps({"sender_id": sender + "\n"}), "sms")
    else:
        assert read(json.dumps({"sender_id": sender, "from": ""}), "sms").sender == sender
        assert read(json.dumps({"sender_id": sender, "from": None}), "email").sender is None


# ---------------------------------------------------------------- one tenant's trouble


def test_a_wrong_key_of_one_tenant_stops_neither_the_house_nor_another_tenant(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer(answer(401)) as wrong,
        ThreadedHttpServer(ACCEPTED) as right,
        ThreadedHttpServer(ACCEPTED) as ours,
    ):
        third = UUID(int=3)
        put(db, "acme", own(wrong))
        put(db, "other", own(right, OTHER_TENANT))
        refer(db, {"credential": "pg:acme"})
        refer(db, {"credential": "pg:other"}, OTHER_TENANT)
        jtds = insert_many(db, 20)
        insert_many(db, 20, tenant_id=OTHER_TENANT)
        insert_many(db, 20, tenant_id=third)
        run_until_idle(dsn, "email:sendgrid", tmp_path, slots="16", **house(ours))
        asked = len(went(wrong))
        assert 1 <= asked <= 4, "the first that are sent at one time"
    assert (len(went(right)), len(went(ours))) == (20, 20)
    assert db.execute("SELECT provider FROM jtd.breakers").fetchall() == [("sendgrid@acme",)]
    states = db.execute(
        "SELECT DISTINCT status_code, retry_count, provider_code FROM n_jtd WHERE tenant_id = %s", [TENANT]
    ).fetchall()
    assert states == [("pending", 0, "sendgrid@acme")], "they never go by the house in silence"
    Worker(db)  # one that serves the channel, or explain speaks of nothing else
    for tenant, is_told in ((TENANT, True), (third, False), (OTHER_TENANT, False)):
        sentence = "SELECT sentence FROM jtd.explain(%s)"
        waits = insert_jtd(db, tenant_id=tenant)
        assert ("provider sendgrid@acme" in one(db, sentence, waits)) == is_told
    assert row(db, jtds[0])["attempt"] >= 1


def test_a_paused_credential_waits_alone_and_goes_on_when_it_is_resumed(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(theirs))
        refer(db, {"credential": "pg:acme"})
        assert call(dsn, "pause", "--provider", "email:sendgrid@acme").code == 0
        mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
        with running(dsn, "email:sendgrid", tmp_path, **house(ours)):
            eventually(lambda: row(db, others)["status_code"] == "sent")
            eventually(lambda: row(db, mine)["error_code"] == "provider_open")
            assert went(theirs) == []
            assert call(dsn, "resume", "--provider", "email:sendgrid@acme").code == 0
            until = one(db, "SELECT due < now() + interval '61 s' FROM jtd.waiting WHERE jtd_id = %s", mine)
            assert until, "nobody knows when it is resumed: not the hundred years of the breaker's row"
            db.execute("UPDATE n_jtd SET next_retry_at = NULL WHERE id = %s", [mine])
            eventually(lambda: row(db, mine)["status_code"] == "sent")


def test_a_provider_of_one_tenant_that_hangs_takes_a_share_of_the_slots_and_no_more(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer([Step.HANG]) as hangs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(hangs))
        refer(db, {"credential": "pg:acme"})
        mine = insert_many(db, 30)
        with running(dsn, "email:sendgrid", tmp_path, slots="8", drain_seconds="0", **house(ours)) as daemon:
            hangs.wait_until(lambda server: len(server.requests) == 2)
            insert_many(db, 30, tenant_id=OTHER_TENANT)
            eventually(lambda: len(went(ours)) == 30)
            assert len(went(hangs)) == 2, "8 slots, a quarter of them"
            eventually(
                lambda: one(db, "SELECT count(*) FROM n_jtd WHERE error_code = 'credential_at_work'") > 0
            )
            handed = "SELECT count(*) FROM jtd.inflight WHERE handed_off_at IS NOT NULL"
            assert one(db, handed) == 2, "nothing waits after its hand-off"
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
    assert one(db, "SELECT max(retry_count) FROM n_jtd WHERE id = ANY (%s)", mine) <= 1


def test_a_limit_of_one_credential_puts_off_its_own_messages_alone(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("INSERT INTO n_jtd_rate_limits VALUES ('email', 'sendgrid@acme', 2)")
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(theirs))
        refer(db, {"credential": "pg:acme"})
        insert_many(db, 10)
        insert_many(db, 10, tenant_id=OTHER_TENANT)
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
    assert (len(went(theirs)), len(went(ours))) == (1, 10)  # the other is left to the urgent lane
    rows = db.execute("SELECT error_code, retry_count FROM n_jtd WHERE status_code = 'pending'").fetchall()
    assert rows == [("provider_at_rate", 0)] * 9


@pytest.mark.parametrize("status", [401, 503])
def test_another_stands_in_for_a_tenants_own_only_if_he_says_so(
    dsn: str, db: psycopg.Connection, tmp_path: Path, status: int
) -> None:
    with ThreadedHttpServer(answer(status)) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(theirs))
        put(db, "other", own(theirs, OTHER_TENANT))
        refer(db, {"credential": "pg:acme", "fallback": True, "from": "me@acme.example"})
        refer(db, {"credential": "pg:other"}, OTHER_TENANT)
        refer(db, {"credential": "pg:absent", "fallback": True}, UUID(int=3))
        mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
        absent = insert_jtd(db, tenant_id=UUID(int=3))
        daemon = run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
    # as the house, not as a tenant whom the house does not let name the sender
    assert went(ours) == [HOUSE, HOUSE]
    assert row(db, mine)["provider_code"] == row(db, absent)["provider_code"] == "sendgrid"
    assert row(db, others)["status_code"] == "pending"
    assert [line["provider"] for line in daemon.lines("credential.refused")] == ["@absent"]


# ---------------------------------------------------------------- what never leaves the house


def test_a_test_row_goes_to_the_outbox_whatever_its_tenant_has_set(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(theirs))
        refer(db, {"credential": "pg:acme"})
        refer(db, {"credential": "pg:acme"}, is_live=False)
        jtd = insert_jtd(db, is_live=False)
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
        run_until_idle(dsn, "email:outbox,inapp:db", tmp_path)
        live = insert_jtd(db)
        run_until_idle(dsn, "email:outbox,inapp:db", tmp_path)  # the operator lets nothing leave
    assert went(theirs) == went(ours) == []
    assert row(db, jtd)["provider_code"] == row(db, live)["provider_code"] == "outbox"


# ---------------------------------------------------------------- as whom


def test_a_tenant_names_the_sender_by_his_own_account_and_by_the_houses_where_it_lets_him(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(theirs))
        refer(
            db, {"credential": "pg:acme", "from": "Sales <sales@acme.example>", "reply_to": "r@acme.example"}
        )
        refer(db, {"from": "me@other.example"}, OTHER_TENANT)
        insert_jtd(db)
        others = insert_jtd(db, tenant_id=OTHER_TENANT)
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
        assert went(theirs) == [(SECRET, "sales@acme.example")]
        assert theirs.server.requests[0].json["reply_to"] == {"email": "r@acme.example"}
        assert went(ours) == []
        refused = row(db, others)
        assert (refused["status_code"], refused["error_code"]) == ("pending", "sender_refused")
        assert "JTD_TENANT_SENDERS" in refused["error_message"]
        db.execute("UPDATE n_jtd SET status_code = 'queued' WHERE id = %s", [others])
        run_until_idle(dsn, "email:sendgrid", tmp_path, tenant_senders="email:sendgrid", **house(ours))
        assert went(ours) == [(HOUSE_KEY, "me@other.example")]


@pytest.mark.parametrize("is_own", [False, True])
def test_a_sender_that_a_tenant_names_opens_no_breaker_of_others(
    dsn: str, db: psycopg.Connection, tmp_path: Path, is_own: bool
) -> None:
    def script(request: Request) -> Steps:
        return answer(403) if request.json["from"]["email"] == "me@other.example" else ACCEPTED

    with ThreadedHttpServer(script) as ours:
        put(db, "both", own(ours, TENANT, OTHER_TENANT))
        credential = {"credential": "pg:both"} if is_own else {}
        refer(db, {"from": "me@other.example", **credential}, OTHER_TENANT)
        refer(db, credential)
        insert_many(db, 10, tenant_id=OTHER_TENANT)
        insert_many(db, 10)
        settings = house(ours, tenant_senders="email:sendgrid", slots="8")
        run_until_idle(dsn, "email:sendgrid", tmp_path, **settings)
    assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 10
    assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'pending' AND retry_count = 0") == 10
    assert one(db, "SELECT count(*) FROM jtd.breakers") == 0


def test_by_a_credential_for_everybody_nobody_names_the_sender(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "all", own(theirs) | {"tenants": "*"})
        refer(db, {"credential": "pg:all", "from": "boss@other.example"})
        refer(db, {"credential": "pg:all"}, OTHER_TENANT)
        mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
    assert went(theirs) == [OWN]
    assert (row(db, mine)["error_code"], row(db, others)["status_code"]) == ("sender_refused", "sent")


def test_without_a_credential_a_tenant_picks_one_of_the_house(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as first, ThreadedHttpServer(ACCEPTED) as second:
        refer(db, {"provider": "sendgrid.backup"})
        mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
        backup = {name.replace("sendgrid", "sendgrid_backup"): v for name, v in house(second).items()}
        run_until_idle(dsn, "email:sendgrid,email:sendgrid.backup", tmp_path, **house(first), **backup)
    assert (len(went(first)), len(went(second))) == (1, 1)
    assert row(db, mine)["provider_code"] == "sendgrid.backup"
    assert row(db, others)["provider_code"] == "sendgrid"


# ---------------------------------------------------------------- retries


def test_what_a_credential_may_have_goes_to_no_other_and_fails_clearly_when_that_is_gone(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(answer(502)) as theirs, ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", webhook(theirs))
        refer(db, {"credential": "pg:acme"})
        jtd = insert_jtd(db)
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
        assert one(db, "SELECT execution_result ->> 'bound_to' FROM n_jtd") == "webhook@acme"
        asked = len(theirs.server.requests)
        db.execute("UPDATE n_jtd_tenant_config SET provider_config_refs = '{}'")
        db.execute("SELECT jtd.remove_credential('acme')")
        db.execute("UPDATE n_jtd SET next_retry_at = NULL WHERE id = %s", [jtd])
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
        failed = row(db, jtd)
        assert (failed["status_code"], failed["error_code"]) == ("failed", "provider_gone")
        assert "credential pg:acme is not there" in failed["error_message"]
        assert "put it back and retry" in failed["error_message"]
        assert went(ours) == []
        with ThreadedHttpServer(answer(200)) as mended:
            put(db, "acme", webhook(mended))
            one(db, "SELECT jtd.retry(%s)", jtd)
            run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
            assert len(mended.server.requests) == 1
        assert asked == len(theirs.server.requests)
    assert (row(db, jtd)["status_code"], row(db, jtd)["provider_code"]) == ("sent", "webhook@acme")
    assert "failed" in [step.to_status for step in history(db, jtd)]


# ---------------------------------------------------------------- changes


def outlets(ask: Any, share: int = 4) -> Outlets:
    outbox = Outlet(code="outbox", adapter=Outbox())
    return Outlets({"email": [outbox]}, outbox, Credentials({}, None, ask), share)


def of(name: str, tenant: UUID = TENANT) -> Own:
    credential = CredentialName(kind="pg", name=name)
    return Own(
        channel="email",
        provider=None,
        credential=credential,
        tenant_id=tenant,
        names_sender=False,
        is_bound=False,
    )


def smtp(host: str, **settings: Any) -> str:
    document = {"provider": "smtp", "tenants": "*", "host": host, "from": "a@acme.example", **settings}
    return json.dumps(document)


async def test_a_changed_credential_counts_within_its_time_and_what_is_being_sent_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {"acme": smtp("one.example")}
    asked = []

    async def ask(name: str) -> str | None:
        asked.append(name)
        return kept.get(name)

    closed: list[Any] = []
    monkeypatch.setattr("jtd_worker.channels.email_smtp.EmailSmtp.aclose", lambda self: note(closed, self))
    made = outlets(ask)
    async with made.opened(of("acme")) as first:
        kept["acme"] = smtp("two.example")
        async with made.opened(of("acme")) as same:
            assert same is first, "asked once a minute"
        monkeypatch.setattr(jtd_worker.credential, "KEPT_SECONDS", 0.0)
        async with made.opened(of("acme")) as second:
            assert second is not first
            assert second.code == first.code == "smtp@acme"
        await asyncio.sleep(0)
        assert closed == [], "it may be sending"
    await asyncio.sleep(0.01)
    assert closed == [first.adapter]
    async with made.opened(of("acme")) as again:
        assert again is second, "only a change makes a new one"
    del kept["acme"]
    with pytest.raises(RefusedReferenceError) as refused:
        async with made.opened(of("acme")):
            pass
    assert refused.value.is_gone
    assert len(asked) == 4
    await made.aclose()
    assert closed == [first.adapter, second.adapter]


async def note(closed: list[Any], adapter: object) -> None:
    closed.append(adapter)


async def test_the_adapter_that_was_not_used_for_the_longest_time_is_closed_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask(name: str) -> str | None:
        return smtp("mail.example")

    closed: list[Any] = []
    monkeypatch.setattr("jtd_worker.channels.email_smtp.EmailSmtp.aclose", lambda self: note(closed, self))
    monkeypatch.setattr(jtd_worker.outlet, "MOST_OPEN", 3)
    made = outlets(ask)
    found = {}
    async with made.opened(of("busy")) as busy:
        for name in ("a", "b", "a", "c"):
            async with made.opened(of(name)) as outlet:
                found[name] = outlet.adapter
    await asyncio.sleep(0.01)
    assert found["b"] in closed
    assert busy.adapter not in closed
    await made.aclose()
    assert len(closed) == len(set(map(id, closed))) == 4, "each is closed once"


async def test_what_two_batches_open_at_once_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(name: str) -> str | None:
        await asyncio.sleep(0)
        return smtp("mail.example", concurrency=2)

    made = outlets(ask)
    both = asyncio.Barrier(2)

    async def opens() -> Outlet:
        async with made.opened(of("acme")) as outlet:
            await both.wait()
            return outlet

    first, second = await asyncio.gather(opens(), opens())
    assert first is second
    assert first.turns is not None
    assert await first.turns.take(9) == 2, "fewer than its share"
    await made.aclose()


async def test_documents_are_forgotten_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SecretStr(smtp("mail.example", username="u", password=SECRET))
    credentials = Credentials({"ACME": secret}, None, lambda name: note([], name))  # type: ignore[arg-type,return-value]
    found = await credentials.find(CredentialName(kind="env", name="ACME"), TENANT)
    assert isinstance(found, Credential)
    assert SECRET not in repr(found)
    assert found.settings["password"] == SECRET
    monkeypatch.setattr(jtd_worker.credential, "MOST_KEPT", 3)
    for number in range(9):
        with pytest.raises(RefusedReferenceError):
            await credentials.find(CredentialName(kind="pg", name=f"n{number}"), TENANT)
    assert len(credentials._known) == 3


# ---------------------------------------------------------------- how many at one time


def test_no_more_are_handed_over_than_a_provider_takes_at_one_time(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer([Step.WAIT, *ACCEPTED]) as ours:
        jtds = insert_many(db, 10)
        settings = house(ours, email_sendgrid_concurrency="2", slots="8", drain_seconds="20")
        with running(dsn, "email:sendgrid", tmp_path, **settings) as daemon:
            ours.wait_until(lambda server: len(server.requests) == 2)
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 8)
            assert one(db, "SELECT count(*) FROM jtd.inflight WHERE handed_off_at IS NOT NULL") == 2
            daemon.signal(signal.SIGTERM)  # what waits for its turn goes back at once
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 2)
            assert len(ours.server.requests) == 2
            ours.release()
            assert daemon.wait() == 0
        assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 2
        run_until_idle(dsn, "email:sendgrid", tmp_path, **settings)
        assert len(ours.server.requests) == 10
    assert {row(db, jtd)["status_code"] for jtd in jtds} == {"sent"}


# ---------------------------------------------------------------- settings, roles, vault


def test_every_variable_of_a_credential_is_known_and_those_who_may_name_senders_are_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("JTD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JTD_DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv("JTD_PROVIDERS", "email:outbox")
    monkeypatch.setenv("JTD_CREDENTIAL_ACME", SECRET)
    monkeypatch.setenv("JTD_CREDENTIAL_DIR", str(tmp_path))
    configuration = load()
    assert configuration.credentials.keys() == {"ACME"}
    assert SECRET not in repr(configuration)
    assert configuration.settings.credential_dir == tmp_path
    monkeypatch.setenv("JTD_TENANT_SENDERS", "email:smtp")
    with pytest.raises(
        ConfigurationError, match="JTD_TENANT_SENDERS: email:smtp is not one of JTD_PROVIDERS"
    ):
        load()


def test_nobody_reads_a_credential_but_the_worker_by_its_function(db: psycopg.Connection) -> None:
    put(db, "acme", {"provider": "smtp", "tenants": "*", "password": SECRET})

    def may(role: str, query: str) -> bool:
        db.execute(f"SET ROLE {role}".encode())
        try:
            db.execute(query.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            db.execute("RESET ROLE")
        return True

    reading = "SELECT jtd.credential_v1('acme')"
    assert [may(f"jtd_{role}", reading) for role in ("worker", "operator", "producer")] == [
        True,
        False,
        False,
    ]
    table = "SELECT FROM jtd.credentials"
    assert not any(may(f"jtd_{role}", table) for role in ("worker", "operator", "producer"))
    listing = "SELECT FROM jtd.credentials()"
    assert [may(f"jtd_{role}", listing) for role in ("worker", "operator", "producer")] == [
        False,
        True,
        False,
    ]
    assert SECRET not in str(db.execute("SELECT * FROM jtd.credentials()").fetchall())


VAULT = """
CREATE SCHEMA vault;
CREATE TABLE vault.secrets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text UNIQUE, secret text);
CREATE VIEW vault.decrypted_secrets AS
    SELECT id, name, reverse(secret) AS decrypted_secret FROM vault.secrets;
CREATE FUNCTION vault.create_secret(text, text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS
    'INSERT INTO vault.secrets (secret, name) VALUES (reverse($1), $2) RETURNING id';
CREATE FUNCTION vault.update_secret(uuid, text) RETURNS void LANGUAGE sql AS
    'UPDATE vault.secrets SET secret = reverse($2) WHERE id = $1';
SELECT vault.create_secret('the secret of somebody else', 'stripe');
"""


def test_where_there_is_a_vault_it_keeps_them_and_nothing_else_of_it_can_be_named(
    db: psycopg.Connection,
) -> None:
    db.execute(VAULT.encode())
    assert one(db, 'SELECT jtd.put_credential(\'acme\', \'{"tenants": "*", "provider": "smtp"}\')') is False
    assert one(db, "SELECT jtd.put_credential('acme', '{\"tenants\": []}')") is True
    assert one(db, "SELECT count(*) FROM jtd.credentials") == 0
    assert json.loads(one(db, "SELECT jtd.credential_v1('acme')")) == {"tenants": []}
    assert one(db, "SELECT jtd.credential_v1('stripe')") is None
    db.execute("SELECT vault.create_secret('no JSON', 'jtd_credential_broken')")
    listed = db.execute("SELECT name, provider, tenants FROM jtd.credentials()").fetchall()
    assert listed == [("acme", None, []), ("broken", None, None)]
    assert one(db, "SELECT jtd.remove_credential('acme')") is True
    assert one(db, "SELECT jtd.remove_credential('acme')") is False
    assert one(db, "SELECT count(*) FROM vault.secrets") == 2


@pytest.mark.parametrize("name", ["", "A", "a b", "a@b", "-a", "a" * 41])
def test_a_name_that_none_could_refer_to_is_refused(db: psycopg.Connection, name: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        put(db, name, {"tenants": "*"})
    assert refused.value.sqlstate == "JT080"
    with pytest.raises(psycopg.Error):
        db.execute("SELECT jtd.put_credential('a', '[]')")


def test_a_vault_that_does_not_tell_harms_its_own_tenant_alone(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("CREATE SCHEMA vault")
    db.execute(
        "CREATE VIEW vault.decrypted_secrets AS SELECT 'jtd_credential_acme' AS name,"
        " (1 / (length(current_database()) - length(current_database())))::text AS decrypted_secret"
    )
    refer(db, {"credential": "pg:acme"})
    mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
    with ThreadedHttpServer(ACCEPTED) as ours:
        run_until_idle(dsn, "email:sendgrid", tmp_path, **house(ours))
    assert row(db, others)["status_code"] == "sent"
    assert row(db, mine)["error_message"] == "the database does not tell credential pg:acme (22012)"


def test_operators_put_list_and_remove_credentials_and_never_see_one(
    dsn: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_by_hand(text: str, name: str = "acme") -> Ended:
        monkeypatch.setattr("sys.stdin", StringIO(text))
        return call(dsn, "credential", "put", name)

    document = {
        "provider": "smtp",
        "tenants": [str(TENANT)],
        "host": "mail.example",
        "from": "a@acme.example",
    }
    good = json.dumps({**document, "username": "u", "password": SECRET})
    assert "There are no credentials" in call(dsn, "credential", "list").out
    assert put_by_hand(good).out == "credential acme is kept\n"
    assert "within a minute" in put_by_hand(good).out
    assert json.loads(one(db, "SELECT jtd.credential_v1('acme')")) == json.loads(good)
    for wrong in (
        "",
        SECRET,
        "[]",
        json.dumps({**document, "tenants": "everybody"}),
        json.dumps({**document, "passwort": SECRET}),
        json.dumps({**document, "provider": "pigeon"}),
        json.dumps({key: value for key, value in document.items() if key != "provider"}),
        json.dumps({**document, "password": SECRET * 10000}),
    ):
        ended = put_by_hand(wrong)
        assert ended.code == 1
        assert SECRET not in ended.out + ended.err
    assert "email:smtp: passwort" in put_by_hand(json.dumps({**document, "passwort": 1})).err
    assert put_by_hand(good, "A B").code == 1
    listed = json.loads(call(dsn, "credential", "list", "--json").out)
    assert listed == [{"name": "acme", "provider": "smtp", "tenants": [str(TENANT)]}]
    assert str(TENANT) in call(dsn, "credential", "list").out
    assert call(dsn, "credential", "remove", "acme").code == 0
    assert "there is no credential" in call(dsn, "credential", "remove", "acme").err


def test_a_claim_tells_the_same_to_a_worker_that_knows_no_references(db: psycopg.Connection) -> None:
    refer(db, {"credential": "pg:acme"})
    insert_jtd(db)
    assert not hasattr(Worker(db).claim_one(), "reference")


def test_a_credential_that_cannot_be_had_holds_up_its_own_tenant_alone(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    refer(db, {"credential": "pg:acme"})
    mine, others = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
    with ThreadedHttpServer(ACCEPTED) as ours, psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE jtd.credentials")
        with running(dsn, "email:sendgrid", tmp_path, **house(ours)):
            eventually(lambda: row(db, others)["status_code"] == "sent")
            eventually(lambda: row(db, mine)["error_code"] == "credential_refused")
            assert row(db, mine)["error_message"] == "credential pg:acme could not be had in 5 s"
        other.rollback()


def test_metrics_tell_a_tenants_own_credential_from_the_house_but_not_from_another_tenants(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with ThreadedHttpServer(ACCEPTED) as ours:
        put(db, "acme", own(ours))
        refer(db, {"credential": "pg:acme"})
        jtds = [insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)]
        with running(dsn, "email:sendgrid", tmp_path, http="127.0.0.1:0", **house(ours)) as daemon:
            eventually(lambda: all(row(db, jtd)["status_code"] == "sent" for jtd in jtds))
            url = daemon.wait_for("probe.listening")["url"]
            told = httpx.get(f"{url}/metrics").text
    for provider in ("sendgrid", "sendgrid@"):
        assert f'jtd_attempts_total{{channel="email",outcome="sent",provider="{provider}"}} 1.0' in told
    assert "acme" not in told
