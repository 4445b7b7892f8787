"""The short form of chaos: kills at every step, and a handful of each other kind of fault."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from jtd_worker.migrate import migrate
from tests.chaos.faults.processes import NEVER
from tests.chaos.run import run
from tests.cluster import Cluster
from tests.postgres import lift_rate_limits


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own, since this one is made to crash."""
    with TemporaryDirectory(prefix="jtd-chaos-") as folder, Cluster(Path(folder)) as cluster:
        yield cluster


@pytest.mark.parametrize(("plan", "seed"), [("steps", 1), ("silences", 2), ("outages", 3), ("providers", 4)])
def test_whatever_fails_nothing_is_lost_and_nothing_is_sent_twice_in_silence(
    plan: str, seed: int, cluster: Cluster, tmp_path: Path
) -> None:
    dsn = cluster.create(plan)
    migrate(dsn)
    lift_rate_limits(dsn)  # thousands in a minute
    report = run(plan, seed, tmp_path, cluster, dsn)
    assert not report.failures, str(report)
    if plan == "steps":
        assert not [name for name in report.injected if name.startswith(NEVER)], str(report)
