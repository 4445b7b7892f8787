"""The daemons of a run: started, struck, and started again as a container runtime would."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

from tests.chaos.traps import Blow

STARTED = '"worker.started"'
RESTART = (0.0, 0.8)
"""Seconds, at the least and at the most, until one that ended is started again."""


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One place in the run, held by one process after the other."""

    name: str
    settings: Mapping[str, str]
    code: Path
    """The folder whose `jtd_worker` it runs."""
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    start_at: float = 0.0
    was_killed: bool = False
    was_told: bool = False
    """Sent SIGTERM."""

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}-{self.starts}.log"

    @property
    def is_working(self) -> bool:
        return self.process is not None and self.process.poll() is None and STARTED in self.log.read_text()

    def start(self) -> None:
        self.starts += 1
        self.was_killed = self.was_told = False
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JTD_")}
        environment |= {"PYTHONPATH": str(self.code)} | {
            f"JTD_{key.upper()}": value for key, value in self.settings.items()
        }
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jtd_worker", "run"],
                env=environment,
                cwd=self.code,
                stdin=subprocess.DEVNULL,
                stderr=file,
            )


class Daemons:
    """Keeps every daemon running until stopped; one that ends by itself is a defect."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lock = threading.RLock()
        self._by_name: dict[str, Daemon] = {}
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.silenced = 0
        """How often one was kept from renewing its lease: each time may leave its slots unknown."""
        self.defects: list[str] = []

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._keeper.join(10)
        for daemon in self._by_name.values():
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait(10)

    def add(self, daemon: Daemon) -> None:
        """Keep this one too, from the beginning on."""
        self._by_name[daemon.name] = daemon

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    @property
    def starts(self) -> int:
        return sum(daemon.starts for daemon in self._by_name.values())

    def working(self) -> list[str]:
        """The names of those that have started and run."""
        with self._lock:
            return [daemon.name for daemon in self._by_name.values() if daemon.is_working]

    def strike(self, name: str, blow: Blow) -> bool:
        """Kill or freeze one; False if it does not run."""
        with self._lock:
            daemon = self._by_name[name]
            if daemon.process is None or daemon.process.poll() is not None or daemon.was_killed:
                return False
            if blow is Blow.KILL:
                daemon.was_killed = True
            daemon.process.send_signal(signal.SIGKILL if blow is Blow.KILL else signal.SIGSTOP)
            self.silenced += 1
            return True

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def tell(self, name: str) -> None:
        """Send SIGTERM, once; it must then end with 0."""
        with self._lock:
            if not self._by_name[name].was_told:
                self._by_name[name].was_told = True
                self._signal(name, signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Stop all for good, each of which must end with 0."""
        self._stopping.set()
        self._keeper.join(10)
        working = [daemon for daemon in self._by_name.values() if daemon.is_working]
        for daemon in working:
            self.tell(daemon.name)
        for daemon in working:
            assert daemon.process is not None
            try:
                daemon.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.defects.append(f"{daemon.name} did not stop within {seconds} s of SIGTERM")
            else:
                self._judge(daemon)

    def _signal(self, name: str, number: signal.Signals) -> None:
        with self._lock:
            process = self._by_name[name].process
            if process is not None and process.poll() is None:
                process.send_signal(number)

    def _keep(self) -> None:
        while not self._stopping.wait(0.02):
            with self._lock:
                for daemon in self._by_name.values():
                    if daemon.process is not None and daemon.process.poll() is not None:
                        self._judge(daemon)
                        daemon.process = None
                        daemon.start_at = time.monotonic() + self._rng.uniform(*RESTART)
                    if daemon.process is None and time.monotonic() >= daemon.start_at:
                        daemon.start()

    def _judge(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        code = daemon.process.poll()
        if (code == -signal.SIGKILL and daemon.was_killed) or (code == 0 and daemon.was_told):
            return
        tail = "\n".join(daemon.log.read_text().splitlines()[-12:])
        told = " after SIGTERM" if daemon.was_told else ""
        self.defects.append(f"{daemon.name} ended with {code}{told}:\n{tail}")
