"""What a tenant may send a day, a month and a minute is exact; the rest waits or is cancelled."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.jobs import OTHER_TENANT, TENANT, insert_jtd, insert_many, one, places, row
from tests.tenants import SOURCE, change, insert, set_tenant
from tests.worker_calls import Worker, result


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def used(db: psycopg.Connection) -> tuple[int, int]:
    """Return what the settings show as used this day and this month."""
    [found] = db.execute("SELECT daily_used, monthly_used FROM n_jtd_tenant_config").fetchall()
    return found


def test_a_daily_limit_lets_through_so_many_and_the_rest_tomorrow(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, daily_limit=3)
    insert_many(db, 5, source_type_code=SOURCE, template_key=None)
    jobs = worker.claim()
    assert len(jobs) == 3
    assert worker.claim() == []
    assert db.execute(
        "SELECT DISTINCT transition_note FROM n_jtd WHERE status_code = 'pending'"
    ).fetchall() == [("daily_limit",)]
    assert places(db) == {"in_flight": 3, "ready": 2}
    worker.tick()
    assert used(db) == (3, 3)
    assert one(db, "SELECT last_reset_date = (now() AT TIME ZONE 'UTC')::date FROM n_jtd_tenant_config")
    assert one(db, "SELECT until = date_trunc('day', now(), 'UTC') + interval '1 day' FROM jtd.holds")
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    # tomorrow
    db.execute(
        "UPDATE jtd.holds SET until = now(); UPDATE jtd.usage SET begins = begins - 1 WHERE period = 'day'"
    )
    worker.tick()
    assert len(worker.claim()) == 2
    worker.tick()
    assert used(db) == (2, 5)


def test_a_limit_that_is_raised_counts_at_once(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    worker.tick()
    assert worker.claim() == []
    change(db, "daily_limit = 2")
    worker.tick()
    assert len(worker.claim()) == 1
    assert worker.claim() == []


def test_a_limit_may_cancel_what_is_over_it(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, monthly_limit=1, limit_action="block")
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    insert(db)
    worker.tick()
    assert worker.claim() == []
    ended = db.execute(
        "SELECT status_code, error_code FROM n_jtd WHERE status_code <> 'executing'"
    ).fetchall()
    assert ended == [("cancelled", "blocked_monthly_limit")] * 3


def test_a_retry_does_not_count_again(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    jtd_id = insert(db)
    worker.settle(result(worker.claim_one(), "retry", code="busy", reason="busy"))
    db.execute("UPDATE n_jtd SET next_retry_at = now()")
    worker.tick()
    assert worker.claim_one().id == jtd_id
    worker.tick()
    assert used(db) == (1, 1)


def test_identity_messages_pass_a_limit_and_do_not_count(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    identity = insert_jtd(db)
    assert row(db, identity)["status_code"] == "pending"
    worker.tick()
    assert worker.claim_one().id == identity
    worker.tick()
    assert used(db) == (1, 1)


def test_what_was_counted_more_than_400_days_ago_is_forgotten_with_the_first_message_of_a_day(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, daily_limit=5)
    db.execute(
        "INSERT INTO jtd.usage (tenant_id, is_live, period, begins)"
        " SELECT t.id, true, 'day', (now() AT TIME ZONE 'UTC')::date - d.age"
        " FROM unnest(%s::uuid[]) AS t (id), unnest('{1,400,401,900}'::integer[]) AS d (age)",
        [[TENANT, OTHER_TENANT]],
    )
    ages = (
        "SELECT array_agg((now() AT TIME ZONE 'UTC')::date - begins ORDER BY begins DESC) FROM jtd.usage"
        " WHERE tenant_id = %s AND period = 'day'"
    )
    insert(db)
    worker.claim_one()
    assert one(db, ages, TENANT) == [0, 1, 400]
    assert one(db, ages, OTHER_TENANT) == [1, 400, 401, 900], "each with a message of his own"


def test_what_a_tenant_without_settings_has_used_is_not_looked_at_for_ever(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, daily_limit=5)
    set_tenant(db, tenant_id=OTHER_TENANT, daily_limit=5)
    insert(db), insert(db, tenant_id=OTHER_TENANT)
    assert len(worker.claim()) == 2
    db.execute("DELETE FROM n_jtd_tenant_config WHERE tenant_id = %s", [OTHER_TENANT])
    worker.tick()
    assert one(db, "SELECT bool_and(is_shown) FROM jtd.usage")
    assert used(db) == (1, 1)


def test_a_producer_cannot_say_that_a_job_was_counted(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None, attempt=1)
    assert len(worker.claim()) == 1


def test_test_rows_have_limits_of_their_own(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    set_tenant(db, daily_limit=1, is_live=False)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None, is_live=False)
    assert sorted(job.is_diverted for job in worker.claim()) == [False, True]
    for _ in range(2):
        worker.tick()
        assert worker.claim() == []
    assert places(db) == {"in_flight": 2, "ready": 1, "waiting": 1}


def test_a_limit_holds_exactly_while_many_claim(dsn: str, db: psycopg.Connection) -> None:
    set_tenant(db, daily_limit=100)
    set_tenant(db, tenant_id=OTHER_TENANT, daily_limit=70, monthly_limit=50)
    for tenant in (TENANT, OTHER_TENANT):
        insert_many(db, 200, source_type_code=SOURCE, template_key=None, tenant_id=tenant)
    taken: dict[UUID, int] = {TENANT: 0, OTHER_TENANT: 0}

    def claim_all(_: int) -> list[Any]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            worker = Worker(conn)
            jobs = []
            while claimed := worker.claim(limit=7):
                jobs += claimed
            return jobs

    with ThreadPoolExecutor(8) as pool:
        for jobs in pool.map(claim_all, range(8)):
            for job in jobs:
                taken[job.tenant_id] += 1
    while True:  # what one found locked or the other had put off
        worker = Worker(db)
        worker.tick()
        jobs = worker.claim()
        for job in jobs:
            taken[job.tenant_id] += 1
        if not jobs and one(db, "SELECT count(*) FROM pgmq.q_jtd_email WHERE vt < now()") == 0:
            break
    assert taken == {TENANT: 100, OTHER_TENANT: 50}


def test_the_day_of_a_limit_is_that_of_the_tenant(db: psycopg.Connection, worker: Worker) -> None:
    zone = one(  # one where it is another day than in UTC
        db,
        "SELECT CASE WHEN extract(hour FROM now() AT TIME ZONE 'UTC') < 11"
        " THEN 'Etc/GMT+12' ELSE 'Etc/GMT-14' END",
    )
    set_tenant(db, daily_limit=1, timezone=zone)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    worker.tick()
    today = one(db, "SELECT (now() AT TIME ZONE %s)::date", zone)
    assert one(db, "SELECT last_reset_date FROM n_jtd_tenant_config") == today
    assert today != one(db, "SELECT (now() AT TIME ZONE 'UTC')::date")
    assert one(db, "SELECT until = (%s::date + 1)::timestamp AT TIME ZONE %s FROM jtd.holds", today, zone)


def test_a_tenants_own_rate_lets_through_so_many_a_minute(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, rate_limits={"email": 3}, daily_limit=100)
    insert_many(db, 5, source_type_code=SOURCE, template_key=None)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    assert len([job for job in worker.claim() if job.id != other]) == 3
    worker.tick()
    assert worker.claim() == []
    assert one(db, "SELECT reason FROM jtd.holds WHERE until BETWEEN now() AND now() + interval '63 s'") == (
        "tenant_rate"
    )
    waits = one(db, "SELECT jtd_id FROM jtd.ready LIMIT 1")
    assert "waits for its tenant's rate limit (tenant_rate) until " in one(
        db, "SELECT sentence FROM jtd.explain(%s)", waits
    )
    worker.tick()
    assert used(db) == (3, 3), "what the rate holds back uses no limit of the day"
    db.execute("UPDATE jtd.tenant_rates SET seconds = ARRAY(SELECT s - 63 FROM unnest(seconds) AS s)")
    db.execute("UPDATE jtd.holds SET until = now()")
    worker.tick()
    assert len(worker.claim()) == 2


def test_a_backlog_behind_a_tenants_rate_is_admitted_a_minutes_worth_at_a_time(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, rate_limits={"email": 3})
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    insert_many(db, 50, source_type_code=SOURCE, template_key=None)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    for _ in range(3):
        worker.tick()
    assert places(db) == {"queued": 4, "ready": 47}
    assert {job.id for job in worker.claim()} > {other}
    assert places(db) == {"in_flight": 4, "ready": 47}, "nothing was admitted in vain"


def test_a_tenants_rate_is_exact_while_many_claim(dsn: str, db: psycopg.Connection) -> None:
    set_tenant(db, rate_limits={"email": 40})
    insert_many(db, 200, source_type_code=SOURCE, template_key=None)

    def claim_all(_: int) -> int:
        with psycopg.connect(dsn, autocommit=True) as conn:
            worker = Worker(conn)
            return sum(len(worker.claim(limit=7)) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim_all, range(8))) == 40


# What is held, and by whom


def three(db: psycopg.Connection, worker: Worker, **limits: Any) -> None:
    """Use up limits by the first of three jobs."""
    set_tenant(db, **limits)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM n_jtd_tenant_config",
        "UPDATE n_jtd_tenant_config SET is_active = false",
        "UPDATE n_jtd_tenant_config SET monthly_limit = NULL, daily_limit = NULL",
        "UPDATE n_jtd_tenant_config SET timezone = 'Asia/Kolkata', monthly_limit = 9",
    ],
)
def test_a_hold_ends_with_the_limits_that_it_was_for(
    db: psycopg.Connection, worker: Worker, change: str
) -> None:
    three(db, worker, monthly_limit=1)
    assert worker.claim() == []
    db.execute(change.encode())
    worker.tick()
    assert len(worker.claim()) == 2


@pytest.mark.parametrize("action", ["defer", "block"])
def test_a_limit_that_is_raised_while_a_claim_counts_holds_nothing(
    dsn: str, db: psycopg.Connection, worker: Worker, action: str
) -> None:
    set_tenant(db, monthly_limit=1, limit_action=action)
    insert(db)
    with psycopg.connect(dsn) as other:
        late = Worker(other)
        other.commit()
        assert len(late.claim()) == 1
        change(db, "monthly_limit = 100")
        other.commit()
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    worker.tick()
    assert len(worker.claim()) == 2


def test_a_change_of_settings_that_is_not_committed_delays_no_tick_and_no_claim(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    three(db, worker, rate_limits={"email": 1}, daily_limit=5)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    with psycopg.connect(dsn) as user:
        user.execute("UPDATE n_jtd_tenant_config SET daily_limit = 7")
        db.execute("UPDATE jtd.holds SET until = now()")
        db.execute("UPDATE jtd.tenant_rates SET seconds = ARRAY[seconds[1] - 100]")
        worker.tick()
        insert(db)
        assert other in {job.id for job in worker.claim()}
        worker.tick()


def test_what_was_given_back_counts_for_the_rate_again(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, rate_limits={"email": 2})
    insert_many(db, 6, source_type_code=SOURCE, template_key=None)
    for _ in range(2):
        worker.settle(*(result(job, "release") for job in worker.claim()))
        db.execute("UPDATE jtd.holds SET until = now(); DELETE FROM jtd.tenant_rates")
        worker.tick()
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert len(worker.claim()) == 2
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0


def test_limits_that_were_written_past_the_checks_harm_nobody_else(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db)
    db.execute("SET session_replication_role = replica")
    change(db, """rate_limits = '{"email": "lots"}'""")
    db.execute("RESET session_replication_role")
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    jobs = {insert(db), insert_jtd(db, tenant_id=OTHER_TENANT)}
    worker.tick()
    assert {job.id for job in worker.claim()} == jobs
