"""Commands that show what VaNi will do for a tenant, and what she has done: vani plan and vani done."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import typer

from jtd_worker.console import note, table, write, write_json
from jtd_worker.job_commands import time
from jtd_worker.options import AsJson, Dsn
from jtd_worker.session import session

app = typer.Typer(rich_markup_mode=None, help="What VaNi has done for a tenant, and what she will do.")

Tenant: TypeAlias = Annotated[UUID, typer.Option(metavar="UUID", help="The tenant's id.")]
TestRows: TypeAlias = Annotated[bool, typer.Option("--test", help="Test rows instead of live ones.")]
Limit: TypeAlias = Annotated[int, typer.Option(min=1, max=10_000)]

SPAN: Final = timedelta(days=7)
"""How far the commands look, unless told otherwise."""
PLAN: Final = ("at", "expected_at", "work", "kind", "title", "for_whom", "step", "channel", "rule", "stop")
DONE: Final = (
    "at",
    "work",
    "kind",
    "title",
    "for_whom",
    "step",
    "channel",
    "rule",
    "outcome",
    "why",
    "message",
)


def _moment(text: str, help_: str) -> Any:
    return typer.Option(text, parser=time, metavar="TIME", help=help_)


From: TypeAlias = Annotated[datetime | None, _moment("--from", "ISO 8601 with offset.")]
To: TypeAlias = Annotated[datetime | None, _moment("--to", "ISO 8601 with offset.")]


@app.command()
def plan(
    dsn: Dsn,
    tenant: Tenant,
    from_: From = None,
    to: To = None,
    test: TestRows = False,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """Show what VaNi will do, or would do if she were on: a week from now, unless told otherwise."""
    start = from_ or datetime.now(UTC) - timedelta(minutes=1)
    with session(dsn, "vani plan") as conn:
        query = "SELECT * FROM jtd.vani_plan(%s, %s, %s, %s, %s)"
        rows = conn.execute(query, [tenant, start, to or start + SPAN, not test, limit]).fetchall()
    if as_json:
        write_json([dict(zip(PLAN, row, strict=True)) for row in rows])
        return
    if not rows:
        write("VaNi plans nothing in this time.")
        return
    shown = [
        (f"{at:%Y-%m-%d %H:%M}", kind, title, whom, step, channel, stop or "", rule, work)
        for at, _, work, kind, title, whom, step, channel, rule, stop in rows
    ]
    heads = ("at (UTC)", "kind", "title", "for", "step", "channel", "what stops it", "rule", "work")
    write(table(heads, shown))
    if len({(row[2], row[6], row[0]) for row in rows}) == limit:
        note(f"There may be more than {limit} steps; --limit shows more.")


@app.command()
def done(
    dsn: Dsn,
    tenant: Tenant,
    from_: From = None,
    to: To = None,
    test: TestRows = False,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """Show what VaNi did and what became of it: of the last week, unless told otherwise."""
    end = to or datetime.now(UTC)
    query = (
        "SELECT at, jtd_id, kind, title, for_whom, step, channel, rule, outcome, why, message_id"
        " FROM jtd.vani_done WHERE tenant_id = %s AND is_live = %s AND at BETWEEN %s AND %s"
        " ORDER BY at, jtd_id, step, channel LIMIT %s"
    )
    with session(dsn, "vani done") as conn:
        rows = conn.execute(query, [tenant, not test, from_ or end - SPAN, end, limit + 1]).fetchall()
    if as_json:
        write_json([dict(zip(DONE, row, strict=True)) for row in rows[:limit]])
        return
    if not rows:
        write("VaNi did nothing in this time.")
        return
    shown = [
        (f"{at:%Y-%m-%d %H:%M}", kind, title, whom, step, channel, outcome, why or rule, work)
        for at, work, kind, title, whom, step, channel, rule, outcome, why, _ in rows[:limit]
    ]
    write(table(("at (UTC)", "kind", "title", "for", "step", "channel", "outcome", "why", "work"), shown))
    if len(rows) > limit:
        note(f"There are more than {limit}; --limit shows more.")
