"""The web process's side of the SQL functions for receipts, called as it does, and what tests read back."""

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.jobs import insert_jtd, one
from tests.worker_calls import Worker, result

PROVIDER = "sendgrid"


def receipt(kind: str, about: UUID | str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a receipt as jtd.accept_receipts_v1 reads it: about one of our ids, or of the provider's."""
    key = "reference" if isinstance(about, UUID) else "provider_message_id"
    told = {"kind": kind, "event_key": f"{about}-{kind}", key: about and str(about), **fields}
    return {name: value for name, value in told.items() if value is not None}


def accept(
    db: psycopg.Connection, *receipts: dict[str, Any], channel: str = "email", provider: str = PROVIDER
) -> tuple[int, int]:
    """Accept receipts; returns how many were new and how many known."""
    row = db.execute(
        "SELECT accepted, known FROM jtd.accept_receipts_v1(%s, %s, %s)",
        [channel, provider, Jsonb(list(receipts))],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def apply(db: psycopg.Connection, limit: int = 1000) -> tuple[int, int, int]:
    """Apply what is due, once; returns how many were applied, ignored and parked."""
    row = db.execute("SELECT applied, ignored, parked FROM jtd.apply_receipts_v1(%s)", [limit]).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def report(db: psycopg.Connection, *receipts: dict[str, Any], **where: str) -> tuple[int, int, int]:
    """Accept receipts that are new, and apply them."""
    assert accept(db, *receipts, **where) == (len(receipts), 0)
    return apply(db)


def send(
    worker: Worker,
    message_id: str | None = None,
    *,
    provider: str = PROVIDER,
    queue: str = "jtd_email",
    **columns: Any,
) -> UUID:
    """Make a job that was sent, under an id of the provider."""
    jtd_id = insert_jtd(worker.db, **columns)
    [job] = worker.claim(queue)
    worker.hand_off(job, provider=provider)
    told = result(job, "sent", provider=provider, provider_message_id=message_id)
    assert worker.settle(told) == ["applied"]
    return jtd_id


def receipts(db: psycopg.Connection) -> list[dict[str, Any]]:
    """Return all receipts in the order in which they came."""
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM n_jtd_receipts ORDER BY id").fetchall()


def states(db: psycopg.Connection) -> list[tuple[str, str | None]]:
    """Return the state of each receipt with its reason, in the order in which they came."""
    return [(found["state"], found["state_reason"]) for found in receipts(db)]


def suppressions(db: psycopg.Connection) -> set[tuple[str, str | None, str | None, str]]:
    """Return recipient, channel, source type and kind of every suppression."""
    rows = db.execute("SELECT recipient, channel_code, source_type_code, kind FROM n_jtd_suppressions")
    return set(rows.fetchall())


def due(db: psycopg.Connection) -> int:
    """Count the entries of receipts to be looked at."""
    counted: int = one(db, "SELECT count(*)::integer FROM jtd.receipts_due")
    return counted
