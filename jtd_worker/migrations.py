"""The SQL files of a release: numbered migrations, then functions, then triggers."""

from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path

from psycopg import sql

from jtd_worker.errors import MigrationError

# What a function does, without what an operator may set (owner, grants); survives dump and restore.
_FINGERPRINT = """\
SELECT md5(string_agg(concat_ws(' ', p.prosrc, p.prosecdef, p.proconfig), ' ' ORDER BY p.prosrc))
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'jtd' AND p.proname = {function}"""

_RECORD = """\
INSERT INTO jtd.migrations (name, checksum, fingerprint)
VALUES ({name}, {checksum}, (
    {fingerprint}
))
ON CONFLICT (name) DO UPDATE
SET checksum = excluded.checksum, fingerprint = excluded.fingerprint,
    applied_at = now(), applied_by = session_user;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One SQL file that is recorded in `jtd.migrations`."""

    name: str
    """As in the ledger: `001_create_jtd_master_tables`, `functions/claim`, `triggers`."""
    text: str

    @property
    def number(self) -> str | None:
        """The three digits of a migration; None for a file that is re-applied when its text changes."""
        return self.name[:3] if self.name[:3].isdigit() else None

    @property
    def function(self) -> str | None:
        """The function of schema jtd that the file defines."""
        return self.name.removeprefix("functions/") if self.name.startswith("functions/") else None

    @property
    def checksum(self) -> str:
        """SHA-256 of the text in hex; the same for both kinds of line ending."""
        return sha256(self.text.encode()).hexdigest()

    def fingerprint_query(self) -> sql.Composed:
        """A query for the digest of the function as the database has it; NULL if there is none."""
        return sql.SQL(_FINGERPRINT).format(function=sql.Literal(self.function))

    def record_query(self) -> sql.Composed:
        """The statement that records the file as applied just now."""
        return sql.SQL(_RECORD).format(
            name=sql.Literal(self.name),
            checksum=sql.Literal(self.checksum),
            fingerprint=self.fingerprint_query(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one version of jtd-worker brings to a database."""

    pgmq: str
    """The statement that makes sure of PGMQ or fails."""
    scripts: tuple[Script, ...]
    """In the order in which they are applied."""
    structure: str
    """The text of `structure.txt`: the columns that each migration brings."""

    @property
    def migrations(self) -> tuple[Script, ...]:
        """The numbered scripts, in order."""
        return tuple(script for script in self.scripts if script.number)


def sql_directory() -> Path:
    """Find the SQL files: inside an installed package, else beside the package in a checkout."""
    package = Path(str(resources.files("jtd_worker")))
    installed = package / "sql"
    return installed if installed.is_dir() else package.parent / "sql"


def load(directory: Path | None = None) -> Release:
    """Read the SQL files of `directory`, by default those of this release.

    Raises MigrationError if there are none.
    """
    directory = directory or sql_directory()
    files = [
        *sorted(directory.glob("[0-9][0-9][0-9]_*.sql")),
        *sorted(directory.glob("functions/*.sql")),
        *directory.glob("triggers.sql"),
    ]
    if not files:
        raise MigrationError(f"there are no SQL files in {directory}; install jtd-worker again")
    return Release(
        pgmq=(directory / "pgmq.sql").read_text("utf-8"),
        scripts=tuple(_script(directory, file) for file in files),
        structure=(directory / "structure.txt").read_text("utf-8"),
    )


def _script(directory: Path, file: Path) -> Script:
    name = file.relative_to(directory).with_suffix("").as_posix()
    return Script(name=name, text=file.read_text("utf-8"))


def print_sql(directory: Path | None = None) -> str:
    """Return one SQL text that does what `migrate` does on an empty database that has or offers PGMQ.

    It is for hosts that run migrations themselves, e.g. as a file in `supabase/migrations/`. It opens
    no transaction of its own, and records all it does, so that `migrate` then finds nothing to do.
    """
    release = load(directory)
    parts = ["-- Made by jtd-worker; print it again rather than editing it.\n", release.pgmq]
    # functions name each other, so no order of them would let every body be checked when it is created
    parts.append("SET check_function_bodies = off;\n")
    for script in release.scripts:
        parts += [f"-- {script.name}\n", script.text, script.record_query().as_string(None)]
    parts.append("RESET check_function_bodies;\n")
    return "\n".join(parts)
