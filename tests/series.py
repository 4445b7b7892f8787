"""Series as producers begin them, and their next jobs as a worker makes them."""

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from jtd_worker.recurrence import Series, answers
from tests.jobs import insert_jtd, row

DUE = """
SELECT id, basis, recurrence, zone, series_start AS start, occurs_at AS last, occurrence AS number, clock
FROM jtd.recurrences_due_v1(100)
"""


def insert_series(db: psycopg.Connection, recurrence: str, **columns: Any) -> UUID:
    """Insert the first job of a series of reminders, and return its id, which is the series', too."""
    given = {
        "event_type_code": "reminder",
        "source_type_code": "appointment_reminder",
        "template_key": "appointment_reminder_email_v1",
        "payload": {"recipient_name": "Zoë", "appointment_date": "soon", "tenant_name": "Acme"},
        "recurrence": recurrence,
        **columns,
    }
    return insert_jtd(db, **given)


def look(db: psycopg.Connection) -> list[dict[str, Any]]:
    """Return what a worker makes of the series that are due, ready for `recur`."""
    with db.cursor(row_factory=class_row(Series)) as cursor:
        return list(answers(cursor.execute(DUE).fetchall()))


def recur(db: psycopg.Connection, nexts: list[dict[str, Any]]) -> dict[UUID, str]:
    """Make the next jobs; returns the answer for each latest job."""
    rows = db.execute("SELECT id, answer FROM jtd.recur_v1(%s)", [Jsonb(nexts)]).fetchall()
    assert len(rows) == len(nexts)
    return dict(rows)


def go_on(db: psycopg.Connection) -> dict[UUID, str]:
    """Let each series that is due go on, as a worker does."""
    return recur(db, look(db))


def latest(db: psycopg.Connection, series: UUID) -> dict[str, Any]:
    """Return the latest job of a series."""
    found = db.execute("SELECT jtd_id FROM jtd.recurring WHERE series_id = %s", [series]).fetchone()
    assert found is not None
    return row(db, found[0])


def jobs(db: psycopg.Connection, series: UUID) -> list[UUID]:
    """Return the jobs of a series in order."""
    rows = db.execute("SELECT id FROM n_jtd WHERE series_id = %s ORDER BY occurrence", [series]).fetchall()
    return [found[0] for found in rows]
