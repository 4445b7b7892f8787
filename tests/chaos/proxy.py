"""The only way from a daemon to Postgres: it reads the protocol, so it can break it at every step."""

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.chaos.network import Network
from tests.chaos.traps import Traps

_FUNCTION = re.compile(rb"\bjtd\.([a-z_]+?)(?:_v\d+)?\(")
_PARTS = frozenset({b"P", b"B", b"D", b"E", b"C"})
"""Parse, Bind, Describe, Execute, Close; an ask ends with Sync (PostgreSQL manual, Message Formats)."""


@dataclass(slots=True)
class _Talk:
    """What one connection has asked and not yet heard."""

    prepared: dict[bytes, bytes] = field(default_factory=dict)
    bound: bytes = b""
    asked: deque[str] = field(default_factory=deque)

    def hear(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            self.prepared[name] = rest.partition(b"\0")[0]
        elif kind == b"B":
            self.bound = self.prepared.get(body.partition(b"\0")[2].partition(b"\0")[0], b"")
        elif kind == b"Q":
            self.bound = body

    def take(self) -> str:
        """The function of ours that is asked for now, without its version; empty for any other statement."""
        found, self.bound = _FUNCTION.search(self.bound), b""
        return found[1].decode() if found else ""


class Proxy:
    """The connections of one daemon, through a Unix socket of its own."""

    def __init__(self, daemon: str, folder: Path, upstream: Path, database: str, traps: Traps) -> None:
        """`upstream` is the folder of the server's socket."""
        self.dsn = make_conninfo(
            host=str(folder), port="5432", user="postgres", dbname=database, sslmode="disable"
        )
        self._daemon = daemon
        self._socket = folder / ".s.PGSQL.5432"
        self._upstream = upstream / ".s.PGSQL.5432"
        self._traps = traps
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, network: Network) -> None:
        self._network = network
        network.run(self._open())

    def close(self) -> None:
        self._network.run(self._close())

    def cut(self) -> None:
        """Break all connections and refuse new ones, until `mend`."""

        def abort() -> None:
            self._is_cut = True
            for writer in self._writers:
                writer.transport.abort()

        self._network.call(abort)

    def stall(self) -> None:
        """Pass nothing on in either direction, and break nothing, until `mend`."""
        self._network.call(self._flows.clear)

    def mend(self) -> None:
        """Let everything through again; what was stalled arrives late."""
        self._is_cut = False
        self._network.call(self._flows.set)

    async def _open(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = await asyncio.start_unix_server(self._connected, self._socket)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        writers = {writer}
        try:
            if self._is_cut:
                return
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
            writers.add(up_writer)
            self._writers |= writers
            talk = _Talk()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(reader, up_writer, talk))
                group.create_task(self._answer(up_reader, writer, talk))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers -= writers
            for end in writers:
                end.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk) -> None:
        kind, ask = b"", b""  # the startup message alone has no type
        while True:
            length = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length) - 4)
            talk.hear(kind, body)
            ask += kind + length + body
            if kind not in _PARTS:
                function = talk.take()
                self._pass(f"{function} before", ask)
                if kind in {b"Q", b"S"}:
                    talk.asked.append(function)
                await self._flows.wait()
                writer.write(ask)
                await writer.drain()
                self._pass(f"{function} during", ask)
                ask = b""
            kind = await reader.readexactly(1)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk) -> None:
        answer, has_rows = [], False
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            answer.append(kind + length + await reader.readexactly(int.from_bytes(length) - 4))
            has_rows = has_rows or kind == b"D"
            if kind == b"Z" and talk.asked:
                function = talk.asked.popleft()
                if has_rows:  # an empty claim is no step of any job
                    self._pass(f"{function} after", b"".join(answer))
                has_rows = False
            elif talk.asked:
                continue  # the answer goes out whole, or not at all
            await self._flows.wait()
            writer.write(b"".join(answer))
            await writer.drain()
            answer.clear()

    def _pass(self, point: str, content: bytes) -> None:
        if self._traps.spring(point, self._daemon, content):
            raise ConnectionAbortedError
