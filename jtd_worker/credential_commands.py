"""Commands about the credentials that tenants name as `pg:`: put, list and remove."""

import pkgutil
import sys
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import typer
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from jtd_worker import channels
from jtd_worker.console import plain, table, write, write_json
from jtd_worker.credential import LARGEST, Credential, CredentialName, document, read
from jtd_worker.errors import RefusedReferenceError
from jtd_worker.options import AsJson, Dsn
from jtd_worker.registry import ProviderName, find_module
from jtd_worker.session import CommandError, session

app = typer.Typer(rich_markup_mode=None)
credential = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(credential, name="credential", help="Tenants' own credentials that the database keeps.")

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="What stands after pg: in a reference.")]


@credential.command()
def put(name: Name, dsn: Dsn) -> None:
    """Keep the JSON document on standard input under a name, in place of the one before."""
    known = CredentialName.of_code(name)
    if known is None or known.kind != "pg":
        raise CommandError("a name has up to 40 of a-z 0-9 . _ - and begins with a letter or digit")
    text = sys.stdin.read(LARGEST + 1)
    try:
        _examine(read(known, text))
    except RefusedReferenceError as error:
        raise CommandError(str(error)) from None
    with session(dsn, "credential put") as conn:
        ((was_there,),) = conn.execute(
            "SELECT jtd.put_credential(%s, %s)", [name, Jsonb(document(text))]
        ).fetchall()
    write(f"credential {name} is {'replaced: workers heed it within a minute' if was_there else 'kept'}")


@credential.command("list")
def list_(dsn: Dsn, as_json: AsJson = False) -> None:
    """List the credentials, for which provider and which tenants they are; never what else is in them."""
    with session(dsn, "credential list") as conn:
        rows = conn.execute("SELECT name, provider, tenants FROM jtd.credentials()").fetchall()
    if as_json:
        write_json([dict(zip(("name", "provider", "tenants"), row, strict=True)) for row in rows])
    elif rows:
        lines = [(name, provider or "?", _told(tenants)) for name, provider, tenants in rows]
        write(table(("name", "provider", "tenants"), lines))
    else:
        write("There are no credentials.")


@credential.command()
def remove(name: Name, dsn: Dsn) -> None:
    """Take a credential away; workers that know it use it for a minute at most."""
    with session(dsn, "credential remove") as conn:
        ((was_there,),) = conn.execute("SELECT jtd.remove_credential(%s)", [name]).fetchall()
    if not was_there:
        raise CommandError(f"there is no credential {plain(name)!r}")
    write(f"credential {plain(name)} is removed")


def _told(tenants: object) -> str:
    return ", ".join(map(str, tenants)) if isinstance(tenants, list) else str(tenants or "?")


def _examine(given: Credential) -> None:
    """Raise CommandError unless a provider takes the settings; which channel it is for is not said yet."""
    if given.provider is None:
        raise CommandError('name the provider in the document, e.g. "provider": "sendgrid"')
    wrong = []
    for name in _of_any_channel(given.provider):
        try:
            find_module(name).Settings.model_validate(dict(given.settings))
        except ValidationError as error:
            # the names of settings alone, since the values are secret
            places = {".".join(map(str, mistake["loc"])) for mistake in error.errors(include_input=False)}
            wrong.append(f"{name}: {', '.join(sorted(place or 'as a whole' for place in places))}")
        else:
            return
    if not wrong:
        raise CommandError(f"there is no provider {given.provider}")
    raise CommandError(f"the settings are wrong for {'; '.join(wrong)}")


def _of_any_channel(provider: str) -> Iterator[ProviderName]:
    for module in pkgutil.iter_modules(channels.__path__):
        channel, _, name = module.name.partition("_")
        if name == provider:
            yield ProviderName(channel=channel, provider=provider)
