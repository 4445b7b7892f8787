"""A user's feed as tests see it: tokens, notifications, marks by SQL, and an open stream."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import jwt
import psycopg

from tests.jobs import TENANT, USER, insert_jtd
from tests.worker_calls import Worker, result

FEED_SECRET = "s" * 32


def token(
    tenant: UUID = TENANT,
    user: UUID = USER,
    *,
    seconds: float = 600,
    secret: str = FEED_SECRET,
    **claims: Any,
) -> str:
    """Return what the service gives a user who logged in."""
    given = {"tenant_id": str(tenant), "sub": str(user), "exp": time.time() + seconds, **claims}
    return jwt.encode({k: v for k, v in given.items() if v is not None}, secret, algorithm="HS256")


def bearer(*parts: Any, **claims: Any) -> dict[str, str]:
    """Return the header with such a token."""
    return {"authorization": f"Bearer {token(*parts, **claims)}"}


def notify(
    db: psycopg.Connection, title: str = "Hello", tenant: UUID = TENANT, user: UUID = USER, **columns: Any
) -> UUID:
    """Put a notification without a job into a feed, as a service may, and return its id."""
    names = ["tenant_id", "user_id", "title", *columns]
    query = (
        f"INSERT INTO n_inapp_notifications ({', '.join(names)})"
        f" VALUES ({', '.join(['%s'] * len(names))}) RETURNING id"
    )
    row = db.execute(query.encode(), [tenant, user, title, *columns.values()]).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def deliver(worker: Worker, tenant: UUID = TENANT, user: UUID = USER, **columns: Any) -> tuple[UUID, UUID]:
    """Make an in-app job and let the worker deliver it; returns its id and that of its notification."""
    db = worker.db
    jtd_id = insert_jtd(
        db,
        **{
            "channel_code": "inapp",
            "tenant_id": tenant,
            "recipient_id": user,
            "source_type_code": "system",
            "template_key": "task_assigned_inapp_v1",
            **columns,
        },
    )
    job = worker.claim_one("jtd_inapp")
    delivery = {"kind": "inapp", "row": {"user_id": str(user), "title": "Hello", "category": "system"}}
    assert worker.settle(result(job, "sent", provider="db", delivery=delivery)) == ["applied"]
    rows = db.execute("SELECT id FROM n_inapp_notifications WHERE source_jtd_id = %s", [jtd_id]).fetchall()
    return jtd_id, rows[0][0]


@dataclass
class Event:
    """One server-sent event."""

    kind: str
    id: str
    data: Any


@dataclass
class Listener:
    """What an open stream has brought so far."""

    events: list[Event] = field(default_factory=list)
    comments: int = 0
    is_over: bool = False

    def titles(self) -> list[str]:
        """The titles of the notifications, in the order they came."""
        return [event.data["title"] for event in self.events if event.kind == "notification"]

    def counts(self) -> list[tuple[int, int]]:
        """Unseen and unread, each time they were told."""
        return [(e.data["unseen"], e.data["unread"]) for e in self.events if e.kind == "counts"]

    def read(self, answer: httpx.Response) -> None:
        """Read until the other side, or `stop`, ends it."""
        fields: dict[str, str] = {}
        try:
            for line in answer.iter_lines():
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    data = json.loads(fields["data"])
                    self.events.append(Event(kind=fields["event"], id=fields["id"], data=data))
                    fields = {}
        except (httpx.HTTPError, httpx.StreamClosed):
            pass
        self.is_over = True


@contextmanager
def listening(url: str, last_event_id: str = "", **whose: Any) -> Iterator[Listener]:
    """Keep a stream open until the block ends."""
    headers = bearer(**whose) | ({"last-event-id": last_event_id} if last_event_id else {})
    listener = Listener()
    with (
        httpx.Client(timeout=httpx.Timeout(10, read=60)) as client,
        client.stream("GET", f"{url}/feed/stream", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        thread = threading.Thread(target=listener.read, args=(answer,), daemon=True)
        thread.start()
        yield listener
        answer.extensions["network_stream"].get_extra_info("socket").shutdown(2)
        thread.join(10)
