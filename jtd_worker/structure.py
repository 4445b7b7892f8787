"""What our tables look like: the catalog of a database against `structure.txt`.

A line of `structure.txt` is `001 public.n_jtd.attempt integer not null`: the migration that brings the
column or gives it this definition, its schema, table and name, its type.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

from jtd_worker.migrations import Release

# The ledger is left out, since the release is not known before it is read; partitions follow their parent.
_CATALOG = r"""
SELECT
    format('%s.%s.%s', n.nspname, c.relname, a.attname),
    format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
    a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attnum > 0 AND NOT a.attisdropped
    AND (n.nspname = 'public' AND c.relname LIKE 'n\_%' OR n.nspname = 'jtd' AND c.relname <> 'migrations')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The columns of a database's tables `public.n_*` and `jtd.*`; keys are `schema.table.column`."""

    columns: Mapping[str, str]
    """Type and `not null`, e.g. `integer not null`."""
    mandatory: frozenset[str]
    """Those that every INSERT must name: not null, and without a default."""


def describe(conn: psycopg.Connection) -> Catalog:
    """Read the catalog. The caller sets search_path to `public`, on which the names of types depend."""
    rows = conn.execute(_CATALOG).fetchall()
    return Catalog(
        columns={column: definition for column, definition, _ in rows},
        mandatory=frozenset(column for column, _, mandatory in rows if mandatory),
    )


def differences(release: Release, recorded: Collection[str], catalog: Catalog) -> list[str]:
    """Say, one line each, where a database is not what its recorded migrations make.

    Tables and columns that stand already though no recorded migration made them must also be as ours:
    a migration passes over them. Columns of the user's own are his affair while our INSERTs work.
    """
    required = _required(release, recorded, catalog)
    standing = {_table(column) for column in catalog.columns}
    found = [f"{table}: the table is missing" for table in {_table(c) for c in required} - standing]
    for column, definition in required.items():
        actual = catalog.columns.get(column)
        if actual is None and _table(column) in standing:
            found.append(f"{column}: the column is missing; it should be {definition}")
        elif actual is not None and actual != definition:
            found.append(f"{column}: is {actual}; it should be {definition}")
    ours = {_table(column) for column in required}
    found += [
        f"{column}: is not ours, not null and has no default, so that our inserts would fail"
        for column in catalog.mandatory
        if _table(column) in ours and column not in required
    ]
    return sorted(found)


def _required(release: Release, recorded: Collection[str], catalog: Catalog) -> dict[str, str]:
    standing = {_table(column) for column in catalog.columns}
    by_migration = _parse(release.structure)
    required: dict[str, str] = {}
    earlier: set[str] = set()
    for migration in release.migrations:
        brought = by_migration[migration.number or ""]
        tables = {_table(column) for column in brought}
        if migration.name not in recorded:
            in_the_way = standing & (tables - earlier)
            brought = {
                column: definition
                for column, definition in brought.items()
                if column in catalog.columns or _table(column) in in_the_way
            }
        required |= brought
        earlier |= tables
    return required


def _parse(structure: str) -> Mapping[str, dict[str, str]]:
    by_migration: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in structure.splitlines():
        number, column, definition = line.split(" ", 2)
        by_migration[number][column] = definition
    return by_migration


def _table(column: str) -> str:
    return column.rpartition(".")[0]
