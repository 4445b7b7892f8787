"""`make run`, `make demo` and `make psql` as their user meets them: as processes, from outside."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.daemon import DEADLINE, eventually

ROOT = Path(__file__).parent.parent
CHANNELS = ("email", "sms", "whatsapp", "push", "inapp")
READY = "The worker runs"


def command(*arguments: str, tree: Path = ROOT, **settings: str) -> subprocess.Popen[str]:
    """Start the demo of `tree` with no setting but those given; its output is one stream."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JTD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "jtd_worker.demo", *arguments],
        env={**environment, "PYTHONPATH": str(tree), **settings},
        cwd=tree,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    """Return all that it says until it ends."""
    try:
        return process.communicate(timeout=90)[0]
    finally:
        process.kill()


class Run:
    """A `make run`, ready for use."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._output.read_text()

    @property
    def dsn(self) -> str:
        """The DSN that it tells."""
        found = re.search(r"database +(\S+)", self.said)
        assert found, self.said
        return found[1]

    def stop(self, number: signal.Signals) -> None:
        """Signal it, and check that worker and Postgres ended as they should."""
        dsn = self.dsn
        self.process.send_signal(number)
        assert self.process.wait(DEADLINE) == 0, self.said
        assert "worker.stopped" in self.said
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn)


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Run]:
    """Run `make run` on `folder` until the block ends; it is ready when the block begins."""
    output = folder.with_suffix(".txt")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JTD_")}
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jtd_worker.demo", "run", str(folder)],
            env={**environment, **settings},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    run = Run(process, output)
    try:
        eventually(lambda: READY in run.said or process.poll() is not None)
        assert process.poll() is None, run.said
        yield run
    finally:
        process.kill()
        process.wait()


def jobs(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT status_code, count(*) FROM n_jtd GROUP BY 1").fetchall()
    return dict(rows)


def test_the_demo_shows_five_messages_arrive_and_ends_with_0() -> None:
    # settings of another worker, here one that cannot be used, are not the demo's
    process = command("once", JTD_DATABASE_URL="postgresql://nowhere.invalid/", JTD_EMAIL_SMTP_HOST="x")
    said = output_of(process)
    assert process.returncode == 0, said
    for channel in CHANNELS:
        for step in ("created -> pending", "pending -> queued", "queued -> executing", "executing -> sent"):
            assert re.search(rf"{channel} +{step}", said), said
    assert "Jane Smith invites you to join Acme Corp" in said
    assert said.endswith("5 of 5 messages arrived.\n")


def test_a_demo_in_which_a_message_does_not_arrive_says_why_and_ends_with_1(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("jtd_worker", "sql"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignore)
    script = tmp_path / "sql" / "demo.sql"
    script.write_text(script.read_text().replace("john@example.com", "nobody"))
    process = command("once", tree=tmp_path)
    said = output_of(process)
    assert process.returncode == 1, said
    assert "email: NOT SENT. This notification by email (user_invite) ended as failed" in said
    assert said.endswith("4 of 5 messages arrived.\n")


def test_run_shows_the_five_once_keeps_the_data_and_sends_what_is_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with running(folder) as run:
        assert jobs(run.dsn) == {"sent": 5}
        pasted = run.said[run.said.rindex("INSERT INTO") : run.said.rindex(";") + 1]
        with psycopg.connect(run.dsn) as conn:
            conn.execute(pasted.encode())
        eventually(lambda: jobs(run.dsn) == {"sent": 6})
        run.stop(signal.SIGINT)
    with running(folder) as run:
        assert "Five jobs" not in run.said
        assert jobs(run.dsn) == {"sent": 6}
        run.stop(signal.SIGTERM)


def test_a_second_run_on_the_same_folder_is_told_so_and_psql_finds_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with running(folder) as run:
        second = command("run", str(folder))
        assert f"another `make run` is using {folder}" in output_of(second)
        assert second.returncode == 1
        answer = subprocess.run(
            [sys.executable, "-m", "jtd_worker.demo", "psql", str(folder)],
            input="SELECT count(*) AS jobs FROM n_jtd",
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "jobs" in answer.stdout
        assert answer.stderr == ""
        run.stop(signal.SIGTERM)
    psql = command("psql", str(folder))
    assert f"no Postgres runs in {folder}" in output_of(psql)


def test_a_killed_run_leaves_nothing_that_the_next_cannot_take_over(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with running(folder) as run:
        run.process.kill()
        run.process.wait()
    with running(folder) as run:
        run.stop(signal.SIGTERM)
    # a machine that crashed: the file of the server is there, its number is that of another process
    (folder / "postgres" / "postmaster.pid").write_text(
        f"{os.getpid()}\n{folder / 'postgres'}\n1700000000\n5432\n{folder / 'postgres'}\n\n  1 1\nready   \n"
    )
    with running(folder) as run:
        assert jobs(run.dsn) == {"sent": 5}
        run.stop(signal.SIGTERM)


def test_run_obeys_the_settings_given_but_never_works_on_another_database(tmp_path: Path) -> None:
    settings = {
        "JTD_PROVIDERS": ",".join(f"{channel}:noop" for channel in CHANNELS),
        "JTD_DATABASE_URL": "postgresql://nowhere.invalid/",
    }
    with running(tmp_path / "state", **settings) as run:
        assert "email, sent by noop" in run.said
        assert "JTD_DATABASE_URL is not used" in run.said
        run.stop(signal.SIGTERM)
