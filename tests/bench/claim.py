"""Measures what a claim costs when much lies around it: `python -m tests.bench.claim`.

Three rounds, side by side in one run: claims of 500 from a fresh queue; the same after 200,000 messages
went through while an old snapshot was open, so that nothing could be vacuumed; the same with 1,000,000 jobs
waiting for a later time. Prints medians in milliseconds and their ratios. About four minutes; only a quiet
machine tells anything.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from jtd_worker.migrate import migrate
from tests.jobs import insert_many
from tests.postgres import Databases, server
from tests.worker_calls import Worker

BATCH = 500
CLAIMS = 30
THROUGH = 200_000
WAITING = 1_000_000


@contextmanager
def fresh(databases: Databases, template: str) -> Iterator[psycopg.Connection]:
    with databases.database(template=template) as dsn, psycopg.connect(dsn, autocommit=True) as db:
        yield db


def claims(db: psycopg.Connection, worker: Worker, number: int) -> list[float]:
    """Send `number` jobs by the worker's functions alone; return the milliseconds of each claim."""
    taken = []
    for start in range(0, number, 5000):
        db.execute("UPDATE jtd.queues SET closes_at = 1000000000")  # until the next tick
        insert_many(db, 1000)  # of one statement 1,000 go straight to the queue
        for _ in range(4):
            insert_many(db, 1000)
        for _ in range(min(5000, number - start) // BATCH):
            begun = time.perf_counter()
            found = db.execute(
                "SELECT id, attempt FROM jtd.claim_v1(%s, 'jtd_email', %s)", [worker.id, BATCH]
            ).fetchall()
            taken.append((time.perf_counter() - begun) * 1000)
            assert len(found) == BATCH, len(found)
            db.execute(
                "SELECT FROM jtd.settle_v1(%s, (SELECT jsonb_agg(jsonb_build_object('id', u.id, 'attempt',"
                " u.attempt, 'outcome', 'sent')) FROM unnest(%s::uuid[], %s::int[]) AS u (id, attempt)))",
                [worker.id, [row[0] for row in found], [row[1] for row in found]],
            )
        db.execute("DELETE FROM jtd.windows")
        worker.tick()
    return taken


def main() -> None:
    with server() as admin:
        databases = Databases(admin=admin)
        with databases.database() as template:
            migrate(template)
            with fresh(databases, template) as db:
                worker = Worker(db, lease=3000)
                db.execute("UPDATE jtd.queues SET target_depth = 50000")
                claims(db, worker, 5000)
                empty = statistics.median(claims(db, worker, CLAIMS * BATCH))
            with fresh(databases, template) as db, psycopg.connect(db.info.dsn) as old:
                worker = Worker(db, lease=3000)
                old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                old.execute("SELECT count(*) FROM n_jtd")
                passed = claims(db, worker, THROUGH)
                snapshot = statistics.median(passed[-CLAIMS:])
            with fresh(databases, template) as db:
                worker = Worker(db, lease=3000)
                for _ in range(WAITING // 100_000):
                    insert_many(db, 100_000, scheduled_at="2099-01-01")
                claims(db, worker, 5000)
                waiting = statistics.median(claims(db, worker, CLAIMS * BATCH))
    print(f"claim of {BATCH}, fresh queue          {empty:6.1f} ms")
    print(f"after {THROUGH} under a snapshot  {snapshot:6.1f} ms  {snapshot / empty:.2f} x (bar 1.5)")
    print(f"with {WAITING} waiting           {waiting:6.1f} ms  {waiting / empty:.2f} x (bar 1.2)")


if __name__ == "__main__":
    main()
