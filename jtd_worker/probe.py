"""The worker's tiny web server: /healthz, /readyz and /metrics, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import structlog

from jtd_worker.lease import elapsed
from jtd_worker.metrics import Metrics
from jtd_worker.progress import Progress

log = structlog.get_logger()

REQUEST_SECONDS: Final = 5.0
STATUS_SECONDS: Final = 10.0
"""How old the figures of the database may be: however often it is scraped, it is asked no more often."""


class Probe:
    """Answers orchestrators and scrapers."""

    def __init__(
        self,
        address: str,
        progress: Progress,
        metrics: Metrics,
        status: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        """`address` is host:port; `status` asks the database for its figures."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._progress = progress
        self._metrics = metrics
        self._status = status
        self._asked = -STATUS_SECONDS

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when the address cannot be bound."""
        server = await asyncio.start_server(self._connected, self._host.strip("[]"), self._port, limit=8192)
        port = server.sockets[0].getsockname()[1]
        log.info("probe.listening", url=f"http://{self._host}:{port}")
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await self._answer(head.split(b"\r\n")[0].decode("latin-1"))
                kind = "text/plain; version=0.0.4; charset=utf-8"
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that goes away or talks nonsense gets no answer and does no harm
        finally:
            writer.close()

    async def _answer(self, request: str) -> tuple[HTTPStatus, bytes]:
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, b""
        hindrances = self._progress.hindrances()
        match path:
            case "/healthz":
                return HTTPStatus.OK, b"ok\n"
            case "/readyz" if hindrances:
                return HTTPStatus.SERVICE_UNAVAILABLE, ("\n".join(hindrances) + "\n").encode()
            case "/readyz":
                return HTTPStatus.OK, b"ready\n"
            case "/metrics":
                self._metrics.ready.set(not hindrances)
                await self._refresh()
                return HTTPStatus.OK, self._metrics.text()
            case _:
                return HTTPStatus.NOT_FOUND, b"/healthz, /readyz, /metrics\n"

    async def _refresh(self) -> None:
        if elapsed() - self._asked < STATUS_SECONDS:
            return
        self._asked = elapsed()
        try:
            async with asyncio.timeout(REQUEST_SECONDS / 2):
                self._metrics.see(await self._status())
        except TimeoutError:
            log.warning("metrics.stale")
