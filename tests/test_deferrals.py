"""Whatever holds jobs back: none is sent twice, none uses an attempt, and all go once nothing does."""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.jobs import OTHER_TENANT, TENANT, insert_many, one, places
from tests.worker_calls import Worker, result, send

SOURCES = ["payment_received", "contract_signed", "user_invite"]

Step = tuple[str, int]
"""What happens, and a number that chooses among jobs, tenants or sources."""

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["insert", "insert", "claim", "claim", "tick", "tick", "time", "quiet", "loud", "pause_tenant",
             "resume_tenant", "pause_source", "resume_source", "limit", "rate", "batch", "message",
             "give_back"]
        ),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


def configure(db: psycopg.Connection) -> None:
    for tenant in (TENANT, OTHER_TENANT):
        db.execute(
            "INSERT INTO n_jtd_tenant_config (tenant_id, channels_enabled) VALUES (%s, %s)",
            [tenant, Jsonb({"email": True})],
        )
        for source in SOURCES[:2]:
            db.execute(
                "INSERT INTO n_jtd_tenant_source_config (tenant_id, source_type_code) VALUES (%s, %s)",
                [tenant, source],
            )


def take(worker: Worker, step: Step, sent: Counter[UUID]) -> None:  # noqa: PLR0912 - one branch a step
    """Let one thing happen."""
    db, (what, number) = worker.db, step
    tenant, source = [TENANT, OTHER_TENANT][number % 2], SOURCES[number % 3]
    match what:
        case "insert":
            insert_many(db, 1 + number, tenant_id=tenant, source_type_code=source, template_key=None)
        case "claim":
            for job in worker.claim(limit=1 + number):
                worker.settle(result(job, "sent", provider="smtp"))
                sent[job.id] += 1
        case "give_back":
            jobs = worker.claim(limit=1 + number)
            if jobs:
                worker.settle(*(result(job, "release") for job in jobs))
        case "tick":
            worker.tick()
        case "time":
            db.execute("UPDATE jtd.waiting SET due = now()")
            db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE next_retry_at > now()")
            db.execute("DELETE FROM jtd.holds; DELETE FROM jtd.usage; DELETE FROM jtd.tenant_rates")
        case "quiet":
            now = datetime.fromisoformat("2000-01-01") + one(
                db, "SELECT date_trunc('minute', (now() AT TIME ZONE 'UTC')::time::interval)"
            )
            start, end = (now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time()
            db.execute(
                "UPDATE n_jtd_tenant_config SET quiet_hours_start = %s, quiet_hours_end = %s"
                " WHERE tenant_id = %s",
                [start, end, tenant],
            )
        case "loud":
            lift_quiet_hours(db)
        case "pause_tenant" | "resume_tenant":
            db.execute(f"SELECT jtd.{what}(%s)".encode(), [tenant])
        case "pause_source" | "resume_source":
            db.execute(f"SELECT jtd.{what}(%s)".encode(), [source])
        case "limit":
            db.execute(
                "UPDATE n_jtd_tenant_config SET daily_limit = %s WHERE tenant_id = %s",
                [[None, 0, 1, 2, 5, 10][number], tenant],
            )
        case "rate":
            db.execute(
                "UPDATE n_jtd_tenant_config SET rate_limits = %s WHERE tenant_id = %s",
                [Jsonb({"email": number} if number else {}), tenant],
            )
        case "batch":
            db.execute(
                "UPDATE n_jtd_tenant_source_config SET batch_window_seconds = %s WHERE tenant_id = %s",
                [60 if number % 2 else None, tenant],
            )
        case "message":
            jobs = db.execute("SELECT id FROM n_jtd ORDER BY id OFFSET %s LIMIT 3", [number]).fetchall()
            for (jtd_id,) in jobs:
                send(db, "jtd_email", {"jtd_id": str(jtd_id)})


def lift_quiet_hours(db: psycopg.Connection) -> None:
    db.execute("UPDATE n_jtd_tenant_config SET quiet_hours_start = NULL, quiet_hours_end = NULL")


def lift_everything(db: psycopg.Connection) -> None:
    lift_quiet_hours(db)
    db.execute("UPDATE n_jtd_tenant_config SET daily_limit = NULL, rate_limits = '{}'")
    for tenant in (TENANT, OTHER_TENANT):
        db.execute("SELECT jtd.resume_tenant(%s)", [tenant])
    for source in SOURCES:
        db.execute("SELECT jtd.resume_source(%s)", [source])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=steps)
def test_what_is_held_back_goes_once_and_uses_no_attempt(db: psycopg.Connection, plan: list[Step]) -> None:
    with db.transaction(force_rollback=True):
        configure(db)
        worker = Worker(db)
        sent: Counter[UUID] = Counter()
        for step in plan:
            take(worker, step, sent)
            places(db)
        lift_everything(db)
        for _ in range(12):
            take(worker, ("time", 0), sent)
            worker.tick()
            db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
            for _ in range(10):
                take(worker, ("claim", 99), sent)
        assert set(sent.values()) <= {1}
        assert one(db, "SELECT coalesce(max(retry_count), 0) FROM n_jtd") == 0
        assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code <> 'sent'") == 0
        carried = one(db, "SELECT count(*) FROM n_jtd WHERE carrier_id <> id")
        assert len(sent) + carried == one(db, "SELECT count(*) FROM n_jtd")
        assert one(db, "SELECT bool_and(is_valid_transition) IS NOT FALSE FROM n_jtd_history")
