"""Commands about queues: status, and the dead letters."""

import json
from typing import Annotated, TypeAlias
from uuid import UUID

import typer

from jtd_worker import overview
from jtd_worker.console import note, table, write, write_json
from jtd_worker.options import AsJson, Dsn
from jtd_worker.session import session

app = typer.Typer(rich_markup_mode=None)
dlq = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(dlq, name="dlq", help="Messages that could not become work.")

Ids: TypeAlias = Annotated[
    list[int] | None, typer.Option("--id", metavar="N", help="The number of a dead letter; repeatable.")
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command()
def status(dsn: Dsn, as_json: AsJson = False) -> None:
    """Show queues, workers, what waits and why, and channels that nobody serves."""
    with session(dsn, "status") as conn:
        document = conn.execute("SELECT jtd.status_v1()").fetchall()[0][0]
    if as_json:
        write_json(document)
    else:
        write(*overview.tell(document))


@dlq.command("list")
def list_(
    dsn: Dsn, limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100, as_json: AsJson = False
) -> None:
    """List dead letters, oldest first, without their contents."""
    with session(dsn, "dlq list") as conn:
        rows = conn.execute(
            "SELECT msg_id, enqueued_at, queue_name, reason, body FROM jtd.dlq_list(%s)", [limit + 1]
        ).fetchall()
    shown = [(number, at, queue, reason, *_seen(body)) for number, at, queue, reason, body in rows[:limit]]
    if as_json:
        names = ("id", "enqueued_at", "queue", "reason", "jtd_id", "body")
        write_json([dict(zip(names, row, strict=True)) for row in shown])
    elif shown:
        lines = [(number, f"{at:%Y-%m-%d %H:%M:%S}", *rest) for number, at, *rest in shown]
        write(table(("id", "since (UTC)", "queue", "reason", "jtd_id", "body"), lines))
    else:
        write("There are no dead letters.")
    if len(rows) > limit:
        note(f"There are more than {limit}; --limit shows more.")


def _seen(body: object) -> tuple[str, str]:
    """The job that a body names, if it is a UUID, and its kind and size: the rest may be anybody's data."""
    named = body.get("jtd_id") if isinstance(body, dict) else None
    try:
        jtd_id = str(UUID(named)) if isinstance(named, str) else ""
    except ValueError:
        jtd_id = ""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return jtd_id, f"{kinds.get(type(body), 'number')}, {len(json.dumps(body))} bytes"


@dlq.command()
def requeue(dsn: Dsn, ids: Ids = None, all_: All = False) -> None:
    """Send dead letters back to the queue they came from."""
    _change(dsn, "requeue", "requeued", _chosen(ids, all_))


@dlq.command()
def purge(dsn: Dsn, ids: Ids = None, all_: All = False) -> None:
    """Delete dead letters for good; jobs are not touched."""
    _change(dsn, "purge", "purged", _chosen(ids, all_))


def _chosen(ids: list[int] | None, all_: bool) -> list[int] | None:
    """Return the numbers given, None for all."""
    if bool(ids) == all_:
        raise typer.BadParameter("say which: --id N, as often as needed, or --all")
    return sorted(set(ids)) if ids else None


def _change(dsn: str, verb: str, done: str, ids: list[int] | None) -> None:
    with session(dsn, f"dlq {verb}") as conn:
        query = f"SELECT jtd.dlq_{verb}(%s::bigint[])"
        number = conn.execute(query.encode(), [ids]).fetchall()[0][0]
        left = conn.execute("SELECT count(*) FROM jtd.dlq_list(1)").fetchall()[0][0]
    write(f"{done} {number}" if ids is None else f"{done} {number} of {len(ids)}")
    if left if ids is None else number < len(ids):
        note("The others are not there, are held by another session, or came from a queue that is no more.")
        raise typer.Exit(1)
