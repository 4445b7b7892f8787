"""What comes in a tenant's quiet hours waits for their end, but for what is exempt."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.jobs import TENANT, history, insert_jtd, insert_many, listed, one, row
from tests.tenants import SOURCE, change, insert, quiet
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def test_in_quiet_hours_a_message_waits_for_their_end(db: psycopg.Connection, worker: Worker) -> None:
    ends = quiet(db)
    jtd_id = insert(db)
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["reason"] == "quiet_hours"
    assert ends <= waiting["due"] <= ends + timedelta(minutes=10)
    assert [step.to_status for step in history(db, jtd_id)][-2:] == ["queued", "pending"]
    assert row(db, jtd_id)["retry_count"] == 0
    assert one(db, "SELECT count(*) FROM pgmq.q_jtd_email") == 0
    db.execute(
        "UPDATE n_jtd SET next_retry_at = now(); UPDATE n_jtd_tenant_config SET quiet_hours_exempt = '{}'"
    )
    change(db, "quiet_hours_start = NULL, quiet_hours_end = NULL")
    worker.tick()
    assert worker.claim_one().id == jtd_id


def test_what_waits_in_quiet_hours_is_spread(db: psycopg.Connection, worker: Worker) -> None:
    ends = quiet(db)
    insert_many(db, 100, source_type_code=SOURCE, template_key=None)
    assert worker.claim() == []
    dues = [found[0] for found in db.execute("SELECT due FROM jtd.waiting ORDER BY 1")]
    assert all(ends <= due <= ends + timedelta(minutes=10) for due in dues)
    assert dues[-1] - dues[0] > timedelta(minutes=5)


def test_the_same_cause_twice_is_one_remark(db: psycopg.Connection, worker: Worker) -> None:
    quiet(db)
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    jtd_id = insert(db)
    for _ in range(3):
        worker.tick()
        waiting = listed(db, "waiting", jtd_id)
        assert waiting is not None
        assert waiting["reason"] == "quiet_hours"
        db.execute("UPDATE n_jtd SET next_retry_at = now()")
    actions = [step.action for step in history(db, jtd_id)]
    assert actions == ["created", "status_changed", "deferred"]


def test_urgent_and_identity_messages_are_exempt_as_far_as_the_tenant_says(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db)
    urgent = insert(db, priority=9)
    identity = insert_jtd(db)
    assert [job.id for job in worker.claim("jtd_email_urgent")] == [urgent]
    assert [job.id for job in worker.claim()] == [identity]
    change(db, "quiet_hours_exempt = '{}'")
    insert(db, priority=9), insert_jtd(db)
    assert worker.claim("jtd_email_urgent") == []
    assert worker.claim() == []


def test_a_message_that_would_come_too_late_after_quiet_hours_expires_in_time(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db)
    expires = datetime.now(UTC) + timedelta(minutes=5)
    jtd_id = insert(db, expires_at=expires)
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["due"] == expires
