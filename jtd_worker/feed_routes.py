"""A user's feed over HTTP: list, counts, marks, and a stream of what comes."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jtd_worker.event_stream import EventStream
from jtd_worker.feed_hub import FeedHub
from jtd_worker.feed_position import Position
from jtd_worker.feed_user import FeedUser, UnauthorizedError, feed_user
from jtd_worker.link_pool import LinkPool

ANSWER_SECONDS: Final = 5.0
MARKED_AT_ONCE: Final = 1_000

LIST: Final = "SELECT * FROM jtd.feed_list_v1(%s, %s, %s, %s, %s, %s)"
COUNTS: Final = "SELECT unseen, unread FROM jtd.feed_counts_v1(ARRAY[%s::uuid], ARRAY[%s::uuid])"
SEEN: Final = "SELECT jtd.feed_seen_v1(%s, %s, %s, %s)"
READ: Final = "SELECT jtd.feed_read_v1(%s, %s, %s)"
ARCHIVE: Final = "SELECT jtd.feed_archive_v1(%s, %s, %s)"


class SeenUpTo(BaseModel):
    """All up to this notification; None: all there are."""

    up_to: UUID | None = None


class Marked(BaseModel):
    """The notifications that are marked."""

    ids: list[UUID] = Field(max_length=MARKED_AT_ONCE)


def feed_routes(pool: LinkPool, hub: FeedHub, secrets: Sequence[bytes]) -> APIRouter:
    """Return the routes; each answers for the user that the bearer token names, and nobody else."""
    router = APIRouter()

    async def bearer(request: Request) -> FeedUser:
        try:
            return feed_user(request.headers.get("authorization", ""), secrets)
        except UnauthorizedError:
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None

    User = Annotated[FeedUser, Depends(bearer)]

    async def ask(query: str, user: FeedUser, *parameters: object) -> list[tuple[object, ...]]:
        values = [user.tenant_id, user.user_id, *parameters]
        return await pool.call(query, values, seconds=ANSWER_SECONDS)

    @router.get("/feed")
    async def notifications(
        user: User,
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        show: Literal["unarchived", "unread", "archived"] = "unarchived",
        category: Annotated[str | None, Query(max_length=50, pattern=r"^[^\x00]*$")] = None,
    ) -> JSONResponse:
        rows = await ask(LIST, user, before, limit, show, category)
        items = [row[0] for row in rows]
        last = items[-1] if len(items) == limit else None
        return JSONResponse({"items": items, "before": last["id"] if isinstance(last, dict) else None})

    @router.get("/feed/counts")
    async def counts(user: User) -> JSONResponse:
        rows = await ask(COUNTS, user)
        return JSONResponse({"unseen": rows[0][0], "unread": rows[0][1]})

    @router.post("/feed/seen")
    async def seen(user: User, marks: SeenUpTo) -> JSONResponse:
        changed = 0
        while True:  # in steps, each of which lasts
            step = int(str((await ask(SEEN, user, marks.up_to, MARKED_AT_ONCE))[0][0]))
            changed += step
            if step < MARKED_AT_ONCE:
                return JSONResponse({"changed": changed})

    @router.post("/feed/read")
    async def read(user: User, marks: Marked) -> JSONResponse:
        return JSONResponse({"changed": (await ask(READ, user, marks.ids))[0][0]})

    @router.post("/feed/archive")
    async def archive(user: User, marks: Marked) -> JSONResponse:
        return JSONResponse({"changed": (await ask(ARCHIVE, user, marks.ids))[0][0]})

    @router.get("/feed/stream")
    async def stream(user: User, request: Request) -> EventStream:
        position = Position.parse(request.headers.get("last-event-id", ""))
        return EventStream(hub.join(user, position), user.seconds_left, hub.leave)

    return router
