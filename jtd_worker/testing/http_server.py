"""A real HTTP/1.1 server on loopback that records what it is sent and misbehaves on command.

What it does is told in steps, so that every way of going wrong is spelled out byte by byte:

    async with HttpServer(answer(503, headers={"retry-after": "7"})) as server: ...
    async with HttpServer(in_turn(answer(502), answer(202, b'{"id": "m-1"}'))) as server: ...
    with ThreadedHttpServer(answer(200)) as server: ...        # for daemons in other processes
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Never, Self, TypeAlias, assert_never

DEADLINE = 10.0
"""Seconds after which a wait for something that should happen fails."""


class Step(Enum):
    """What the server does besides sending bytes; all but WAIT end the connection."""

    CLOSE = auto()
    RESET = auto()
    """Close with a TCP reset, so that the client's next read or write fails."""
    HANG = auto()
    """Send nothing more, but read on until the client goes away."""
    STALL = auto()
    """Neither send nor read, so that a big request fills the socket and blocks its writer."""
    WAIT = auto()
    """Go on when the test calls `release`."""
    BREAK_TLS = auto()
    """Send bytes that are no TLS record beneath the encryption, then hang."""


@dataclass(frozen=True, slots=True)
class Drip:
    """Send byte by byte with a pause in seconds before each."""

    data: bytes
    pause: float


Steps: TypeAlias = "Sequence[bytes | Drip | Step]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that arrived whole."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """Counted from 1: equal for requests over the same connection."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script: TypeAlias = "Steps | Callable[[Request], Steps]"


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
) -> Steps:
    """Make a plain answer; `length` is the Content-Length told, where it should be a lie."""
    fields = {"content-length": str(len(body) if length is None else length), **(headers or {})}
    head = f"HTTP/1.1 {status} Scripted\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return [head.encode("latin-1") + b"\r\n" + body]


def chunked(status: int, *chunks: bytes, complete: bool = True) -> Steps:
    """Make an answer in chunks, each sent for itself; without the last one if not `complete`."""
    framed = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return [
        b"HTTP/1.1 %d Scripted\r\ntransfer-encoding: chunked\r\n\r\n" % status,
        *framed,
        *([b"0\r\n\r\n"] if complete else []),
    ]


def in_turn(*answers: Steps) -> Callable[[Request], Steps]:
    """Give each request the next answer; the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class HttpServer:
    """Serves `script` on 127.0.0.1 and remembers every request.

    `on_connect` steps come before anything is read (after the handshake if `tls`), `on_headers` steps
    between a request's head and its body; the script decides on the whole request.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        on_connect: Steps = (),
        on_headers: Steps = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.hung_up = 0
        """How many connections the client ended, in an orderly way or not."""
        self._script = script
        self._on_connect = on_connect
        self._on_headers = on_headers
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> Counter[str]:
        """How often each `webhook-id` arrived."""
        return Counter(request.headers.get("webhook-id", "") for request in self.requests)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}/hook"

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def release(self) -> None:
        """Let every WAIT step go on, now and from now on."""
        self._released.set()

    async def wait_until(self, holds: Callable[[Self], bool], seconds: float = DEADLINE) -> None:
        """Return as soon as `holds(self)`, looked at after every change; TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    async def _note_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self.connections, reader, writer)
        if not self._server.is_serving():  # it was being accepted as the server closed
            connection.abort()
            return
        task = asyncio.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # not in the task: one that is cancelled before its first step runs no `finally`
        task.add_done_callback(lambda _: connection.abort())

    async def _serve(self, connection: "_Connection") -> None:
        try:
            await self._note_change()
            await self._converse(connection)
        except (OSError, asyncio.IncompleteReadError):
            self.hung_up += 1
            await self._note_change()

    async def _converse(self, connection: "_Connection") -> None:
        goes_on = await self._perform(self._on_connect, connection)
        while goes_on:
            await connection.read_head()
            if not await self._perform(self._on_headers, connection):
                return
            request = await connection.read_request()
            self.requests.append(request)
            await self._note_change()
            steps = self._script(request) if callable(self._script) else self._script
            goes_on = await self._perform(steps, connection)

    async def _perform(self, steps: Steps, connection: "_Connection") -> bool:
        """Take the steps; return whether the connection is still of use."""
        for step in steps:
            match step:
                case bytes():
                    await connection.write(step)
                case Drip():
                    for n in range(len(step.data)):
                        await asyncio.sleep(step.pause)
                        await connection.write(step.data[n : n + 1])
                case Step.CLOSE:
                    await connection.close()
                    return False
                case Step.RESET:
                    connection.reset()
                    return False
                case Step.HANG:
                    await connection.read_to_end()
                case Step.STALL:
                    await asyncio.Event().wait()  # until the server stops
                case Step.WAIT:
                    await self._released.wait()
                case Step.BREAK_TLS:
                    connection.write_beneath_tls(b"no TLS record")
                    await connection.read_to_end()
                case _:
                    assert_never(step)
        return True


class _Connection:
    """The bytes of one client, read strictly on demand."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number = number
        self._reader = reader
        self._writer = writer
        self._head: list[str] = []

    async def read_head(self) -> None:
        self._head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")

    async def read_request(self) -> Request:
        method, target, _ = self._head[0].split(" ")
        fields = (line.partition(":") for line in self._head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method=method, target=target, headers=headers, body=body, connection=self._number)

    async def read_to_end(self) -> Never:
        """Raise as soon as the client has ended the connection."""
        while True:
            await self._reader.readexactly(1)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def write_beneath_tls(self, data: bytes) -> None:
        os.write(self._writer.get_extra_info("socket").fileno(), data)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


class ThreadedHttpServer:
    """The same server in a thread of its own, for tests that block or watch other processes.

    `server` is read from the test's thread: lists only grow, so that is safe.
    """

    def __init__(self, script: Script = (), **options: Any) -> None:
        self.server = HttpServer(script, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.server.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self.server.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    @property
    def url(self) -> str:
        return self.server.url

    def release(self) -> None:
        """Let every WAIT step go on."""
        self._loop.call_soon_threadsafe(self.server.release)

    def wait_until(self, holds: Callable[[HttpServer], bool], seconds: float = DEADLINE) -> None:
        """Block until `holds(server)`; TimeoutError after `seconds`."""
        self._run(self.server.wait_until(holds, seconds), seconds)

    def _run(self, coroutine: Any, seconds: float = DEADLINE) -> None:
        # The coroutine keeps its own deadline; this one is for a loop that has died.
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds + DEADLINE)
