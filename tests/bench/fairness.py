"""Measures what a large tenant costs the others: `python -m tests.bench.fairness`.

Ticks: one tenant with 1,000,000 ready jobs, and 10,000 tenants with 100 each; a tick while the queue is full,
and one that admits, beside the same status update without its triggers; all again while an old snapshot is
open and 200,000 jobs went through the list and the queue.

Waits: a campaign of 200,000 jobs of one tenant, and a job of another one every quarter of a second, urgent
and normal in turn: the time from its INSERT until it is sent, by one real worker that drops what it sends.
The campaign comes in one statement, in statements of 500, row by row, and once more as urgent jobs.

`--ticks` and `--waits` take one part alone, `--scale 0.1` takes a tenth of everything.
About twelve minutes in full; only a quiet machine tells anything.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg

from jtd_worker.embedded import embedded_postgres
from jtd_worker.migrate import migrate
from tests.daemon import eventually, running
from tests.jobs import insert_jtd, insert_many, one
from tests.postgres import Databases, server
from tests.worker_calls import Worker, no_triggers

TICKS = 30
LARGE, OTHER = UUID(int=1), UUID(int=2**127)
PROBE_SECONDS = 15.0

LOAD = """
    WITH made AS (
        INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, recipient_contact,
            template_key, payload, status_code, status_changed_at, priority, max_retries, created_at)
        SELECT lpad(to_hex(1 + n %% %(tenants)s), 32, '0')::uuid, 'notification', 'user_invite', 'email',
            'john@example.com', 'user_invite_email_v1',
            '{"inviter_name": "Jane", "tenant_name": "Acme", "invite_link": "https://example.com/i"}',
            'pending', now(), 5, 3, now()
        FROM generate_series(0, %(jobs)s - 1) AS n
        RETURNING id, tenant_id)
    INSERT INTO jtd.ready (jtd_id, channel_code, lane, tenant_id, priority)
    SELECT id, 'email', 'normal', tenant_id, 5 FROM made"""


def timed_tick(worker: Worker) -> tuple[int, float]:
    """Return how many jobs a tick admitted, and the milliseconds it took."""
    begun = time.perf_counter()
    said = worker.tick()["admitted"]
    return said, (time.perf_counter() - begun) * 1000


@contextmanager
def loaded(databases: Databases, template: str, tenants: int, jobs: int) -> Iterator[psycopg.Connection]:
    """Yield a database with ready jobs, and no sweep to disturb what is measured."""
    with databases.database(template=template) as dsn, psycopg.connect(dsn, autocommit=True) as db:
        db.execute("DELETE FROM jtd.sweeps")
        with no_triggers(db):
            db.execute(LOAD, {"tenants": tenants, "jobs": jobs})
        db.execute("VACUUM ANALYZE n_jtd")
        db.execute("VACUUM ANALYZE jtd.ready")
        yield db


def empty(db: psycopg.Connection, target: int) -> None:
    """Take every message away, as if it had been sent, and let the queue take `target`."""
    db.execute("DELETE FROM pgmq.q_jtd_email")
    db.execute("UPDATE jtd.queues SET target_depth = %s, depth = 0 WHERE queue_name = 'jtd_email'", [target])


def full_ticks(db: psycopg.Connection, worker: Worker) -> Sequence[float]:
    """Return the milliseconds of ticks that find the queue full."""
    empty(db, 1000)
    for _ in range(5):  # and the window of every tenant is known
        worker.tick()
    taken = []
    for _ in range(TICKS):
        said, spent = timed_tick(worker)
        assert said == 0, said
        taken.append(spent)
    return taken


def admitting(db: psycopg.Connection, worker: Worker) -> float:
    """Return the microseconds of a tick for each job that it admits."""
    taken = []
    for _ in range(5):
        empty(db, 1000)
        said, spent = timed_tick(worker)
        taken.append(spent * 1000 / said)
    return statistics.median(taken)


def updating(db: psycopg.Connection, *, replica: bool) -> float:
    """Return the microseconds of the same status update for each job, with or without its triggers."""
    taken = []
    for _ in range(5):
        with db.transaction(force_rollback=True):
            if replica:
                db.execute("SET LOCAL session_replication_role = replica")
            ids = [row[0] for row in db.execute("SELECT jtd_id FROM jtd.ready LIMIT 1000")]
            begun = time.perf_counter()
            db.execute("SELECT jtd.step(%s, 'queued')", [ids])
            taken.append((time.perf_counter() - begun) * 1e6 / len(ids))
    return statistics.median(taken)


def churn(db: psycopg.Connection, worker: Worker, jobs: int) -> None:
    """Let jobs go through the list and the queue."""
    while jobs > 0:
        empty(db, 50_000)
        jobs -= worker.tick()["admitted"]


def ticks(scale: float) -> None:
    """Print what a tick costs beside much ready work."""
    print(
        f"{'ready jobs':<26}{'full: ms median':>16}{'max':>7}{'admits: us/job':>16}{'update':>8}{'bare':>7}"
    )
    jobs, through = int(1_000_000 * scale), int(200_000 * scale)
    with server() as admin:
        databases = Databases(admin=admin)
        with databases.database() as template:
            migrate(template)
            for tenants in (1, int(10_000 * scale)):
                with loaded(databases, template, tenants, jobs) as db:
                    worker = Worker(db, lease=3000)
                    tell_ticks(f"{tenants} x {jobs // tenants}", db, worker)
                    with psycopg.connect(db.info.dsn) as old:
                        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                        old.execute("SELECT count(*) FROM jtd.queues")
                        churn(db, worker, through)
                        tell_ticks("  under an old snapshot", db, worker)


def tell_ticks(what: str, db: psycopg.Connection, worker: Worker) -> None:
    full = full_ticks(db, worker)
    print(
        f"{what:<26}{statistics.median(full):>16.1f}{max(full):>7.1f}{admitting(db, worker):>16.0f}"
        f"{updating(db, replica=False):>8.0f}{updating(db, replica=True):>7.0f}",
        flush=True,
    )


# Waits

SENT = "SELECT count(*) FROM n_jtd WHERE tenant_id = %s AND status_code = 'sent'"


def one_statement(db: psycopg.Connection, jobs: int, priority: int) -> None:
    insert_many(db, jobs, tenant_id=LARGE, priority=priority)


def statements(size: int, seconds: float = 60) -> Callable[[psycopg.Connection, int, int], None]:
    """Return a producer of statements of `size`, each with its commit, for at most `seconds`."""

    def produce(db: psycopg.Connection, jobs: int, priority: int) -> None:
        end = time.monotonic() + seconds
        for _ in range(jobs // size):
            insert_many(db, size, tenant_id=LARGE, priority=priority)
            if time.monotonic() > end:
                break

    return produce


CAMPAIGNS: dict[str, tuple[Callable[[psycopg.Connection, int, int], None], int]] = {
    "one statement": (one_statement, 5),
    "statements of 500": (statements(500), 5),
    "row by row, 20 s": (statements(1, 20), 5),
    "urgent, one statement": (one_statement, 9),
    "urgent, statements of 500": (statements(500), 9),
}


def waits(scale: float) -> None:
    """Print how long another tenant's jobs take while a campaign goes on."""
    print(
        f"{'campaign of one tenant':<28}{'urgent: s median':>17}{'max':>7}{'normal: s median':>18}{'max':>7}"
        f"{'sent/s':>8}"
    )
    with tempfile.TemporaryDirectory() as name, embedded_postgres(Path(name) / "data") as dsn:
        migrate(dsn)
        for what, (produce, priority) in CAMPAIGNS.items():
            tell_waits(
                what, dsn, Path(name), lambda db, p=produce, q=priority: p(db, int(200_000 * scale), q)
            )


def tell_waits(what: str, dsn: str, folder: Path, campaign: Callable[[psycopg.Connection], None]) -> None:
    with psycopg.connect(dsn, autocommit=True) as db, psycopg.connect(dsn, autocommit=True) as producer:
        db.execute(
            "TRUNCATE n_jtd, n_jtd_history, jtd.ready, jtd.waiting, jtd.windows, jtd.inflight, jtd.counts"
        )
        db.execute("TRUNCATE pgmq.q_jtd_email, pgmq.q_jtd_email_urgent")
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
        with running(dsn, "email:noop", folder):
            eventually(lambda: one(db, "SELECT bool_and(NOT is_running) FROM jtd.sweeps"))
            produces = threading.Thread(target=campaign, args=[producer])
            produces.start()
            eventually(lambda: one(db, "SELECT EXISTS (SELECT FROM n_jtd)"), 120)
            begun, number = time.monotonic(), 0
            while time.monotonic() < begun + PROBE_SECONDS and waiting(db):
                insert_jtd(db, tenant_id=OTHER, priority=9 if number % 2 else 5)
                number += 1
                time.sleep(0.25)  # the pace of the other tenant
            spent, sent = time.monotonic() - begun, one(db, SENT, LARGE)
            produces.join()
            eventually(lambda: one(db, SENT, OTHER) == number, 120)
    with psycopg.connect(dsn, autocommit=True) as db:
        found = db.execute(
            "SELECT priority = 9, extract(epoch FROM status_changed_at - created_at)::float8 FROM n_jtd"
            " WHERE tenant_id = %s",
            [OTHER],
        ).fetchall()
    urgent = [seconds for is_urgent, seconds in found if is_urgent]
    normal = [seconds for is_urgent, seconds in found if not is_urgent]
    print(
        f"{what:<28}{statistics.median(urgent):>17.2f}{max(urgent):>7.2f}"
        f"{statistics.median(normal):>18.2f}{max(normal):>7.2f}{sent / spent:>8.0f}",
        flush=True,
    )


def waiting(db: psycopg.Connection) -> bool:
    """Whether the campaign is not over."""
    found: bool = one(
        db, "SELECT EXISTS (SELECT FROM n_jtd WHERE tenant_id = %s AND status_code <> 'sent')", LARGE
    )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ticks", action="store_true", help="only what a tick costs")
    parser.add_argument("--waits", action="store_true", help="only what another tenant waits")
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of jobs")
    arguments = parser.parse_args()
    if arguments.ticks or not arguments.waits:
        ticks(arguments.scale)
    if arguments.waits or not arguments.ticks:
        waits(arguments.scale)
