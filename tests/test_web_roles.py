"""On a host that publishes the schema public its web roles see nothing of ours until the owner lets them."""

from collections.abc import Iterator

import psycopg
import pytest

from jtd_worker.migrate import migrate

WEB_ROLES = ("anon", "authenticated")
BY_DEFAULT = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated;
"""
GRANTED = """
SELECT DISTINCT g.name
FROM (
    SELECT c.relnamespace, c.relname::text, c.relacl FROM pg_class AS c
    UNION ALL SELECT c.relnamespace, c.relname::text, a.attacl
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    UNION ALL SELECT p.pronamespace, p.oid::regprocedure::text, p.proacl FROM pg_proc AS p
) AS g (space, name, rights)
JOIN pg_namespace AS n ON n.oid = g.space AND n.nspname IN ('public', 'jtd')
CROSS JOIN aclexplode(g.rights) AS r
WHERE r.grantee = ANY (%s::regrole[]) ORDER BY 1
"""


@pytest.fixture
def host(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection to an empty database of such a host; new tables of public are its web roles'."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        there = {name for (name,) in conn.execute("SELECT rolname FROM pg_roles").fetchall()}
        made = [role for role in WEB_ROLES if role not in there]
        for role in made:
            conn.execute(f"CREATE ROLE {role}".encode())
        conn.execute(BY_DEFAULT)
        yield conn
        conn.execute("DROP OWNED BY anon, authenticated")
        for role in made:
            conn.execute(f"DROP ROLE {role}".encode())


def granted(conn: psycopg.Connection) -> list[str]:
    """Return the tables, partitions, sequences and functions on which a web role has any right."""
    return [name for (name,) in conn.execute(GRANTED, [list(WEB_ROLES)]).fetchall()]


def test_a_fresh_database_grants_web_roles_nothing(host: psycopg.Connection, empty_dsn: str) -> None:
    host.execute("CREATE TABLE public.orders (id serial)")
    theirs = granted(host)
    assert theirs == ["orders", "orders_id_seq"], "the host is not what this test means it to be"
    migrate(empty_dsn)
    assert granted(host) == theirs


def test_a_month_of_the_audit_trail_that_is_made_later_is_closed_too(
    host: psycopg.Connection, empty_dsn: str
) -> None:
    migrate(empty_dsn)
    [last] = host.execute(
        "SELECT max(c.relname::text) FROM pg_class AS c WHERE c.relname ~ '^n_jtd_history_20[0-9_]+$'"
    ).fetchone() or [None]
    host.execute(f"DROP TABLE public.{last}".encode())
    host.execute("SELECT jtd.make_partitions()")
    assert host.execute("SELECT to_regclass('public.' || %s) IS NOT NULL", [last]).fetchone() == (True,)
    assert granted(host) == []


def test_what_an_older_release_left_open_is_closed_once(host: psycopg.Connection, empty_dsn: str) -> None:
    migrate(empty_dsn)
    open_before = ["n_jtd_history_default", "n_jtd_history_id_seq", "n_jtd_suppressions"]
    for name in open_before:
        host.execute(f"GRANT ALL ON {name} TO anon".encode())
    host.execute("GRANT SELECT ON n_jtd_channels TO anon")
    assert granted(host) == ["n_jtd_channels", *open_before]
    host.execute("DELETE FROM jtd.migrations WHERE name = '013_close_jtd_suppressions'")
    migrate(empty_dsn)
    assert granted(host) == ["n_jtd_channels"], "what was closed before is the owner's to open"
    host.execute("GRANT SELECT ON n_jtd_suppressions TO authenticated")
    host.execute("DELETE FROM jtd.migrations WHERE name LIKE 'functions/%' OR name = 'triggers'")
    migrate(empty_dsn)
    assert granted(host) == ["n_jtd_channels", "n_jtd_suppressions"]
