"""Builders for tests of what tenants set: one line writes the settings, one a job for which they hold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.jobs import TENANT, insert_jtd

SOURCE = "payment_received"
"""No identity message: the tenant's settings hold for it."""
EMAIL = "user_invite_email_v1"
"""A template whose variables the jobs of these tests have."""
ALL_ON = {"email": True, "sms": True, "whatsapp": True, "push": True, "inapp": True}


def set_tenant(db: psycopg.Connection, **columns: Any) -> None:
    """Write a row of n_jtd_tenant_config, every channel on; `is_live` and others as given."""
    _write(db, "n_jtd_tenant_config", {"channels_enabled": ALL_ON, **columns})


def set_source(db: psycopg.Connection, **columns: Any) -> None:
    """Write a row of n_jtd_tenant_source_config for SOURCE."""
    _write(db, "n_jtd_tenant_source_config", {"source_type_code": SOURCE, **columns})


def _write(db: psycopg.Connection, table: str, columns: Mapping[str, Any]) -> None:
    given = {"tenant_id": TENANT, **columns}
    values = [Jsonb(value) if isinstance(value, dict) else value for value in given.values()]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier("public", table),
        sql.SQL(", ").join(map(sql.Identifier, given)),
        sql.SQL(", ").join([sql.Placeholder()] * len(given)),
    )
    db.execute(statement, values)


def insert(db: psycopg.Connection, **columns: Any) -> UUID:
    """Insert one job of SOURCE that names no template, and return its id."""
    return insert_jtd(db, **{"source_type_code": SOURCE, "template_key": None, **columns})


def change(db: psycopg.Connection, statement: str) -> None:
    """Update all rows of n_jtd_tenant_config; `statement` is what comes after SET."""
    db.execute(f"UPDATE public.n_jtd_tenant_config SET {statement}".encode())


def quiet(db: psycopg.Connection, **columns: Any) -> datetime:
    """Let quiet hours have begun an hour ago and end in an hour, whole minutes; return their end."""
    start, end, ends = db.execute(
        "SELECT ((now() - interval '1 h') AT TIME ZONE 'UTC')::time(0),"
        " date_trunc('minute', (now() + interval '1 h') AT TIME ZONE 'UTC')::time,"
        " date_trunc('minute', now() + interval '1 h')"
    ).fetchall()[0]
    set_tenant(db, quiet_hours_start=start, quiet_hours_end=end, **columns)
    ended: datetime = ends
    return ended
