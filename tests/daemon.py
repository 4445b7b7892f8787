"""The real daemon as a process of its own, for tests that watch it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from psycopg.conninfo import make_conninfo

DEADLINE = 20.0
"""Seconds after which something that should happen has not."""

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = DEADLINE) -> T:
    """Return the first true answer of `look`; AssertionError with the last one after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"still {seen!r} after {seconds} s"
        time.sleep(0.02)  # a pause between looks, not a wait for anything


class Daemon:
    """A running `jtd-worker run`, or without providers `serve`; its log lines are read from a file."""

    def __init__(self, dsn: str, providers: str | None, log: Path, *arguments: str, **settings: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JTD_")}
        environment |= {"JTD_DATABASE_URL": dsn, "JTD_LOG_FORMAT": "json"}
        if providers is not None:
            environment["JTD_PROVIDERS"] = providers
        environment |= {f"JTD_{key.upper()}": value for key, value in settings.items()}
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jtd_worker", "serve" if providers is None else "run", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=file,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)

    @property
    def text(self) -> str:
        """All it has written so far."""
        return self._log.read_text()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        found = []
        for line in self.text.splitlines():
            if line.startswith("{") and line.endswith("}"):
                entry = json.loads(line)
                if entry["event"] == event:
                    found.append(entry)
        return found

    def wait_for(self, event: str, seconds: float = DEADLINE) -> dict[str, Any]:
        """Return its first log line of `event`, once it is there."""
        return eventually(lambda: self.lines(event) or self._must_run(), seconds)[0]

    def _must_run(self) -> list[dict[str, Any]]:
        assert self.process.poll() is None, self.text
        return []

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = DEADLINE) -> int:
        """Return its exit code, once it has ended."""
        return self.process.wait(seconds)


@contextmanager
def running(dsn: str, providers: str, folder: Path, *arguments: str, **settings: str) -> Iterator[Daemon]:
    """Run a daemon until the block ends; it has started when the block begins."""
    log = folder / f"daemon-{len(list(folder.glob('daemon-*')))}.log"
    with Daemon(dsn, providers, log, *arguments, **settings) as daemon:
        daemon.wait_for("worker.started")
        yield daemon


@contextmanager
def serving(dsn: str, folder: Path, **settings: str) -> Iterator[tuple[Daemon, str]]:
    """Run a web process as a login of the role for it, until the block ends; yields it with its URL."""
    log = folder / f"daemon-{len(list(folder.glob('daemon-*')))}.log"
    as_web = make_conninfo(dsn, options="-c role=jtd_web")
    with Daemon(as_web, None, log, **{"http": "127.0.0.1:0", **settings}) as daemon:
        yield daemon, daemon.wait_for("web.listening")["url"]


def run_until_idle(dsn: str, providers: str, folder: Path, **settings: str) -> Daemon:
    """Run a daemon until nothing is left to do now, and check that it said so with 0."""
    with running(dsn, providers, folder, "--until-idle", **settings) as daemon:
        assert daemon.wait() == 0, daemon.text
        return daemon
