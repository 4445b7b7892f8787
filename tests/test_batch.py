"""Messages to one recipient within a tenant's window become one, and what it comes to they come to."""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.daemon import eventually, running
from tests.jobs import OTHER_TENANT, TENANT, history, insert_jtd, listed, one, places, row
from tests.worker_calls import Worker, result

SOURCE = "payment_received"


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def window(db: psycopg.Connection) -> None:
    """Let the tenant have a window of a minute, and a template that reads items."""
    db.execute(
        "INSERT INTO n_jtd_tenant_source_config (tenant_id, source_type_code, batch_window_seconds)"
        " VALUES (%s, %s, 60)",
        [TENANT, SOURCE],
    )
    db.execute(
        "INSERT INTO n_jtd_templates (tenant_id, template_key, name, channel_code, source_type_code, subject,"
        " content) VALUES (%s, 'digest', 'Digest', 'email', %s, 'Your payments',"
        " '{%% for item in items %%}[{{ item.amount }}]{%% endfor %%}')",
        [TENANT, SOURCE],
    )


def insert(db: psycopg.Connection, amount: int, **columns: Any) -> UUID:
    given = {"source_type_code": SOURCE, "template_key": "digest", "payload": {"amount": amount}, **columns}
    return insert_jtd(db, **given)


def window_is_over(db: psycopg.Connection, *jobs: UUID) -> None:
    """Let time pass for these jobs alone, as the oldest of their windows."""
    db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE id = ANY (%s)", [list(jobs)])
    db.execute("UPDATE jtd.waiting SET due = now() WHERE jtd_id = ANY (%s)", [list(jobs)])


def due(db: psycopg.Connection, *jobs: UUID) -> None:
    db.execute("UPDATE jtd.waiting SET due = now() WHERE jtd_id = ANY (%s)", [list(jobs)])


def batch(db: psycopg.Connection, worker: Worker, number: int = 3) -> list[UUID]:
    """Close a window over `number` jobs; the first carries the others."""
    jobs = [insert(db, amount) for amount in range(1, number + 1)]
    due(db, jobs[0])
    assert worker.claim() == []
    worker.tick()
    return jobs


def statuses(db: psycopg.Connection, jobs: list[UUID]) -> list[str]:
    return [row(db, jtd_id)["status_code"] for jtd_id in jobs]


def test_what_comes_within_the_window_becomes_one_message(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    carrier = worker.claim_one()
    assert carrier.id == jobs[0]
    assert carrier.template_variables == {"items": [{"amount": 1}, {"amount": 2}, {"amount": 3}]}
    assert statuses(db, jobs) == ["executing", "pending", "pending"]
    assert places(db) == {"in_flight": 1, "waiting": 2}
    worker.settle(result(carrier, "sent", provider="smtp", provider_message_id="m1"))
    assert statuses(db, jobs) == ["sent"] * 3
    assert [row(db, jtd_id)["carrier_id"] for jtd_id in jobs] == [jobs[0]] * 3
    assert [row(db, jtd_id)["provider_code"] for jtd_id in jobs] == ["smtp"] * 3
    assert all(step.valid for jtd_id in jobs for step in history(db, jtd_id))
    assert places(db) == {"sent": 3}
    db.execute("UPDATE n_jtd SET status_code = 'delivered' WHERE id = %s", [jobs[0]])
    assert statuses(db, jobs) == ["delivered"] * 3, "a receipt counts for all of them"


def test_before_the_window_is_over_nothing_goes(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert(db, 1)
    worker.tick()
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["reason"] == "batch"
    assert one(db, "SELECT due = j.created_at + interval '60 s' FROM jtd.waiting, n_jtd AS j")
    assert "waits for others to the same recipient, to go with them (batch) until" in one(
        db, "SELECT sentence FROM jtd.explain(%s)", jtd_id
    )


def test_a_single_message_goes_alone_with_its_items(db: psycopg.Connection, worker: Worker) -> None:
    [jtd_id] = batch(db, worker, 1)
    job = worker.claim_one()
    assert (job.id, job.template_variables) == (jtd_id, {"items": [{"amount": 1}]})


@pytest.mark.parametrize(
    "other",
    [
        {"recipient_contact": "jane@example.com"},
        {"tenant_id": OTHER_TENANT},
        {"template_key": "other"},
        {"priority": 9},
        {"is_live": False},
        {"locale": "de"},
    ],
)
def test_only_what_belongs_together_becomes_one(
    db: psycopg.Connection, worker: Worker, other: dict[str, Any]
) -> None:
    first, apart, second = (
        insert(db, 1),
        insert(db, 2, **other),
        insert(db, 3, recipient_contact="JOHN@example.com"),
    )
    due(db, first)
    worker.tick()
    assert row(db, second)["carrier_id"] == first
    assert row(db, apart)["carrier_id"] is None


@pytest.mark.parametrize(
    ("columns", "batches"),
    [
        ({"source_type_code": "user_invite"}, False),
        ({"scheduled_at": "2999-01-01"}, False),
        ({"event_type_code": "document"}, False),
        ({"event_type_code": "reminder"}, True),
    ],
)
def test_what_does_not_batch_waits_for_nobody(
    db: psycopg.Connection, columns: dict[str, Any], batches: bool
) -> None:
    insert(db, 1, **columns)
    assert one(db, "SELECT count(*) FROM jtd.waiting WHERE batch_key IS NOT NULL") == batches


def test_reminders_batch_too(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert(db, amount, event_type_code="reminder") for amount in (1, 2)]
    due(db, jobs[0])
    worker.tick()
    worker.settle(result(worker.claim_one(), "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent", "sent"]
    assert all(step.valid for jtd_id in jobs for step in history(db, jtd_id))


def test_a_template_that_does_not_read_items_gets_one_message_each(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute("UPDATE n_jtd_templates SET content = '{{ amount }}' WHERE template_key = 'digest'")
    jobs = batch(db, worker)
    assert {job.id for job in worker.claim()} == set(jobs)


def test_a_large_batch_is_several_messages(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker, 150)
    carriers = worker.claim()
    assert [len(job.template_variables["items"]) for job in carriers] == [100, 50]
    worker.settle(*(result(job, "sent", provider="smtp") for job in carriers))
    assert set(statuses(db, jobs)) == {"sent"}


def test_members_fail_with_their_carrier_and_are_sent_with_its_retry(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    worker.settle(result(worker.claim_one(), "retry", code="busy", reason="busy"))
    assert statuses(db, jobs) == ["pending"] * 3, "it has another attempt"
    assert row(db, jobs[1])["retry_count"] == 0
    db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE id = %s", [jobs[0]])
    worker.tick()
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550", reason="no"))
    assert statuses(db, jobs) == ["failed"] * 3
    assert row(db, jobs[2])["error_code"] == "carrier_failed"
    assert db.execute("SELECT jtd_id FROM jtd.attention").fetchall() == [(jobs[0],)]
    assert one(db, "SELECT jtd.retry(%s)", jobs[0]) == "pending"
    worker.tick()
    again = worker.claim_one()
    assert len(again.template_variables["items"]) == 3
    worker.settle(result(again, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent"] * 3
    assert row(db, jobs[1])["error_code"] is None
    assert places(db) == {"sent": 3}


def test_a_cancelled_carrier_takes_no_other_with_it(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    assert one(db, "SELECT jtd.cancel(%s)", jobs[0]) == "cancelled"
    worker.tick()
    claimed = worker.claim()
    assert [(job.id, job.template_variables["items"]) for job in claimed] == [
        (jobs[1], [{"amount": 2}]),
        (jobs[2], [{"amount": 3}]),
    ]


def test_a_cancelled_member_is_left_out(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    assert one(db, "SELECT jtd.cancel(%s)", jobs[1]) == "cancelled"
    carrier = worker.claim_one()
    assert carrier.template_variables["items"] == [{"amount": 1}, {"amount": 3}]
    worker.settle(result(carrier, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent", "cancelled", "sent"]


def test_a_carrier_that_is_deleted_leaves_none_behind(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    db.execute("DELETE FROM n_jtd WHERE id = %s", [jobs[0]])
    due(db, *jobs[1:])
    worker.tick()
    assert {job.id for job in worker.claim()} == set(jobs[1:])


def test_a_member_that_somebody_holds_follows_later_and_delays_nobody(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    carrier = worker.claim_one()
    with psycopg.connect(dsn) as user:
        user.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [jobs[1]])
        worker.settle(result(carrier, "sent", provider="smtp"))
        assert statuses(db, jobs) == ["sent", "pending", "sent"]
    due(db, jobs[1])
    worker.tick()
    assert statuses(db, jobs) == ["sent"] * 3
    assert places(db) == {"sent": 3}


def test_a_job_that_somebody_holds_at_the_close_goes_by_itself(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    due(db, jobs[0])
    with psycopg.connect(dsn) as user:
        user.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [jobs[1]])
        worker.tick()
    assert worker.claim_one().template_variables["items"] == [{"amount": 1}, {"amount": 3}]
    due(db, jobs[1])
    worker.tick()
    assert worker.claim_one().template_variables["items"] == [{"amount": 2}]


def test_a_member_that_is_retried_by_hand_goes_by_itself(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker, 2)
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550", reason="no"))
    assert one(db, "SELECT jtd.retry(%s)", jobs[1]) == "pending"
    worker.tick()
    job = worker.claim_one()
    assert (job.id, job.template_variables["items"]) == (jobs[1], [{"amount": 2}])
    worker.settle(result(job, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["failed", "sent"]


def test_hostile_payloads_are_items_too(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert(db, 1), insert(db, 2, payload=Jsonb([1])), insert(db, 3, template_variables=Jsonb("x"))]
    due(db, jobs[0])
    worker.tick()
    items = worker.claim_one().template_variables["items"]
    assert items == [{"amount": 1}, {}, {"amount": 3}]


def test_a_member_says_with_whom_it_goes(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[1])
    assert sentence.endswith(
        f"waits for the message that carries it, too (batched); then it ends as that does: job {jobs[0]}."
    )
    worker.settle(result(worker.claim_one(), "sent", provider="smtp"))
    assert f"was sent with job {jobs[0]} by smtp" in one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[1])
    assert "was sent by smtp" in one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[0])


def test_a_producer_writes_no_carrier(db: psycopg.Connection) -> None:
    jtd_id = insert(db, 1, carrier_id=TENANT)
    assert row(db, jtd_id)["carrier_id"] is None


def test_a_daemon_sends_the_batch_as_one(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    db.execute("UPDATE n_jtd_tenant_source_config SET batch_window_seconds = 1")
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    with running(dsn, "email:outbox", tmp_path):
        eventually(lambda: statuses(db, jobs) == ["sent"] * 3)
    assert db.execute("SELECT jtd_id, content FROM n_jtd_outbox").fetchall() == [(jobs[0], "[1][2][3]")]
