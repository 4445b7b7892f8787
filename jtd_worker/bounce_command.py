"""The command that a mail server pipes the mails of a bounce address into: `jtd-worker bounce`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import psycopg
import typer
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from jtd_worker.bounce import LIMIT, read_bounce
from jtd_worker.console import note, write
from jtd_worker.errors import ConfigurationError, JtdError
from jtd_worker.foreign import clean_json
from jtd_worker.options import DsnIfAny
from jtd_worker.receipt import Receipt
from jtd_worker.session import session
from jtd_worker.verp import Verp, secrets_of

app = typer.Typer(rich_markup_mode=None)

TRY_AGAIN: Final = 75
"""EX_TEMPFAIL of sysexits.h: the mail server keeps the mail. Another failure makes it throw the mail away."""

_SECRETS: Final = typer.Option(
    "--secrets",
    envvar="JTD_EMAIL_SMTP_BOUNCE_SECRETS",
    metavar="SECRETS",
    help="What the addresses were signed with, separated by blanks. Others on this machine can see options; "
    "prefer the variable.",
)


@app.command()
def bounce(
    dsn: DsnIfAny = None,
    secrets: Annotated[str | None, _SECRETS] = None,
    to: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address that the mail came to, as the server has it.")
    ] = "",
) -> None:
    """Take a mail that came to a bounce address from standard input; 75 asks for it again later."""
    try:
        tokens = _tokens(secrets)
        receipts = read_bounce(_standard_input(), tokens, to=to)
        accepted, known = _accept(dsn, receipts) if receipts else (0, 0)
    except (JtdError, psycopg.Error) as error:
        note(f"jtd-worker: {error if isinstance(error, JtdError) else type(error).__name__}")
        raise typer.Exit(TRY_AGAIN) from None
    if receipts:
        kinds = ", ".join(f"{receipt.reference} {receipt.kind}" for receipt in receipts)
        write(f"{accepted} new, {known} known already: {kinds}")
    else:
        write("0 new: this mail reports nothing of a job of ours")


def _tokens(secrets: str | None) -> Verp:
    try:
        return Verp(secrets_of(SecretStr(secrets or "")))
    except ValueError as error:
        raise ConfigurationError(f"JTD_EMAIL_SMTP_BOUNCE_SECRETS: {error}") from None


def _standard_input() -> bytes:
    """Return the beginning of the mail; the rest is read too, or the server would take that for a failure."""
    stream = sys.stdin.buffer
    raw = stream.read(LIMIT)
    while stream.read(LIMIT):
        pass
    return raw


def _accept(dsn: str | None, receipts: Sequence[Receipt]) -> tuple[int, int]:
    if dsn is None:
        raise ConfigurationError("set JTD_DATABASE_URL or --dsn")
    with session(dsn, "bounce") as conn:
        found = conn.execute(
            "SELECT accepted, known FROM jtd.accept_receipts_v1('email', 'smtp', %s)",
            [Jsonb([_row(receipt) for receipt in receipts])],
        ).fetchall()[0]
    return int(found[0]), int(found[1])


def _row(receipt: Receipt) -> Any:
    at = receipt.at.isoformat() if receipt.at else None
    return clean_json({**asdict(receipt), "reference": str(receipt.reference), "at": at})
