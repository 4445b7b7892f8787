"""Bounds what one request may send, in bytes and in time, whatever route reads it."""

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS: Final = 10.0
"""How long a body may take to come in."""


class BodyLimit:
    """Middleware: whoever reads a body that is too large or too slow is interrupted by 413 or 408."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = self._most_bytes
        is_whole = False
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS

        async def bounded() -> Message:
            nonlocal left, is_whole
            if is_whole:  # what is waited for now is that the client goes away
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, bounded, send)
