"""Claims from one queue whenever there are free slots, and hands what it claims to the executor."""

import asyncio
from typing import Final

from jtd_worker.executor import Executor
from jtd_worker.lease import Lease
from jtd_worker.metrics import Metrics
from jtd_worker.progress import Progress
from jtd_worker.queue import Queue, QueueName
from jtd_worker.rate import Permit, Rates
from jtd_worker.slots import Slots

BATCH: Final = 500
"""Most JTDs of one claim: larger batches gain little and hold rows longer."""

LAST_LOOK: Final = 0.1
"""Seconds after which a reader that has just gone to sleep looks once more."""
LEASE_LOOK: Final = 0.1
"""Seconds between looks whether the lease is long enough again, and after a claim without an answer."""


class Consumer:
    """The reader of one queue: one channel, one lane."""

    def __init__(
        self,
        name: QueueName,
        queue: Queue,
        lease: Lease,
        executor: Executor,
        rates: Rates,
        slots: Slots,
        stopping: asyncio.Event,
        progress: Progress,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._queue = queue
        self._lease = lease
        self._executor = executor
        self._rates = rates
        self._spare = Permit(rates, name.lane, 0, [])
        self._slots = slots
        self._stopping = stopping
        self._progress = progress
        self._claimed = metrics.claimed.labels(name.name)
        self._called = asyncio.Event()
        self.is_asleep = False
        self._is_shut = False

    @property
    def room(self) -> int:
        """How many JTDs it may claim at present: none while no provider of its channel takes any."""
        return self._rates.room(self.name.channel, self.name.lane, BATCH, spare=self._spare)

    @property
    def is_shut(self) -> bool:
        """Whether it waits for a provider, not for work."""
        return self._is_shut

    def wake(self) -> None:
        """Say that there may be something to claim, or that it is time to stop."""
        self._called.set()

    async def _sleep(self, seconds: float | None) -> bool:
        """Sleep until called, at most `seconds`; return whether it was called."""
        self.is_asleep = True
        try:
            async with asyncio.timeout(seconds):
                return await self._called.wait()
        except TimeoutError:
            return False
        finally:
            self.is_asleep = False

    async def run(self) -> None:
        """Claim and execute until told to stop, then wait for what runs.

        An empty claim enters it among the sleepers, whom producers notify. A producer whose INSERT
        came before that and whose COMMIT comes after it notifies nobody: so it looks again at once, and
        once more a moment later, before it sleeps until it is called.
        """
        empty = 0
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                if empty > 2:
                    self._spare.give_back()  # others may need it
                if empty >= 2 and await self._sleep(LAST_LOOK if empty == 2 else None):
                    empty = 1
                self._called.clear()
                if self._stopping.is_set():  # it was this that woke it
                    break
                self._is_shut = self.room == 0
                if self._is_shut:
                    await self._sleep(self._rates.wait(self.name.channel, self.name.lane))
                    continue
                if not self._lease.allows_start:  # what is claimed now would only be given back
                    await self._sleep(LEASE_LOOK)
                    continue
                taken = await self._slots.take(self.room, is_urgent=self.name.lane == "urgent")
                most = 0 if self._stopping.is_set() else min(taken, self.room)
                permit = await self._permit(most)
                most = min(most, permit.room)
                jtds = await self._queue.claim(self.name.name, most) if most else None
                self._slots.give(taken - len(jtds or ()))
                if jtds is None:  # not known to be empty: nobody would notify it
                    empty = 0
                    await self._sleep(LEASE_LOOK)
                    continue
                empty = 0 if jtds else empty + 1
                if jtds:
                    self._progress.claimed(self.name.name)
                    self._claimed.inc(len(jtds))
                    may_be_alone = any(jtd.retry_count for jtd in jtds)
                    settled = self._settled_alone if may_be_alone else self._settled
                    own = permit.split(len(jtds))
                    group.create_task(self._executor.execute(jtds, own, settled=settled))
            self._spare.give_back()

    async def _permit(self, most: int) -> Permit:
        """Return what the last claim left of its permit, else a new one."""
        if not self._spare.may_begin:
            self._spare.give_back()
            self._spare = await self._rates.permit(self.name.channel, self.name.lane, most)
        return self._spare

    def _settled(self) -> None:
        self._slots.give(1)

    def _settled_alone(self) -> None:
        """What lost a worker before goes one at a time: look at once whether another one waits."""
        self._slots.give(1)
        self.wake()
