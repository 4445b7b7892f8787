"""Shows jobs as they go: each step of their audit trail, then what was sent or what stands in the way."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A status change of a job."""

    id: int
    at: datetime
    channel: str
    origin: str | None
    status: str
    reason: str | None

    def __str__(self) -> str:
        step = f"{self.origin} -> {self.status}" if self.origin else self.status
        reason = f"  ({self.reason})" if self.reason else ""
        return f"  {self.at.astimezone():%H:%M:%S.%f}"[:-3] + f"  {self.channel:<9} {step}{reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Where a job came to rest."""

    id: UUID
    channel: str
    is_sent: bool
    sentence: str
    """What became of it, or what it waits for."""
    provider: str | None
    recipient: str | None
    subject: str | None
    content: str | None
    """The rendered text where it was kept: in the outbox or in the in-app feed; else None."""

    def __str__(self) -> str:
        if not self.is_sent:
            return f"{self.channel}: NOT SENT. {self.sentence}"
        to = f"{self.channel} to {self.recipient}, kept by {self.provider}"
        if self.content is None:
            return f"{self.channel}, sent by {self.provider}"
        subject = f"    {self.subject}\n    \n" if self.subject else ""
        text = "\n".join(f"    {line}" for line in self.content.strip().splitlines())
        return f"{to}\n{subject}{text}"


async def follow(conn: psycopg.AsyncConnection[Any], ids: Sequence[UUID], *, seconds: float) -> list[Ending]:
    """Print each step of the jobs as it happens, until all are at rest or `seconds` are over.

    At rest is a job that no worker will move without somebody's doing. `conn` is in autocommit.
    Returns an ending for each, in the order of ids.
    """
    seen: set[int] = set()
    try:
        async with asyncio.timeout(seconds):
            while True:
                at_rest = await _are_at_rest(conn, ids)  # asked first, so that no step comes after the answer
                for step in await _steps(conn, ids):
                    if step.id not in seen:
                        seen.add(step.id)
                        print(step, flush=True)
                if at_rest:
                    break
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        pass
    return await _endings(conn, ids)


async def _are_at_rest(conn: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> bool:
    cursor = await conn.execute(
        "SELECT bool_and(w.place IN ('sent', 'final')) FROM jtd.whereabouts(%s) AS w", (list(ids),)
    )
    return await cursor.fetchone() == (True,)


async def _steps(conn: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> list[Step]:
    async with conn.cursor(row_factory=class_row(Step)) as cursor:
        await cursor.execute(
            "SELECT h.id, h.created_at AS at, h.channel_code AS channel, h.from_status_code AS origin,"
            " h.to_status_code AS status, h.reason"
            " FROM public.n_jtd_history AS h"
            " WHERE h.jtd_id = ANY (%s) AND h.to_status_code IS NOT NULL ORDER BY h.id",
            (list(ids),),
        )
        return await cursor.fetchall()


async def _endings(conn: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> list[Ending]:
    async with conn.cursor(row_factory=class_row(Ending)) as cursor:
        await cursor.execute(
            "SELECT j.id, j.channel_code AS channel, w.place = 'sent' AS is_sent, e.sentence,"
            " j.provider_code AS provider, coalesce(o.recipient, n.user_id::text) AS recipient,"
            " coalesce(o.subject, n.title) AS subject, coalesce(o.content, n.body) AS content"
            " FROM public.n_jtd AS j"
            " CROSS JOIN LATERAL jtd.whereabouts(ARRAY[j.id]) AS w"
            " CROSS JOIN LATERAL jtd.explain(j.id) AS e"
            " LEFT JOIN public.n_jtd_outbox AS o ON o.jtd_id = j.id"
            " LEFT JOIN public.n_inapp_notifications AS n ON n.source_jtd_id = j.id"
            " WHERE j.id = ANY (%s) ORDER BY j.id",
            (list(ids),),
        )
        return await cursor.fetchall()
