"""Builders for SQL tests: one line makes a job, one line reads its audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import psycopg.rows
from psycopg import sql
from psycopg.types.json import Jsonb

TENANT = UUID("10000000-0000-0000-0000-000000000001")
OTHER_TENANT = UUID("10000000-0000-0000-0000-000000000002")
USER = UUID("20000000-0000-0000-0000-000000000001")

# a live notification by email that renders: what most tests need and few care about
DEFAULTS: Mapping[str, Any] = {
    "tenant_id": TENANT,
    "event_type_code": "notification",
    "source_type_code": "user_invite",
    "channel_code": "email",
    "recipient_name": "John Doe",
    "recipient_contact": "john@example.com",
    "template_key": "user_invite_email_v1",
    "payload": {
        "inviter_name": "Jane Smith",
        "tenant_name": "Acme Corp",
        "invite_link": "https://example.com/i",
    },
}


class Step(NamedTuple):
    """One row of the audit trail, as much of it as tests compare."""

    action: str
    from_status: str | None
    to_status: str
    valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row of jtd.whereabouts."""

    status: str
    place: str


def insert_jtd(db: psycopg.Connection, **columns: Any) -> UUID:
    """Insert one job as a producer does, by plain INSERT, and return its id.

    `columns` go over DEFAULTS; dicts are stored as jsonb, a column given as None is stored as NULL.
    """
    given = {name: Jsonb(v) if isinstance(v, dict) else v for name, v in {**DEFAULTS, **columns}.items()}
    statement = sql.SQL("INSERT INTO public.n_jtd ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, given)), sql.SQL(", ").join([sql.Placeholder()] * len(given))
    )
    return UUID(str(one(db, statement, *given.values())))


def insert_many(db: psycopg.Connection, count: int, **columns: Any) -> list[UUID]:
    """Insert `count` equal jobs in one statement, and return their ids in the order of ids."""
    given = {name: Jsonb(v) if isinstance(v, dict) else v for name, v in {**DEFAULTS, **columns}.items()}
    statement = sql.SQL("INSERT INTO public.n_jtd ({}) SELECT {} FROM generate_series(1, {}) RETURNING id")
    rows = db.execute(
        statement.format(
            sql.SQL(", ").join(map(sql.Identifier, given)),
            sql.SQL(", ").join([sql.Placeholder()] * len(given)),
            sql.Literal(count),
        ),
        list(given.values()),
    ).fetchall()
    return sorted(row[0] for row in rows)


def one(db: psycopg.Connection, query: str | sql.SQL | sql.Composed, *parameters: Any) -> Any:
    """Return the only column of the only row of a query."""
    statement = sql.SQL(query) if isinstance(query, str) else query
    rows = db.execute(statement, parameters or None).fetchall()
    assert len(rows) == 1, f"{len(rows)} rows"
    assert len(rows[0]) == 1, f"{len(rows[0])} columns"
    return rows[0][0]


def row(db: psycopg.Connection, jtd_id: UUID) -> dict[str, Any]:
    """Return the job's row of n_jtd by column name."""
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute("SELECT * FROM public.n_jtd WHERE id = %s", (jtd_id,)).fetchone()
    assert found is not None, f"job {jtd_id} is not there"
    return found


def history(db: psycopg.Connection, jtd_id: UUID) -> list[Step]:
    """Return the job's audit trail, oldest first."""
    rows = db.execute(
        "SELECT action, from_status_code, to_status_code, is_valid_transition"
        " FROM public.n_jtd_history WHERE jtd_id = %s ORDER BY id",
        (jtd_id,),
    ).fetchall()
    return [Step(*found) for found in rows]


def messages(db: psycopg.Connection, queue: str) -> list[UUID]:
    """Return the jobs that the messages of a PGMQ queue name, in the order of the messages."""
    statement = sql.SQL("SELECT (message ->> 'jtd_id')::uuid FROM pgmq.{} ORDER BY msg_id")
    return [found[0] for found in db.execute(statement.format(sql.Identifier(f"q_{queue}"))).fetchall()]


def whereabouts(db: psycopg.Connection, jtd_id: UUID) -> Place:
    """Return where the job is by jtd.whereabouts."""
    rows = db.execute("SELECT status_code, place FROM jtd.whereabouts(ARRAY[%s::uuid])", (jtd_id,)).fetchall()
    assert len(rows) == 1, f"{len(rows)} rows"
    return Place(status=rows[0][0], place=rows[0][1])


def places(db: psycopg.Connection) -> dict[str, int]:
    """Count the jobs by place, and fail if any is lost."""
    rows = db.execute("SELECT place, jobs, sound, status_code FROM jtd.conservation()").fetchall()
    unsound = [f"{jobs} x {status}: {place}" for place, jobs, sound, status in rows if not sound]
    assert not unsound, f"jobs are lost: {unsound}"
    counts: dict[str, int] = {}
    for place, jobs, _, _ in rows:
        counts[place] = counts.get(place, 0) + jobs
    return counts


def listed(db: psycopg.Connection, name: str, jtd_id: UUID) -> dict[str, Any] | None:
    """Return the job's row of jtd.waiting, jtd.ready or jtd.inflight by column name, None if it has none."""
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        query = sql.SQL("SELECT * FROM {} WHERE jtd_id = %s").format(sql.Identifier("jtd", name))
        return cursor.execute(query, (jtd_id,)).fetchone()


def wait_for_lock(db: psycopg.Connection, blocked: psycopg.Connection) -> None:
    """Return as soon as the backend of `blocked` waits for a lock; fail after 10 s."""
    deadline = monotonic() + 10
    pid = blocked.info.backend_pid
    while not one(db, "SELECT cardinality(pg_blocking_pids(%s)) > 0", pid):
        assert monotonic() < deadline, "nothing waits for a lock"
