"""`jtd-worker send-test`: a message goes the whole way by a running worker, and its end is told."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jtd_worker.send_test_command import TENANT
from tests.command import Ended, call, process
from tests.daemon import eventually, running
from tests.jobs import OTHER_TENANT, one, row
from tests.tenants import set_tenant
from tests.test_cli import as_role


@pytest.fixture
def worker(dsn: str, tmp_path: Path) -> Iterator[None]:
    """A running worker with a provider that pretends."""
    with running(dsn, "email:simulator,inapp:db", tmp_path):
        yield


def send_test(dsn: str, to: str, *arguments: str, **variables: str) -> Ended:
    return call(dsn, "send-test", "--channel", "email", "--to", to, *arguments, **variables)


def only(db: psycopg.Connection) -> dict[str, Any]:
    return row(db, UUID(str(one(db, "SELECT id FROM public.n_jtd"))))


@pytest.mark.usefixtures("worker")
def test_a_live_one_is_sent_and_its_life_is_told(dsn: str, db: psycopg.Connection) -> None:
    ended = process(dsn, "send-test", "--provider", "email:simulator", "--to", "a@example.com", "--live")
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"executing -> sent", ended.out)
    assert ended.out.endswith("Sent by simulator.\n")
    assert "a@example.com" not in ended.out
    sent = only(db)
    assert (sent["tenant_id"], sent["source_type_code"], sent["is_live"]) == (TENANT, "system", True)
    assert sent["performed_by_name"] or sent["performed_by_type"]


@pytest.mark.usefixtures("worker")
def test_without_live_it_is_a_test_row_that_leaves_the_house_in_no_case(
    dsn: str, db: psycopg.Connection
) -> None:
    ended = send_test(dsn, "refused@example.com", "--json")
    assert ended.code == 0
    assert ended.err == (
        "a test row: it goes to the outbox, unless the tenant lists the recipient; --live sends it\n"
    )
    document = json.loads(ended.out)
    assert (document["is_sent"], document["jtd"]["provider_code"]) == (True, "outbox")
    assert document["sentence"] == "Kept in the outbox: nothing left the house. --live sends it."
    kept = db.execute("SELECT recipient, subject, content FROM public.n_jtd_outbox").fetchall()
    assert kept == [
        (
            "refused@example.com",
            "A test message",
            "This is a test message. If you can read it, messages arrive.",
        )
    ]


@pytest.mark.usefixtures("worker")
def test_one_that_is_not_sent_ends_with_1(dsn: str, db: psycopg.Connection) -> None:
    ended = send_test(dsn, "refused@example.com", "--live")
    assert ended.code == 1
    assert ended.out.endswith("Not sent: it ended as failed.\n")
    assert "simulated_refused" in ended.out


@pytest.mark.usefixtures("worker")
def test_one_that_takes_too_long_is_left_to_expire(dsn: str, db: psycopg.Connection) -> None:
    ended = send_test(dsn, "down@example.com", "--live", "--wait", "1")
    assert ended.code == 1
    assert re.search(r"Not sent(: it ended as expired| in time: it is \w+\. It expires)", ended.out)
    eventually(lambda: only(db)["status_code"] == "expired")


def test_nothing_is_made_while_no_worker_serves_the_channel(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    for providers in ("", "sms:noop"):
        if providers:
            with running(dsn, providers, tmp_path):
                ended = send_test(dsn, "a@example.com", "--live")
        else:
            ended = send_test(dsn, "a@example.com", "--live")
        assert ended.code == 1
        assert "nothing was sent: no running worker serves channel email" in ended.err
    assert one(db, "SELECT count(*) FROM public.n_jtd") == 0


@pytest.mark.usefixtures("worker")
def test_another_provider_than_the_one_that_was_asked_for_is_no_success(dsn: str) -> None:
    ended = send_test(
        dsn, "a@example.com", "--live", "--provider", "email:smtp",
        JTD_PROVIDERS="sms:noop,email:simulator,email:smtp",
    )  # fmt: skip
    assert ended.code == 1
    assert ended.err.startswith("JTD_PROVIDERS asks email:simulator first; email:smtp only where")
    assert ended.out.endswith("Sent by simulator, not by smtp, which was asked for.\n")
    kept = send_test(dsn, "a@example.com", "--provider", "email:simulator", JTD_PROVIDERS="email:simulator")
    assert kept.code == 1
    assert kept.out.endswith("Sent by outbox, not by simulator, which was asked for.\n")


@pytest.mark.usefixtures("worker")
def test_a_template_and_a_tenant_can_be_tried(dsn: str, db: psycopg.Connection) -> None:
    given = ("inviter_name=Jane", "tenant_name=A = B", "invite_link=https://example.com/i")
    variables = [argument for text in given for argument in ("--var", text)]
    options = ("--template", "user_invite_email_v1", "--tenant", str(OTHER_TENANT), *variables)
    ended = send_test(dsn, "a@example.com", *options)
    assert ended.code == 0, ended.out
    assert only(db)["tenant_id"] == OTHER_TENANT
    assert "A = B" in one(db, "SELECT content FROM public.n_jtd_outbox")
    missing = send_test(dsn, "a@example.com", "--template", "user_invite_email_v1")
    assert missing.code == 1
    assert "variables_missing" in missing.out
    unknown = send_test(dsn, "a@example.com", "--template", "no_such_template")
    assert unknown.code == 1


@pytest.mark.usefixtures("worker")
def test_the_settings_of_a_tenant_hold(dsn: str, db: psycopg.Connection) -> None:
    set_tenant(db, tenant_id=OTHER_TENANT, channels_enabled={"email": False})
    ended = send_test(dsn, "a@example.com", "--live", "--tenant", str(OTHER_TENANT))
    assert ended.code == 1
    assert "Not sent: it ended as" in ended.out


@pytest.mark.usefixtures("worker")
def test_the_feed_is_reached_too(dsn: str, db: psycopg.Connection) -> None:
    user = "20000000-0000-0000-0000-000000000001"
    ended = call(dsn, "send-test", "--channel", "inapp", "--to", user, "--live")
    assert ended.code == 0, ended.out
    assert one(db, "SELECT user_id::text FROM public.n_inapp_notifications") == user


@pytest.mark.usefixtures("worker")
def test_the_operators_role_is_enough_and_the_text_is_entered_once(dsn: str, db: psycopg.Connection) -> None:
    for _ in range(2):
        ended = send_test(as_role(dsn, "jtd_operator"), "a@example.com", "--live")
        assert ended.code == 0, ended.err
    query = "SELECT count(*) FROM public.n_jtd_templates WHERE template_key = 'jtd_send_test'"
    assert one(db, query) == 1
    refused = db.execute("SELECT has_function_privilege('jtd_producer', p.oid, 'EXECUTE') FROM pg_proc AS p"
                         " WHERE p.proname = 'send_test'").fetchall()  # fmt: skip
    assert refused == [(False,)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a --channel, or a --provider"),
        (("--provider", "smtp"), "is not channel:provider"),
        (("--provider", "sms:acme", "--channel", "email"), "is no provider of channel email"),
        (("--channel", "email", "--var", "name"), "is not name=value"),
        (("--channel", "email", "--wait", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_told(dsn: str, arguments: tuple[str, ...], told: str) -> None:
    ended = call(dsn, "send-test", "--to", "a@example.com", *arguments)
    assert ended.code == 2
    assert told in " ".join(ended.err.split())


def test_an_address_that_is_none_is_refused(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with running(dsn, "email:simulator", tmp_path):
        ended = send_test(dsn, "nobody", "--live")
    assert ended.code == 1
    assert "Sent by" not in ended.out
