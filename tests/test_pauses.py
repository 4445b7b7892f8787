"""Nothing goes out of a tenant, source type or channel, or by a provider, until who paused it resumes it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jtd_worker.testing.http_server import ThreadedHttpServer, answer
from tests.daemon import eventually, running
from tests.jobs import OTHER_TENANT, TENANT, history, insert_jtd, one, places, row
from tests.tenants import EMAIL, SOURCE, insert
from tests.test_worker import webhook
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def test_a_paused_tenant_waits_and_goes_on(db: psycopg.Connection, worker: Worker) -> None:
    queued = insert(db), insert_jtd(db)
    db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", [TENANT])
    other = insert(db, tenant_id=OTHER_TENANT)
    assert [job.id for job in worker.claim()] == [other]
    later = insert(db)
    for _ in range(3):
        worker.tick()
        assert worker.claim() == []
    assert places(db)["ready"] == 3
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    assert one(db, "SELECT jtd.resume_tenant(%s)", TENANT) is True
    worker.tick()
    assert {job.id for job in worker.claim()} == {*queued, later}
    assert one(db, "SELECT jtd.resume_tenant(%s)", TENANT) is False


def test_a_paused_source_type_waits_and_goes_on(db: psycopg.Connection, worker: Worker) -> None:
    queued = insert(db)
    assert one(db, "SELECT jtd.pause_source(%s, 'wrong text')", SOURCE) is True
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    pending = insert(db)
    db.execute("DELETE FROM jtd.windows")
    other = insert(db, source_type_code="contract_signed")
    assert [job.id for job in worker.claim()] == [other]
    worker.tick()
    assert worker.claim() == []
    assert db.execute("SELECT reason, count(*) FROM jtd.waiting GROUP BY 1").fetchall() == [
        ("source_paused", 2)
    ]
    assert one(db, "SELECT jtd.resume_source(%s)", SOURCE) is True
    worker.tick()
    assert {job.id for job in worker.claim()} == {queued, pending}
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    assert one(db, "SELECT jtd.pause_source('gone')") is False


def test_a_source_that_stays_paused_is_looked_at_again_without_a_trace(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_source(%s)", [SOURCE])
    assert worker.claim() == []
    before = history(db, jtd_id)
    db.execute("UPDATE jtd.waiting SET due = now()")
    worker.tick()
    assert history(db, jtd_id) == before
    assert places(db) == {"waiting": 1}


def test_nothing_is_handed_to_a_paused_provider(db: psycopg.Connection, worker: Worker) -> None:
    insert(db)
    job = worker.claim_one()
    assert one(db, "SELECT jtd.pause_provider('email', 'smtp', 'moving')") is True
    ask = "SELECT answer FROM jtd.hand_off_v2(%s, %s, %s, 'resend', 'email', %s)"
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "open"
    db.execute("SELECT jtd.trip_v1('email', 'smtp', 'smtp_421', 1)")
    db.execute("SELECT jtd.mended_v1('email', 'smtp')")
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "open", (
        "no worker ends what a person began"
    )
    assert worker.tick()["breakers"][0][:2] == ["email", "smtp"]
    assert one(db, "SELECT jtd.resume_provider('email', 'smtp')") is True
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "go"
    assert one(db, "SELECT jtd.resume_provider('email', 'smtp')") is False
    assert one(db, "SELECT jtd.pause_provider('pigeon', 'smtp')") is False


def test_a_pause_of_a_provider_that_is_not_committed_delays_no_tick(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    db.execute("SELECT jtd.trip_v1('email', 'smtp', 'smtp_421', 1)")
    db.execute("UPDATE jtd.breakers SET retry_at = now() - interval '1 h'")
    with psycopg.connect(dsn) as user:
        user.execute("SELECT jtd.pause_provider('email', 'smtp')")
        worker.tick()


def test_a_job_that_is_put_off_while_its_source_is_resumed_goes_on(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_source(%s)", [SOURCE])
    with psycopg.connect(dsn) as other:
        late = Worker(other)
        other.commit()
        assert late.claim() == []
        db.execute("SELECT jtd.resume_source(%s)", [SOURCE])
        other.commit()
    worker.tick()
    assert worker.claim_one().id == jtd_id


def test_many_tenants_who_may_not_go_are_looked_at_some_at_a_time_and_delay_nobody(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute(
        "INSERT INTO jtd.pauses (scope, code)"
        " SELECT 'tenant', lpad(to_hex(n), 32, '0')::uuid FROM generate_series(1, 2500) AS n"
    )
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id)"
        " SELECT 'email', 'normal', code::uuid FROM jtd.pauses"
    )
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, recipient_contact)"
        " SELECT code::uuid, 'notification', %s, 'email', 'a@example.com' FROM jtd.pauses",
        [SOURCE],
    )
    last = UUID(int=2**127)
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [last]
    )
    jtd_id = insert(db, tenant_id=last)
    for _ in range(3):
        worker.tick()
    assert worker.claim_one().id == jtd_id


@pytest.mark.parametrize(
    ("pause", "resume", "free"),
    [
        ("pause_tenant('{tenant}')", "resume_tenant('{tenant}')", {"tenant_id": OTHER_TENANT}),
        (
            "pause_source('payment_received')",
            "resume_source('payment_received')",
            {"source_type_code": "user_invite"},
        ),
        (
            "pause('email')",
            "resume('email')",
            {
                "channel_code": "sms",
                "recipient_contact": "+14155550101",
                "template_key": "user_invite_sms_v1",
            },
        ),
        (
            "pause_provider('email', 'webhook')",
            "resume_provider('email', 'webhook')",
            {
                "channel_code": "sms",
                "recipient_contact": "+14155550101",
                "template_key": "user_invite_sms_v1",
            },
        ),
    ],
)
def test_a_running_worker_heeds_a_pause_and_its_end(
    dsn: str, db: psycopg.Connection, tmp_path: Path, pause: str, resume: str, free: dict[str, Any]
) -> None:
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook,sms:noop", tmp_path, **webhook(server)) as daemon,
    ):
        daemon.wait_for("worker.started")
        first = insert(db, template_key=EMAIL)
        eventually(lambda: row(db, first)["status_code"] == "sent")
        db.execute(f"SELECT jtd.{pause.format(tenant=TENANT)}".encode())
        stopped = insert(db, template_key=EMAIL)
        for _ in range(2):
            other = insert(db, **{"template_key": EMAIL, **free})
            eventually(lambda other=other: row(db, other)["status_code"] == "sent")
        assert row(db, stopped)["status_code"] in {"pending", "queued", "executing"}
        assert row(db, stopped)["executed_at"] is None
        db.execute(f"SELECT jtd.{resume.format(tenant=TENANT)}".encode())
        eventually(lambda: row(db, stopped)["status_code"] == "sent", 5)
        assert row(db, stopped)["retry_count"] == 0
