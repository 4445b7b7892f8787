"""A service that makes jobs all along by plain INSERT, and gives up on none."""

import json
import threading
from collections.abc import Mapping
from random import Random
from typing import Any, Self
from uuid import UUID

import psycopg

from tests.jobs import DEFAULTS

CHANNELS: Mapping[str, Mapping[str, Any]] = {
    "email": {"template_key": "user_invite_email_v1"},
    "sms": {"template_key": "user_invite_sms_v1"},
    "whatsapp": {"template_key": "user_invite_whatsapp_v1"},
    "push": {"template_key": "user_invite_push_v1"},
    "inapp": {
        "template_key": "task_assigned_inapp_v1",
        "source_type_code": "manual",
        "payload": {"title": "Call back", "assigned_by": "Jane"},
    },
}
TENANTS = [UUID(int=number) for number in range(1, 8)]
LARGEST = 40
"""Jobs in one statement."""

INSERT = """
INSERT INTO n_jtd (
    id, tenant_id, event_type_code, source_type_code, channel_code,
    recipient_contact, recipient_id, template_key, payload, priority, max_retries, scheduled_at)
SELECT r.id, r.tenant_id, 'notification', r.source_type_code, r.channel_code,
    r.recipient_contact, r.recipient_id, r.template_key, r.payload, r.priority, r.max_retries,
    now() + make_interval(secs => r.delay)
FROM jsonb_to_recordset(%s::jsonb) AS r (
    id uuid, tenant_id uuid, source_type_code text, channel_code text,
    recipient_contact text, recipient_id uuid, template_key text, payload jsonb,
    priority integer, max_retries integer,
    delay double precision)
ON CONFLICT (id) DO NOTHING
"""


class Producer:
    """Inserts `total` jobs in batches spread over `seconds`; through outages, as long as it takes.

    After a lost answer it inserts the same ids again, which is what makes that safe.
    """

    def __init__(self, dsn: str, rng: Random, total: int, seconds: float) -> None:
        self._dsn = dsn
        self._rng = rng
        self._total = total
        self._pause = seconds / (total / (LARGEST / 2))
        self._hurry = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()
        self.jobs: dict[UUID, str] = {}
        """Committed jobs with their channel."""
        self.ghosts: set[UUID] = set()
        """Jobs that were inserted and rolled back."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._hurry.set()
        self._thread.join(30)
        if self._connection is not None:
            self._connection.close()

    @property
    def left(self) -> int:
        return max(0, self._total - len(self.jobs))

    def finish(self, seconds: float) -> None:
        """Insert the rest without pauses; AssertionError if that does not end."""
        self._hurry.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the producer still has {self.left} jobs to insert"

    def make(self, channel: str, rng: Random) -> dict[str, Any]:
        """Return the columns of a new job that is due now."""
        jtd = UUID(int=rng.getrandbits(128), version=4)
        user = str(UUID(int=rng.getrandbits(128), version=4))
        contact = {"email": f"{jtd}@example.com", "push": None, "inapp": None}
        return {
            "id": str(jtd),
            "tenant_id": str(rng.choice(TENANTS)),
            "channel_code": channel,
            "recipient_contact": contact.get(channel, f"+1415555{rng.randrange(10_000):04}"),
            "recipient_id": user if channel in {"push", "inapp"} else None,
            "source_type_code": DEFAULTS["source_type_code"],
            "payload": DEFAULTS["payload"],
            **CHANNELS[channel],
        }

    def insert(self, jobs: list[dict[str, Any]], *, rolled_back: bool = False) -> None:
        """Insert jobs in one statement, again and again until the database has said that it has them."""
        while not self._given_up.is_set():
            try:
                with self._lock, self._connected().transaction(force_rollback=rolled_back):
                    self._connected().execute(INSERT, [json.dumps(jobs)])
                break
            except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
                self._given_up.wait(0.1)
        ids = {UUID(job["id"]): job["channel_code"] for job in jobs}
        if rolled_back:
            self.ghosts |= ids.keys()
        elif not self._given_up.is_set():
            self.jobs |= ids

    def _run(self) -> None:
        while self.left and not self._given_up.is_set():
            jobs = [self._any() for _ in range(min(self.left, self._rng.randint(1, LARGEST)))]
            if self._rng.random() < 0.1:
                self.insert([self._any() for _ in range(5)], rolled_back=True)
            self.insert(jobs)
            self._hurry.wait(self._rng.uniform(0, 2 * self._pause))

    def _any(self) -> dict[str, Any]:
        job = self.make(self._rng.choice(list(CHANNELS)), self._rng)
        if self._rng.random() < 0.1:
            job["delay"] = self._rng.uniform(0.5, 3)
        if self._rng.random() < 0.1:
            job["priority"] = self._rng.randint(9, 10)
        return job

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:  # also when it broke
            # not straight from `dsn`, whose options would let it write to a read-only database
            self._connection = psycopg.connect(
                self._dsn, options="", autocommit=True, application_name="producer"
            )
        return self._connection
