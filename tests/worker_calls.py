"""The worker's side of the SQL functions, called as the worker does, and what tests read back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from tests.jobs import one

LEASE = 60
"""Seconds; long, so that only a test that ends a lease sees one end."""
DEADLINE = 10.0


class Worker:
    """One worker on one connection; it registers when it is made."""

    def __init__(self, db: psycopg.Connection, *channels: str, lease: int = LEASE) -> None:
        self.db = db
        self.id = uuid4()
        self._lease = lease
        self._channels = list(channels) or ["email", "sms", "whatsapp", "push", "inapp"]
        db.execute("SET lock_timeout = '5s'")  # a worker never waits for long, so neither does a test
        self.register()

    def register(self) -> None:
        self.db.execute(
            "SELECT jtd.register_v1(%s, %s, %s, %s)", [self.id, "test", self._channels, self._lease]
        )

    def claim(self, queue: str = "jtd_email", limit: int = 100) -> list[Any]:
        """Claim; each job is a named tuple of the columns of jtd.claim_v1."""
        with self.db.cursor(row_factory=namedtuple_row) as cursor:
            cursor.execute("SELECT * FROM jtd.claim_v1(%s, %s, %s)", [self.id, queue, limit])
            return cursor.fetchall()

    def claim_one(self, queue: str = "jtd_email") -> Any:
        """Claim the only job that can be claimed."""
        [job] = self.claim(queue)
        return job

    def hand_off(self, *jobs: Any, rule: str = "resend", provider: str = "smtp") -> set[UUID]:
        """Hand jobs off; returns those that may go."""
        rows = self.db.execute(
            "SELECT * FROM jtd.hand_off_v1(%s, %s, %s, %s, %s)",
            [self.id, [job.id for job in jobs], [job.attempt for job in jobs], rule, provider],
        ).fetchall()
        return {row[0] for row in rows}

    def settle(self, *results: dict[str, Any]) -> list[str]:
        """Settle results; returns the answer to each, in the order given."""
        rows = self.db.execute(
            "SELECT id, attempt, answer FROM jtd.settle_v1(%s, %s)", [self.id, Jsonb(list(results))]
        ).fetchall()
        assert len(rows) == len(results), rows
        answers = {(str(jtd_id), attempt): answer for jtd_id, attempt, answer in rows}
        return [answers[result["id"], result["attempt"]] for result in results]

    def tick(self, *queues: str) -> dict[str, Any]:
        """Tick, and return what jtd.tick_v1 says."""
        said: dict[str, Any] = one(self.db, "SELECT jtd.tick_v1(%s, %s)", self.id, list(queues))
        return said

    def lapse(self) -> None:
        """Let its lease be over, as if it had been killed a while ago."""
        self.db.execute(
            "UPDATE jtd.workers SET lease_until = clock_timestamp() - interval '1 s' WHERE id = %s", [self.id]
        )

    def age(self) -> None:
        """Let it be connected, and the database up, for longer than any lease."""
        self.db.execute("UPDATE jtd.workers SET lease_seconds = 1")
        self.db.execute(
            "UPDATE jtd.workers SET started_at = clock_timestamp() - interval '1 day' WHERE id = %s",
            [self.id],
        )
        wait_until(
            self.db, "SELECT clock_timestamp() - pg_postmaster_start_time() > interval '1 s'"
        )  # the server of a test run may be younger than that


def result(job: Any, outcome: str, **fields: Any) -> dict[str, Any]:
    """Return the result of a claimed job as jtd.settle_v1 reads it."""
    return {"id": str(job.id), "attempt": job.attempt, "outcome": outcome, **fields}


class Message(NamedTuple):
    """A message of a queue: the job it names, and the seconds until it can be read."""

    jtd_id: UUID | None
    hidden_for: float


def queue_content(db: psycopg.Connection, queue: str) -> list[Message]:
    """Return the messages of a queue in order."""
    statement = sql.SQL(
        "SELECT jtd.message_id(message), greatest(0, extract(epoch FROM vt - clock_timestamp()))::float8"
        " FROM pgmq.{} ORDER BY msg_id"
    )
    return [
        Message(*found) for found in db.execute(statement.format(sql.Identifier(f"q_{queue}"))).fetchall()
    ]


def queues_of(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    """Return the queue of each message that names the job."""
    rows = db.execute("SELECT queue_name FROM jtd.queue_messages() WHERE jtd_id = %s ORDER BY 1", [jtd_id])
    return [row[0] for row in rows.fetchall()]


def send(db: psycopg.Connection, queue: str, body: Any) -> None:
    """Send a bare message, as anybody may."""
    db.execute("SELECT pgmq.send(%s, %s::jsonb)", [queue, Jsonb(body)])


def send_id(db: psycopg.Connection, queue: str, jtd_id: UUID) -> None:
    """Send a bare message that names a job."""
    send(db, queue, {"jtd_id": str(jtd_id)})


def discards(db: psycopg.Connection) -> dict[str, int]:
    """Return the discarded messages by reason."""
    return dict(db.execute("SELECT reason, sum(count)::integer FROM jtd.discards GROUP BY reason").fetchall())


def move(db: psycopg.Connection, jtd_id: UUID, statement: str) -> None:
    """Change a job by hand: `statement` is what stands after SET."""
    db.execute(f"UPDATE public.n_jtd SET {statement} WHERE id = %s".encode(), [jtd_id])


@contextmanager
def no_triggers(db: psycopg.Connection) -> Iterator[None]:
    """Switch the triggers of n_jtd off, as a restore of data does."""
    db.execute("ALTER TABLE public.n_jtd DISABLE TRIGGER USER")
    yield
    db.execute("ALTER TABLE public.n_jtd ENABLE TRIGGER USER")


@contextmanager
def locked(dsn: str, *ids: UUID) -> Iterator[psycopg.Connection]:
    """Hold the rows of jobs in a transaction of somebody else."""
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM public.n_jtd WHERE id = ANY (%s) FOR UPDATE", [list(ids)])
        yield other
        other.rollback()


def wait_until(db: psycopg.Connection, query: str, *parameters: Any) -> None:
    """Wait until a query says true."""
    give_up = time.monotonic() + DEADLINE
    while not one(db, query, *parameters):
        assert time.monotonic() < give_up, f"never true: {query}"
        time.sleep(0.005)


def wait_until_blocked(db: psycopg.Connection, pid: int) -> None:
    """Wait until the backend `pid` waits for a lock."""
    wait_until(db, "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", pid)
