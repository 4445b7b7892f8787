"""Bounds how much a worker holds at one time."""

import asyncio


class Slots:
    """A number of places, taken before a claim and given back when what was claimed is settled."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._some_free = asyncio.Event()
        self._some_free.set()

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self.total - self._free

    async def take(self, most: int) -> int:
        """Wait for a free slot, take up to `most` and return how many; safe to cancel."""
        await self._some_free.wait()
        taken = min(most, self._free)
        self._free -= taken
        if not self._free:
            self._some_free.clear()
        return taken

    def give(self, number: int) -> None:
        """Give slots back."""
        self._free += number
        if self._free:
            self._some_free.set()
