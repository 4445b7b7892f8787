"""A proxy in front of Postgres that counts what the daemon asks, by reading the protocol."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.conninfo import conninfo_to_dict, make_conninfo

ASKS = frozenset(b"QE")
"""Query and Execute: one statement each (PostgreSQL documentation, Message Formats)."""
KEY_DATA = b"K\0\0\0\x0c"
"""How BackendKeyData begins, which names the process that serves the connection (the same page)."""


class Wire:
    """Connections through a Unix socket of its own; every statement of the worker is also a commit."""

    def __init__(self, dsn: str, folder: Path, *, hides_process: bool = False) -> None:
        parts = conninfo_to_dict(dsn)
        self._host, self._port = str(parts.get("host") or "localhost"), int(parts.get("port") or 5432)
        self._folder = folder
        self.dsn = make_conninfo(**{**parts, "host": str(folder), "port": "5432", "sslmode": "disable"})
        self.statements = 0
        self._hides_process = hides_process
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Break all connections and refuse new ones, until `mend`."""
        self._is_cut = True

        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(self._connected, self._folder / ".s.PGSQL.5432")
        ready.set()
        async with server:
            await stop.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        if self._host.startswith("/"):
            up = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            up = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, up[1]}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._count(reader, up[1]))
                group.create_task(self._copy(up[0], writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers -= {writer, up[1]}
            writer.close()
            up[1].close()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = b""  # the startup message alone has no type
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            self.statements += kind in {bytes([ask]) for ask in ASKS}
            writer.write(kind + length + body)
            await writer.drain()
            kind = await reader.readexactly(1)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(self._disguised(data))
            await writer.drain()
        writer.close()

    def _disguised(self, data: bytes) -> bytes:
        """BackendKeyData comes once, after the login and whole; only its process id is another."""
        at = data.find(KEY_DATA) if self._hides_process else -1
        return data if at < 0 else data[: at + 5] + b"\0\0\0\1" + data[at + 9 :]


@contextmanager
def wire(dsn: str, *, hides_process: bool = False) -> Iterator[Wire]:
    """Proxy to `dsn` until the block ends; one that hides the server's process looks like a pooler."""
    with TemporaryDirectory() as folder:
        proxy = Wire(dsn, Path(folder), hides_process=hides_process)
        ready, loop = threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()

        async def serve() -> None:
            await proxy.serve(ready, stop)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()
