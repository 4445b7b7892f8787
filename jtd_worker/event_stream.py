"""The response that a stream is: server-sent events (WHATWG HTML, 9.2), until one of the sides ends it."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jtd_worker.feed_stream import Stream

HEARTBEAT_SECONDS: Final = 15.0
"""Between two signs of life: proxies close what is silent for long."""
FAREWELL_SECONDS: Final = 1.0
"""How long the last event may take; a client that reads nothing is cut off."""


class EventStream(Response):
    """Writes the events of `stream`, for at most `seconds`."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream, seconds: float, leave: Callable[[Stream], None]) -> None:
        """`leave` is called with the stream when the response is over, however it ends."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._stream = stream
        self._seconds = seconds
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        others = (asyncio.create_task(self._stream.ended.wait()), asyncio.create_task(_gone(receive)))
        try:
            await asyncio.wait((writing, *others), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
            self._stream.end()
            await asyncio.wait((writing,), timeout=FAREWELL_SECONDS)
        finally:
            for task in (writing, *others):
                task.cancel()
            await asyncio.gather(writing, *others, return_exceptions=True)
            self._leave(self._stream)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        text = b"retry: 2000\n\n"  # milliseconds until the client comes again
        while not self._stream.ended.is_set():
            await send({"type": "http.response.body", "body": text, "more_body": True})
            text = await self._stream.next(HEARTBEAT_SECONDS) or b": still here\n\n"
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
