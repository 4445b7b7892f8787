"""The command that shows whether messages arrive: send-test."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from psycopg.types.json import Jsonb

from jtd_worker import life
from jtd_worker.console import note, write, write_json
from jtd_worker.options import Actor, AsJson, Dsn, actor
from jtd_worker.registry import ProviderName
from jtd_worker.session import CommandError, session

app = typer.Typer(rich_markup_mode=None)

TENANT: Final = UUID("00000000-0000-4000-8000-7e5700000000")
"""Of test messages; nobody's, so no settings of a tenant stand in their way."""
_SENT: Final = frozenset({"sent", "delivered", "read"})
_LOOK_SECONDS: Final = 0.25


def _provider(text: str) -> ProviderName:
    try:
        return ProviderName.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name):
        raise typer.BadParameter("is not name=value")
    return name, value


@app.command()
def send_test(
    dsn: Dsn,
    to: Annotated[str, typer.Option(help="The address on the channel.")],
    channel: Annotated[str | None, typer.Option(show_default="the provider's")] = None,
    provider: Annotated[
        ProviderName | None,
        typer.Option(parser=_provider, metavar="NAME", help="It has to go by this one, e.g. email:smtp."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="A template's key.", show_default="a text of its own")
    ] = None,
    var: Annotated[
        list[Any] | None,
        typer.Option(parser=_variable, metavar="NAME=VALUE", help="For the template; may be repeated."),
    ] = None,
    tenant: Annotated[UUID, typer.Option(help="Whose settings hold.")] = TENANT,
    live: Annotated[
        bool, typer.Option("--live", help="Send it; without it, it is a test row and goes to the outbox.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds until it is given up, and expires.")
    ] = 60,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Send a message the whole way by a running worker, tell its life, and end with 0 only if it was sent."""
    if channel is None and provider is None:
        raise typer.BadParameter("name a --channel, or a --provider")
    if channel and provider and provider.channel != channel:
        raise typer.BadParameter(f"{provider} is no provider of channel {channel}")
    to_channel = channel or str(provider and provider.channel)
    _must_be_served(dsn, to_channel)
    if not live:
        note("a test row: it goes to the outbox, unless the tenant lists the recipient; --live sends it")
    if provider:
        _note_other_order(provider)
    with session(dsn, "send-test", actor=actor(as_)) as conn:
        arguments = [tenant, to_channel, to, template, Jsonb(dict(var or [])), live, timedelta(seconds=wait)]
        jtd_id = conn.execute("SELECT jtd.send_test(%s, %s, %s, %s, %s, %s, %s)", arguments).fetchall()[0][0]
    document, now = _followed(dsn, jtd_id, wait)
    is_sent, sentence = _judged(document, provider, live)
    if as_json:
        write_json({"is_sent": is_sent, "sentence": sentence, **document})
    else:
        write(*life.tell(document, now), sentence)
    if not is_sent:
        raise typer.Exit(1)


def _must_be_served(dsn: str, channel: str) -> None:
    """Raise CommandError while no worker would take the job: when one starts next week it is too late."""
    with session(dsn, "send-test") as conn:
        status = conn.execute("SELECT jtd.status_v1()").fetchall()[0][0]
    if not any(worker["is_alive"] and channel in worker["channels"] for worker in status["workers"]):
        raise CommandError(
            f"nothing was sent: no running worker serves channel {channel}; start one with jtd-worker run, "
            f"with {channel}:... in its JTD_PROVIDERS"
        )


def _note_other_order(asked: ProviderName) -> None:
    """Say so where the settings of this environment, often those of the worker, ask another one first."""
    first = None
    for text in os.environ.get("JTD_PROVIDERS", "").split(","):
        with suppress(ValueError):
            name = ProviderName.parse(text.strip())
            if name.channel == asked.channel:
                first = first or name
    if first and first != asked:
        note(f"JTD_PROVIDERS asks {first} first; {asked} only where that takes nothing")


def _followed(dsn: str, jtd_id: UUID, seconds: float) -> tuple[dict[str, Any], datetime]:
    """Return the life of the job and the database's clock, once it is at rest or `seconds` are over."""
    end = time.monotonic() + seconds
    while True:
        with session(dsn, "send-test") as conn:
            document, now = conn.execute("SELECT jtd.show_v1(%s), clock_timestamp()", [jtd_id]).fetchall()[0]
        if document["explain"]["place"] in ("sent", "final") or time.monotonic() > end:
            return life.public(document), now
        time.sleep(_LOOK_SECONDS)


def _judged(document: Mapping[str, Any], asked: ProviderName | None, live: bool) -> tuple[bool, str]:
    row = document["jtd"]
    by, status = row["provider_code"], row["status_code"]
    if status not in _SENT:
        over = document["explain"]["place"] == "final"
        return False, f"Not sent: it ended as {status}." if over else (
            f"Not sent in time: it is {status}. It expires by itself; jtd-worker show {row['id']} tells."
        )
    if asked and by != asked.code:
        return False, f"Sent by {by}, not by {asked.code}, which was asked for."
    if by == "outbox" and not live:
        return True, "Kept in the outbox: nothing left the house. --live sends it."
    return True, f"Sent by {by}."
