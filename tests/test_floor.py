"""Readers of a queue begin at its floor, and miss no message by that."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.jobs import insert_jtd, insert_many, one
from tests.worker_calls import Worker, queue_content, result


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    worker = Worker(db)
    worker.tick()
    return worker


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn) as conn:
        yield conn


def floor(db: psycopg.Connection) -> int:
    found: int = one(db, "SELECT floor FROM jtd.queues WHERE queue_name = 'jtd_email'")
    return found


def send_all(worker: Worker) -> int:
    jobs = worker.claim(limit=1000)
    worker.settle(*(result(job, "sent") for job in jobs))
    return len(jobs)


def look_twice(worker: Worker) -> None:
    for _ in range(2):
        worker.tick()


def test_the_floor_follows_what_was_deleted_also_while_an_old_snapshot_is_open(
    db: psycopg.Connection, worker: Worker, other: psycopg.Connection
) -> None:
    other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    other.execute("SELECT count(*) FROM n_jtd")
    insert_many(db, 300)
    send_all(worker)
    left = insert_jtd(db)
    look_twice(worker)
    assert floor(db) == one(db, "SELECT min(msg_id) FROM pgmq.q_jtd_email") == 301
    assert [job.id for job in worker.claim()] == [left]


def test_the_floor_of_an_empty_queue_is_what_comes_next(db: psycopg.Connection, worker: Worker) -> None:
    insert_many(db, 20)
    send_all(worker)
    look_twice(worker)
    assert floor(db) == 21
    insert_many(db, 5)
    assert send_all(worker) == 5


def test_a_message_of_a_transaction_that_is_slow_to_commit_is_not_missed(
    db: psycopg.Connection, worker: Worker, other: psycopg.Connection
) -> None:
    slow = insert_jtd(other)  # takes the lowest number
    insert_many(db, 10)
    send_all(worker)
    for _ in range(3):
        worker.tick()
    assert floor(db) <= 1
    other.commit()
    for _ in range(3):
        worker.tick()
    assert floor(db) == 1
    assert [job.id for job in worker.claim()] == [slow]


def test_a_message_that_came_between_two_looks_holds_the_floor(
    db: psycopg.Connection, worker: Worker, other: psycopg.Connection
) -> None:
    slow = insert_jtd(other)
    insert_many(db, 10)
    send_all(worker)
    insert_jtd(db)
    worker.tick()  # sees 12 as the lowest
    other.commit()
    look_twice(worker)
    assert floor(db) == 1
    assert slow in {message.jtd_id for message in queue_content(db, "jtd_email")}
    assert send_all(worker) == 2


def test_a_queue_that_was_made_anew_is_read_from_its_beginning(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_many(db, 20)
    send_all(worker)
    look_twice(worker)
    db.execute("SELECT pgmq.drop_queue('jtd_email')")
    db.execute("SELECT jtd.make_queues()")
    assert floor(db) == 0
    insert_jtd(db)
    assert send_all(worker) == 1


def test_the_sweep_begins_at_the_bottom_again(db: psycopg.Connection, worker: Worker) -> None:
    insert_jtd(db)
    db.execute("UPDATE jtd.queues SET floor = 1000")
    assert send_all(worker) == 0
    Worker(db).tick()  # a worker that starts makes a sweep due
    assert send_all(worker) == 1
