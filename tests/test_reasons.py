"""A job that is held back says why, until when, and who can end it."""

import re
from uuid import UUID

import psycopg
import pytest

from tests.jobs import TENANT, one
from tests.tenants import SOURCE, change, insert, quiet
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def sentence(db: psycopg.Connection, jtd_id: UUID) -> str:
    return str(one(db, "SELECT sentence FROM jtd.explain(%s)", jtd_id))


def test_a_job_that_is_put_off_says_why_until_when_and_what_comes_next(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db, daily_limit=1, monthly_limit=1)
    jtd_id = insert(db)
    worker.claim()
    due = one(db, "SELECT to_char(due, 'YYYY-MM-DD HH24:MI:SS TZ') FROM jtd.waiting")
    assert sentence(db, jtd_id) == (
        "This notification by email (payment_received) waits for the end of its tenant's quiet hours"
        f" (quiet_hours) until {due}; then it takes its turn for channel email."
    )
    change(db, "quiet_hours_start = NULL, quiet_hours_end = NULL")
    over = [insert(db), insert(db)][1]
    assert len(worker.claim()) == 1
    until = one(
        db, "SELECT to_char(until, 'YYYY-MM-DD HH24:MI:SS TZ') FROM jtd.holds WHERE reason = 'monthly_limit'"
    )
    assert sentence(db, over) == (
        "This notification by email (payment_received) is due and waits for its turn to be queued for channel"
        " email; it is held back, and waits for the next month of its tenant, whose limit is used up"
        f" (monthly_limit) until {until}."
    )
    assert one(
        db,
        "SELECT next_at = until FROM jtd.explain(%s), jtd.holds WHERE holds.reason = 'monthly_limit'",
        over,
    )


def test_a_paused_job_says_who_must_resume_it(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", [TENANT])
    assert sentence(db, jtd_id).endswith(
        "; it is held back, and waits for its tenant, who is paused, to be resumed (tenant_paused): unpaid."
    )
    db.execute("SELECT jtd.resume_tenant(%s), jtd.pause_source(%s, 'wrong text')", [TENANT, SOURCE])
    worker.claim()
    assert sentence(db, jtd_id) == (
        "This notification by email (payment_received) waits for its source type, which is paused, to be"
        " resumed (source_paused): wrong text; then it takes its turn for channel email."
    )
    assert one(db, "SELECT next_at FROM jtd.explain(%s)", jtd_id) is None
    db.execute("SELECT jtd.resume_source(%s), jtd.pause_provider('email', 'smtp', 'moving')", [SOURCE])
    worker.tick()
    assert sentence(db, jtd_id).endswith("; provider smtp takes nothing at present (paused): moving.")


def test_every_reason_of_the_gate_is_put_in_words(db: psycopg.Connection) -> None:
    gate = one(db, "SELECT pg_get_functiondef('jtd.gate'::regproc)")
    reasons = set(re.findall(r"'(blocked_\w+[a-z]|\w+_paused|quiet_hours|expired)'", gate))
    reasons |= {"daily_limit", "monthly_limit", "tenant_rate", "blocked_daily_limit", "blocked_monthly_limit"}
    assert len(reasons) >= 15
    assert {reason for reason in reasons if not one(db, "SELECT jtd.wording(%s)", reason)} == set()
