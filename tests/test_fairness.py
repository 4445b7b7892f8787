"""However much one tenant brings, others go on: what goes before them is bounded, as is what a tick sees."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from tests.jobs import OTHER_TENANT, TENANT, insert_jtd, insert_many, messages, one, places, whereabouts
from tests.worker_calls import Worker, result

STRAIGHT = 1000
"""Jobs of one statement that go straight to the queue, and what a new queue takes before its first tick."""


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    worker = Worker(db)
    worker.tick()  # and the sweep of its start
    return worker


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


def target(db: psycopg.Connection, depth: int) -> None:
    """Give the mail queue a target, and let nothing be known of what is read from it."""
    db.execute("UPDATE jtd.queues SET target_depth = %s, depth = 0 WHERE queue_name = 'jtd_email'", [depth])


def close(db: psycopg.Connection) -> None:
    """Let whatever comes go the way of the list, until the next tick."""
    db.execute("UPDATE jtd.queues SET closes_at = 0")


def send_all(worker: Worker, limit: int = 1000) -> list[UUID]:
    """Claim and settle once; returns the tenants in the order of the messages."""
    order = {jtd_id: place for place, jtd_id in enumerate(messages(worker.db, "jtd_email"))}
    jobs = sorted(worker.claim(limit=limit), key=lambda job: order[job.id])
    if jobs:
        worker.settle(*(result(job, "sent") for job in jobs))
    return [job.tenant_id for job in jobs]


def of_tenants(db: psycopg.Connection, tenants: int, each: int) -> None:
    """Insert `each` jobs of each of many tenants, all of which await admission."""
    close(db)
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, recipient_contact,"
        " template_key) SELECT lpad(to_hex(t), 32, '0')::uuid, 'notification', 'user_invite', 'email',"
        " 'john@example.com', 'user_invite_email_v1'"
        " FROM generate_series(1, %s) AS e, generate_series(1, %s) AS t",
        [each, tenants],
    )
    assert one(db, "SELECT count(*) FROM jtd.ready") == tenants * each


def tick_looks_at(worker: Worker, *relations: str, admits: int) -> list[int]:
    """Tick, and return how many rows of tables, or entries of indexes, it has read."""
    query = (
        "SELECT pg_stat_get_xact_tuples_returned(r::regclass)"
        " + CASE WHEN r LIKE %s THEN 0 ELSE pg_stat_get_xact_tuples_fetched(r::regclass) END"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u (r, n) ORDER BY n"
    )
    with worker.db.transaction():
        before = worker.db.execute(query, ["%_idx", list(relations)]).fetchall()
        assert worker.tick()["admitted"] == admits
        after = worker.db.execute(query, ["%_idx", list(relations)]).fetchall()
    return [now[0] - was[0] for was, now in zip(before, after, strict=True)]


@contextmanager
def old_snapshot(dsn: str) -> Iterator[None]:
    with psycopg.connect(dsn) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM n_jtd")
        yield


# What goes before another tenant


@pytest.mark.parametrize("size", [5000, 500, 100])
def test_of_a_campaign_no_more_than_the_target_goes_before_another_tenant(
    db: psycopg.Connection, worker: Worker, size: int
) -> None:
    for _ in range(5000 // size):
        insert_many(db, size)
    ahead: list[int] = []
    for _ in range(5):
        worker.tick()
        send_all(worker, 50)
        other = insert_jtd(db, tenant_id=OTHER_TENANT)
        depth = one(db, "SELECT target_depth FROM jtd.queues WHERE queue_name = 'jtd_email'")
        went = 0
        while whereabouts(db, other).place != "sent":
            went += send_all(worker, 50).count(TENANT)
            worker.tick()
        ahead.append(went - 2 * max(depth, STRAIGHT) - 50)
    assert max(ahead) <= 0


def test_a_flood_of_statements_fills_the_queue_to_its_bound_even_where_nobody_ticks(
    db: psycopg.Connection,
) -> None:
    for _ in range(8):
        insert_many(db, 500)
    assert places(db) == {"queued": STRAIGHT, "ready": 3000}


def test_between_two_ticks_producers_fill_a_queue_to_twice_its_target(
    db: psycopg.Connection, worker: Worker
) -> None:
    target(db, 200)
    worker.tick()
    for _ in range(30):
        insert_many(db, 20)
    assert len(messages(db, "jtd_email")) == 400
    worker.tick()
    assert (
        whereabouts(db, insert_jtd(db, tenant_id=OTHER_TENANT)).place == "ready"
    )  # it is full for everybody


def test_a_full_queue_admits_who_came_late_beside_who_fills_it(
    db: psycopg.Connection, worker: Worker
) -> None:
    target(db, 100)
    worker.tick()
    for _ in range(40):
        insert_many(db, 20)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    assert whereabouts(db, other).place == "ready"
    send_all(worker)
    target(db, 100)
    worker.tick()
    assert whereabouts(db, other).place == "queued"


def test_messages_that_are_being_sent_take_no_room(db: psycopg.Connection, worker: Worker) -> None:
    target(db, 100)
    close(db)
    insert_many(db, 300)
    worker.tick()
    jobs = worker.claim()
    assert len(jobs) == 100
    target(db, 100)
    assert worker.tick()["admitted"] == 100  # a provider that takes its time is not slowed down


def test_a_campaign_of_urgent_jobs_is_in_the_way_of_urgent_ones_alone(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_many(db, 3000, priority=9)
    insert_many(db, 10, priority=9)
    worker.tick()
    assert whereabouts(db, insert_jtd(db)).place == "queued"
    assert len(messages(db, "jtd_email")) == 1
    assert whereabouts(db, insert_jtd(db, priority=9)).place == "ready"


def test_while_jobs_wait_for_room_and_messages_are_read_the_next_tick_comes_soon(
    db: psycopg.Connection, worker: Worker
) -> None:
    target(db, 100)
    close(db)
    insert_many(db, 300)
    assert worker.tick()["more"] is True
    assert worker.tick()["more"] is False  # nobody reads
    send_all(worker)
    target(db, 1)
    db.execute("UPDATE jtd.queues SET depth = 100 WHERE queue_name = 'jtd_email'")
    assert worker.tick()["more"] is True


# Turns


def test_ten_thousand_tenants_take_turns_and_each_has_one(db: psycopg.Connection, worker: Worker) -> None:
    tenants = 10_000
    of_tenants(db, tenants, 2)
    for number in range(4):
        target(db, 2500)
        assert worker.tick()["admitted"] == 2500
        db.execute("TRUNCATE pgmq.q_jtd_email")
        served = one(db, "SELECT count(DISTINCT tenant_id) FROM n_jtd WHERE status_code = 'queued'")
        assert served == 2500 * (number + 1)
    assert one(db, "SELECT count(*) FROM jtd.ready") == tenants
    db.execute("DELETE FROM n_jtd")


def test_tenants_whose_jobs_have_ended_keep_nobody_waiting(db: psycopg.Connection, worker: Worker) -> None:
    of_tenants(db, 1500, 1)
    db.execute("SELECT jtd.close_windows('jtd_email')")
    db.execute("SELECT jtd.cancel(id) FROM n_jtd")
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    assert whereabouts(db, other).place == "ready"
    target(db, 100)
    assert worker.tick()["admitted"] == 1
    assert one(db, "SELECT NOT EXISTS (SELECT FROM jtd.windows)")


# Who is ready is never forgotten


def test_a_tenant_whose_transaction_is_slow_to_commit_is_found(
    db: psycopg.Connection, dsn: str, worker: Worker
) -> None:
    close(db)
    with psycopg.connect(dsn) as slow:
        late = insert_jtd(slow)
        for _ in range(3):
            close(db)
            insert_jtd(db)
            insert_jtd(db, tenant_id=OTHER_TENANT)
            worker.tick()
        assert one(db, "SELECT NOT EXISTS (SELECT FROM jtd.windows)")
        slow.commit()
    assert whereabouts(db, late).place == "ready"
    assert worker.tick()["admitted"] == 1


def test_producers_of_one_tenant_do_not_wait_for_each_other(
    db: psycopg.Connection, dsn: str, worker: Worker
) -> None:
    close(db)
    with psycopg.connect(dsn) as first, psycopg.connect(dsn) as second:
        second.execute("SET statement_timeout = '5s'")
        for producer in (first, second, first, second):
            insert_jtd(producer)
        first.commit()
        worker.tick()
        second.commit()
    worker.tick()
    assert places(db) == {"queued": 4}


def test_more_arrivals_than_a_tick_reads_are_read_by_the_next(db: psycopg.Connection, worker: Worker) -> None:
    db.execute(
        "INSERT INTO jtd.arrivals SELECT 'email', 'normal', t, lpad(to_hex(t), 32, '0')::uuid"
        " FROM generate_series(1, 12000) AS t"
    )
    db.execute("SELECT jtd.pause('email')")
    worker.tick()
    assert one(db, "SELECT count(*) FROM jtd.windows") == 10_000
    worker.tick()
    assert one(db, "SELECT count(*) FROM jtd.windows") == 12_000


def test_arrivals_are_read_in_a_restored_database_too(db: psycopg.Connection, worker: Worker) -> None:
    db.execute("UPDATE jtd.queues SET arrivals_from = 1000000000000")  # transactions count anew
    close(db)
    insert_jtd(db)
    assert worker.tick()["admitted"] == 1


def test_the_sweep_finds_tenants_whose_arrival_nobody_noted(db: psycopg.Connection, worker: Worker) -> None:
    close(db)
    insert_jtd(db)
    insert_jtd(db, tenant_id=OTHER_TENANT, priority=9)
    db.execute("TRUNCATE jtd.arrivals")
    assert worker.tick()["admitted"] == 0
    assert Worker(db).tick()["admitted"] == 2  # a worker that starts makes a sweep due


# What a tick looks at


def test_a_tick_that_finds_the_queue_full_looks_at_no_job_and_few_tenants(
    db: psycopg.Connection, worker: Worker
) -> None:
    of_tenants(db, 3000, 1)
    target(db, 100)
    worker.tick()
    ready, jobs, windows = tick_looks_at(worker, "jtd.ready", "public.n_jtd", "jtd.windows", admits=0)
    assert (ready, jobs) == (0, 0)
    assert windows < 10


def test_a_tick_looks_at_no_more_tenants_and_jobs_than_it_admits(
    db: psycopg.Connection, worker: Worker
) -> None:
    of_tenants(db, 3000, 2)
    worker.tick()
    send_all(worker)
    target(db, 100)
    windows, ready = tick_looks_at(worker, "jtd.windows", "jtd.ready_order_idx", admits=100)
    assert windows < 2 * 100 + 50
    assert ready < 2 * 100 + 50


def test_a_full_queue_costs_a_tick_nothing_for_what_went_before_while_a_snapshot_is_open(
    db: psycopg.Connection, dsn: str, worker: Worker
) -> None:
    with old_snapshot(dsn):
        close(db)
        insert_many(db, 3000)
        for _ in range(4):
            target(db, 500)
            worker.tick()
            send_all(worker)
        target(db, 100)
        for _ in range(3):
            worker.tick()
        ready, arrivals, queue = tick_looks_at(
            worker, "jtd.ready_order_idx", "jtd.arrivals_pkey", "pgmq.q_jtd_email_pkey", admits=0
        )
    assert ready == 0
    assert arrivals < 10
    assert queue < 1000


def test_taking_jobs_off_a_list_does_not_read_the_list(db: psycopg.Connection, worker: Worker) -> None:
    """Also by a plan that was made when the list was short."""
    for _ in range(7):
        close(db)
        insert_many(db, 3)
        worker.tick()
    close(db)
    insert_many(db, 5000, tenant_id=OTHER_TENANT)
    target(db, 100)
    worker.tick()
    send_all(worker)
    target(db, 100)
    by_turn, by_job, whole = tick_looks_at(
        worker, "jtd.ready_order_idx", "jtd.ready_pkey", "jtd.ready", admits=100
    )
    assert by_turn < 500
    assert by_job < 1000
    assert whole < 2000
