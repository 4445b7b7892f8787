"""A connection to Postgres that comes back by itself."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential, wait_random

log = structlog.get_logger()

STATEMENT_TIMEOUT_MS: Final = 30_000
LOCK_TIMEOUT_MS: Final = 1_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 10_000
ANSWER_TIMEOUT: Final = 40.0
"""Seconds after which a connection that does not answer is given up: beyond any statement's own limit."""

CONNECTION_LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError, OSError, TimeoutError)
TRANSIENT: Final = (
    *CONNECTION_LOST,
    errors.QueryCanceled,
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.ReadOnlySqlTransaction,
)
"""What passes by itself: the call is made again, and the functions called are safe to call again."""


def is_transient(error: BaseException) -> bool:
    """Return whether `error` passes by itself; a limit of the server (class 54) does not."""
    return isinstance(error, TRANSIENT) and not (getattr(error, "sqlstate", None) or "").startswith("54")


def read_json(text: str | bytes) -> Any:
    """Read JSON of the database; what is legal there and cannot be read here is read as null.

    jsonb takes numbers of thousands of digits, and deeper nesting than Python's parser: such a value
    is the fault of its row, and must not end the call that brings other rows as well.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def seeking_primary(dsn: str) -> str:
    """Return `dsn` so that of several hosts that which takes changes is chosen, unless it says otherwise."""
    parameters = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    if "," not in parameters.get("host", parameters.get("hostaddr", "")):
        return dsn
    return make_conninfo(**{"target_session_attrs": "read-write", **parameters})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a connection leads to."""

    running_since: datetime
    """When this server was started: another time is another life, which may lack the last commits."""
    is_pooled: bool
    """Whether a pooler stands between: notifications, prepared statements and settings do not last."""


async def connect(dsn: str, role: str) -> tuple[psycopg.AsyncConnection[Any], Server]:
    """Open a connection in autocommit with our timeouts; `role` tells it apart in pg_stat_activity.

    Raises psycopg.OperationalError when the server cannot be reached. Behind a pooler in transaction mode
    the timeouts are left to the role: what is set there would reach other clients.
    """
    connection = await psycopg.AsyncConnection.connect(
        seeking_primary(dsn),
        autocommit=True,
        connect_timeout=5,
        application_name=f"jtd-worker {role}",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    set_json_loads(read_json, connection)
    rows = await connection.execute("SELECT pg_postmaster_start_time(), pg_backend_pid()")
    ((running_since, pid),) = await rows.fetchall()
    # a pooler answers with a number of its own
    server = Server(running_since=running_since, is_pooled=pid != connection.info.backend_pid)
    if server.is_pooled:
        connection.prepare_threshold = None
    else:
        await connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false), "
            "set_config('idle_in_transaction_session_timeout', %s, false), "
            "set_config('synchronous_commit', "
            "replace(current_setting('synchronous_commit'), 'off', 'on'), false)",
            [str(STATEMENT_TIMEOUT_MS), str(LOCK_TIMEOUT_MS), str(IDLE_IN_TRANSACTION_TIMEOUT_MS)],
        )  # the last, since what is on record must survive a crash
    return connection, server


class Link:
    """One connection, used by one call at a time and opened again when it was lost."""

    def __init__(self, dsn: str, role: str, on_connect: Callable[[], None] = lambda: None) -> None:
        """`on_connect` is called after every connect, the first included."""
        self.role = role
        self._dsn = dsn
        self._on_connect = on_connect
        self._connected_to: tuple[psycopg.AsyncConnection[Any], Server] | None = None
        self._listening: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def server(self) -> Server:
        """Connect if need be, and return what the connection leads to. Raises one of CONNECTION_LOST."""
        async with self._lock:
            _, server = await self._connected()
            return server

    async def once(
        self, query: str, parameters: Sequence[object] = (), *, on: Server | None = None
    ) -> list[tuple[Any, ...]]:
        """Run `query` and return its rows; with `on`, only while connected to that very server.

        Raises one of TRANSIENT when it may not have taken place, or its answer was lost. When
        cancelled the connection is closed, since its state is unknown.
        """
        async with self._lock:
            connection, server = await self._connected()
            if on is not None and server != on:
                raise psycopg.OperationalError("another server answers now")
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    cursor = await connection.execute(query, parameters, binary=True)
                    return await cursor.fetchall()
            except (TimeoutError, asyncio.CancelledError, errors.ReadOnlySqlTransaction):
                await self._drop()  # one that takes no changes is not the primary, or not any more
                raise

    async def call(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run `query` until it succeeds, through outages of any length; only for what is safe to repeat."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_transient),
            wait=wait_exponential(multiplier=0.05, max=2) + wait_random(0, 0.1),
            before_sleep=self._report,
        ):
            with attempt:
                return await self.once(query, parameters)
        raise AssertionError("retrying has no end")

    async def listen(self, channel: str, heard: Callable[[str], None], seconds: float) -> None:
        """Pass the payloads notified on `channel` to `heard` for `seconds`.

        Those that come between two calls are kept by the server's connection and passed by the next.
        Raises one of CONNECTION_LOST; what was notified while there was no connection is lost. Through a
        pooler nothing is heard, and only the time passes.
        """
        if (await self.server()).is_pooled:
            await asyncio.sleep(seconds)
            return
        async with self._lock:
            connection, _ = await self._connected()
            if self._listening is not connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                self._listening = connection
            try:
                async for notify in connection.notifies(timeout=seconds):
                    heard(notify.payload)
            except asyncio.CancelledError:
                await self._drop()
                raise

    async def aclose(self) -> None:
        """Close the connection; the next call would open it again."""
        async with self._lock:
            await self._drop()

    async def _connected(self) -> tuple[psycopg.AsyncConnection[Any], Server]:
        if self._connected_to is None or self._connected_to[0].closed:
            self._connected_to = await connect(self._dsn, self.role)
            if self._connected_to[1].is_pooled:
                log.warning("database.pooled", role=self.role)
            self._on_connect()
        return self._connected_to

    async def _drop(self) -> None:
        connected_to, self._connected_to = self._connected_to, None
        if connected_to is not None:
            await connected_to[0].close()

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "database.unreachable",
            role=self.role,
            attempt=state.attempt_number,
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
        )
