"""Finds or starts the Postgres that the tests run on, and makes databases on it.

Which server is told by the environment; without any of these it is the embedded one:
    JTD_TEST_DATABASE_URL  a server that is there; the role may create databases and roles
    JTD_TEST_PG_BIN        a folder with initdb and postgres, e.g. of another major version
    JTD_TEST_DOCKER=1      a container of the image JTD_TEST_IMAGE
With JTD_TEST_PGMQ_OLD=1 the databases hold a stand-in for the oldest PGMQ that is supported.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
from pgmq.install import install_pgmq_from_sql
from psycopg import sql
from psycopg.conninfo import make_conninfo

from jtd_worker.embedded import embedded_postgres

# The data are thrown away, so a crash of the machine may lose them; a crash of the server does not.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
OLD_PGMQ = Path(__file__).with_name("pgmq_old.sql")


@contextmanager
def server() -> Iterator[str]:
    """Yield the DSN of a server on which databases may be made, and stop it if it was started here."""
    if url := os.environ.get("JTD_TEST_DATABASE_URL"):
        yield url
    elif folder := os.environ.get("JTD_TEST_PG_BIN"):
        with _cluster(Path(folder)) as dsn:
            yield dsn
    elif os.environ.get("JTD_TEST_DOCKER") == "1":
        with _container(os.environ["JTD_TEST_IMAGE"]) as dsn:
            yield dsn
    else:
        with _embedded() as dsn:
            yield dsn


@contextmanager
def _embedded() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="jtd-test-", dir=_memory()) as folder:
        data = Path(folder) / "data"
        with embedded_postgres(data) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
            for name, value in SETTINGS.items():
                conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
        with embedded_postgres(data) as dsn:  # some settings take effect at a start only
            yield dsn


@contextmanager
def _cluster(binaries: Path) -> Iterator[str]:
    # Postgres refuses to run as root
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="jtd-test-", dir=_memory()) as folder:
        data = Path(folder) / "data"
        if user:
            shutil.chown(folder, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), "-D", str(data), *arguments]
            # the server inherits the output, so a pipe would never end
            with (Path(folder) / "commands.log").open("ab") as log:
                subprocess.run(command, check=True, user=user, cwd=folder, stdout=log, stderr=log)

        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        run("pg_ctl", "start", "--wait", f"--log={folder}/log", f"--options=-k {folder} -h '' {options}")
        try:
            yield make_conninfo(host=folder, user="postgres", dbname="postgres")
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=fast")


def _memory() -> str | None:
    # A copy of the template is hundreds of files: 30 ms in memory, over 100 on a slow disk. TMPDIR overrules.
    shared = Path("/dev/shm")
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30
    return str(shared) if roomy and "TMPDIR" not in os.environ else None


@contextmanager
def _container(image: str) -> Iterator[str]:
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer(image, driver=None) as container:
        yield container.get_connection_url()


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """Makes and drops databases on one server; the names are never those of anybody else."""

    admin: str
    """DSN of a database that is there already, of a role that may create others."""
    _prefix: str = field(default_factory=lambda: f"jtd_test_{uuid4().hex[:8]}")

    @contextmanager
    def database(self, *, template: str | None = None) -> Iterator[str]:
        """Yield the DSN of a new database, empty or a copy of `template` (a DSN), and drop it after."""
        name = f"{self._prefix}_{uuid4().hex[:12]}"
        source = psycopg.conninfo.conninfo_to_dict(template)["dbname"] if template else "template0"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, str(source))
        try:
            dsn = make_conninfo(self.admin, dbname=name)
            if template:
                _adopt(dsn)
            yield dsn
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _adopt(dsn: str) -> None:
    """Let the copy of a database be one of its own, of which jobs may be sent."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "UPDATE jtd.instance SET database_oid = h.database_oid, known_since = now() FROM jtd.here() AS h"
        )


def install_pgmq(dsn: str) -> None:
    """Put PGMQ into an empty database, as a host would have done."""
    with psycopg.connect(dsn) as conn:
        if os.environ.get("JTD_TEST_PGMQ_OLD") == "1":
            conn.execute(OLD_PGMQ.read_bytes())
        else:
            install_pgmq_from_sql(conn=conn)


def lift_rate_limits(dsn: str) -> None:
    """Take the limits of a fresh database away, where more is sent than the seed lets pass in a minute."""
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE n_jtd_channels SET rate_limit_per_minute = NULL")


def psql(dsn: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Run files one after another as a person would: `psql -f`, stopping at the first error."""
    command = [str(_psql()), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", dsn]
    command += [f"--file={file}" for file in files]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _psql() -> Path:
    if folder := os.environ.get("JTD_TEST_PG_BIN"):
        return Path(folder) / "psql"
    import embedded_postgres

    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
