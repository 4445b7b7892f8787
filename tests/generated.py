"""Writes what is made from the files in `sql/`: `python -m tests.generated`."""

import json
from pathlib import Path

import psycopg

from jtd_worker.migrate import migrate
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


LANDED = Path(__file__).parent / "landed.json"
"""What others count on: digests of migrations by file name, and the shapes of functions that workers call."""

SHAPES = """
SELECT p.proname, pg_get_function_identity_arguments(p.oid) || ' -> ' || pg_get_function_result(p.oid)
FROM pg_proc AS p WHERE p.pronamespace = 'jtd'::regnamespace AND p.proname ~ '_v[0-9]+$'
"""


def landed() -> dict[str, dict[str, str]]:
    """Return what has been entered so far."""
    entered: dict[str, dict[str, str]] = json.loads(LANDED.read_text("utf-8"))
    return entered


def present(conn: psycopg.Connection) -> dict[str, dict[str, str]]:
    """Return what would be entered of this release, with the functions that `conn` sees."""
    return {
        "migrations": {script.name: script.checksum for script in load().migrations},
        "functions": dict(conn.execute(SHAPES).fetchall()),
    }


if __name__ == "__main__":
    with server() as admin, Databases(admin=admin).database() as dsn:
        (sql_directory() / "structure.txt").write_text(structure(dsn, sql_directory()), "utf-8")
        migrate(dsn)
        with psycopg.connect(dsn) as conn:
            # what was entered stays as it was
            entered = {kind: names | landed()[kind] for kind, names in present(conn).items()}
        LANDED.write_text(json.dumps(entered, indent=2, sort_keys=True) + "\n", "utf-8")
    (sql_directory() / "install.sql").write_text(install(sql_directory()), "utf-8")
