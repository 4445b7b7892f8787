"""Builders of work: appointments, visits and tasks as producers make them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.jobs import USER, insert_jtd

AHEAD: Final = datetime(2090, 3, 4, 9, 30, tzinfo=UTC)
"""When work is, unless said otherwise: ahead of every test."""

_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "appointment": {"source_type_code": "appointment_created", "scheduled_at": AHEAD},
    "service_visit": {"source_type_code": "service_scheduled", "scheduled_at": AHEAD},
    "task": {"source_type_code": "manual", "recipient_id": USER},
}


def insert_work(db: psycopg.Connection, kind: str = "appointment", **columns: Any) -> UUID:
    """Insert one piece of work as a producer does, and return its id."""
    given = {
        "event_type_code": kind,
        "channel_code": None,
        "template_key": None,
        "payload": {"title": "Check-up", "recipient_name": "Zoë", "tenant_name": "Acme"},
        **_KINDS[kind],
        **columns,
    }
    return insert_jtd(db, **given)


def pass_time(db: psycopg.Connection, amount: str) -> None:
    """Let time pass, for everything that work goes by: all its moments are as much earlier."""
    db.execute("SET session_replication_role = replica")  # nobody has moved anything
    for table, columns in _MOMENTS.items():
        changes = ", ".join(f"{column} = {column} - %(amount)s::interval" for column in columns)
        db.execute(f"UPDATE {table} SET {changes}".encode(), {"amount": amount})
    db.execute(
        "UPDATE public.n_jtd_tenant_config SET vani_since = (SELECT coalesce(jsonb_object_agg("
        " s.key, (s.value #>> '{}')::timestamptz - %s::interval), '{}') FROM jsonb_each(vani_since) AS s)",
        (amount,),
    )
    db.execute("SET session_replication_role = origin")


_MOMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "public.n_jtd": ("scheduled_at", "expires_at", "next_retry_at", "created_at", "status_changed_at"),
    "public.n_jtd_history": ("created_at",),
    "public.n_jtd_tenant_source_config": ("auto_execute_since",),
    "jtd.work": ("at", "at_since", "person_since", "looked_at", "next_at"),
    "jtd.waiting": ("due",),
}


def tick(db: psycopg.Connection, times: int = 3) -> None:
    """Let the scheduler look at what is due, as a worker does about once a second."""
    for _ in range(times):
        db.execute("SELECT jtd.tick_v1(%s, '{}')", (UUID(int=7),))
