"""What the self-check looks at in the database; it reads only what every role may read, where it can."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import psycopg

from jtd_worker.finding import Finding, failure, ok, warning
from jtd_worker.migrations import Release, load
from jtd_worker.structure import describe, differences

Connection: TypeAlias = psycopg.Connection[Any]

PGMQ_FUNCTIONS: Final = frozenset({"create", "delete", "send", "send_batch", "set_vt"})
"""What our SQL calls of PGMQ."""
_MIGRATE: Final = "run jtd-worker migrate"
_OLDEST_SERVER: Final = 150_000
_SKEW: Final = timedelta(seconds=5)
_CALLED: Final = re.compile(r"_v\d+$")
"""What the functions that workers call are named like."""


def examine(
    conn: Connection, served: Collection[str], outbound: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Yield findings about the database for a worker that serves the channels `served`.

    `outbound` are channel and code of its providers that leave the house.
    Stops early where what follows could not be read. Raises psycopg.Error for what no check foresaw.
    """
    release = load()
    yield from _server(conn)
    yield _isolation(conn)
    yield _clock(conn)
    yield _pgmq(conn)
    if not _one(conn, "SELECT to_regnamespace('jtd') IS NOT NULL"):
        yield failure("migrations", "the schema jtd is not there", _MIGRATE)
        return
    yield from _ledger(conn, release)
    yield _functions(conn, release)
    yield _structure(conn, release)
    rights = _rights(conn, release)
    yield rights
    yield _partition(conn)
    if rights.level == "ok":
        yield from _masters(conn)
        yield from _channels(conn, served, outbound)


def _one(conn: Connection, query: str, *parameters: object) -> Any:
    return conn.execute(query.encode(), parameters or None).fetchall()[0][0]


def _user(conn: Connection) -> str:
    return str(_one(conn, "SELECT current_user"))


def _server(conn: Connection) -> Iterator[Finding]:
    place = f"PostgreSQL {_one(conn, 'SHOW server_version')}, database {conn.info.dbname} as {_user(conn)}"
    if conn.info.server_version < _OLDEST_SERVER:
        yield failure("database", place, "PostgreSQL 15 or later is needed")
    elif _one(conn, "SHOW transaction_read_only") == "on":
        yield failure("database", f"{place}, takes no changes", "name the primary in JTD_DATABASE_URL")
    else:
        yield ok("database", place)


def _isolation(conn: Connection) -> Finding:
    level = _one(conn, "SHOW default_transaction_isolation")
    if level == "read committed":
        return ok("isolation", "transactions are READ COMMITTED")
    return failure(
        "isolation",
        f"transactions are {level.upper()} by default, in which a worker refuses to claim",
        f"ALTER ROLE {_user(conn)} RESET default_transaction_isolation, or remove it from the database "
        "or the server's settings",
    )


def _clock(conn: Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = _one(conn, "SELECT clock_timestamp()")
    return skew(before, theirs, datetime.now(UTC))


def skew(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Judge the database's clock, read between two readings of ours."""
    off = max(before - theirs, theirs - after, timedelta(0))
    direction = "behind" if theirs < before else "ahead of"
    if off > _SKEW:
        return warning(
            "clock",
            f"the database's clock is {off.total_seconds():.1f} s {direction} this machine's",
            "let both follow NTP; schedules go by the database's, certificates and signatures by this one's",
        )
    return ok("clock", f"the database's clock agrees with this machine's to {off.total_seconds():.1f} s")


def _pgmq(conn: Connection) -> Finding:
    functions = {
        name
        for (name,) in conn.execute(
            "SELECT p.proname FROM pg_catalog.pg_proc AS p"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'pgmq'"
        )
    }
    if not functions:
        return failure("pgmq", "PGMQ is not installed", _MIGRATE)
    if missing := PGMQ_FUNCTIONS - functions:
        return failure("pgmq", f"PGMQ has no {_names(missing)}", "update PGMQ to 1.4.4 or later")
    return ok("pgmq", f"PGMQ {_pgmq_version(conn)}")


def _pgmq_version(conn: Connection) -> str:
    """The extension's version; PGMQ as plain SQL keeps none, but its record has grown over time."""
    rows = conn.execute("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pgmq'").fetchall()
    if rows:
        return f"{rows[0][0]}, an extension"
    columns = {
        name
        for (name,) in conn.execute(
            "SELECT a.attname FROM pg_catalog.pg_attribute AS a"
            " JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'pgmq' AND c.relname = 'message_record'"
        )
    }
    if "last_read_at" in columns:
        return "1.10.0 or later, as plain SQL"
    return "1.5.0 or later, as plain SQL" if "headers" in columns else "before 1.5.0, as plain SQL"


def _ledger(conn: Connection, release: Release) -> Iterator[Finding]:
    may_read = conn.execute(
        "SELECT has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')"
        " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'jtd' AND c.relname = 'migrations'"
    ).fetchall()
    if not may_read:
        yield failure("migrations", "the ledger jtd.migrations is not there", _MIGRATE)
    elif not may_read[0][0]:
        yield ok("migrations", f"{_user(conn)} may not read the ledger; what it records is looked at itself")
    else:
        yield from _compare(
            release, dict(conn.execute("SELECT name, checksum FROM jtd.migrations").fetchall())
        )


def _compare(release: Release, ledger: Mapping[str, str | None]) -> Iterator[Finding]:
    shipped = {script.name: script.checksum for script in release.scripts}
    newer = {name for name in ledger.keys() - shipped.keys() if name[:3].isdigit()}
    by_hand = {name for name in shipped.keys() & ledger.keys() if ledger[name] is None}
    other = {name for name, checksum in shipped.items() if ledger.get(name) != checksum} - by_hand
    if newer:
        yield failure(
            "migrations",
            f"the database has {_names(newer)}, which this release does not know",
            "use the release that the database was migrated with, or a later one",
        )
    if other:
        yield failure("migrations", f"not applied as in this release: {_names(other)}", _MIGRATE)
    if by_hand:
        yield warning(
            "migrations", f"run by hand: {_names(by_hand)}", f"{_MIGRATE}, which compares and adopts them"
        )
    if not (newer or other or by_hand):
        yield ok("migrations", f"the ledger has all {len(shipped)} files, as this release ships them")


def _functions(conn: Connection, release: Release) -> Finding:
    bodies = conn.execute(
        "SELECT p.proname, p.prosrc FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'jtd'::regnamespace"
    ).fetchall()
    texts = {script.function: script.text for script in release.scripts if script.function}
    missing = texts.keys() - {name for name, _ in bodies}
    changed = {name for name, body in bodies if name in texts and f"$${body}$$" not in texts[name]}
    if missing or changed:
        found = [f"missing: {_names(missing)}"] if missing else []
        found += [f"not as in this release: {_names(changed)}"] if changed else []
        return failure("functions", ", ".join(found), _MIGRATE)
    return ok("functions", f"all {len(texts)} are there, as this release ships them")


def _structure(conn: Connection, release: Release) -> Finding:
    conn.execute("SELECT set_config('search_path', 'public', true)")  # as describe asks
    found = differences(release, [migration.name for migration in release.migrations], describe(conn))
    if found:
        return failure(
            "tables", ", ".join(found), f"{_MIGRATE}, which brings them or says what is in its way"
        )
    return ok("tables", "all columns are there")


def _rights(conn: Connection, release: Release) -> Finding:
    needed = {s.function for s in release.scripts if s.function and _CALLED.search(s.function)}
    user = _user(conn)
    if not _one(conn, "SELECT has_schema_privilege('jtd', 'USAGE')"):
        return failure("rights", f"{user} may not use the schema jtd", f"GRANT jtd_worker TO {user}")
    allowed = {
        name
        for (name,) in conn.execute(
            "SELECT p.proname FROM pg_catalog.pg_proc AS p"
            " WHERE p.pronamespace = 'jtd'::regnamespace AND has_function_privilege(p.oid, 'EXECUTE')"
        )
    }
    if refused := needed - allowed:
        return failure(
            "rights", f"{user} may not call {_names(refused)}", f"{_MIGRATE}, then GRANT jtd_worker TO {user}"
        )
    return ok("rights", f"{user} may call all that a worker calls")


def _partition(conn: Connection) -> Finding:
    name = _one(
        conn,
        "SELECT 'n_jtd_history_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC')"
        " + interval '1 month', 'YYYY_MM')",
    )
    if _one(conn, "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = %s", name):
        return ok("history", f"next month's partition {name} is there")
    return warning(
        "history",
        f"next month's partition {name} is missing, and its rows would go to the default partition",
        "a running worker makes it within seconds; if it does not, SELECT jtd.make_partitions() as the owner",
    )


def _masters(conn: Connection) -> Iterator[Finding]:
    remedies = {
        "source": "correct n_jtd_source_types and call jtd.attach_source again, or jtd.detach_source",
        "schema": "correct payload_schema in n_jtd_event_types",
    }
    for subject, name, mistake in conn.execute(
        "SELECT subject, name, mistake FROM jtd.masters_v1()"
    ).fetchall():
        if mistake is not None:
            yield warning(f"{subject} {name}", mistake, remedies[subject])
        elif subject == "source":
            yield ok(f"source {name}", "makes a job of each row inserted into its table")
        else:
            yield ok(f"schema {name}", "is checked when a job is made")


def _channels(
    conn: Connection, served: Collection[str], outbound: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    queues = conn.execute("SELECT queue_name, channel_code FROM jtd.queues_v1(NULL)").fetchall()
    tables = {
        name
        for (name,) in conn.execute(
            "SELECT c.relname FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'pgmq'"
        )
    }
    known = {channel for _, channel in queues}
    if unknown := set(served) - known:
        yield failure(
            "channels",
            f"JTD_PROVIDERS names {_names(unknown)}, but the database has only {_names(known)}",
            "correct the name, or insert the channel into n_jtd_channels",
        )
    if missing := {
        name for name in ("jtd_dlq", *(queue for queue, _ in queues)) if f"q_{name}" not in tables
    }:
        yield failure(
            "queues",
            f"PGMQ has no queue {_names(missing)}",
            "SELECT jtd.make_queues() as the owner makes them",
        )
        return
    yield ok("queues", f"all queues of {_names(known)} are there, and that of dead letters")
    status = _one(conn, "SELECT jtd.status_v1()")
    if status["is_adopted"]:
        by = status["adopted_by"]
        yield ok("instance", f"adopted by {by}" if by else "the jobs of this database were made here")
    else:
        yield failure(
            "instance",
            "this database is a restored backup or a copy, and nothing of it is sent",
            "jtd-worker adopt --since TIME, the time from when on nothing was sent elsewhere",
        )
    limits = {(limit["channel"], limit["provider"]): limit["per_minute"] for limit in status["limits"]}
    for channel, code in outbound:
        yield _rate(channel, code, limits.get((channel, code), limits.get((channel, None))))
    workers = status["workers"]
    elsewhere = {channel for worker in workers if worker["is_alive"] for channel in worker["channels"]}
    if unserved := known - set(served) - elsewhere:
        yield warning(
            "channels",
            f"nobody serves {_names(unserved)}: jobs for these channels wait",
            "add them to JTD_PROVIDERS of a worker",
        )
    else:
        yield ok("channels", "every channel is served here or by a running worker")


def _rate(channel: str, code: str, limit: int | None) -> Finding:
    subject = f"rate {channel}:{code}"
    if limit is None:
        return ok(subject, "has no limit")
    return ok(
        subject,
        f"is handed at most {limit} messages a minute; n_jtd_channels.rate_limit_per_minute or a row of "
        "n_jtd_rate_limits changes that",
    )


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
