"""The command line: `jtd-worker`."""

import asyncio
import io
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from typing import Annotated

import typer
from rich.console import RenderableType

from jtd_worker import (
    bounce_command,
    channel_commands,
    credential_commands,
    job_commands,
    logs,
    migrations,
    pause_commands,
    queue_commands,
    recovery_commands,
    send_test_command,
    serve_settings,
    settings,
    vani_commands,
)
from jtd_worker.check import check as examine
from jtd_worker.console import note, table, write, write_json
from jtd_worker.errors import JtdError
from jtd_worker.migrate import migrate as bring
from jtd_worker.options import AsJson, DsnIfAny
from jtd_worker.session import explained, meaning
from jtd_worker.web import Web, serve_until_signalled
from jtd_worker.worker import Worker, run_until_signalled

# rich's boxes around help and errors are of no use in a log, and so is a traceback with local variables
app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _version(asked: bool) -> None:
    if asked:
        try:
            print(f"jtd-worker {metadata.version('jtd-worker')}")
        except metadata.PackageNotFoundError:
            print("jtd-worker, not installed (run from its sources)")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Carry out Jobs To Do kept as rows in Postgres."""


@app.command()
def run(
    until_idle: Annotated[bool, typer.Option(help="Stop, with 0, when nothing is left to do now.")] = False,
) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    configuration = settings.load()
    logs.configure(configuration.settings.log_format)
    with explained(configuration.settings.database_url.get_secret_value()):
        asyncio.run(run_until_signalled(Worker(configuration, until_idle=until_idle)))


@app.command()
def serve() -> None:
    """Take the reports of providers, over HTTP, until SIGTERM or SIGINT."""
    configuration = serve_settings.load()
    logs.configure(configuration.settings.log_format)
    with explained(configuration.settings.database_url.get_secret_value()):
        asyncio.run(serve_until_signalled(Web(configuration)))


@app.command()
def migrate(
    dsn: DsnIfAny = None,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the SQL for an empty database instead; needs no database.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this release."""
    if print_:
        print(migrations.print_sql())
        return
    if dsn is None:
        raise typer.BadParameter("set JTD_DATABASE_URL or --dsn, or ask for --print")
    with explained(dsn):
        report = asdict(bring(dsn))
    if as_json:
        write_json(report)
    else:
        write(*_told(report))


def _told(report: dict[str, tuple[str, ...]]) -> Iterator[RenderableType]:
    unchanged = len(report.pop("unchanged"))
    if done := [(verb, name) for verb, names in report.items() for name in names]:
        yield table(("", ""), done)
    yield f"The database is at this release; {unchanged} files were in place already."


@app.command()
def check(dsn: DsnIfAny = None, as_json: AsJson = False) -> None:
    """Check settings, providers and database; exit with 1 when a worker could not run."""
    if dsn:
        os.environ["JTD_DATABASE_URL"] = (
            dsn  # the option stands for the variable that the settings are read from
        )
    examination = examine(dsn)
    if as_json:
        write_json(asdict(examination))
    else:
        write(*examination.told())
    if examination.has_failed:
        raise typer.Exit(1)


app.add_typer(job_commands.app)
app.add_typer(channel_commands.app)
app.add_typer(send_test_command.app)
app.add_typer(queue_commands.app)
app.add_typer(pause_commands.app)
app.add_typer(credential_commands.app)
app.add_typer(recovery_commands.app)
app.add_typer(vani_commands.app, name="vani")
app.add_typer(bounce_command.app)


def main() -> None:
    """Run the command line; an error of ours is one message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name that the terminal cannot show stops nothing
    try:
        app(prog_name="jtd-worker")
    except JtdError as error:
        print(f"jtd-worker: {error}", file=sys.stderr)
        sys.exit(1)
    except ExceptionGroup as group:
        _report(group)
        sys.exit(1)


def _report(group: ExceptionGroup[Exception]) -> None:
    """Print where each error came from, and as the last line the first of them."""
    errors = list(_leaves(group))
    for error in errors:
        if not isinstance(error, JtdError):
            traceback.print_tb(error.__traceback__)  # without the message, whose DETAIL may quote a row
    first = meaning(errors[0]) or str(errors[0]).partition("\n")[0]
    note(f"jtd-worker: the worker stopped: {type(errors[0]).__name__}: {first}")


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
