"""Commands that stop and start a channel, a provider, a tenant or a source type: pause and resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, LiteralString, TypeAlias
from uuid import UUID

import psycopg
import typer

from jtd_worker.console import plain, write
from jtd_worker.options import Dsn
from jtd_worker.session import CommandError, session

app = typer.Typer(rich_markup_mode=None)

Channel: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="[CHANNEL]", help="A code of n_jtd_channels.", show_default=False)
]
Provider: TypeAlias = Annotated[
    str | None, typer.Option(metavar="CHANNEL:PROVIDER", help="As in JTD_PROVIDERS: email:smtp.backup.")
]
Tenant: TypeAlias = Annotated[UUID | None, typer.Option(metavar="UUID", help="All of a tenant.")]
SourceType: TypeAlias = Annotated[str | None, typer.Option(metavar="CODE", help="For every tenant.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is paused: how, and its name for people."""

    pause: LiteralString
    """A statement of `arguments` and a reason."""
    resume: LiteralString
    arguments: Sequence[Any]
    name: str
    missing: str
    """What to say when nothing of that name can be paused."""


@app.command()
def pause(
    dsn: Dsn,
    channel: Channel = None,
    provider: Provider = None,
    tenant: Tenant = None,
    source_type: SourceType = None,
    reason: Annotated[str | None, typer.Option(help="Why, for `jtd-worker status`.")] = None,
) -> None:
    """Stop sending of one channel, provider, tenant or source type; what runs is finished."""
    target = _target(channel, provider, tenant, source_type)
    with session(dsn, "pause") as conn:
        if conn.execute(target.pause, [*target.arguments, reason]).fetchall() == [(False,)]:
            raise CommandError(target.missing + _channels(conn, channel))
    write(f"{plain(target.name)} is paused; jtd-worker resume lets it go on")


@app.command()
def resume(
    dsn: Dsn,
    channel: Channel = None,
    provider: Provider = None,
    tenant: Tenant = None,
    source_type: SourceType = None,
) -> None:
    """Let what was paused go on."""
    target = _target(channel, provider, tenant, source_type)
    with session(dsn, "resume") as conn:
        if conn.execute(target.resume, target.arguments).fetchall() == [(False,)]:
            unknown = target.missing + _channels(conn, channel)
            raise CommandError(unknown if channel else f"{plain(target.name)} is not paused")
    write(f"{plain(target.name)} goes on")


def _target(
    channel: str | None, provider: str | None, tenant: UUID | None, source_type: str | None
) -> Target:
    given = []
    if channel is not None:
        given.append(
            Target(
                pause="SELECT jtd.pause(%s, %s)",
                resume="SELECT jtd.resume(%s)",
                arguments=[channel],
                name=f"channel {channel}",
                missing=f"there is no channel {plain(channel)!r}",
            )
        )
    if provider is not None:
        at, colon, code = provider.partition(":")
        if not (at and colon and code):
            raise typer.BadParameter("give CHANNEL:PROVIDER as in JTD_PROVIDERS, e.g. email:smtp")
        given.append(
            Target(
                pause="SELECT jtd.pause_provider(%s, %s, %s)",
                resume="SELECT jtd.resume_provider(%s, %s)",
                arguments=[at, code],
                name=f"provider {provider}",
                missing=f"there is no channel {plain(at)!r}",
            )
        )
    if tenant is not None:
        given.append(
            Target(
                pause="SELECT jtd.pause_tenant(%s, %s)",
                resume="SELECT jtd.resume_tenant(%s)",
                arguments=[tenant],
                name=f"tenant {tenant}",
                missing="",
            )
        )
    if source_type is not None:
        given.append(
            Target(
                pause="SELECT jtd.pause_source(%s, %s)",
                resume="SELECT jtd.resume_source(%s)",
                arguments=[source_type],
                name=f"source type {source_type}",
                missing=f"there is no source type {plain(source_type)!r}",
            )
        )
    if len(given) != 1:
        raise typer.BadParameter("give one of CHANNEL, --provider, --tenant and --source-type")
    return given[0]


def _channels(conn: psycopg.Connection[Any], channel: str | None) -> str:
    if channel is None:
        return ""
    rows = conn.execute("SELECT DISTINCT channel_code FROM jtd.queues_v1(NULL) ORDER BY 1").fetchall()
    return f"; there are: {plain(', '.join(row[0] for row in rows))}"
