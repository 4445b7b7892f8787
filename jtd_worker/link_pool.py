"""A few connections to Postgres that requests share."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception, wait_exponential

from jtd_worker.database import Link, is_transient


class LinkPool:
    """Up to `size` connections, opened when they are needed; the one used last is used first."""

    def __init__(self, dsn: str, role: str, size: int) -> None:
        self._links = [Link(dsn, role) for _ in range(size)]
        self._free = list(self._links)
        # not a queue: there whoever comes just then overtakes those who wait, of whom some wait for ever
        self._turns = asyncio.Semaphore(size)

    async def call(
        self, query: str, parameters: Sequence[object] = (), *, seconds: float
    ) -> list[tuple[Any, ...]]:
        """Run `query` until it succeeds, and return its rows; only for what is safe to repeat.

        Raises TimeoutError after `seconds`, waits for a connection included: then it may have taken place or
        not. When cancelled, its connection is closed.
        """
        async with asyncio.timeout(seconds), self._turns:
            link = self._free.pop()
            try:
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception(is_transient), wait=wait_exponential(multiplier=0.02, max=0.5)
                ):
                    with attempt:
                        return await link.once(query, parameters)
            finally:
                self._free.append(link)
        raise AssertionError("retrying has no end")

    async def aclose(self) -> None:
        """Close all connections; nothing is being asked any more."""
        for link in self._links:
            await link.aclose()
