"""Renews the lease and hears the calls that wake sleeping consumers, on one connection."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
import structlog

from jtd_worker.database import TRANSIENT, Link
from jtd_worker.lease import Lease, elapsed
from jtd_worker.queue import Queue

log = structlog.get_logger()

WAKE: Final = "jtd_wake"
"""The LISTEN channel; the payload names a queue."""


class Heartbeat:
    """The side task that keeps this worker alive in the eyes of the others."""

    def __init__(
        self,
        queue: Queue,
        link: Link,
        lease: Lease,
        name: str,
        channels: Sequence[str],
        outbox_channels: Sequence[str],
        wake: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._link = link
        self._lease = lease
        self._name = name
        self._channels = channels
        self._outbox_channels = outbox_channels
        self._wake = wake

    async def begin(self) -> None:
        """Enter the worker; after this it holds a lease."""
        asked_at = elapsed()
        await self._register()
        self._lease.renewed(asked_at)

    async def run(self) -> None:
        """Renew every third of the lease and pass calls on, until cancelled; an outage is waited out."""
        while True:
            try:
                await self._renew()  # first of all after an outage: nothing starts before it
                await self._link.listen(WAKE, self._wake, self._lease.seconds / 3)
            except TRANSIENT as error:
                log.warning("lease.not_renewed", error=type(error).__name__)
                await self._link.aclose()
                await asyncio.sleep(0.2)

    async def _renew(self) -> None:
        asked_at = elapsed()
        async with asyncio.timeout(self._lease.seconds / 3):
            if not await self._queue.renew():
                log.warning("lease.lost")
                await self._register()
        self._lease.renewed(asked_at)

    async def _register(self) -> None:
        await self._queue.register(self._name, self._channels, self._outbox_channels, self._lease.seconds)

    async def end(self) -> None:
        """Leave; if the database cannot be reached the lease runs out by itself."""
        try:
            async with asyncio.timeout(5):
                await self._queue.leave()
        except (*TRANSIENT, psycopg.Error) as error:
            log.warning("lease.not_ended", error=type(error).__name__)
