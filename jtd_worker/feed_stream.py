"""One open stream of a user's feed: what it is still to be sent, and up to where it has come."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from jtd_worker.feed_position import Position, Snapshot
from jtd_worker.feed_user import FeedUser

BUFFERED: Final = 256
"""Events that a client may lag behind before its stream is closed; it goes on where it ended."""
MOST_AT_ONCE: Final = 200
"""New notifications told one by one; beyond that the client is told to read its list anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A notification that a look found."""

    transaction: int
    """That wrote it."""
    id: UUID
    entry: dict[str, Any]


class Stream:
    """Filled by the hub, emptied by the response; ends when the client is too slow or the process stops."""

    def __init__(self, user: FeedUser, position: Position | None) -> None:
        """`position` is that of the last event that the client had; None begins with what comes."""
        self.user = user
        self.position = position
        self.counts: tuple[int, int] | None = None
        """Unseen and unread as last told; None until then."""
        self.ended = asyncio.Event()
        """Set by `end`."""
        self._events: asyncio.Queue[bytes] = asyncio.Queue(BUFFERED)

    def take(self, news: Sequence[News], now: Snapshot) -> None:
        """Queue what is new up to `now`, in the order of ids."""
        position = self.position
        self.position = Position(since=now)
        if position is None:
            return
        if len(news) > MOST_AT_ONCE:
            self._put("reset", str(self.position), {})
            return
        then, last = position.then, position.last
        since = position.since
        if then is not None and last is not None:  # it ended within a batch: first the rest of that
            rest = [one for one in news if then.sees(one.transaction)]
            self._tell([one for one in rest if one.id > last], since, then)
            news, since = [one for one in news if not then.sees(one.transaction)], then
        self._tell(news, since, now)

    def tell_counts(self, unseen: int, unread: int) -> None:
        """Queue the counts if they are others than those told last."""
        if self.counts != (unseen, unread) and self.position is not None:
            self.counts = unseen, unread
            self._put("counts", str(self.position), {"unseen": unseen, "unread": unread})

    def end(self) -> None:
        """Let nothing more be written; the client comes again and goes on where it was."""
        self.ended.set()
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(b"")

    async def next(self, seconds: float) -> bytes:
        """Return the next event as it is written on the wire, or nothing after `seconds` or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._events.get()
        return b""

    def _tell(self, news: Sequence[News], since: Snapshot, now: Snapshot) -> None:
        for number, one in enumerate(news, start=1):
            is_last = number == len(news)
            position = Position(since=now) if is_last else Position(since=since, then=now, last=one.id)
            self._put("notification", str(position), one.entry)

    def _put(self, kind: str, position: str, data: dict[str, Any]) -> None:
        text = json.dumps(data, separators=(",", ":"))  # escapes line ends, which would end the event
        try:
            self._events.put_nowait(f"event: {kind}\nid: {position}\ndata: {text}\n\n".encode())
        except asyncio.QueueFull:
            self.end()
