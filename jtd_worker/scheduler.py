"""Ticks: what only time can move is moved about once a second."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from jtd_worker.breaker import Breakers
from jtd_worker.consumer import Consumer
from jtd_worker.content import ContentLimit
from jtd_worker.metrics import Metrics
from jtd_worker.progress import Progress
from jtd_worker.queue import Queue
from jtd_worker.rate import Rates
from jtd_worker.recurrence import answers

log = structlog.get_logger()

INTERVAL: Final = 1.0
"""Seconds between ticks: how late a retry or a schedule may be, and a poll that no notification replaces."""
BUSY_INTERVAL: Final = 0.1
"""Seconds between ticks while ready jobs wait for room in their queue."""
MOST_RECURRING: Final = 100
"""Series that one tick lets go on; jtd.tick_v1 counts no more."""


class Scheduler:
    """The side task that ticks, and wakes consumers whose notification was lost."""

    def __init__(
        self,
        queue: Queue,
        consumers: Sequence[Consumer],
        breakers: Breakers,
        rates: Rates,
        content_limits: dict[str, ContentLimit],
        stopping: asyncio.Event,
        progress: Progress,
        metrics: Metrics,
        stop_when_idle: Callable[[], None] | None,
    ) -> None:
        """`content_limits` is kept up to date with what the channels take."""
        self._queue = queue
        self._consumers = {consumer.name.name: consumer for consumer in consumers}
        self._breakers = breakers
        self._rates = rates
        self._content_limits = content_limits
        self._stopping = stopping
        self._progress = progress
        self._metrics = metrics
        self._stop_when_idle = stop_when_idle

    async def run(self) -> None:
        """Tick until told to stop; with `stop_when_idle`, stop everybody once nothing is left to do."""
        was_adopted = True
        while not self._stopping.is_set():
            asleep = [
                name
                for name, consumer in self._consumers.items()
                if consumer.is_asleep and not consumer.is_shut
            ]
            await self._queue.reconcile()
            tick = await self._queue.tick(asleep)
            self._progress.ticked(tick.wake, is_partitioned=tick.is_partitioned, is_adopted=tick.is_adopted)
            if not tick.is_adopted and was_adopted:
                log.error("database.not_adopted")
            was_adopted = tick.is_adopted
            self._breakers.learn(tick.breakers)
            self._rates.learn(tick.limits, tick.full)
            self._content_limits.update(tick.content_limits)
            for name, consumer in self._consumers.items():
                if name in tick.wake or (consumer.is_shut and consumer.room):
                    consumer.wake()
            if tick.reclaimed:
                self._metrics.reclaimed.inc(tick.reclaimed)
                log.warning("jtd.reclaimed", count=tick.reclaimed)
            if tick.found:
                self._metrics.found.inc(tick.found)
                log.warning("jtd.found", count=tick.found)
            if tick.receipts:
                log.info("receipts.applied", count=tick.receipts)
            if tick.recurring:
                await self._recur()
            if (
                self._stop_when_idle
                and not self._queue.held
                and await self._queue.is_idle([n for n, c in self._consumers.items() if not c.is_shut])
            ):
                self._stop_when_idle()
            more = tick.more or tick.recurring >= MOST_RECURRING
            with suppress(TimeoutError):
                async with asyncio.timeout(BUSY_INTERVAL if more else INTERVAL):
                    await self._stopping.wait()

    async def _recur(self) -> None:
        """Make the next job of each series whose latest is due; what another worker has made is passed."""
        due = await self._queue.recurrences_due(MOST_RECURRING)
        nexts = await asyncio.to_thread(answers, due)
        done = await self._queue.recur(nexts)
        for jtd_id in [jtd_id for jtd_id, answer in done if answer == "ended"]:
            log.info("series.ended", jtd_id=jtd_id)
        if made := sum(answer == "made" for _, answer in done):
            log.info("series.continued", count=made)
