"""Puts receipts on record, and lets the database apply them soon after."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from jtd_worker.lease import elapsed
from jtd_worker.receipt import Receipt
from jtd_worker.receipts_queue import ReceiptsQueue
from jtd_worker.registry import ProviderName
from jtd_worker.web_metrics import WebMetrics

log = structlog.get_logger()

APPLIED_AT_ONCE: Final = 500
STALL: Final = 15.0
"""Seconds for which receipts may wait to be applied before this process is not ready."""


class ReceiptInbox:
    """The receipts of one process on their way into the database."""

    def __init__(self, queue: ReceiptsQueue, metrics: WebMetrics) -> None:
        self._queue = queue
        self._metrics = metrics
        self._arrived = asyncio.Event()
        self._unapplied_since: float | None = None

    async def accept(self, name: ProviderName, receipts: Sequence[Receipt]) -> None:
        """Put receipts on record; they are durable when this returns.

        Raises TimeoutError when they may not be: a copy that comes later does no harm.
        """
        if not receipts:
            return
        accepted = await self._queue.accept(name.channel, name.provider, receipts)
        for receipt in receipts:
            self._metrics.receipts.labels(name.channel, name.provider, receipt.kind).inc()
        self._metrics.known.labels(name.channel, name.provider).inc(accepted.known)
        log.info("receipts.accepted", channel=name.channel, provider=name.provider, count=accepted.new)
        if self._unapplied_since is None:
            self._unapplied_since = elapsed()
        self._arrived.set()

    async def run(self) -> None:
        """Let receipts be applied until cancelled; those that come meanwhile are applied together.

        Begins with what others left. Raises psycopg.Error that asks for an operator, e.g. for a missing
        right; outages are waited for.
        """
        while True:
            self._arrived.clear()
            while (await self._queue.apply(APPLIED_AT_ONCE)).more:
                pass
            if not self._arrived.is_set():
                self._unapplied_since = None
            await self._arrived.wait()

    def hindrances(self) -> list[str]:
        """Say what is wrong, for a person."""
        since = self._unapplied_since
        if since is None or elapsed() - since <= STALL:
            return []
        return [f"receipts wait to be applied for {elapsed() - since:.0f} s"]
