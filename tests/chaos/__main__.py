"""`python -m tests.chaos`: every fault for minutes, on thousands of jobs; 0 only if every promise held."""

import argparse
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, mkdtemp

from jtd_worker.migrate import migrate
from tests.chaos.plan import PLANS
from tests.chaos.run import run
from tests.cluster import Cluster
from tests.postgres import lift_rate_limits

LONGEST = 15
"""Minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--plan", choices=PLANS, default="all", help="which faults (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of every choice; by default drawn, and printed")
    parser.add_argument("--jobs", type=int, help="how many come in; by default the plan's own number")
    parser.add_argument("--minutes", type=float, help=f"how long they come in, at most {LONGEST}")
    arguments = parser.parse_args()
    plan = PLANS[arguments.plan]
    seed = Random().randrange(1_000_000) if arguments.seed is None else arguments.seed
    repeat = f"python -m tests.chaos --plan {arguments.plan} --seed {seed}"
    if arguments.jobs is not None:
        plan = replace(plan, jobs=arguments.jobs)
        repeat += f" --jobs {arguments.jobs}"
    if arguments.minutes is not None:
        if not 0 < arguments.minutes <= LONGEST:
            parser.error(f"--minutes must be at most {LONGEST}")
        plan = replace(plan, seconds=arguments.minutes * 60)
        repeat += f" --minutes {arguments.minutes:g}"
    print(f"{repeat} ...", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process of the run is left behind
    logs = Path(mkdtemp(prefix="jtd-chaos-logs-"))
    with TemporaryDirectory(prefix="jtd-chaos-") as folder, Cluster(Path(folder)) as cluster:
        dsn = cluster.create("jtd")
        migrate(dsn)
        lift_rate_limits(dsn)  # thousands in a minute
        report = run(arguments.plan, seed, logs, cluster, dsn, plan=plan, repeat=repeat)
    print(report)
    if report.failures:
        print(f"Logs of the daemons: {logs}")
        sys.exit(1)
    shutil.rmtree(logs)


if __name__ == "__main__":
    main()
