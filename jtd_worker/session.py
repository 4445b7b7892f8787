"""One short transaction for one command, and what its errors mean to the person who typed it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from jtd_worker.database import seeking_primary
from jtd_worker.errors import ConfigurationError, JtdError

_SETTINGS: Final = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "TimeZone": "UTC",
}
_NOT_A_URL: Final = (
    "JTD_DATABASE_URL is not a libpq URL, e.g. postgresql://user:password@host:5432/database; "
    "in a password % @ : / ? # must be written as %25 %40 %3A %2F %3F %23 (it is not shown here)"
)


class CommandError(JtdError):
    """A command was not carried out, or its answer was lost."""


@contextmanager
def session(dsn: str, command: str, *, actor: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection inside one transaction, which is committed at the end and rolled back by an error.

    With `actor` the audit trail names that user for what the transaction does. Raises as `explained`.
    """
    with (
        explained(dsn),
        psycopg.connect(
            seeking_primary(dsn),
            connect_timeout=5,
            application_name=f"jtd-worker {command}",
            prepare_threshold=None,  # prepared statements do not survive a pooler in transaction mode
        ) as conn,
    ):
        conn.isolation_level = (
            psycopg.IsolationLevel.READ_COMMITTED
        )  # a row is read again after waiting for it
        settings = dict(_SETTINGS) if actor is None else {**_SETTINGS, "jtd.actor": f"user::{actor}"}
        for name, value in settings.items():
            conn.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield conn


@contextmanager
def explained(dsn: str) -> Iterator[None]:
    """Turn an error of the database that a person can act on into one sentence, without secrets or contacts.

    Raises CommandError with that sentence, ConfigurationError when `dsn` cannot be read; other errors pass.
    """
    parameters = parse(dsn)
    try:
        yield
    except psycopg.Error as error:
        sentence = meaning(error) or _unreachable(error, parameters)
        if sentence is None:
            raise
        raise CommandError(sentence) from error


def parse(dsn: str) -> dict[str, str]:
    """Return the parameters of a libpq URL or conninfo string.

    Raises ConfigurationError, without the text, when it cannot be read, or when a password that is not
    percent-encoded was taken for a host, port or database, as which it would be shown.
    """
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    except psycopg.ProgrammingError:
        # neither the message nor the context, both of which quote the text
        raise ConfigurationError(_NOT_A_URL) from None
    shown = parameters.get("host", "") + parameters.get("dbname", "")
    port = parameters.get("port", "").replace(",", "")
    if "://" in dsn and ("@" in shown or not (port == "" or port.isdigit())):
        raise ConfigurationError(_NOT_A_URL)
    return parameters


def masked(dsn: str) -> str:
    """Return `dsn` as a conninfo string, `***` for what libpq itself would not show. Raises as `parse`."""
    parameters = parse(dsn)
    return make_conninfo("", **{name: "***" if name in _secrets() else v for name, v in parameters.items()})


def meaning(error: BaseException) -> str | None:
    """Return what an error of the server asks of the operator; None when it asks nothing that we know."""
    if not isinstance(error, psycopg.Error):
        return None
    # never str(error): its DETAIL quotes rows, and so contacts
    message = error.diag.message_primary or ""
    match error:
        case errors.UndefinedFunction() | errors.UndefinedTable() | errors.UndefinedColumn():
            return f"{message}; the database is not migrated to this release: run jtd-worker migrate"
        case errors.InvalidSchemaName():
            return f"{message}; the database is not migrated: run jtd-worker migrate"
        case errors.InsufficientPrivilege():
            return (
                f"{message}; grant the role what it needs: jtd_operator for these commands, "
                "jtd_producer for enqueue, jtd_worker for run, jtd_web for serve; migrate is the owner's"
            )
        case errors.LockNotAvailable():
            return (
                f"{message}: another transaction holds what is to be changed; nothing was changed, try again"
            )
        case errors.QueryCanceled():
            return f"{message}; nothing was changed, try again when the database is less busy"
        case errors.ReadOnlySqlTransaction():
            return f"{message}; this server takes no changes: name the primary in JTD_DATABASE_URL"
        case errors.DataError() | errors.IntegrityError():
            return f"the database refused it: {message}"
        case _ if (error.sqlstate or "").startswith("JT"):
            return ". ".join(part for part in (message, error.diag.message_hint) if part)
    return None


def _unreachable(error: psycopg.Error, given: dict[str, str]) -> str | None:
    if not isinstance(error, psycopg.OperationalError):
        return None
    options = pq.Conninfo.get_defaults()
    defaults = {o.keyword.decode(): o.val.decode() for o in options if o.val is not None}
    parameters = {**defaults, **given}
    reason = " ".join((error.diag.message_primary or str(error)).split())
    for name in _secrets() & parameters.keys():
        reason = reason.replace(parameters[name], "***") if parameters[name] else reason
    return (
        f"cannot reach database {parameters.get('dbname', parameters.get('user'))} at "
        f"{parameters.get('host') or 'the local socket'}:{parameters.get('port')} "
        f"as {parameters.get('user')}: {reason}; check JTD_DATABASE_URL and that the server runs"
    )


def _secrets() -> set[str]:
    """The parameters that libpq marks as passwords or as not for display."""
    return {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar}
