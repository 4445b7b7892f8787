"""The databases that tests ask for: `dsn` and `db` are migrated, `empty_dsn` holds nothing."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from jtd_worker.migrate import migrate
from tests.postgres import Databases, install_pgmq, lift_rate_limits, server

pytest_plugins = ["jtd_worker.testing.plugin"]


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """One server for the whole run; without one the run fails, never skips."""
    with server() as dsn:
        yield Databases(admin=dsn)


@pytest.fixture(scope="session")
def template(databases: Databases) -> Iterator[str]:
    """A database migrated once, of which every test gets a copy; nobody connects to it."""
    with databases.database() as dsn:
        if os.environ.get("JTD_TEST_PGMQ_OLD") == "1":
            install_pgmq(dsn)
        migrate(dsn)
        lift_rate_limits(dsn)  # tests of the limits set their own
        yield dsn


@pytest.fixture
def dsn(databases: Databases, template: str) -> Iterator[str]:
    """The DSN of a migrated database of the test's own."""
    with databases.database(template=template) as dsn:
        yield dsn


@pytest.fixture
def db(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit to the database of `dsn`."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def empty_dsn(databases: Databases) -> Iterator[str]:
    """The DSN of a database without any object of ours, PGMQ included."""
    with databases.database() as dsn:
        yield dsn
