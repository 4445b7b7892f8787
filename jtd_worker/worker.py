"""A worker: its connections, its side tasks, its consumers, and how they end."""

import asyncio
import os
import signal
import socket
from typing import Final
from uuid import uuid4

import structlog

from jtd_worker.breaker import Breakers
from jtd_worker.channels import any_outbox
from jtd_worker.consumer import BATCH, Consumer
from jtd_worker.contacts import Region
from jtd_worker.content import ContentLimit
from jtd_worker.credential import Credentials
from jtd_worker.database import Link
from jtd_worker.errors import ConfigurationError
from jtd_worker.executor import Executor
from jtd_worker.heartbeat import Heartbeat
from jtd_worker.lease import Lease
from jtd_worker.metrics import Metrics
from jtd_worker.outlet import Outlet, Outlets, house_outlet
from jtd_worker.probe import Probe
from jtd_worker.progress import Progress
from jtd_worker.queue import Queue, QueueName
from jtd_worker.rate import Rates
from jtd_worker.scheduler import Scheduler
from jtd_worker.settings import Configuration, Settings
from jtd_worker.settler import Settler
from jtd_worker.shared_secrets import each
from jtd_worker.slots import Slots
from jtd_worker.unsubscribe import UnsubscribeLinks

log = structlog.get_logger()

OWN_SHARE: Final = 4
"""One in so many of a channel's slots may be sending by one tenant's own credential, at least one: what hangs
leaves the others to others."""


class Worker:
    """One process of `jtd-worker run`: four connections, one consumer per queue."""

    def __init__(self, configuration: Configuration, *, until_idle: bool = False) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._until_idle = until_idle
        self._stopping = asyncio.Event()
        self._consumers: list[Consumer] = []
        dsn = self._settings.database_url.get_secret_value()
        self._links = {
            "lease": Link(dsn, "lease", self._wake_all),
            "claim": Link(dsn, "claim"),
            "settle": Link(dsn, "settle"),
            "tick": Link(dsn, "tick"),
        }
        self.queue = Queue(
            uuid4(),
            claims=self._links["claim"],
            settles=self._links["settle"],
            ticks=self._links["tick"],
            leases=self._links["lease"],
        )

    def stop(self) -> None:
        """Claim no more, give back what has not started, let what runs end in its drain time."""
        if not self._stopping.is_set():
            log.info("worker.draining")
        self._stopping.set()
        self._wake_all()

    async def run(self) -> None:
        """Work until stopped, or with `until_idle` until nothing is left to do now.

        Returns when everything claimed is recorded. Raises ConfigurationError when a channel is
        unknown to the database, and ExceptionGroup when a side task died.
        """
        channels = list(self._configuration.providers)
        lease = Lease(self._settings.lease_seconds)
        progress, metrics = Progress(lease), Metrics()
        settler = Settler(self.queue, progress, metrics)
        outlets = {
            channel: [
                house_outlet(
                    provider.name.code,
                    provider.build(),
                    takes_senders=provider.name in (self._settings.tenant_senders or ()),
                )
                for provider in providers
            ]
            for channel, providers in self._configuration.providers.items()
        }
        every = self._make_outlets(outlets)
        harmless = [
            channel
            for channel, pool in outlets.items()
            if all(isinstance(outlet.adapter, any_outbox.Outbox) for outlet in pool)
        ]
        heartbeat = Heartbeat(
            self.queue, self._links["lease"], lease, _name(), channels, harmless, self._wake
        )
        breakers = Breakers(
            self.queue,
            {
                channel: [outlet.code for outlet in pool]
                for channel, pool in outlets.items()
                if not any(outlet.adapter.capabilities.transactional for outlet in pool)
            },
        )
        rates = self._make_rates(outlets, breakers)
        content_limits: dict[str, ContentLimit] = {}
        executor = Executor(
            self.queue,
            settler,
            lease,
            every,
            breakers,
            rates,
            content_limits,
            Region(self._settings.default_region),
            self._stopping,
            _unsubscribe_links(self._settings),
        )
        try:
            names = await self._queues(channels)
            content_limits.update(
                await self.queue.content_limits()
            )  # the first claim may come before the first tick
            await heartbeat.begin()
            self._make_consumers(names, lease, executor, rates, outlets, progress, metrics)
            scheduler = Scheduler(
                self.queue,
                self._consumers,
                breakers,
                rates,
                content_limits,
                self._stopping,
                progress,
                metrics,
                self.stop if self._until_idle else None,
            )
            log.info("worker.started", worker=self.queue.worker, channels=channels)
            async with asyncio.TaskGroup() as group:
                side = [group.create_task(part.run()) for part in (heartbeat, breakers, rates)]
                if self._settings.http:
                    probe = Probe(self._settings.http, progress, metrics, self.queue.status)
                    side.append(group.create_task(probe.run()))
                settling = group.create_task(settler.run())
                drain = group.create_task(self._drain(executor))
                async with asyncio.TaskGroup() as working:
                    working.create_task(scheduler.run())
                    for consumer in self._consumers:
                        working.create_task(consumer.run())
                settler.close()
                await settling
                await rates.end()
                for task in (*side, drain):
                    task.cancel()
            await heartbeat.end()
            log.info("worker.stopped", worker=self.queue.worker)
        finally:
            await every.aclose()
            for link in self._links.values():
                await link.aclose()

    async def _queues(self, channels: list[str]) -> list[QueueName]:
        names = await self.queue.queues(channels)
        unknown = set(channels) - {name.channel for name in names}
        if unknown:
            raise ConfigurationError(
                f"JTD_PROVIDERS names channels unknown to the database: {', '.join(sorted(unknown))}; "
                "insert them into n_jtd_channels, or run `jtd-worker migrate`"
            )
        return names

    def _make_outlets(self, house: dict[str, list[Outlet]]) -> Outlets:
        credentials = Credentials(
            self._configuration.credentials, self._settings.credential_dir, self.queue.credential
        )
        share = max(1, self._slots(house) // OWN_SHARE)
        outbox = Outlet(code="outbox", adapter=any_outbox.Outbox())
        return Outlets(house, outbox, credentials, share)

    def _slots(self, house: dict[str, list[Outlet]]) -> int:
        """Return how many sends may run at one time for each channel that leaves the house."""
        return self._settings.slots // max(1, len(_outbound(house)))

    def _make_rates(self, outlets: dict[str, list[Outlet]], breakers: Breakers) -> Rates:
        outbound = {
            channel: [outlet.code for outlet in pool if not outlet.adapter.capabilities.transactional]
            for channel, pool in outlets.items()
        }
        unbounded = [channel for channel, pool in outlets.items() if len(outbound[channel]) < len(pool)]
        return Rates(self.queue, breakers, outbound, unbounded)

    def _make_consumers(
        self,
        names: list[QueueName],
        lease: Lease,
        executor: Executor,
        rates: Rates,
        outlets: dict[str, list[Outlet]],
        progress: Progress,
        metrics: Metrics,
    ) -> None:
        outbound = _outbound(outlets)
        if self._settings.slots < len(outbound):
            raise ConfigurationError(
                f"JTD_SLOTS is {self._settings.slots}, and {len(outbound)} channels leave the house: "
                "each needs a slot of its own"
            )
        # each channel has its share, so that a provider that hangs holds up its own channel alone
        share = {channel: Slots(self._slots(outlets)) for channel in outbound}
        for name in names:
            # what settles in our own transaction leaves nothing unknown: two batches keep it overlapped
            own = share.get(name.channel) or Slots(2 * BATCH)
            self._consumers.append(
                Consumer(name, self.queue, lease, executor, rates, own, self._stopping, progress, metrics)
            )

    async def _drain(self, executor: Executor) -> None:
        """Once told to stop, give running sends their time, then end them."""
        await self._stopping.wait()
        self._wake_all()
        await asyncio.sleep(self._settings.drain_seconds)
        cut_off = executor.cancel_sends()
        if cut_off:
            log.warning("worker.drain_over", cut_off=cut_off)

    def _wake(self, queue: str) -> None:
        for consumer in self._consumers:
            if consumer.name.name == queue:
                consumer.wake()

    def _wake_all(self) -> None:
        for consumer in self._consumers:
            consumer.wake()


async def run_until_signalled(worker: Worker) -> None:
    """Run `worker`; SIGTERM and SIGINT stop it gracefully."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # not the loop's own way: to take its handler off is to let a signal that comes just then kill us
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(worker.stop))
    try:
        await worker.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second one would change how it ends


def _outbound(house: dict[str, list[Outlet]]) -> list[str]:
    """Return the channels that leave the house."""
    return [
        channel
        for channel, pool in house.items()
        if not all(outlet.adapter.capabilities.transactional for outlet in pool)
    ]


def _unsubscribe_links(settings: Settings) -> UnsubscribeLinks | None:
    secrets = each(settings.unsubscribe_secrets)
    return UnsubscribeLinks(public_url=settings.public_url, secret=secrets[0]) if secrets else None


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
