"""Shows a worker at work on a Postgres of its own: what `make run`, `make demo` and `make psql` start.

python -m jtd_worker.demo run FOLDER     stay until stopped; five jobs at the first start
python -m jtd_worker.demo once           the five jobs on a Postgres made for them; 0 only if all arrived
python -m jtd_worker.demo psql FOLDER    psql on the Postgres of `run`
"""

import asyncio
import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psycopg
import structlog

from jtd_worker import logs, settings
from jtd_worker.embedded import embedded_postgres
from jtd_worker.errors import ConfigurationError, JtdError
from jtd_worker.migrate import migrate
from jtd_worker.migrations import sql_directory
from jtd_worker.playground import playground, psql_command
from jtd_worker.walk import Ending, follow
from jtd_worker.worker import Worker, run_until_signalled

PROVIDERS = "email:outbox,sms:outbox,whatsapp:outbox,push:outbox,inapp:db"
"""Nothing leaves the machine."""
PATIENCE_SECONDS = 60
"""How long the five jobs may take; they take less than one second."""


def run(folder: Path) -> int:
    """Stay until stopped, and show the five jobs if the database has none yet."""
    if "JTD_DATABASE_URL" in os.environ:
        print("JTD_DATABASE_URL is not used: `make run` has a Postgres of its own. `jtd-worker run` uses it.")
    os.environ.setdefault("JTD_PROVIDERS", PROVIDERS)
    with playground(folder) as dsn:
        configuration = _configure(dsn)
        logs.configure(configuration.settings.log_format)
        _say_where(dsn, folder)
        asyncio.run(_stay(Worker(configuration), dsn))
    print(f"Stopped. The data stay in {folder}.", flush=True)
    return 0


def once() -> int:
    """Show the five jobs on a Postgres made for them; 0 if all arrived, else 1."""
    for name in [name for name in os.environ if name.startswith("JTD_") and name != "JTD_LOG_FORMAT"]:
        del os.environ[name]
    os.environ["JTD_PROVIDERS"] = PROVIDERS
    with (
        tempfile.TemporaryDirectory(prefix="jtd-demo-") as folder,
        embedded_postgres(Path(folder) / "postgres") as dsn,
    ):
        configuration = _configure(dsn)
        logs.configure(configuration.settings.log_format)
        # the walk says what the worker's log would
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        endings = asyncio.run(_show_and_stop(Worker(configuration), dsn))
    arrived = sum(ending.is_sent for ending in endings)
    print(f"\n{arrived} of {len(endings)} messages arrived." if endings else "\nStopped before the end.")
    return 0 if endings and arrived == len(endings) else 1


def psql(folder: Path) -> int:
    """Become psql."""
    command = psql_command(folder)
    os.execv(command[0], command)  # noqa: S606 - there is no shell on purpose


def _configure(dsn: str) -> settings.Configuration:
    os.environ["JTD_DATABASE_URL"] = dsn
    configuration = settings.load()
    report = migrate(dsn)
    print(f"Postgres is up, {len(report.applied)} SQL files applied.", flush=True)
    return configuration


async def _stay(worker: Worker, dsn: str) -> None:
    async with asyncio.TaskGroup() as group:
        showing = group.create_task(_show_if_new(dsn))
        await run_until_signalled(worker)
        showing.cancel()


async def _show_and_stop(worker: Worker, dsn: str) -> list[Ending]:
    """Return the endings; none when a signal came first."""

    async def show() -> list[Ending]:
        try:
            return await _show(dsn)
        finally:
            worker.stop()

    async with asyncio.TaskGroup() as group:
        showing = group.create_task(show())
        await run_until_signalled(worker)
        showing.cancel()
    return [] if showing.cancelled() else showing.result()


async def _show_if_new(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        cursor = await conn.execute("SELECT EXISTS (SELECT FROM public.n_jtd)")
        is_new = await cursor.fetchone() == (False,)
    if is_new:
        await _show(dsn)
    print("\nThe worker runs; Ctrl-C stops it. Paste this into `make psql` for another job:\n")
    print(_first_insert(), flush=True)


async def _show(dsn: str) -> list[Ending]:
    """Enqueue the five jobs, print their walk and the messages, and return where they came to rest."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        print("\nFive jobs, one per channel, each made by a plain INSERT (sql/demo.sql):\n", flush=True)
        await conn.execute((sql_directory() / "demo.sql").read_bytes())
        cursor = await conn.execute("SELECT id FROM public.n_jtd ORDER BY id")
        endings = await follow(conn, [row[0] for row in await cursor.fetchall()], seconds=PATIENCE_SECONDS)
    print("\nWhat was rendered:")
    for ending in endings:
        print(f"\n{ending}", flush=True)
    return endings


def _say_where(dsn: str, folder: Path) -> None:
    command = Path(sys.executable).with_name("jtd-worker")
    print(f"""\
  folder    {folder}
  database  {dsn}
  psql      make psql
  one job   JTD_DATABASE_URL={shlex.quote(dsn)} {command} show ID""")


def _first_insert() -> str:
    text = (sql_directory() / "demo.sql").read_text("utf-8")
    return text[text.index("INSERT INTO") : text.index(";") + 1]


def _obey_signals() -> None:
    """Until the worker runs and takes them itself, a signal ends every `with`, so that Postgres stops."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a closed terminal, but not under nohup
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run one of the three; an error of ours is one message and 1."""
    _obey_signals()
    try:
        match arguments:
            case ["run", folder]:
                return run(Path(folder))
            case ["once"]:
                return once()
            case ["psql", folder]:
                return psql(Path(folder))
            case _:
                raise ConfigurationError(f"give one of\n{(__doc__ or '').partition(chr(10))[2]}")
    except* JtdError as group:
        for error in group.exceptions:
            print(f"jtd-worker: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
