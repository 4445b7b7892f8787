"""How fast the worker is beside the bound that the database sets: `python -m tests.bench.quick [--json]`.

The bound is the same claim and settle functions called in a loop inside the database, with nothing
rendered and nothing sent. Everything runs side by side on one server in its default, durable settings, in
turn, several rounds; medians and ratios are what to quote.
"""

import argparse
import asyncio
import json
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psycopg
from pydantic import BaseModel, SecretStr

from jtd_worker import logs
from jtd_worker.adapter import Capabilities, UnknownRule
from jtd_worker.embedded import embedded_postgres
from jtd_worker.message import Message
from jtd_worker.migrate import migrate
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import SendResult, Sent
from jtd_worker.settings import Configuration, Settings
from jtd_worker.worker import Worker
from tests.daemon import eventually, running
from tests.jobs import insert_jtd, insert_many, one, places
from tests.postgres import lift_rate_limits

JOBS = 10_000
ROUNDS = 3
INSERTS = 150

BOUND = """
DO $bound$
DECLARE
    worker CONSTANT uuid := gen_random_uuid();
    results jsonb;
BEGIN
    PERFORM jtd.register_v1(worker, 'bound', ARRAY['email'], 300);
    COMMIT;
    LOOP
        SELECT jsonb_agg(jsonb_build_object(
            'id', c.id, 'attempt', c.attempt, 'outcome', 'sent', 'provider', 'noop', 'response', '{}'::jsonb))
        INTO results FROM jtd.claim_v1(worker, 'jtd_email', 500) AS c;
        EXIT WHEN results IS NULL;
        COMMIT;
        PERFORM jtd.settle_v1(worker, results);
        COMMIT;
    END LOOP;
    PERFORM jtd.leave_v1(worker);
END
$bound$"""


def fill(db: psycopg.Connection) -> None:
    """Put JOBS jobs of 20 tenants straight into the queue, and nothing else."""
    db.execute("TRUNCATE n_jtd, n_jtd_history, jtd.inflight, jtd.ready, jtd.windows, pgmq.q_jtd_email")
    db.execute("UPDATE jtd.queues SET closes_at = 1000000000")  # until the next tick
    for number in range(JOBS // 1000):
        insert_many(db, 1000, tenant_id=UUID(int=number % 20 + 1))
    db.execute("VACUUM ANALYZE n_jtd")
    db.execute("VACUUM ANALYZE n_jtd_history")
    db.execute("CHECKPOINT")


def bound(dsn: str, db: psycopg.Connection, folder: Path) -> float:
    """Return jobs a second of claim and settle in a loop inside the database."""
    fill(db)
    begun = time.perf_counter()
    db.execute(BOUND)
    return JOBS / (time.perf_counter() - begun)


def workers(number: int, provider: str) -> Callable[[str, psycopg.Connection, Path], float]:
    """Return a measurement of `number` processes that render every job."""

    def measure(dsn: str, db: psycopg.Connection, folder: Path) -> float:
        fill(db)
        db.execute("SELECT jtd.pause('email')")
        with ExitStack() as stack:
            daemons = [stack.enter_context(running(dsn, provider, folder)) for _ in range(number)]
            begun = one(db, "SELECT clock_timestamp()")
            db.execute("SELECT jtd.resume('email')")
            eventually(lambda: one(db, "SELECT NOT EXISTS (SELECT FROM pgmq.q_jtd_email)"), 60)
            for daemon in daemons:
                daemon.signal(signal.SIGTERM)
                daemon.wait()
        assert places(db) == {"sent": JOBS}, places(db)
        seconds = one(db, "SELECT extract(epoch FROM max(status_changed_at) - %s) FROM n_jtd", begun)
        return JOBS / float(seconds)

    return measure


class NoSettings(BaseModel):
    """Nothing to set."""


class Clock:
    """An adapter that notes when it was called."""

    def __init__(self, rule: UnknownRule, *, transactional: bool) -> None:
        self.capabilities = Capabilities(unknown_rule=rule, transactional=transactional)
        self.called: dict[UUID, float] = {}

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        self.called.update((message.jtd_id, time.perf_counter()) for message in batch)
        return [Sent()] * len(batch)

    async def aclose(self) -> None:
        pass


def latencies(dsn: str, db: psycopg.Connection, *, transactional: bool) -> list[float]:
    """Return the milliseconds from before an INSERT to the adapter's call, one at a time, the worker idle."""
    rule = UnknownRule.IDEMPOTENT_RETRY if transactional else UnknownRule.RESEND
    clock = Clock(rule, transactional=transactional)
    name = ProviderName(channel="email", provider="clock")
    module: Any = SimpleNamespace(build=lambda settings, channel: clock, Settings=NoSettings)
    settings = Settings(database_url=SecretStr(dsn), providers=(name,))
    worker = Worker(
        Configuration(
            settings=settings,
            providers={"email": (Provider(name=name, module=module, settings=NoSettings()),)},
        )
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(worker.run(),))
    thread.start()
    try:
        return list(_waits(db, clock))
    finally:
        loop.call_soon_threadsafe(worker.stop)
        thread.join()
        loop.close()


def _waits(db: psycopg.Connection, clock: Clock) -> Iterator[float]:
    eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)
    for _ in range(INSERTS):
        jtd, begun = uuid4(), time.perf_counter()
        insert_jtd(db, id=jtd)
        eventually(lambda jtd=jtd: jtd in clock.called)
        yield (clock.called[jtd] - begun) * 1000
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def measure() -> dict[str, Any]:
    """Run everything in turn on a server of its own."""
    rates: dict[str, list[float]] = {"bound": [], "one process": [], "two processes": []}
    runs = dict(zip(rates, (bound, workers(1, "email:noop"), workers(2, "email:noop")), strict=True))
    with TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "data") as dsn:
        migrate(dsn)
        lift_rate_limits(dsn)  # it is the worker that is measured
        with psycopg.connect(dsn, autocommit=True) as db:
            for _ in range(ROUNDS):
                for name, run in runs.items():
                    rates[name].append(run(dsn, db, Path(folder)))
            fill(db)
            db.execute("TRUNCATE n_jtd, n_jtd_history, jtd.windows, pgmq.q_jtd_email")
            waits = {
                "insert to adapter": latencies(dsn, db, transactional=True),
                "insert to adapter, with hand-off": latencies(dsn, db, transactional=False),
            }
    ratios = {
        name: spread([rate / base for rate, base in zip(rates[name], rates["bound"], strict=True)])
        for name in ("one process", "two processes")
    }
    return {
        "jobs_per_second": {name: spread(values) for name, values in rates.items()},
        "ratio_to_bound": ratios,
        "milliseconds": {
            name: {"p50": statistics.median(values), "p99": statistics.quantiles(values, n=100)[98]}
            for name, values in waits.items()
        },
    }


def show(figures: dict[str, Any]) -> None:
    """Print a line for each figure."""
    for name, rate in figures["jobs_per_second"].items():
        ratio = figures["ratio_to_bound"].get(name)
        beside = f"   {ratio['median']:.2f} x the bound" if ratio else ""
        print(f"{name:<34}{rate['median']:>8.0f} jobs/s  ({rate['min']:.0f} to {rate['max']:.0f}){beside}")
    for name, wait in figures["milliseconds"].items():
        print(f"{name:<34}{wait['p50']:>8.1f} ms p50   {wait['p99']:.1f} ms p99")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    logs.configure("json")
    figures = measure()
    print(json.dumps(figures, indent=2)) if arguments.json else show(figures)
