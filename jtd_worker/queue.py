"""The calls of the worker to the functions of schema `jtd`: here is only the call, the logic is in `sql/`."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from psycopg.types.json import Jsonb

from jtd_worker.content import Content, ContentLimit
from jtd_worker.database import STATEMENT_TIMEOUT_MS, TRANSIENT, Link, Server
from jtd_worker.errors import RefusedReferenceError
from jtd_worker.foreign import clean
from jtd_worker.jtd import Jtd
from jtd_worker.lease import elapsed
from jtd_worker.message import Device
from jtd_worker.recurrence import Series
from jtd_worker.result import Json

log = structlog.get_logger()

LEASE_OVER: Final = "JT030"
REMEMBERED: Final = 60.0
"""Seconds for which results are kept after they were settled: more than a standby lags behind."""
MOST_REMEMBERED: Final = 10_000
SETTLED_AGAIN: Final = 500
"""Results of one call when they are settled again."""
CLAIM: Final = (
    "WITH c AS MATERIALIZED (SELECT * FROM jtd.claim_v1(%s, %s, %s))"
    " SELECT c.*, c.source_type_code = ANY (u.codes), r.reference, k.kept"
    " FROM c CROSS JOIN jtd.unsubscribable_v1() AS u (codes)"
    " LEFT JOIN jtd.references_v1(ARRAY(SELECT c.id FROM c)) AS r ON r.id = c.id"
    " LEFT JOIN LATERAL (SELECT jtd.kept_v1(c.id) AS kept WHERE c.attempt > 1) AS k ON true"
)
HAND_OFF: Final = "SELECT h.id, h.answer FROM jtd.hand_off_v2(%s, %s, %s, %s, %s, %s) AS h"
WEIGH: Final = " CROSS JOIN jtd.weigh_v1(%s, %s, %s, %s::integer[], %s::integer[], %s::integer[])"
"""With this the hand-off also records what messages count as; still one statement."""
SETTLE: Final = "SELECT id, attempt, answer FROM jtd.settle_v1(%s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueName:
    """A queue with the channel and lane that it holds."""

    name: str
    channel: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one tick did, see jtd.tick_v1."""

    leader: bool
    due: int
    admitted: int
    reclaimed: int
    found: int
    receipts: int
    """Receipts applied, for want of a process that does it at once."""
    is_adopted: bool
    breakers: Mapping[tuple[str, str], float]
    limits: Mapping[tuple[str, str | None], int | None]
    """Messages a minute by channel and provider, None for all its providers; a limit of None is none."""
    full: Mapping[tuple[str, str], Mapping[str, float]]
    """Seconds by lane until a provider that has reached its limit may be handed more; 0 is now."""
    content_limits: Mapping[str, ContentLimit]
    recurring: int
    """Series of which this worker is to make the next job; 100 may be more."""
    more: bool
    wake: tuple[str, ...]
    is_partitioned: bool


class Queue:
    """The queue as one worker sees it.

    Calls go on until they succeed, through outages of the database, unless said otherwise.
    """

    def __init__(self, worker: UUID, claims: Link, settles: Link, ticks: Link, leases: Link) -> None:
        self.worker = worker
        self._claims = claims
        self._settles = settles
        self._ticks = ticks
        self._leases = leases
        self._claiming = asyncio.Lock()
        self.held: set[tuple[UUID, int]] = set()
        """The attempts that this worker has claimed and not yet settled."""
        self._uncertain_until = 0.0
        self._server: Server | None = None
        self._timeline = self._flushed = 0
        self._settled: deque[tuple[float, dict[str, Json]]] = deque(maxlen=MOST_REMEMBERED)

    async def register(
        self, name: str, channels: Sequence[str], outbox_channels: Sequence[str], lease_seconds: int
    ) -> None:
        """Enter this worker with its lease; what `outbox_channels` bring goes to the outbox, all of it."""
        await self._leases.call(
            "SELECT jtd.register_v2(%s, %s, %s, %s, %s)",
            [self.worker, name, list(channels), list(outbox_channels), lease_seconds],
        )

    async def renew(self) -> bool:
        """Renew the lease, once; False when the worker was taken out meanwhile. Raises one of TRANSIENT."""
        return bool((await self._leases.once("SELECT jtd.renew_v1(%s)", [self.worker]))[0][0])

    async def leave(self) -> None:
        """End the lease, once, as the last thing a worker does. Raises one of TRANSIENT."""
        await self._leases.once("SELECT jtd.leave_v1(%s)", [self.worker])

    async def queues(self, channels: Sequence[str]) -> list[QueueName]:
        """Return the queues of `channels`, urgent lanes first."""
        rows = await self._claims.call(
            "SELECT queue_name, channel_code, lane FROM jtd.queues_v1(%s)", [list(channels)]
        )
        return [QueueName(name=name, channel=channel, lane=lane) for name, channel, lane in rows]

    async def content_limits(self) -> dict[str, ContentLimit]:
        """Return what each channel takes; from then on ticks tell."""
        return _limits((await self._claims.call("SELECT jtd.content_rules_v1()"))[0][0])

    async def claim(self, queue: str, limit: int) -> list[Jtd] | None:
        """Claim up to `limit` JTDs from `queue`; they are in `held` until they are settled.

        An empty answer enters this worker among the sleepers of `queue`; None is no answer. A claim whose
        answer is lost may have taken place, or still run: what it claims is given back, now or by
        `reconcile`. None also while the lease is over.
        """
        async with self._claiming:
            try:
                server = await self._claims.server()
                if server != self._server:
                    await self._meet(server)
                rows = await self._claims.once(CLAIM, [self.worker, queue, limit], on=server)
            except TRANSIENT as error:
                log.warning("claim.interrupted", queue=queue, error=type(error).__name__)
                self._uncertain_until = elapsed() + 2 * STATEMENT_TIMEOUT_MS / 1000
                await self._forget()
                return None
            except psycopg.DatabaseError as error:
                if error.sqlstate != LEASE_OVER:
                    raise
                log.warning("claim.refused", queue=queue, error="lease over")
                return None
            jtds = [_jtd(row) for row in rows]
            self.held.update((jtd.id, jtd.attempt) for jtd in jtds)
            return jtds

    async def _meet(self, server: Server) -> None:
        """Look what a server that was started anew may have lost, before anything is claimed from it.

        On another timeline, or with a log that ends earlier than it was known to, the results of the last
        minute are settled again: a standby that took over may lack the last commits, and would send again
        what they said was sent. What it does know is answered as such. Raises one of TRANSIENT; then it is
        done at the next claim.
        """
        query = "SELECT timeline, flushed FROM jtd.server_v1()"
        ((timeline, flushed),) = await self._claims.once(query, on=server)
        if self._server is not None:
            if timeline != self._timeline or flushed < self._flushed:
                self._forget_older_than(elapsed() - REMEMBERED)
                results = [result for _, result in self._settled]
                for start in range(0, len(results), SETTLED_AGAIN):
                    await self._claims.once(
                        SETTLE, [self.worker, Jsonb(results[start : start + SETTLED_AGAIN])], on=server
                    )
                log.warning("database.went_back", count=len(results))
            await self._forget()
        self._server, self._timeline, self._flushed = server, timeline, flushed

    def _forget_older_than(self, moment: float) -> None:
        while self._settled and self._settled[0][0] < moment:
            self._settled.popleft()

    async def reconcile(self) -> None:
        """Give back what an interrupted claim brought after all, for as long as one may still run."""
        if elapsed() < self._uncertain_until:
            async with self._claiming:
                await self._forget()

    async def _forget(self) -> None:
        held = list(self.held)
        await self._claims.call(
            "SELECT jtd.forget_v1(%s, %s, %s)",
            [self.worker, [jtd_id for jtd_id, _ in held], [attempt for _, attempt in held]],
        )

    async def hand_off(
        self, going: Sequence[tuple[Jtd, Content]], unknown_rule: str, provider: str
    ) -> dict[UUID, str]:
        """Put the hand-off of `going`, all of one channel, to `provider` on record.

        Returns `go` for the ids that may be sent, `open` for those that the provider's breaker stops; an
        id that is not there must not be sent.
        """
        query, parameters = (
            HAND_OFF,
            [
                self.worker,
                [jtd.id for jtd, _ in going],
                [jtd.attempt for jtd, _ in going],
                unknown_rule,
                going[0][0].channel_code,
                provider,
            ],
        )
        if weighed := [(j, c) for j, c in going if c.kept is not None or c.units not in {None, 1}]:
            query += WEIGH
            parameters += [
                self.worker,
                [jtd.id for jtd, _ in weighed],
                [jtd.attempt for jtd, _ in weighed],
                [content.units for _, content in weighed],
                [content.kept for _, content in weighed],
                [content.characters for _, content in weighed],
            ]
        rows = await self._claims.call(query, parameters)
        return {row[0]: row[1] for row in rows}

    async def reserve(
        self, channel: str, provider: str, lane: str, wanted: int
    ) -> tuple[int, int | None, float] | None:
        """Take from the limit of `provider`, once: (granted, second, pause) as of jtd.reserve_v1.

        None is no answer: what was taken then counts as used.
        """
        try:
            rows = await self._claims.once(
                "SELECT granted, second, pause FROM jtd.reserve_v1(%s, %s, %s, %s)",
                [channel, provider, lane, wanted],
            )
        except TRANSIENT as error:
            log.warning("rate.not_reserved", channel=channel, provider=provider, error=type(error).__name__)
            return None
        granted, second, pause = rows[0]
        return granted, second, pause

    async def give_back(self, channel: str, provider: str, second: int, number: int) -> None:
        """Give back what `reserve` took and was not used, once: twice would make room for too many."""
        try:
            await self._ticks.once(
                "SELECT jtd.give_back_v1(%s, %s, %s, %s)", [channel, provider, second, number]
            )
        except TRANSIENT as error:
            log.warning("rate.not_given_back", channel=channel, provider=provider, error=type(error).__name__)

    async def trip(self, channel: str, provider: str, code: str, seconds: float | None) -> None:
        """Open the breaker of `provider` for all workers, see jtd.trip_v1."""
        await self._ticks.call(
            "SELECT jtd.trip_v1(%s, %s, %s, %s)", [channel, provider, clean(code), seconds]
        )

    async def mended(self, channel: str, provider: str) -> None:
        """Close the breaker of `provider` for all workers."""
        await self._ticks.call("SELECT jtd.mended_v1(%s, %s)", [channel, provider])

    async def settle(self, results: Sequence[dict[str, Json]]) -> list[tuple[UUID, int, str]]:
        """Record results; returns (id, attempt, answer) for each, see jtd.settle_v1."""
        rows = await self._settles.call(SETTLE, [self.worker, Jsonb(list(results))])
        now = elapsed()
        self._forget_older_than(now - REMEMBERED)
        self._settled.extend((now, result) for result in results)
        self.held.difference_update((row[0], row[1]) for row in rows if row[2] != "locked")
        return [(row[0], row[1], row[2]) for row in rows]

    async def templates(self, keys: Sequence[tuple[UUID, int]]) -> list[dict[str, Any]]:
        """Return templates by (id, version), as `Template.from_row` takes them, without what is nowhere."""
        columns = (
            "id", "version", "template_key", "channel_code", "locale",
            "subject", "content", "content_html", "variables", "layouts",
            "provider_template_id", "parameter_format", "language", "dlt_entity_id", "dlt_template_id",
        )  # fmt: skip
        rows = await self._claims.call(
            f"SELECT {', '.join(columns)} FROM jtd.templates_v2(%s, %s)",  # noqa: S608 - our own column names
            [[key[0] for key in keys], [key[1] for key in keys]],
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def devices(self, jtds: Sequence[UUID]) -> dict[UUID, tuple[int, tuple[Device, ...]]]:
        """Return priority and devices of those `jtds` whose recipients have some, last registered first."""
        rows = await self._claims.call(
            "SELECT jtd_id, priority, id, family, token, keys, registered_at FROM jtd.devices_v1(%s)",
            [list(jtds)],
        )
        found: dict[UUID, tuple[int, tuple[Device, ...]]] = {}
        for jtd_id, priority, device_id, family, token, keys, registered_at in rows:
            device = Device(id=device_id, family=family, token=token, keys=keys, registered_at=registered_at)
            found[jtd_id] = priority, (*found.get(jtd_id, (priority, ()))[1], device)
        return found

    async def credential(self, name: str) -> str | None:
        """Return the document that the database keeps under `name`; None when there is none.

        Raises RefusedReferenceError when the database will not tell, e.g. a vault that cannot decrypt it.
        """
        try:
            document: str | None = (await self._claims.call("SELECT jtd.credential_v1(%s)", [name]))[0][0]
        except psycopg.DatabaseError as error:
            raise RefusedReferenceError(
                "credential_refused", f"the database does not tell credential pg:{name} ({error.sqlstate})"
            ) from None
        return document

    async def tick(self, asleep: Sequence[str]) -> Tick:
        """Move on what only time can move; `asleep` are the queues whose readers wait."""
        done = (await self._ticks.call("SELECT jtd.tick_v1(%s, %s)", [self.worker, list(asleep)]))[0][0]
        self._flushed = max(self._flushed, done["flushed"])
        return Tick(
            leader=done["leader"],
            due=done["due"],
            admitted=done["admitted"],
            reclaimed=done["reclaimed"],
            found=done["found"],
            receipts=done["receipts"],
            is_adopted=done["is_adopted"],
            breakers={(channel, provider): seconds for channel, provider, seconds in done["breakers"]},
            limits={(channel, provider): limit for channel, provider, limit in done["limits"]},
            full={
                (channel, provider): {"normal": normal, "urgent": urgent}
                for channel, provider, normal, urgent in done["full"]
            },
            content_limits=_limits(done["content_rules"]),
            recurring=done["recurring"],
            more=done["more"],
            wake=tuple(done["wake"]),
            is_partitioned=done["is_partitioned"],
        )

    async def recurrences_due(self, limit: int) -> list[Series]:
        """Return the series that are longest due, at most `limit`."""
        rows = await self._ticks.call(
            "SELECT id, basis, recurrence, zone, series_start, occurs_at, occurrence, clock"
            " FROM jtd.recurrences_due_v1(%s)",
            [limit],
        )
        return [
            Series(
                id=row[0],
                basis=row[1],
                recurrence=row[2],
                zone=row[3],
                start=row[4],
                last=row[5],
                number=row[6],
                clock=row[7],
            )
            for row in rows
        ]

    async def recur(self, nexts: Sequence[dict[str, Json]]) -> list[tuple[UUID, str]]:
        """Make the next job of each series, or end it; returns (id, answer) for each, see jtd.recur_v1."""
        rows = await self._ticks.call("SELECT id, answer FROM jtd.recur_v1(%s)", [Jsonb(list(nexts))])
        return [(row[0], row[1]) for row in rows]

    async def is_idle(self, queues: Sequence[str]) -> bool:
        """Return whether nothing is left to do now in `queues`."""
        return bool((await self._ticks.call("SELECT jtd.idle_v1(%s)", [list(queues)]))[0][0])

    async def status(self) -> dict[str, Any]:
        """Return what `jtd.status_v1` tells, for metrics."""
        status: dict[str, Any] = (await self._ticks.call("SELECT jtd.status_v1()"))[0][0]
        return status


def _jtd(row: tuple[Any, ...]) -> Jtd:
    return Jtd(
        id=row[0],
        attempt=row[1],
        tenant_id=row[2],
        event_type_code=row[3],
        channel_code=row[4],
        source_type_code=row[5],
        to=row[6] or "",
        recipient_name=row[7],
        payload=row[8],
        template_variables=row[9],
        metadata=row[10],
        template_id=row[11],
        template_version=row[12],
        template_key=row[13],
        locale=row[14],
        created_at=row[15],
        is_diverted=row[16],
        retry_count=row[17],
        max_retries=row[18],
        expires_at=row[19],
        bound_to=row[20],
        wants_unsubscribe=row[-3],
        reference=row[-2],
        kept=row[-1],
    )


def _limits(told: Mapping[str, Mapping[str, Any]]) -> dict[str, ContentLimit]:
    return {channel: ContentLimit.from_json(limit) for channel, limit in told.items()}
