"""Brings a database to this release, in one transaction, or explains why not.

The ledger is `jtd.migrations`. Numbered migrations run once and never change; functions and triggers are
applied again whenever their text changes. An older release may run against a database whose migrations it
knows, and puts its own functions back: that is how a release is rolled back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from pgmq.install import PGMQInstallError, install_pgmq_from_sql
from psycopg import sql
from psycopg.rows import class_row

from jtd_worker.errors import MigrationError
from jtd_worker.migrations import Release, Script, load
from jtd_worker.structure import describe, differences

MIGRATE_LOCK = int.from_bytes(b"jtd-migr", "big")
"""Key of the advisory lock held while migrating; outside the 32-bit keys that PGMQ takes."""
TABLE_LOCK_WAIT = timedelta(seconds=5)
"""How long a statement waits for a table in use; all who want that table wait behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `migrate` did: names of files as in the ledger, in the order of the release."""

    applied: tuple[str, ...]
    adopted: tuple[str, ...]
    """Migrations that had been run by hand, found to be as ours, and recorded with their checksum."""
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """A file as `jtd.migrations` records it."""

    name: str
    checksum: str | None
    """None for a migration that was run by hand."""
    fingerprint: str | None
    """None for a file that is not a function's."""


def migrate(dsn: str, directory: Path | None = None, *, turn: timedelta = timedelta(seconds=60)) -> Report:
    """Apply what the database lacks of the SQL files in `directory`, by default those of this release.

    Safe from any number of clients at once: they take turns, waiting at most `turn` each, and all but
    the first find nothing to do. PGMQ comes from the extension where the server offers it, else as plain SQL.

    Raises MigrationError, having changed nothing, when the database is newer than this release, was
    edited by hand, or is in use; psycopg.OperationalError when it cannot be reached.
    """
    release = load(directory)
    # prepared statements do not survive a pooler in transaction mode
    with psycopg.connect(dsn, prepare_threshold=None, application_name="jtd-worker migrate") as conn:
        conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # the ledger is read after the wait
        _wait_for_turn(conn, turn)
        ledger = _read_ledger(conn)
        _refuse_differences(conn, release, ledger)
        _bring_pgmq(conn, release)
        return _apply(conn, release, ledger)


def _set(conn: psycopg.Connection, name: str, value: str) -> None:
    conn.execute("SELECT set_config(%s, %s, true)", (name, value))


def _milliseconds(duration: timedelta) -> str:
    return f"{duration // timedelta(milliseconds=1)}ms"


def _wait_for_turn(conn: psycopg.Connection, turn: timedelta) -> None:
    _set(conn, "statement_timeout", "0")
    _set(conn, "search_path", "public")
    _set(conn, "lock_timeout", _milliseconds(turn))
    try:
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATE_LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"another migration of this database has been running for {turn.total_seconds():g} s; "
            "wait for it to end (pg_stat_activity shows it as 'jtd-worker migrate'), then run migrate again"
        ) from error
    _set(conn, "lock_timeout", _milliseconds(TABLE_LOCK_WAIT))


def _read_ledger(conn: psycopg.Connection) -> dict[str, LedgerRow]:
    if conn.execute("SELECT to_regclass('jtd.migrations') IS NULL").fetchone() == (True,):
        return {}
    with conn.cursor(row_factory=class_row(LedgerRow)) as cursor:
        rows = cursor.execute("SELECT name, checksum, fingerprint FROM jtd.migrations").fetchall()
    return {row.name: row for row in rows}


def _refuse_differences(conn: psycopg.Connection, release: Release, ledger: Mapping[str, LedgerRow]) -> None:
    newer = _newer(release, ledger)
    findings = [
        (newer, "Use the release of jtd-worker that this database was migrated with, or a later one."),
        (
            _changed_migrations(release, ledger),
            "A migration never changes once it was applied: put the files of the release back.",
        ),
        (
            # a newer release may have changed tables in ways that this one cannot judge
            [] if newer else differences(release, ledger, describe(conn)),
            "Change the tables to what is named here, or use another database, then run migrate again.",
        ),
        (
            _edited_functions(conn, release, ledger),
            "Keep the change elsewhere, delete the function's row from jtd.migrations, and run migrate again:"
            " it puts ours back.",
        ),
    ]
    found = [(lines, remedy) for lines, remedy in findings if lines]
    if found:
        blocks = ["\n".join([*(f"  - {line}" for line in lines), f"  {remedy}"]) for lines, remedy in found]
        raise MigrationError("\n".join(["The database was not migrated; nothing was changed.", *blocks]))


def _newer(release: Release, ledger: Mapping[str, LedgerRow]) -> list[str]:
    known = {script.name for script in release.scripts}
    return [
        f"{name}: this release does not have it; the database is newer"
        for name in sorted(ledger)
        if name[:3].isdigit() and name not in known
    ]


def _changed_migrations(release: Release, ledger: Mapping[str, LedgerRow]) -> list[str]:
    return [
        f"{script.name}: was edited after it was applied here"
        for script in release.migrations
        if script.name in ledger and ledger[script.name].checksum not in (None, script.checksum)
    ]


def _edited_functions(
    conn: psycopg.Connection, release: Release, ledger: Mapping[str, LedgerRow]
) -> list[str]:
    found = []
    for script in release.scripts:
        recorded = ledger.get(script.name)
        if script.function and recorded and recorded.fingerprint != _fingerprint(conn, script):
            found.append(
                f"jtd.{script.function}: the function was edited or dropped by hand in this database"
            )
    return found


def _fingerprint(conn: psycopg.Connection, script: Script) -> str | None:
    row = conn.execute(script.fingerprint_query()).fetchone()
    return row[0] if row else None


def _bring_pgmq(conn: psycopg.Connection, release: Release) -> None:
    offered = conn.execute(
        "SELECT to_regclass('pgmq.meta') IS NOT NULL"
        " OR EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pgmq')"
    ).fetchone()
    try:
        if offered == (True,):
            conn.execute(release.pgmq.encode())
        else:
            install_pgmq_from_sql(conn=conn)  # in a savepoint of our transaction
    except (psycopg.Error, PGMQInstallError) as error:
        raise MigrationError(f"PGMQ could not be installed; nothing was changed: {error}") from error


def _apply(conn: psycopg.Connection, release: Release, ledger: Mapping[str, LedgerRow]) -> Report:
    # functions name each other, so no order of them would let every body be checked when it is created
    _set(conn, "check_function_bodies", "off")
    applied, adopted, unchanged = [], [], []
    for script in release.scripts:
        recorded = ledger.get(script.name)
        if recorded and recorded.checksum == script.checksum:
            unchanged.append(script.name)
        elif recorded and recorded.checksum is None:
            conn.execute(
                "UPDATE jtd.migrations SET checksum = %s WHERE name = %s", (script.checksum, script.name)
            )
            adopted.append(script.name)
        else:
            _run(conn, script)
            conn.execute(script.record_query())
            applied.append(script.name)
    return Report(applied=tuple(applied), adopted=tuple(adopted), unchanged=tuple(unchanged))


def _run(conn: psycopg.Connection, script: Script) -> None:
    try:
        if script.function:
            _replace_function(conn, script.function, script.text)
        else:
            conn.execute(script.text.encode())
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"{script.name}: a table was in use for {TABLE_LOCK_WAIT.total_seconds():g} s;"
            " nothing was changed. Run migrate again in a quieter moment,"
            " or end the long transactions that pg_stat_activity shows"
        ) from error
    except psycopg.Error as error:
        raise MigrationError(
            f"{script.name}{_line(script, error)}: {error.diag.message_primary or error}; nothing was changed"
        ) from error


def _line(script: Script, error: psycopg.Error) -> str:
    if error.diag.statement_position is None:
        return ""
    return f", line {script.text.count(chr(10), 0, int(error.diag.statement_position)) + 1}"


def _replace_function(conn: psycopg.Connection, function: str, text: str) -> None:
    """Apply a function's file; if its signature changed, the old one goes, and its grants with it."""
    try:
        with conn.transaction():
            conn.execute(text.encode())
    except psycopg.errors.InvalidFunctionDefinition:
        pass  # CREATE OR REPLACE cannot change the result or a parameter's name
    else:
        if len(_signatures(conn, function)) == 1:
            return
    for signature in _signatures(conn, function):
        conn.execute(sql.SQL("DROP FUNCTION {}").format(sql.SQL(signature)))
    conn.execute(text.encode())


def _signatures(conn: psycopg.Connection, function: str) -> list[str]:
    rows = conn.execute(
        "SELECT oid::regprocedure::text FROM pg_catalog.pg_proc"
        " WHERE pronamespace = 'jtd'::regnamespace AND proname = %s",
        (function,),
    ).fetchall()
    return [signature for (signature,) in rows]
