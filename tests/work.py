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
