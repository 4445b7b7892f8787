"""Commands after a loss: adopt a restored or copied database, and rebuild the queues."""

from datetime import datetime
from typing import Annotated, Any, Final

import typer

from jtd_worker.console import write, write_json
from jtd_worker.job_commands import time
from jtd_worker.options import Actor, AsJson, Dsn, actor
from jtd_worker.session import session

app = typer.Typer(rich_markup_mode=None)

STEP: Final = 5000
"""Jobs looked at in one transaction."""


def _since(text: str) -> datetime | str:
    return text if text == "now" else time(text)


@app.command()
def adopt(
    dsn: Dsn,
    since: Annotated[
        Any,
        typer.Option(
            parser=_since,
            metavar="TIME",
            help="From when on nothing was sent elsewhere, ISO 8601 with offset, or now. "
            "What was due before is held for a person.",
        ),
    ],
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let the jobs of a restored or copied database be sent here from now on."""
    who = actor(as_)
    (begun_at,) = _transaction(dsn, "SELECT now()")
    from_when = begun_at if since == "now" else since
    below, held, taken = None, 0, 0
    while True:
        step = "SELECT below, held, taken FROM jtd.adopt_jobs(%s, %s, %s)"
        below, more_held, more_taken = _transaction(dsn, step, from_when, below, STEP, who=who)
        held, taken = held + more_held, taken + more_taken
        if below is None:
            break
    (adopted,) = _transaction(dsn, "SELECT jtd.adopt(%s)", begun_at, who=who)
    if as_json:
        write_json({"adopted": adopted, "held": held, "taken": taken})
    else:
        was = "adopted" if adopted else "this database was adopted before"
        write(
            f"{was}; {taken} jobs go on from where they stood, {held} are held: "
            "jtd-worker attention --reason outcome_unknown lists them"
        )


@app.command()
def rebuild_queues(dsn: Dsn, as_json: AsJson = False) -> None:
    """Make the queues complete again from the jobs alone, e.g. after a purge; workers may run meanwhile."""
    step = "SELECT found, is_done FROM jtd.rebuild_queues(%s)"
    found, is_done = _transaction(dsn, step, True)
    while not is_done:
        found, is_done = _transaction(dsn, step, False)
    if as_json:
        write_json({"found": found})
    else:
        write(f"put {found} jobs back that were on no list; the others were in place")


def _transaction(dsn: str, query: str, *parameters: object, who: str | None = None) -> tuple[Any, ...]:
    """Run one step, which is committed by itself: many jobs are not held until the last is done."""
    with session(dsn, "recovery", actor=who) as conn:
        return tuple(conn.execute(query.encode(), parameters).fetchall()[0])
