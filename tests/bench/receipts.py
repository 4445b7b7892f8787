"""Measures how fast receipts are applied: `python -m tests.bench.receipts`.

First what saving the provider's id costs a settle of 500. Then a backlog of receipts that each move a job
(delivered, then read), applied by one connection in sets of 1,000. Then webhooks of 20 at a steady 2,000
receipts a second on one connection, while another applies what is due: how long from the beginning of an
accept to the end of the transaction that applied it. The server has its default, durable settings. Half a
minute.
"""

import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg

from jtd_worker.embedded import embedded_postgres
from jtd_worker.migrate import migrate
from tests.jobs import insert_many, one
from tests.postgres import lift_rate_limits
from tests.receipt_calls import PROVIDER, accept, receipt
from tests.worker_calls import Worker, result

BACKLOG = 10_000
PACED = 10_000
RATE = 2_000
WEBHOOK = 20
SET = 1_000
BATCH = 500
APPLY = "SELECT applied + ignored FROM jtd.apply_receipts_v1(%s)"


def send(db: psycopg.Connection, worker: Worker, number: int, *, with_ids: bool = True) -> list[UUID]:
    """Send `number` jobs by the worker's functions alone."""
    ids, taken = [], []
    for _ in range(number // BATCH):
        db.execute("UPDATE jtd.queues SET closes_at = 1000000000")  # until the next tick
        insert_many(db, BATCH)
        jobs = worker.claim(limit=BATCH)
        told = [
            result(job, "sent", provider=PROVIDER, provider_message_id=f"m-{job.id}" if with_ids else None)
            for job in jobs
        ]
        begun = time.perf_counter()
        worker.settle(*told)
        taken.append((time.perf_counter() - begun) * 1000)
        ids += [job.id for job in jobs]
    print(f"settle of {BATCH}, {'with' if with_ids else 'without'} ids {statistics.median(taken):6.1f} ms")
    return ids


def backlog(db: psycopg.Connection, ids: Sequence[UUID]) -> float:
    """Return receipts a second of applying two for each job, all accepted before."""
    for kind in ("delivered", "read"):
        for start in range(0, len(ids), SET):
            accept(db, *[receipt(kind, f"m-{jtd_id}") for jtd_id in ids[start : start + SET]])
    begun, done = time.perf_counter(), 0
    while done < 2 * len(ids):
        done += one(db, APPLY, SET)
    return done / (time.perf_counter() - begun)


def paced(dsn: str, db: psycopg.Connection, ids: Sequence[UUID]) -> list[float]:
    """Return the sorted seconds from accept to applied of one receipt for each job, at a steady rate."""
    ends: list[float] = []

    def keep_applying() -> None:
        with psycopg.connect(dsn, autocommit=True) as other:
            done = 0
            while done < len(ids):
                if applied := one(other, APPLY, SET):
                    ends.append(time.time())
                    done += applied
                else:
                    time.sleep(0.005)

    last = one(db, "SELECT coalesce(max(id), 0) FROM n_jtd_receipts")
    thread = threading.Thread(target=keep_applying)
    thread.start()
    begun = time.perf_counter()
    for number, start in enumerate(range(0, len(ids), WEBHOOK)):
        time.sleep(max(0.0, begun + number * WEBHOOK / RATE - time.perf_counter()))
        accept(db, *[receipt("delivered", f"m-{jtd_id}") for jtd_id in ids[start : start + WEBHOOK]])
    offered = len(ids) / (time.perf_counter() - begun)
    thread.join()
    print(f"accepted {offered:6.0f} a second")
    rows = db.execute(
        "SELECT extract(epoch FROM received_at)::float8, dense_rank() OVER (ORDER BY state_changed_at)"
        " FROM n_jtd_receipts WHERE id > %s",
        [last],
    ).fetchall()
    return sorted(ends[rank - 1] - received for received, rank in rows)


def main() -> None:
    with TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "data") as dsn:
        migrate(dsn)
        lift_rate_limits(dsn)
        with psycopg.connect(dsn, autocommit=True) as db:
            worker = Worker(db, lease=3000)
            send(db, worker, BACKLOG, with_ids=False)
            print(f"applied  {backlog(db, send(db, worker, BACKLOG)):6.0f} a second")
            waits = paced(dsn, db, send(db, worker, PACED))
            p99 = waits[int(len(waits) * 0.99)]
            print(
                f"accept to applied: median {statistics.median(waits) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
            )


if __name__ == "__main__":
    main()
