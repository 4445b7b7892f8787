"""What a provider reports later moves a job forward, once, in whatever order it comes."""

import asyncio
import random
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from jtd_worker.adapter import Capabilities, UnknownRule
from jtd_worker.database import Link
from jtd_worker.link_pool import LinkPool
from jtd_worker.migrate import migrate
from jtd_worker.receipt import Receipt, ReceiptKind
from jtd_worker.receipts_queue import Accepted, Applied, ReceiptsQueue
from tests.command import call
from tests.daemon import eventually, running
from tests.jobs import history, insert_jtd, insert_many, listed, one, places, row, whereabouts
from tests.receipt_calls import (
    PROVIDER,
    accept,
    apply,
    due,
    receipt,
    receipts,
    report,
    send,
    states,
    suppressions,
)
from tests.worker_calls import Worker, locked, move, no_triggers, result, wait_until

WEBHOOK = UUID("00000000-0000-0000-0000-000000000003")


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


def status(db: psycopg.Connection, jtd_id: UUID) -> str:
    found: str = row(db, jtd_id)["status_code"]
    return found


def steps(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    """Return the states of a job in order; each step must be a valid one."""
    trail = [step for step in history(db, jtd_id) if step.action in {"created", "status_changed"}]
    assert all(step.valid for step in trail), trail
    return [step.to_status for step in trail]


def entries(db: psycopg.Connection, jtd_id: UUID, action: str) -> list[tuple[Any, ...]]:
    """Return actor type and id, reason and details of each entry of an action in the audit trail."""
    return db.execute(
        "SELECT performed_by_type, performed_by_id, reason, details FROM n_jtd_history"
        " WHERE jtd_id = %s AND action = %s ORDER BY id",
        [jtd_id, action],
    ).fetchall()


def unknown(worker: Worker, rule: str, provider: str = PROVIDER, **columns: Any) -> UUID:
    """Make a job of which nobody knows whether it was sent."""
    jtd_id = insert_jtd(worker.db, **columns)
    job = worker.claim_one()
    worker.hand_off(job, rule=rule, provider=provider)
    told = result(job, "unknown", rule=rule, code="timeout", reason="no answer", provider=provider)
    assert worker.settle(told) == ["applied"]
    return jtd_id


# What is stored


def test_an_event_is_stored_once_for_its_channel_and_provider(db: psycopg.Connection) -> None:
    told = receipt("delivered", "m-1")
    assert accept(db, told, told) == (1, 1)
    assert accept(db, told) == (0, 1)
    assert accept(db, told, channel="sms") == (1, 0)
    assert accept(db, told, provider="mailgun") == (1, 0)
    assert accept(db, told, provider="sendgrid.backup") == (0, 1)
    assert accept(db) == (0, 0)
    assert {(found["channel_code"], found["provider"]) for found in receipts(db)} == {
        ("email", "sendgrid"), ("sms", "sendgrid"), ("email", "mailgun"),
    }  # fmt: skip


def test_all_that_a_provider_says_is_kept(db: psycopg.Connection) -> None:
    reference = uuid4()
    told = receipt(
        "bounced", reference, provider_message_id="m-1", recipient="John@example.com", code="550",
        at="2030-01-02T03:04:05.678Z", reason="no such user", details={"mta": "mx1"},
    )  # fmt: skip
    accept(db, told)
    [kept] = receipts(db)
    assert kept["occurred_at"].isoformat().startswith("2030-01-02")
    del told["at"]
    assert {key: kept[key] for key in told} == {**told, "reference": reference}
    assert (kept["state"], kept["jtd_id"]) == ("parked", None)


@pytest.mark.parametrize(
    "hostile",
    [
        {"at": "2030-13-45T99:99:99Z"},
        {"at": "yesterday"},
        {"at": 12},
        {"reference": "no uuid"},
        {"reference": {"a": 1}},
        {"provider_message_id": "m" * 100_000},
        {"reason": "x" * 100_000, "code": "c" * 5000},
        {"recipient": "r" * 100_000},
        {"details": "text"},
        {"details": {"much": "x" * 500_000}},
        {"event_key": "k" * 5000},
    ],
)
def test_a_receipt_that_is_hard_to_store_is_stored_and_harms_no_other(
    db: psycopg.Connection, worker: Worker, hostile: dict[str, Any]
) -> None:
    jtd_id = send(worker, "m-1")
    bad = {**receipt("delivered", jtd_id, event_key="bad"), **hostile}
    assert accept(db, receipt("delivered", "m-1"), bad, receipt("read", "m-1")) == (3, 0)
    assert accept(db, bad) == (0, 1)
    apply(db)
    assert status(db, jtd_id) == "read"


@pytest.mark.parametrize(
    "broken", [{"kind": "opened"}, {"event_key": ""}, {"event_key": None}, {"kind": None}]
)
def test_what_is_no_receipt_is_left_out(db: psycopg.Connection, broken: dict[str, Any]) -> None:
    assert accept(db, receipt("sent", "m-1"), {**receipt("sent", "m-2"), **broken}) == (1, 0)


def test_two_long_keys_that_begin_alike_are_two_events(db: psycopg.Connection) -> None:
    assert accept(db, *[receipt("read", "m-1", event_key="k" * 500 + end) for end in "ab"]) == (2, 0)


def test_the_address_that_a_provider_quotes_is_taken_out_of_the_reason(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    report(
        db, receipt("bounced", "m-1", recipient="john@example.com", reason="<john@example.com>: no such user")
    )
    told = str(db.execute("SELECT details, reason FROM n_jtd_history WHERE jtd_id = %s", [jtd_id]).fetchall())
    assert "no such user" in told
    assert "john@example.com" not in told
    assert row(db, jtd_id)["error_message"] == "<(recipient)>: no such user"


# Which job a receipt is about


def test_our_own_id_leads_to_the_job_on_its_channel_only(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker)
    assert report(db, receipt("delivered", jtd_id), channel="sms") == (0, 0, 1)
    assert status(db, jtd_id) == "sent"
    assert report(db, receipt("delivered", jtd_id))[:2] == (1, 0)
    assert status(db, jtd_id) == "delivered"


def test_the_providers_id_leads_to_the_job_of_that_channel_and_provider(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    assert report(db, receipt("delivered", "m-1"), provider="mailgun") == (0, 0, 1)
    assert report(db, receipt("delivered", "m-1"), channel="sms")[:2] == (0, 0)
    assert report(db, receipt("delivered", "m-2"))[:2] == (0, 0)
    assert status(db, jtd_id) == "sent"
    assert report(db, receipt("delivered", "m-1"))[:2] == (1, 0)
    assert status(db, jtd_id) == "delivered"
    assert receipts(db)[-1]["jtd_id"] == jtd_id


@pytest.mark.parametrize("code", ["sendgrid", "sendgrid.backup", "sendgrid@acme", "sendgrid.eu@acme"])
def test_every_instance_of_a_provider_is_of_its_family(
    db: psycopg.Connection, worker: Worker, code: str
) -> None:
    jtd_id = send(worker, "m-1", provider=code)
    assert report(db, receipt("delivered", "m-1")) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"
    assert row(db, jtd_id)["provider_code"] == code


def test_an_id_of_ours_that_is_none_leaves_it_to_the_providers(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    assert report(db, receipt("delivered", "m-1", reference=str(uuid4()))) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"


def test_of_several_jobs_under_one_id_the_recipient_tells_which(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtds = {name: send(worker, "m-1", recipient_contact=f"{name}@example.com") for name in ("a", "b")}
    assert report(db, receipt("delivered", "m-1", recipient="B@Example.com")) == (1, 0, 0)
    assert [status(db, jtds[name]) for name in ("a", "b")] == ["sent", "delivered"]
    assert report(db, receipt("read", "m-1")) == (0, 1, 0)
    assert states(db)[-1] == ("ignored", "ambiguous")


def test_a_long_id_of_a_provider_stops_no_send(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m" * 2000)
    report(db, receipt("delivered", "m" * 2000))
    assert status(db, jtd_id) == "delivered"


def test_a_job_that_was_brought_here_sent_is_found(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db, status_code="sent", provider_code=PROVIDER, provider_message_id="m-1", attempt=1)
    assert report(db, receipt("delivered", "m-1")) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"


def test_the_copy_of_a_late_result_leads_to_the_job_too(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    first = worker.claim_one()
    worker.hand_off(first, provider=PROVIDER)
    worker.settle(result(first, "unknown", rule="resend", provider=PROVIDER))
    move(db, jtd_id, "next_retry_at = now() - interval '1 s'")
    worker.tick()
    second = worker.claim_one()
    worker.settle(result(second, "sent", provider=PROVIDER, provider_message_id="m-2"))
    assert worker.settle(result(first, "sent", provider=PROVIDER, provider_message_id="m-1")) == ["late"]
    assert report(db, receipt("delivered", "m-1")) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"


def test_work_is_not_moved_by_receipts(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(
        db, event_type_code="task", source_type_code="manual", template_key=None, channel_code="inapp"
    )
    assert report(db, receipt("delivered", jtd_id), channel="inapp") == (0, 1, 0)
    assert states(db) == [("ignored", "not_a_message")]


# What a receipt does

FORWARD = [
    ("sent", ["delivered"], "delivered"),
    ("sent", ["read"], "read"),
    ("sent", ["failed"], "failed"),
    ("sent", ["bounced"], "bounced"),
    ("delivered", ["read"], "read"),
    ("delivered", ["bounced"], "bounced"),
    ("failed", ["delivered"], "delivered"),
    ("failed", ["read"], "read"),
    ("failed", ["bounced"], "bounced"),
]
BACKWARD = [
    ("sent", "sent"),
    ("delivered", "sent"),
    ("delivered", "delivered"),
    ("delivered", "failed"),
    ("read", "sent"),
    ("read", "delivered"),
    ("read", "failed"),
    ("bounced", "sent"),
    ("bounced", "delivered"),
    ("bounced", "read"),
    ("bounced", "failed"),
    ("bounced", "bounced"),
    ("failed", "sent"),
    ("failed", "failed"),
]


def reach(worker: Worker, state: str) -> UUID:
    """Make a job whose receipts so far have brought it to a state."""
    jtd_id = send(worker, "m-1")
    if state != "sent":
        report(worker.db, receipt(state, "m-1", event_key="reached"))
    assert status(worker.db, jtd_id) == state
    return jtd_id


@pytest.mark.parametrize(("before", "kinds", "after"), FORWARD)
def test_a_receipt_that_says_more_moves_the_job_on(
    db: psycopg.Connection, worker: Worker, before: str, kinds: Sequence[str], after: str
) -> None:
    jtd_id = reach(worker, before)
    assert report(db, *[receipt(kind, "m-1") for kind in kinds]) == (len(kinds), 0, 0)
    assert steps(db, jtd_id)[-2:] == [before, after]
    assert states(db)[-1] == ("applied", None)
    final = after in {"read", "bounced", "failed"}
    assert (row(db, jtd_id)["completed_at"] is not None) == final
    assert whereabouts(db, jtd_id).place == ("final" if final else "sent")


@pytest.mark.parametrize(("state", "kind"), BACKWARD)
def test_a_receipt_that_says_nothing_new_is_ignored_with_the_reason(
    db: psycopg.Connection, worker: Worker, state: str, kind: str
) -> None:
    jtd_id = reach(worker, state)
    before = history(db, jtd_id)
    assert report(db, receipt(kind, "m-1", event_key="again")) == (0, 1, 0)
    assert states(db)[-1] in {("ignored", "no_news"), ("ignored", "ended")}
    assert history(db, jtd_id) == before


@pytest.mark.parametrize("ended", ["cancelled", "expired"])
def test_a_job_that_ended_otherwise_stays_as_it_is(
    db: psycopg.Connection, worker: Worker, ended: str
) -> None:
    jtd_id = insert_jtd(db)
    move(db, jtd_id, f"status_code = '{ended}'")
    assert report(db, receipt("delivered", jtd_id)) == (0, 1, 0)
    assert (status(db, jtd_id), states(db)) == (ended, [("ignored", "ended")])


def test_what_was_signed_stays_signed(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m-1", event_type_code="document", source_type_code="contract_signoff")
    for state in ("delivered", "viewed", "signed"):
        move(db, jtd_id, f"status_code = '{state}'")
        assert report(db, receipt("delivered", "m-1", event_key=state)) == (0, 1, 0)
        assert status(db, jtd_id) == state


def test_the_record_names_the_webhook_the_provider_kind_and_code(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1", provider="sendgrid.backup")
    report(db, receipt("delivered", "m-1", code="250", recipient="john@example.com"))
    by, actor, reason, details = entries(db, jtd_id, "status_changed")[-1]
    assert (by, actor, reason) == ("webhook", WEBHOOK, "receipt")
    assert details == {"attempt": 1, "provider": "sendgrid", "kind": "delivered", "code": "250"}
    assert entries(db, jtd_id, "status_changed")[-2][0] == "system"


def test_what_the_same_transaction_does_next_is_not_the_webhooks(
    db: psycopg.Connection, worker: Worker
) -> None:
    send(worker, "m-1")
    other = insert_jtd(db)
    with db.transaction():
        report(db, receipt("delivered", "m-1"))
        move(db, other, "status_code = 'cancelled'")
    assert entries(db, other, "status_changed")[-1][0] == "system"


@pytest.mark.parametrize("kind", ["soft_bounced", "deferred", "complained", "unsubscribed"])
def test_what_changes_no_status_is_in_the_audit_trail(
    db: psycopg.Connection, worker: Worker, kind: str
) -> None:
    jtd_id = reach(worker, "delivered")
    told = receipt(kind, "m-1", code="4.2.2", reason="mailbox full", at="2030-01-02T03:04:05+00:00")
    assert report(db, told) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"
    details = {"provider": "sendgrid", "kind": kind, "code": "4.2.2", "at": "2030-01-02T03:04:05+00:00"}
    assert entries(db, jtd_id, "receipt") == [("webhook", WEBHOOK, "mailbox full", details)]


def test_what_a_provider_gave_up_rests_as_failed_and_is_listed(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1", max_retries=3)
    report(db, receipt("failed", "m-1", code="spam", reason="content refused"))
    job = row(db, jtd_id)
    assert (job["error_code"], job["error_message"], job["retry_count"]) == ("spam", "content refused", 0)
    assert job["completed_at"] is not None
    assert one(db, "SELECT reason FROM jtd.attention(NULL) WHERE id = %s", jtd_id) == "spam"
    report(db, receipt("delivered", "m-1"))
    assert (row(db, jtd_id)["error_code"], row(db, jtd_id)["completed_at"]) == (None, None)
    assert one(db, "SELECT count(*) FROM jtd.attention(NULL)") == 0


def test_a_step_that_the_flows_do_not_know_is_not_taken(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m-1")
    db.execute(
        "UPDATE n_jtd_status_flows AS f SET is_active = false FROM n_jtd_statuses AS s"
        " WHERE s.id = f.to_status_id AND s.code = 'read'"
    )
    assert report(db, receipt("read", "m-1")) == (0, 1, 0)
    assert (status(db, jtd_id), states(db)) == ("sent", [("ignored", "no_such_step")])


def test_a_job_that_takes_no_change_stops_no_other(db: psycopg.Connection, worker: Worker) -> None:
    bad, *good = [send(worker, f"m-{number}") for number in range(5)]
    db.execute(f"ALTER TABLE n_jtd ADD CHECK (id <> '{bad}' OR status_code <> 'delivered') NOT VALID")
    assert report(db, *[receipt("delivered", jtd_id) for jtd_id in (bad, *good)]) == (4, 1, 0)
    assert [status(db, jtd_id) for jtd_id in (bad, *good)] == ["sent"] + ["delivered"] * 4
    assert states(db)[0] == ("ignored", "refused")
    assert history(db, bad)[-1].action == "note"


def test_several_receipts_of_one_job_leave_one_step_each(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m-1")
    kinds = ["read", "delivered", "sent"] * 2
    told = [receipt(kind, "m-1", event_key=str(n)) for n, kind in enumerate(kinds)]
    assert report(db, *told) == (2, 4, 0)
    assert steps(db, jtd_id)[-3:] == ["sent", "delivered", "read"]


def test_an_earlier_copy_that_came_to_nothing_does_not_end_the_job(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    report(db, receipt("failed", "m-1", code="spam"))
    assert one(db, "SELECT jtd.retry(%s)", jtd_id) == "pending"
    assert report(db, receipt("sent", "m-1")) == (0, 1, 0), "it would take the retry back"
    worker.tick()
    job = worker.claim_one()
    worker.hand_off(job, provider="mailgun")
    worker.settle(result(job, "sent", provider="mailgun", provider_message_id="m-2"))
    assert report(db, receipt("failed", "m-1", event_key="again")) == (0, 1, 0)
    assert (status(db, jtd_id), states(db)[-1]) == ("sent", ("ignored", "other_copy"))
    assert report(db, receipt("delivered", "m-1")) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"


def test_jobs_that_went_with_another_follow_it(db: psycopg.Connection, worker: Worker) -> None:
    carrier, member = send(worker, "m-1"), send(worker)
    with no_triggers(db):
        db.execute("UPDATE n_jtd SET carrier_id = %s WHERE id = ANY (%s)", [carrier, [carrier, member]])
        db.execute("UPDATE n_jtd SET carries = %s WHERE id = %s", [[carrier, member], carrier])
    report(db, receipt("delivered", "m-1"))
    assert [status(db, jtd_id) for jtd_id in (carrier, member)] == ["delivered", "delivered"]
    assert entries(db, member, "status_changed")[-1][0] == "webhook"


# Receipts that come before their time


@pytest.mark.parametrize("by_reference", [True, False])
def test_a_receipt_that_comes_before_the_send_returned_waits_for_it(
    db: psycopg.Connection, worker: Worker, by_reference: bool
) -> None:
    jtd_id = insert_jtd(db)
    job = worker.claim_one()
    worker.hand_off(job, provider=PROVIDER)
    about = jtd_id if by_reference else "m-1"
    assert report(db, receipt("delivered", about)) == (0, 0, 1)
    assert apply(db)[:2] == (0, 0)
    assert due(db) == 0, "it is not looked at again and again"
    assert states(db) == [("parked", "executing" if by_reference else "unmatched")]
    worker.settle(result(job, "sent", provider=PROVIDER, provider_message_id="m-1"))
    assert due(db) == 1
    assert apply(db) == (1, 0, 0)
    assert steps(db, jtd_id)[-3:] == ["executing", "sent", "delivered"]


def test_an_id_that_is_being_saved_is_found_when_it_is(dsn: str, db: psycopg.Connection) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        worker = Worker(other)
        jtd_id = insert_jtd(db)
        job = worker.claim_one()
        worker.hand_off(job, provider=PROVIDER)
        with other.transaction():
            worker.settle(result(job, "sent", provider=PROVIDER, provider_message_id="m-1"))
            assert report(db, receipt("delivered", "m-1")) == (0, 0, 1)
            assert apply(db) == (0, 0, 0)
    assert apply(db) == (1, 0, 0)
    assert status(db, jtd_id) == "delivered"


def test_a_receipt_of_a_job_that_somebody_holds_is_applied_when_it_is_free(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    held, free = send(worker, "m-1"), send(worker, "m-2")
    with locked(dsn, held):
        assert report(db, receipt("delivered", held), receipt("delivered", free)) == (1, 0, 1)
        assert apply(db, 1) == (0, 0, 1)
        assert report(db, receipt("read", free)) == (1, 0, 1)
    assert apply(db) == (1, 0, 0)
    assert [status(db, held), status(db, free)] == ["delivered", "read"]


def test_receipts_of_jobs_that_somebody_holds_delay_no_other(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    held, free = [send(worker, f"m-{n}") for n in range(3)], send(worker, "m-9")
    accept(db, *[receipt("delivered", jtd_id) for jtd_id in held])
    with locked(dsn, *held):
        apply(db, 3)
        accept(db, receipt("delivered", free))
        assert apply(db, 1) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["sent", "delivered", "read"])
def test_a_receipt_proves_that_a_job_of_unknown_outcome_was_sent(
    db: psycopg.Connection, worker: Worker, kind: str
) -> None:
    jtd_id = unknown(worker, "hold")
    assert whereabouts(db, jtd_id).place == "final"
    report(db, receipt(kind, jtd_id, provider_message_id="m-1"))
    job = row(db, jtd_id)
    assert steps(db, jtd_id)[-1] == kind
    assert (job["error_code"], job["provider_message_id"]) == (None, "m-1")
    assert job["execution_result"]["outcome"] == "sent"
    assert one(db, "SELECT count(*) FROM jtd.attention(NULL)") == 0


@pytest.mark.parametrize("is_queued", [False, True])
@pytest.mark.parametrize("kind", ["sent", "delivered", "read", "failed", "bounced"])
def test_a_receipt_keeps_a_job_from_being_sent_again(
    db: psycopg.Connection, worker: Worker, kind: str, is_queued: bool
) -> None:
    jtd_id = unknown(worker, "resend")
    if is_queued:
        move(db, jtd_id, "next_retry_at = now() - interval '1 s'")
        worker.tick()
    assert status(db, jtd_id) == ("queued" if is_queued else "pending")
    assert report(db, receipt(kind, jtd_id)) == (1, 0, 0)
    assert steps(db, jtd_id)[-1] == kind
    assert listed(db, "waiting", jtd_id) is None
    assert worker.claim() == []


@pytest.mark.parametrize(("kind", "error"), [("failed", "spam"), ("bounced", "spam")])
def test_a_job_of_unknown_outcome_that_came_to_nothing_is_held_no_more(
    db: psycopg.Connection, worker: Worker, kind: str, error: str
) -> None:
    jtd_id = unknown(worker, "hold")
    report(db, receipt(kind, jtd_id, code="spam"))
    job = row(db, jtd_id)
    assert (job["status_code"], job["error_code"]) == (kind, error)
    assert one(db, "SELECT count(*) FROM jtd.attention('outcome_unknown')") == 0


def test_a_failure_says_nothing_about_a_retry_after_a_known_refusal(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert_jtd(db)
    job = worker.claim_one()
    worker.settle(result(job, "retry", code="busy", provider=PROVIDER))
    assert report(db, receipt("failed", jtd_id), receipt("sent", jtd_id)) == (0, 2, 0)
    assert (status(db, jtd_id), states(db)) == ("pending", [("ignored", "not_sent")] * 2)


def test_an_attempt_is_paid_once(db: psycopg.Connection, worker: Worker) -> None:
    db.execute("UPDATE n_jtd_channels SET default_cost_per_unit = 2")
    sent, doubtful = send(worker, "m-1"), unknown(worker, "hold")
    refused = insert_jtd(db)
    worker.settle(result(worker.claim_one(), "failed", code="x", provider=PROVIDER))
    jobs = (sent, doubtful, refused)
    report(db, *[receipt(kind, jtd_id) for jtd_id in jobs for kind in ("delivered", "read")])
    assert [row(db, jtd_id)["cost"] for jtd_id in jobs] == [2, 2, 2]


# The rule wait_for_receipt


def expire_wait(db: psycopg.Connection, worker: Worker, jtd_id: UUID) -> None:
    """Let the time that a job waits for a receipt be over."""
    move(db, jtd_id, "next_retry_at = now() - interval '1 s'")
    worker.tick()


def killed(worker: Worker, db: psycopg.Connection) -> UUID:
    jtd_id = insert_jtd(db)
    dead = Worker(db)
    job = dead.claim_one()
    dead.hand_off(job, rule="wait_for_receipt", provider=PROVIDER)
    dead.lapse()
    worker.age()
    assert worker.tick()["reclaimed"] == 1
    return jtd_id


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_job_waits_for_a_receipt_and_is_held_without_one(
    db: psycopg.Connection, worker: Worker, is_killed: bool
) -> None:
    jtd_id = killed(worker, db) if is_killed else unknown(worker, "wait_for_receipt", max_retries=3)
    assert (status(db, jtd_id), whereabouts(db, jtd_id).place) == ("pending", "waiting")
    waits = one(
        db,
        "SELECT w.due - now() BETWEEN interval '14 min' AND interval '15 min' AND w.reason = 'receipt'"
        " FROM jtd.waiting AS w WHERE jtd_id = %s",
        jtd_id,
    )
    assert waits
    worker.tick()
    assert (worker.claim(), one(db, "SELECT count(*) FROM jtd.attention(NULL)")) == ([], 0)
    expire_wait(db, worker, jtd_id)
    job = row(db, jtd_id)
    assert (job["status_code"], job["error_code"], job["retry_count"]) == ("failed", "outcome_unknown", 0)
    assert job["completed_at"] is not None
    assert one(db, "SELECT id FROM jtd.attention('outcome_unknown')") == jtd_id
    assert steps(db, jtd_id)[-3:] == ["executing", "pending", "failed"]
    assert one(db, "SELECT jtd.resolve(%s, 'sent')", jtd_id) == "sent"


@pytest.mark.parametrize("kind", ["sent", "delivered", "read", "failed", "bounced"])
def test_a_receipt_ends_the_wait(db: psycopg.Connection, worker: Worker, kind: str) -> None:
    jtd_id = unknown(worker, "wait_for_receipt")
    report(db, receipt(kind, jtd_id))
    assert (steps(db, jtd_id)[-1], listed(db, "waiting", jtd_id)) == (kind, None)
    worker.tick()
    assert worker.claim() == []


def test_a_receipt_that_came_first_ends_the_wait_too(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    job = worker.claim_one()
    worker.hand_off(job, rule="wait_for_receipt", provider=PROVIDER)
    assert report(db, receipt("sent", jtd_id)) == (0, 0, 1)
    worker.settle(result(job, "unknown", rule="wait_for_receipt", provider=PROVIDER))
    assert apply(db) == (1, 0, 0)
    assert status(db, jtd_id) == "sent"


def test_a_late_result_ends_the_wait(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = killed(worker, db)
    late = {"id": str(jtd_id), "attempt": 1, "outcome": "sent", "provider": PROVIDER}
    assert worker.settle(late) == ["late"]
    assert (status(db, jtd_id), listed(db, "waiting", jtd_id)) == ("sent", None)


@pytest.mark.parametrize("status_code", ["pending", "queued"])
def test_an_attempt_that_the_database_forgot_waits_too(
    db: psycopg.Connection, worker: Worker, status_code: str
) -> None:
    jtd_id = insert_jtd(db, scheduled_at=None if status_code == "queued" else "2099-01-01Z")
    assert status(db, jtd_id) == status_code
    told = {"id": str(jtd_id), "attempt": 1, "outcome": "unknown", "rule": "wait_for_receipt"}
    assert worker.settle({**told, "provider": PROVIDER, "reason": "no answer"}) == ["late"]
    job = row(db, jtd_id)
    assert (job["status_code"], job["error_code"]) == ("pending", "outcome_unknown")
    assert (listed(db, "waiting", jtd_id) or {})["reason"] == "receipt"
    assert worker.claim() == []
    expire_wait(db, worker, jtd_id)
    assert status(db, jtd_id) == "failed"


@pytest.mark.parametrize(
    "change", ["priority = 9", "expires_at = now() - interval '1 s'", "scheduled_at = now() - interval '1 s'"]
)
def test_nothing_sends_a_job_that_waits_for_a_receipt(
    db: psycopg.Connection, worker: Worker, change: str
) -> None:
    jtd_id = unknown(worker, "wait_for_receipt")
    move(db, jtd_id, "next_retry_at = now() - interval '1 s'")  # and no tick has seen it
    move(db, jtd_id, change)
    db.execute("SELECT pgmq.send('jtd_email', jsonb_build_object('jtd_id', %s::text))", [jtd_id])
    assert worker.claim() == []
    db.execute("DELETE FROM jtd.waiting")
    db.execute("SELECT jtd.mend(ARRAY[%s])", [jtd_id])
    assert whereabouts(db, jtd_id).place == "waiting"
    assert one(db, "SELECT jtd.cancel(%s)", jtd_id) == "too_late"
    worker.tick()
    assert (status(db, jtd_id), row(db, jtd_id)["error_code"]) == ("failed", "outcome_unknown")
    assert worker.claim() == []


def test_a_pause_of_its_source_does_not_make_it_wait_longer(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = unknown(worker, "wait_for_receipt")
    db.execute("SELECT jtd.pause_source('user_invite', 'x')")
    expire_wait(db, worker, jtd_id)
    assert status(db, jtd_id) == "failed"


def test_explain_says_what_it_waits_for_and_show_what_came_too_early(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = unknown(worker, "wait_for_receipt")
    said = one(db, "SELECT sentence FROM jtd.explain(%s)", jtd_id)
    assert "waits for a receipt of its provider" in said
    assert "is held until a person says" in said
    other = insert_jtd(db)
    job = worker.claim_one()
    report(db, receipt("delivered", other, recipient="john@example.com"), receipt("read", other))
    assert "(delivered, read) waits for the result" in one(db, "SELECT sentence FROM jtd.explain(%s)", other)
    shown = one(db, "SELECT jtd.show_v1(%s)", other)
    assert [(told["kind"], told["state"]) for told in shown["receipts"]] == [
        ("delivered", "parked"),
        ("read", "parked"),
    ]
    assert "john@example.com" not in str(shown)
    worker.settle(result(job, "sent", provider=PROVIDER))
    apply(db)
    report(db, receipt("sent", other))
    shown = one(db, "SELECT jtd.show_v1(%s)", other)
    assert [(told["kind"], told["state_reason"]) for told in shown["receipts"]] == [("sent", "no_news")]
    assert [told["details"]["kind"] for told in shown["history"][-2:]] == ["delivered", "read"]


# Suppressions


def test_a_bounce_a_complaint_and_an_unsubscription_keep_further_messages_back(
    db: psycopg.Connection, worker: Worker
) -> None:
    for name, kind, more in (
        ("a", "bounced", {}),
        ("b", "complained", {}),
        ("c", "unsubscribed", {}),
        ("d", "unsubscribed", {"details": {"all": True}}),
        ("e", "soft_bounced", {}),
        ("f", "failed", {}),
    ):
        jtd_id = send(worker, f"m-{name}", recipient_contact=f"{name}@Example.com")
        told = receipt(kind, jtd_id, recipient="somebody.else@example.com", **more)
        assert report(db, told, {**told, "event_key": name})[2] == 0
    assert suppressions(db) == {
        ("a@example.com", "email", None, "bounce"),
        ("b@example.com", "email", None, "complaint"),
        ("c@example.com", "email", "user_invite", "opt_out"),
        ("d@example.com", "email", None, "opt_out"),
    }
    assert one(db, "SELECT DISTINCT tenant_id FROM n_jtd_suppressions") == row(db, jtd_id)["tenant_id"]
    [blocked] = [insert_jtd(db, recipient_contact="A@example.com")]
    worker.claim()
    assert row(db, blocked)["error_code"] == "blocked_suppressed"


def test_an_unsubscription_takes_back_the_permission_of_the_same_kind(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker)
    db.execute(
        "SELECT jtd.set_preference(tenant_id, recipient_contact, source_type_code, channel_code, true)"
        " FROM n_jtd WHERE id = %s",
        [jtd_id],
    )
    report(db, receipt("unsubscribed", jtd_id))
    assert {kind for *_, kind in suppressions(db)} == {"opt_out"}


def test_a_bounce_counts_whatever_became_of_the_job(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = reach(worker, "read")
    assert report(db, receipt("bounced", "m-1")) == (1, 0, 0)
    assert (status(db, jtd_id), len(suppressions(db))) == ("read", 1)
    assert [entry[0] for entry in entries(db, jtd_id, "receipt")] == ["webhook"]


# Where the list begins


def floor(db: psycopg.Connection) -> int:
    found: int = one(db, "SELECT floor FROM jtd.receipts_progress")
    return found


def use_up(db: psycopg.Connection) -> None:
    """Let many transactions pass."""
    db.execute("DO $$BEGIN FOR i IN 1..1100 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END$$")


def test_the_list_begins_no_later_than_what_a_running_transaction_brings(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    report(db, receipt("sent", "m-1"))
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_current_xact_id()")
        use_up(db)
        worker.tick()
        before = floor(db)
        accept(other, receipt("delivered", "m-1"))
        accept(db, receipt("read", "m-1"))
        use_up(db)
        worker.tick()
    assert 0 < before <= floor(db)
    apply(db)
    assert status(db, jtd_id) == "read"
    assert sorted(states(db)[1:]) == [("applied", None), ("ignored", "no_news")]


def test_the_list_begins_anew_where_transactions_are_counted_anew(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = send(worker, "m-1")
    db.execute("UPDATE jtd.receipts_progress SET floor = 1000000000")
    accept(db, receipt("delivered", "m-1"))
    db.execute("UPDATE jtd.receipts_due SET after_txid = 1000000000")
    assert apply(db) == (1, 0, 0)
    worker.tick()
    assert floor(db) < 1_000_000
    assert status(db, jtd_id) == "delivered"


# What is forgotten


def age(db: psycopg.Connection, days: int) -> None:
    db.execute("UPDATE n_jtd_receipts SET received_at = now() - make_interval(days => %s)", [days])
    db.execute("UPDATE jtd.sent_ids SET saved_at = now() - make_interval(days => %s)", [days])
    db.execute("UPDATE jtd.receipts_progress SET pruned_at = '-infinity'")


def test_receipts_that_no_job_was_found_for_end_after_three_days(
    db: psycopg.Connection, worker: Worker
) -> None:
    report(db, receipt("delivered", "m-1"))
    age(db, 2)
    worker.tick()
    assert states(db) == [("parked", "unmatched")]
    age(db, 4)
    worker.tick()
    assert states(db) == [("ignored", "unmatched")]
    send(worker, "m-1")
    assert due(db) == 0


def test_receipts_are_deleted_after_ninety_days_and_ids_after_forty(
    db: psycopg.Connection, worker: Worker
) -> None:
    send(worker, "m-1")
    report(db, receipt("delivered", "m-1"), receipt("sent", "m-1"))
    for days, kept, ids in ((39, 2, 1), (41, 2, 0), (89, 2, 0), (91, 0, 0)):
        age(db, days)
        worker.tick()
        assert (len(receipts(db)), one(db, "SELECT count(*) FROM jtd.sent_ids")) == (kept, ids)


def test_what_is_old_is_taken_in_steps(db: psycopg.Connection) -> None:
    accept(db, *[receipt("delivered", f"m-{n}") for n in range(5)])
    apply(db)
    age(db, 4)
    db.execute("SELECT jtd.prune_receipts(2)")
    assert [state for state, _ in states(db)].count("ignored") == 2
    for _ in range(3):
        db.execute("SELECT jtd.prune_receipts(2)")
    assert [state for state, _ in states(db)].count("ignored") == 5


def test_a_tick_applies_what_nobody_else_did(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m-1")
    accept(db, receipt("delivered", "m-1"))
    assert worker.tick()["receipts"] == 1
    assert status(db, jtd_id) == "delivered"
    assert worker.tick()["receipts"] == 0


# The calls of the web process


def test_what_a_parser_read_is_kept_and_applied(dsn: str, db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = send(worker, "m-1")
    told = [
        Receipt(
            kind=ReceiptKind.DELIVERED,
            event_key="e-1",
            provider_message_id="m-1",
            recipient="john@example.com",
            at=datetime(2030, 1, 2, tzinfo=UTC),
            reason="NUL \x00 and \ud800",
            details={"mta": "\x00", "much": [1.5] * 1000},
        ),
        Receipt(kind=ReceiptKind.READ, event_key="e-2", reference=jtd_id),
    ]

    async def report_twice() -> tuple[Accepted, Accepted, Applied, Applied]:
        pool, link = LinkPool(dsn, "receipts", 1), Link(dsn, "receipts")
        queue = ReceiptsQueue(pool, link)
        try:
            return (
                await queue.accept("email", PROVIDER, told),
                await queue.accept("email", PROVIDER, told),
                await queue.apply(1),
                await queue.apply(100),
            )
        finally:
            await pool.aclose()
            await link.aclose()

    new, again, first, rest = asyncio.run(report_twice())
    assert (new, again) == (Accepted(new=2, known=0), Accepted(new=0, known=2))
    assert (first, rest) == (
        Applied(applied=1, ignored=0, parked=0, more=True),
        Applied(applied=1, ignored=0, parked=0, more=False),
    )
    assert status(db, jtd_id) == "read"
    kept = receipts(db)[0]
    assert (kept["recipient"], kept["occurred_at"]) == ("john@example.com", told[0].at)
    assert "john" not in repr(told)


def test_a_worker_applies_what_nobody_else_did(
    dsn: str, db: psycopg.Connection, worker: Worker, tmp_path: Path
) -> None:
    jtd_id = send(worker, "m-1")
    accept(db, receipt("delivered", "m-1"))
    with running(dsn, "email:noop", tmp_path) as daemon:
        eventually(lambda: status(db, jtd_id) == "delivered")
        daemon.wait_for("receipts.applied")


def test_show_tells_of_receipts_that_wait(dsn: str, db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    worker.claim_one()
    report(db, receipt("delivered", jtd_id, recipient="john@example.com"))
    shown = call(dsn, "show", str(jtd_id)).out
    assert re.search(r"delivered +sendgrid +parked +executing", shown)
    assert "john" not in shown


def test_only_a_provider_that_names_our_id_can_be_waited_for() -> None:
    with pytest.raises(ValueError, match="echoes_reference"):
        Capabilities(unknown_rule=UnknownRule.WAIT_FOR_RECEIPT)
    assert Capabilities(unknown_rule=UnknownRule.WAIT_FOR_RECEIPT, echoes_reference=True).needs_hand_off


def test_the_web_roles_of_a_host_read_no_receipts(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        if not one(admin, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon')"):
            admin.execute("CREATE ROLE anon NOLOGIN")
        admin.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon")
        migrate(empty_dsn)
        assert not one(admin, "SELECT has_table_privilege('anon', 'public.n_jtd_receipts', 'SELECT')")
        assert not one(
            admin, "SELECT has_function_privilege('anon', 'jtd.apply_receipts_v1(integer)', 'EXECUTE')"
        )


# Whatever the order


STREAMS = (
    ("sent", "delivered", "read"),
    ("sent", "delivered", "read", "read", "read"),
    ("deferred", "sent", "delivered", "read", "complained"),
    ("sent", "deferred", "soft_bounced", "bounced"),
    ("delivered", "bounced"),
    ("sent", "failed"),
    ("sent", "failed", "delivered", "read"),
    ("sent", "delivered", "unsubscribed"),
    ("read",),
    ("failed", "bounced"),
    ("complained", "unsubscribed"),
)
JOBS = 2_500
UNCERTAIN = ("hold", "resend", "wait_for_receipt")


def crowd(db: psycopg.Connection, worker: Worker, name: str) -> dict[UUID, Any]:
    """Make jobs that are being sent, each to a recipient of its own."""
    db.execute("UPDATE jtd.queues SET closes_at = 1000000")
    ids = [jtd_id for _ in range(5) for jtd_id in insert_many(db, JOBS // 5)]
    db.execute(
        "UPDATE n_jtd AS j SET recipient_contact = u.n || %s"
        " FROM unnest(%s::uuid[]) WITH ORDINALITY AS u (id, n) WHERE j.id = u.id",
        [f"-{name}@example.com", ids],
    )
    claimed = {job.id: job for _ in range(6) for job in worker.claim(limit=JOBS // 5)}
    assert len(claimed) == JOBS
    db.execute("SELECT FROM jtd.hand_off_v1(%s, %s, %s, 'resend', %s)", [
        worker.id, ids, [claimed[jtd_id].attempt for jtd_id in ids], PROVIDER,
    ])  # fmt: skip
    return {jtd_id: claimed[jtd_id] for jtd_id in ids}


def sent(job: Any) -> dict[str, Any]:
    return result(job, "sent", provider=PROVIDER, provider_message_id=f"m-{job.id}")


def final(db: psycopg.Connection, ids: Sequence[UUID]) -> list[tuple[Any, ...]]:
    """Return for each job its state, what the audit trail has of receipts, and what is kept from it."""
    found = {
        row[0]: row[1:]
        for row in db.execute(
            """
            SELECT j.id, j.status_code, (
                SELECT array_agg(h.details ->> 'kind' ORDER BY h.details ->> 'kind') FROM n_jtd_history AS h
                WHERE h.jtd_id = j.id AND h.action = 'receipt'), (
                SELECT array_agg(s.kind::text ORDER BY s.kind) FROM n_jtd_suppressions AS s
                WHERE s.recipient = j.recipient_contact)
            FROM n_jtd AS j""",
        ).fetchall()
    }
    return [found[jtd_id] for jtd_id in ids]


def keep_applying(dsn: str, seed: int, is_over: threading.Event) -> None:
    """Apply what is due in chunks of any size until told to stop."""
    chance = random.Random(seed)
    with psycopg.connect(dsn, autocommit=True) as db:
        while not is_over.is_set():
            if apply(db, chance.choice([1, 7, 50, 300, 1000])) == (0, 0, 0):
                is_over.wait(0.01)


def test_receipts_in_any_order_come_to_what_they_do_in_order(dsn: str, db: psycopg.Connection) -> None:
    chance = random.Random(20)
    worker = Worker(db)
    streams = [chance.choice(STREAMS) for _ in range(JOBS)]

    ordered = crowd(db, worker, "a")
    for start in range(0, JOBS, 500):
        worker.settle(*map(sent, list(ordered.values())[start : start + 500]))
    for place in range(max(map(len, streams))):
        told = [
            receipt(stream[place], jtd_id, event_key=f"{jtd_id}-{place}")
            for jtd_id, stream in zip(ordered, streams, strict=True)
            if place < len(stream)
        ]
        for start in range(0, len(told), 1000):
            assert report(db, *told[start : start + 1000])[2] == 0

    shuffled = crowd(db, worker, "b")
    unproved = {  # what only receipts can prove; a stream without a proof is sent
        jtd_id
        for jtd_id, stream in zip(shuffled, streams, strict=True)
        if set(stream) & {"sent", "delivered", "read", "failed"} and chance.random() < 0.2
    }
    doubled = [
        receipt(
            kind, jtd_id if jtd_id in unproved or chance.random() < 0.5 else f"m-{jtd_id}",
            event_key=f"{jtd_id}-{place}",
        )
        for jtd_id, stream in zip(shuffled, streams, strict=True)
        for place, kind in enumerate(stream)
        for _ in range(chance.choice([1, 1, 2]))
    ]  # fmt: skip
    assert len(doubled) >= 10_000
    results = [
        result(job, "unknown", rule=chance.choice(UNCERTAIN), provider=PROVIDER)
        if jtd_id in unproved
        else sent(job)
        for jtd_id, job in shuffled.items()
    ]
    chance.shuffle(doubled)
    chance.shuffle(results)
    is_over = threading.Event()
    threads = [threading.Thread(target=keep_applying, args=(dsn, seed, is_over)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        while doubled or results:
            size = chance.choice([1, 20, 200, 500])
            if chance.random() < 0.8:
                accept(db, *doubled[:size])
                del doubled[:size]
            else:
                answers = worker.settle(*results[:size])
                results = [
                    told for told, answer in zip(results[:size], answers, strict=True) if answer == "locked"
                ] + results[size:]
        wait_until(db, "SELECT NOT EXISTS (SELECT FROM jtd.receipts_due)")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert final(db, list(shuffled)) == final(db, list(ordered))
    assert one(db, "SELECT count(*) FROM n_jtd_receipts WHERE state = 'parked'") == 0
    twice = one(
        db,
        "SELECT count(*) FROM (SELECT FROM n_jtd_history WHERE action = 'status_changed'"
        " AND to_status_code NOT IN ('pending', 'failed') GROUP BY jtd_id, to_status_code"
        " HAVING count(*) > 1) AS x",
    )
    assert twice == 0
    assert one(db, "SELECT bool_and(is_valid_transition) FROM n_jtd_history")
    places(db)
