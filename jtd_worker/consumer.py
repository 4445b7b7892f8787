"""Claims from one queue whenever there are free slots, and hands what it claims to the executor."""

import asyncio
from typing import Final

from jtd_worker.executor import Executor
from jtd_worker.metrics import Metrics
from jtd_worker.progress import Progress
from jtd_worker.queue import Queue, QueueName
from jtd_worker.slots import Slots

BATCH: Final = 500
"""Most JTDs of one claim: larger batches gain little and hold rows longer."""


class Consumer:
    """The reader of one queue: one channel, one lane."""

    def __init__(
        self,
        name: QueueName,
        queue: Queue,
        executor: Executor,
        slots: Slots,
        stopping: asyncio.Event,
        progress: Progress,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._queue = queue
        self._executor = executor
        self._slots = slots
        self._stopping = stopping
        self._progress = progress
        self._claimed = metrics.claimed.labels(name.name)
        self._called = asyncio.Event()
        self.is_asleep = False

    def wake(self) -> None:
        """Say that there may be something to claim, or that it is time to stop."""
        self._called.set()

    async def run(self) -> None:
        """Claim and execute until told to stop, then wait for what runs.

        It sleeps after two empty claims: the first enters it among the sleepers, the second makes
        sure that nothing came between.
        """
        empty = 0
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                if empty >= 2:
                    self.is_asleep = True
                    await self._called.wait()
                    self.is_asleep = False
                    empty = 0
                self._called.clear()
                taken = await self._slots.take(BATCH)
                jtds = [] if self._stopping.is_set() else await self._queue.claim(self.name.name, taken)
                self._slots.give(taken - len(jtds))
                empty = 0 if jtds else empty + 1
                if jtds:
                    self._progress.claimed(self.name.name)
                    self._claimed.inc(len(jtds))
                    group.create_task(self._executor.execute(jtds, settled=lambda: self._slots.give(1)))
