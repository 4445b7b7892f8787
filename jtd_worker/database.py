"""A connection to Postgres that comes back by itself."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors, sql
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


async def connect(dsn: str, role: str) -> psycopg.AsyncConnection[Any]:
    """Open a connection in autocommit with our timeouts; `role` tells it apart in pg_stat_activity.

    Raises psycopg.OperationalError when the server cannot be reached.
    """
    connection = await psycopg.AsyncConnection.connect(
        dsn,
        autocommit=True,
        connect_timeout=5,
        application_name=f"jtd-worker {role}",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )
    set_json_loads(read_json, connection)
    await connection.execute(
        "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false), "
        "set_config('idle_in_transaction_session_timeout', %s, false)",
        [str(STATEMENT_TIMEOUT_MS), str(LOCK_TIMEOUT_MS), str(IDLE_IN_TRANSACTION_TIMEOUT_MS)],
    )
    return connection


class Link:
    """One connection, used by one call at a time and opened again when it was lost."""

    def __init__(self, dsn: str, role: str, on_connect: Callable[[], None] = lambda: None) -> None:
        """`on_connect` is called after every connect, the first included."""
        self.role = role
        self._dsn = dsn
        self._on_connect = on_connect
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._listening: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def once(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run `query` and return its rows.

        Raises one of TRANSIENT when it may not have taken place, or its answer was lost. When
        cancelled the connection is closed, since its state is unknown.
        """
        async with self._lock:
            connection = await self._connected()
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    cursor = await connection.execute(query, parameters, binary=True)
                    return await cursor.fetchall()
            except (TimeoutError, asyncio.CancelledError):
                await self._drop()
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
        Raises one of CONNECTION_LOST; what was notified while there was no connection is lost.
        """
        async with self._lock:
            connection = await self._connected()
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

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._dsn, self.role)
            self._on_connect()
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _report(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "database.unreachable",
            role=self.role,
            attempt=state.attempt_number,
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
        )
