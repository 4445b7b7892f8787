"""Runs `jtd-worker`, as a process or quickly inside this one, and keeps what it printed."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

from jtd_worker.cli import main

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(dsn: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process without those that steer the command, and with `given`."""
    steering = ("JTD_", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "PYTHONIOENCODING", "PG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return kept | ({"JTD_DATABASE_URL": dsn} if dsn is not None else {}) | dict(given)


def process(dsn: str | None, *arguments: str, **variables: str) -> Ended:
    """Run `python -m jtd_worker` to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "jtd_worker", *arguments],
        env=environment(dsn, variables),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)


def call(dsn: str | None, *arguments: str, **variables: str) -> Ended:
    """Run `main` in this process, which is quicker; what it does not catch is raised here."""
    out, err = TextIOWrapper(BytesIO(), "utf-8"), TextIOWrapper(BytesIO(), "utf-8")
    code = 0
    with (
        patch.dict(os.environ, environment(dsn, variables), clear=True),
        patch.object(sys, "argv", ["jtd-worker", *arguments]),
        patch.object(sys, "excepthook"),  # typer puts its own in place
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code=code, out=_written(out), err=_written(err))


def _written(stream: TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
