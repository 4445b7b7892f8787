"""Options that several commands share."""

import getpass
import os
from typing import Annotated, TypeAlias

import typer

_dsn = typer.Option(
    "--dsn",
    envvar="JTD_DATABASE_URL",
    metavar="URL",
    help="Postgres to work on, as a libpq URL. Others on this machine can see options; prefer the variable.",
)
Dsn: TypeAlias = Annotated[str, _dsn]
DsnIfAny: TypeAlias = Annotated[str | None, _dsn]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Actor: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Who does this, for the audit trail.", show_default="the login's name"
    ),
]


def actor(given: str | None) -> str:
    """Return the name for the audit trail: the one given, else the login's, else the user id's number."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"uid {os.getuid()}"
