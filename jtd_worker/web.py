"""The web process, `jtd-worker serve`: what it holds, and how it begins and ends."""

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn

from jtd_worker.database import Link
from jtd_worker.feed_hub import FeedHub
from jtd_worker.feed_routes import feed_routes
from jtd_worker.lease import elapsed
from jtd_worker.link_pool import LinkPool
from jtd_worker.receipt_inbox import ReceiptInbox
from jtd_worker.receipts_queue import ReceiptsQueue
from jtd_worker.serve_settings import ServeConfiguration
from jtd_worker.shared_secrets import each
from jtd_worker.unsubscribe_routes import unsubscribe_routes
from jtd_worker.web_app import make_app, probe_routes
from jtd_worker.web_metrics import WebMetrics
from jtd_worker.webhook_routes import webhook_routes

log = structlog.get_logger()

LOOK_SECONDS: Final = 2.0
"""How often the database is asked whether it answers."""
SILENCE: Final = 10.0
"""Seconds without an answer of the database after which this process is not ready."""


class Web:
    """One process of `jtd-worker serve`."""

    def __init__(self, configuration: ServeConfiguration) -> None:
        self._settings = configuration.settings
        dsn = self._settings.database_url.get_secret_value()
        self._pool = LinkPool(dsn, "web", self._settings.serve_connections)
        self._links = {name: Link(dsn, name) for name in ("receipts", "feed", "feed listen")}
        self._metrics = WebMetrics()
        self._inbox = ReceiptInbox(ReceiptsQueue(self._pool, self._links["receipts"]), self._metrics)
        self._hub = FeedHub(self._links["feed"], self._links["feed listen"])
        self._answered = -math.inf
        settings = self._settings
        routers = [
            probe_routes(self._hindrances, self._metrics),
            webhook_routes(configuration.sources, self._inbox, self._metrics, settings.public_url),
        ]
        self._side = [self._inbox.run, self._watch]
        if secrets := each(settings.feed_secrets):
            routers.append(feed_routes(self._pool, self._hub, secrets))
            self._side.append(self._hub.run)
            self._metrics.streams.set_function(lambda: self._hub.open_streams)
        if secrets := each(settings.unsubscribe_secrets):
            routers.append(unsubscribe_routes(self._pool, secrets))
        app = make_app(routers, settings.serve_body_bytes, settings.feed_origins)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # its tracebacks would quote requests
        self._server = _Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=math.ceil(self._settings.drain_seconds),
            )
        )

    def stop(self) -> None:
        """Take no more requests, and let those that run end in their drain time."""
        log.info("web.draining")
        self._server.should_exit = True
        self._hub.end()

    async def run(self) -> None:
        """Serve until stopped.

        Raises OSError when the address cannot be bound, and ExceptionGroup when a side task died, e.g. for
        a missing right.
        """
        listening = _bound(self._settings.http)
        host, port = listening.getsockname()[:2]
        try:
            async with asyncio.TaskGroup() as group:
                side = [group.create_task(part()) for part in self._side]
                log.info("web.listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
                await self._server.serve([listening])
                for task in side:
                    task.cancel()
        finally:
            listening.close()
            await self._pool.aclose()
            for link in self._links.values():
                await link.aclose()
        log.info("web.stopped")

    def _hindrances(self) -> list[str]:
        silent = elapsed() - self._answered
        away = [f"the database has not answered for {silent:.0f} s"] if silent > SILENCE else []
        return away + self._inbox.hindrances()

    async def _watch(self) -> None:
        while True:
            try:
                await self._pool.call("SELECT 1", seconds=LOOK_SECONDS)
                self._answered = elapsed()
            except TimeoutError as error:
                log.warning("database.unreachable", role="web", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)


class _Server(uvicorn.Server):
    """A server that leaves signals to us: it would end the process by the signal that stopped it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_signalled(web: Web) -> None:
    """Run `web`; SIGTERM and SIGINT stop it gracefully."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # not the loop's own way: to take its handler off is to let a signal that comes just then kill us
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(web.stop))
    try:
        await web.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second one would change how it ends


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, int(port)), family=family, backlog=2048)
    # Connections inherit it. asyncio sets it only for sockets that name their protocol, and without it the
    # second write of each answer, and of a stream, waits 40 ms for the first to be acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
