"""Writes what in `sql/` is made from other files there: `python -m tests.generated`."""

from pathlib import Path

import psycopg

from jtd_worker.migrations import load, sql_directory
from jtd_worker.structure import describe
from tests.postgres import Databases, install_pgmq, server

INSTALL = r"""-- Installs everything by hand: psql -f sql/install.sql. Made by python -m tests.generated.
--
-- One transaction; safe to run again. jtd-worker migrate does the same, and takes over where this ended.

\set ON_ERROR_STOP on
BEGIN;
\ir pgmq.sql
-- functions name each other, so no order of them would let every body be checked when it is created
SET LOCAL check_function_bodies = off;
{files}
COMMIT;
"""


def structure(dsn: str, directory: Path) -> str:
    """Run the migrations of `directory` one after another on an empty database, and say what each brings."""
    install_pgmq(dsn)
    lines: list[str] = []
    before: dict[str, str] = {}
    with psycopg.connect(dsn) as conn:
        conn.execute("SET search_path = public")
        for migration in load(directory).migrations:
            conn.execute(migration.text.encode())
            after = dict(describe(conn).columns)
            lines += sorted(
                f"{migration.number} {column} {definition}\n"
                for column, definition in after.items()
                if before.get(column) != definition
            )
            before = after
    return "".join(lines)


def install(directory: Path) -> str:
    """Return a psql script that runs the files of `directory` in the order in which migrate does."""
    return INSTALL.format(files="\n".join(rf"\ir {script.name}.sql" for script in load(directory).scripts))


if __name__ == "__main__":
    with server() as admin, Databases(admin=admin).database() as dsn:
        (sql_directory() / "structure.txt").write_text(structure(dsn, sql_directory()), "utf-8")
    (sql_directory() / "install.sql").write_text(install(sql_directory()), "utf-8")
