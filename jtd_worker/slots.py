"""Bounds how much a worker holds at one time."""

import asyncio
from collections import deque


class Slots:
    """A number of places, taken before a claim and given back when what was claimed is settled."""

    def __init__(self, total: int) -> None:
        """`total` is at least 1."""
        self._free = total
        self._is_serving = False
        self._waiters: deque[tuple[asyncio.Future[int], int]] = deque()

    async def take(self, most: int, *, is_urgent: bool = False) -> int:
        """Wait for a free slot, take 1 to `most`, and return how many.

        Who waits is served in turn; the urgent before the others. When cancelled nothing is taken.
        """
        if self._free and not self._waiters:
            return self._grant(most)
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        (self._waiters.appendleft if is_urgent else self._waiters.append)((granted, most))
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give(granted.result())
            raise

    def give(self, number: int) -> None:
        """Give slots back.

        Whoever waits is served once the event loop has come round: a batch that ends gives its slots
        one by one, and they make one large claim, not many of one.
        """
        self._free += number
        if self._waiters and not self._is_serving:
            self._is_serving = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._is_serving = False
        while self._free and self._waiters:
            granted, most = self._waiters.popleft()
            if not granted.done():
                granted.set_result(self._grant(most))

    def _grant(self, most: int) -> int:
        taken = min(most, self._free)
        self._free -= taken
        return taken
