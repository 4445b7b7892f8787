"""A Postgres of a test's own, that can crash, go back in time, and be followed by a standby."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal, Self

import psycopg
from psycopg.conninfo import make_conninfo

from jtd_worker.embedded import embedded_postgres
from tests.postgres import SETTINGS

ALWAYS_WRITES = "-c default_transaction_read_only=off"
"""For connections of tests that mend: the server may be read-only just now."""


class Cluster:
    """One server on a Unix socket in `folder`; with JTD_TEST_PG_BIN of the binaries there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self.socket = folder / "socket"
        self._user: int | str | None = None
        if binaries := os.environ.get("JTD_TEST_PG_BIN"):
            self._binaries = Path(binaries)
            self._user = "postgres" if os.geteuid() == 0 else None  # Postgres refuses to run as root
        else:
            import embedded_postgres as package

            self._binaries = Path(package.__file__).parent / "pginstall" / "bin"

    def __enter__(self) -> Self:
        if not self._data.exists():
            self._make()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.stop("immediate")

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def dsn(self, database: str = "postgres") -> str:
        """Return the DSN of a superuser, straight to the server."""
        return make_conninfo(
            host=str(self.socket), port="5432", user="postgres", dbname=database, options=ALWAYS_WRITES
        )

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database, a copy of another, and return its DSN."""
        with psycopg.connect(self.dsn(), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"'.encode())
        return self.dsn(database)

    def start(self) -> None:
        """Start, and return when it has recovered."""
        self.socket.mkdir(exist_ok=True)
        self._own(self.socket)
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        self._run(
            "pg_ctl", "start", "--wait", f"--log={self._data / 'log'}",
            f"--options=-k {self.socket} -p 5432 -h '' {options}",
        )  # fmt: skip

    def stop(self, mode: Literal["immediate", "fast"]) -> None:
        """Stop; `immediate` is a crash: nothing is flushed, every connection breaks."""
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def keep(self) -> None:
        """Keep a copy of the data as they are; the server is stopped."""
        self._run("cp", "--archive", str(self._data), str(self._folder / "kept"), data=False)

    def go_back(self) -> None:
        """Put the kept data in place of those there are; the server is stopped."""
        shutil.rmtree(self._data)
        self._run("mv", str(self._folder / "kept"), str(self._data), data=False)

    def standby(self, folder: Path) -> "Cluster":
        """Make a server in `folder` that follows this one, not started yet."""
        standby = Cluster(folder)
        standby._user = self._user
        self._own(folder)
        source = [
            "--host",
            str(self.socket),
            "--username=postgres",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ]
        standby._run("pg_basebackup", *source)
        return standby

    def promote(self) -> None:
        """Make the standby a primary, on a new timeline."""
        self._run("pg_ctl", "promote", "--wait")

    def _make(self) -> None:
        if "JTD_TEST_PG_BIN" in os.environ:
            self._own(self._folder)
            self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
            return
        with embedded_postgres(self._data):
            pass  # its data are made now, by the user who may run it
        self._user = self._data.stat().st_uid if os.geteuid() == 0 else None
        self._own(self._folder)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user)

    def _run(self, program: str, *arguments: str, data: bool = True) -> None:
        command = [str(self._binaries / program) if data else program]
        command += ["-D", str(self._data), *arguments] if data else arguments
        # the server inherits the output, so a pipe would never end
        with (self._folder / "commands.log").open("ab") as log:
            subprocess.run(command, check=True, user=self._user, cwd=self._folder, stdout=log, stderr=log)
