"""What a fault acts on, and how it talks to a database that may be down just now."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from tests.chaos.daemons import Daemons
from tests.chaos.network import Network
from tests.chaos.producer import Producer
from tests.chaos.proxy import Proxy
from tests.chaos.sinks import Sink
from tests.chaos.traps import Traps
from tests.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """A job that kills whoever touches it."""

    jtd: UUID
    kills: Sequence[str]
    """The daemons that it killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    cluster: Cluster
    dsn: str
    """Of the jobs' database, straight to the server, as a superuser."""
    network: Network
    proxies: Mapping[str, Proxy]
    daemons: Daemons
    traps: Traps
    sinks: Mapping[str, Sink]
    """By channel."""
    producer: Producer
    lease: float
    """Seconds."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when no new fault may begin."""
    injected: Counter[str] = field(default_factory=Counter)
    """Faults by kind."""
    poisons: list[Poison] = field(default_factory=list)

    def rest(self, seconds: float) -> None:
        """Let a fault last."""
        threading.Event().wait(seconds)

    @contextmanager
    def database(self, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """Yield a connection, as soon as there can be one; what breaks it later is raised."""
        while True:
            try:
                conn = psycopg.connect(self.dsn, autocommit=autocommit, application_name="chaos")
                break
            except psycopg.OperationalError:
                self.rest(0.1)
        with conn:
            yield conn

    def execute(self, query: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement until it succeeds, through outages; returns its rows."""
        while True:
            try:
                with self.database() as db:
                    cursor = db.execute(query.encode(), parameters)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                self.rest(0.1)
