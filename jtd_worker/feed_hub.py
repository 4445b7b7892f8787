"""Watches the feed for all open streams of this process: one look for all of them, one LISTEN."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import UUID, uuid4

import structlog

from jtd_worker.database import CONNECTION_LOST, Link
from jtd_worker.feed_position import Position, Snapshot
from jtd_worker.feed_stream import MOST_AT_ONCE, News, Stream
from jtd_worker.feed_user import FeedUser
from jtd_worker.lease import elapsed

log = structlog.get_logger()

CHANNEL: Final = "jtd_feed"
POLL_SECONDS: Final = 2.0
"""How long a notification may be overlooked, e.g. behind a pooler."""
WATCH_SECONDS: Final = 20
"""For how long the database is asked to notify; renewed by looks."""
PAUSE_SECONDS: Final = 0.05
"""What comes within this time is found by one look."""
LONGEST_PAUSE: Final = 0.5
"""Where much comes for users without a stream here, it costs this rather than many looks."""
LISTEN_SECONDS: Final = 30.0
LOOK: Final = "SELECT snapshot, entries FROM jtd.feed_look_v1(%s, %s, %s, %s, %s, %s, %s)"
COUNTS: Final = "SELECT unseen, unread FROM jtd.feed_counts_v1(%s, %s)"


class FeedHub:
    """The open streams, and what keeps them up to date."""

    def __init__(self, looks: Link, listens: Link) -> None:
        """Both links are this hub's own."""
        self._looks = looks
        self._listens = listens
        self._process = uuid4()
        self._streams: set[Stream] = set()
        self._has_ended = False
        self._woken = asyncio.Event()
        self._changed: set[tuple[UUID, UUID]] = set()
        """Tenants and users whose counts may be others now."""

    def join(self, user: FeedUser, position: Position | None) -> Stream:
        """Open a stream for `user` from `position` on; the caller brings it back with `leave`."""
        stream = Stream(user, position)
        if self._has_ended:  # a request that was on its way
            stream.end()
        self._streams.add(stream)
        self._woken.set()
        return stream

    def leave(self, stream: Stream) -> None:
        """Close a stream."""
        self._streams.discard(stream)

    @property
    def open_streams(self) -> int:
        """How many there are."""
        return len(self._streams)

    def end(self) -> None:
        """Tell all streams to end, those opened from now on too: their clients come to another process."""
        self._has_ended = True
        for stream in self._streams:
            stream.end()

    async def run(self) -> None:
        """Keep the streams up to date until cancelled; outages of the database are waited for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._watch())

    async def _listen(self) -> None:
        while True:
            try:
                await self._listens.listen(CHANNEL, self._heard, LISTEN_SECONDS)
            except CONNECTION_LOST as error:
                log.warning("database.unreachable", role=self._listens.role, error=type(error).__name__)
                await asyncio.sleep(1)
            self._woken.set()

    def _heard(self, payload: str) -> None:
        """Note whom a notification names, if anybody: his counts changed, nothing is new."""
        tenant, _, user = payload.partition(":")
        with suppress(ValueError):  # anybody may notify anything
            self._changed.add((UUID(tenant), UUID(user)))
        self._woken.set()

    async def _watch(self) -> None:
        """Look while something comes; then ask to be notified, look twice more, and wait.

        Twice, since who wrote just before we asked may be seen only after our first look.
        """
        quiet_looks = 0
        pause = PAUSE_SECONDS
        while True:
            self._woken.clear()
            if not self._streams:
                await self._woken.wait()
                continue
            began = elapsed()
            if await self._look(asleep=quiet_looks > 0):
                quiet_looks, pause = 0, PAUSE_SECONDS
            else:
                quiet_looks += 1
            took = elapsed() - began
            if quiet_looks > 2:
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._woken.wait()
                except TimeoutError:
                    pause = PAUSE_SECONDS
                    continue
                quiet_looks, pause = 0, min(2 * pause, LONGEST_PAUSE)
            if quiet_looks == 0:  # the more streams, the longer a look: never more than a third of the time
                await asyncio.sleep(max(pause, 2 * took))

    async def _look(self, *, asleep: bool) -> bool:
        """Bring all streams up to date; returns whether anything was new."""
        streams = list(self._streams)
        rows = await self._looks.call(
            LOOK,
            [
                self._process,
                asleep,
                WATCH_SECONDS,
                [stream.user.tenant_id for stream in streams],
                [stream.user.user_id for stream in streams],
                [stream.position.since.text if stream.position else None for stream in streams],
                MOST_AT_ONCE,
            ],
        )
        text, entries = rows[0]
        now = Snapshot.parse(text)
        news: dict[int, list[News]] = {}
        for place, transaction, entry in entries:
            one = News(transaction=int(transaction), id=UUID(entry["id"]), entry=entry)
            news.setdefault(place - 1, []).append(one)
        for place, stream in enumerate(streams):
            stream.take(news.get(place, ()), now)
        changed, self._changed = self._changed, set()
        concerned = [
            stream
            for place, stream in enumerate(streams)
            if place in news
            or stream.counts is None
            or (stream.user.tenant_id, stream.user.user_id) in changed
        ]
        if concerned:
            await self._tell_counts(concerned)
        return bool(concerned)

    async def _tell_counts(self, streams: list[Stream]) -> None:
        rows = await self._looks.call(
            COUNTS,
            [[stream.user.tenant_id for stream in streams], [stream.user.user_id for stream in streams]],
        )
        for stream, (unseen, unread) in zip(streams, rows, strict=True):
            stream.tell_counts(unseen, unread)
