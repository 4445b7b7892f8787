"""One run: sets the world up, lets the faults loose on it, mends everything, waits, and judges."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import cast

from psycopg.conninfo import conninfo_to_dict

import jtd_worker
from tests.chaos.daemons import Daemon, Daemons
from tests.chaos.network import Network
from tests.chaos.oracle import RULES, gather, judge
from tests.chaos.plan import PLANS, Lane, Plan
from tests.chaos.previous import Previous, previous
from tests.chaos.producer import Producer
from tests.chaos.proxy import Proxy
from tests.chaos.report import Report
from tests.chaos.sinks import USUAL, HookSink, Sink, SmtpSink, mood
from tests.chaos.traps import Traps
from tests.chaos.world import World
from tests.cluster import Cluster

CODE = Path(jtd_worker.__file__).parent.parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DRAIN_SECONDS = 1
SETTLING = 120.0
"""Seconds in which everything comes to rest once the faults are over."""


def run(
    name: str,
    seed: int,
    folder: Path,
    cluster: Cluster,
    dsn: str,
    *,
    plan: Plan | None = None,
    repeat: str | None = None,
) -> Report:
    """Carry out a plan of PLANS, or `plan` in its place, on a migrated database of `cluster`.

    `folder` takes the daemons' logs.
    """
    plan, begun = plan or PLANS[name], time.monotonic()
    failures: list[str] = []
    older = previous(CODE, folder) if plan.beside_previous else None
    with _world(plan, seed, folder, cluster, dsn, older) as world:
        _inflict(plan, seed, world, failures)
        world.producer.finish(60)
        rested = _rest(world)
        world.daemons.end(30)
        with world.database() as db:
            evidence = gather(
                db,
                world.producer.jobs,
                world.producer.ghosts,
                {channel: sink.ledger for channel, sink in world.sinks.items()},
                {poison.jtd: len(poison.kills) for poison in world.poisons},
                plan.slots * world.daemons.silenced,
            )
    failures += [*judge(evidence), *world.daemons.defects]
    return Report(
        repeat=repeat or f"python -m tests.chaos --plan {name} --seed {seed}",
        seconds=time.monotonic() - begun,
        injected=world.injected,
        starts=world.daemons.starts,
        silenced=world.daemons.silenced,
        evidence=evidence,
        notes=[
            *([f"Versions: {_told(older)}"] if plan.beside_previous else []),
            f"At rest {rested:.1f} s after the last fault.",
        ],
        failures=failures,
    )


def _told(older: Previous | None) -> str:
    return f"this one beside {older.tag}" if older else "this one alone, for there is no tag yet"


@contextmanager
def _world(
    plan: Plan, seed: int, folder: Path, cluster: Cluster, dsn: str, older: Previous | None
) -> Iterator[World]:
    database = str(conninfo_to_dict(dsn)["dbname"])
    names = [f"worker-{letter}" for letter in "abcdef"[: plan.daemons]]
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        daemons = Daemons(Random(f"{seed}:restarts"))
        traps = Traps(daemons.strike)
        usual = mood(Random(f"{seed}:providers"), *USUAL)
        smtp = SmtpSink(traps, usual)
        hooks = {channel: HookSink(traps, usual) for channel in RULES if channel != "email"}
        for server in (smtp, *hooks.values()):
            network.run(server.__aenter__())
            stack.callback(lambda server=server: network.run(server.__aexit__()))
        proxies = {}
        for name in names:
            (folder / name).mkdir()
            proxies[name] = Proxy(name, folder / name, cluster.socket, database, traps)
            proxies[name].open(network)
            stack.callback(proxies[name].close)
            settings = _settings(plan, proxies[name].dsn, name, smtp, hooks)
            code = older.code if older and name == names[-1] else CODE
            daemons.add(Daemon(name=name, settings=settings, code=code, folder=folder / name))
        producer = Producer(dsn, Random(f"{seed}:jobs"), plan.jobs, plan.seconds)
        world = World(
            cluster=cluster,
            dsn=dsn,
            network=network,
            proxies=proxies,
            daemons=daemons,
            traps=traps,
            sinks=cast("Mapping[str, Sink]", {"email": smtp, **hooks}),
            producer=producer,
            lease=plan.lease,
        )
        world.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
        stack.enter_context(daemons)
        stack.enter_context(producer)
        yield world


def _settings(
    plan: Plan, dsn: str, name: str, smtp: SmtpSink, hooks: Mapping[str, HookSink]
) -> dict[str, str]:
    settings = {
        "database_url": dsn,
        "providers": ",".join(["email:smtp", "inapp:db", *(f"{channel}:webhook" for channel in hooks)]),
        "log_format": "json",
        "lease_seconds": str(plan.lease),
        "slots": str(plan.slots),
        "drain_seconds": str(DRAIN_SECONDS),
        "email_smtp_host": "127.0.0.1",
        "email_smtp_port": str(smtp.port),
        "email_smtp_tls": "none",
        "email_smtp_from": f"Acme <{name}@acme.example>",
    }
    for channel, hook in hooks.items():
        settings |= {
            f"{channel}_webhook_url": hook.url_for(name),
            f"{channel}_webhook_secret": SECRET,
            f"{channel}_webhook_unknown": RULES[channel],
        }
    return settings


def _inflict(plan: Plan, seed: int, world: World, failures: list[str]) -> None:
    """Run the lanes side by side to their end."""
    end = time.monotonic() + plan.seconds
    threads = [
        threading.Thread(
            target=_follow, args=(plan, lane, Random(f"{seed}:{number}"), world, end, failures), daemon=True
        )
        for number, lane in enumerate(plan.lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _follow(plan: Plan, lane: Lane, rng: Random, world: World, end: float, failures: list[str]) -> None:
    while True:
        for fault in rng.sample(lane.faults, len(lane.faults)):
            if plan.rounds and time.monotonic() >= end:
                return
            world.rest(rng.uniform(*lane.pause))
            try:
                fault.inflict(world, rng)
            except Exception as error:  # noqa: BLE001 - a fault that fails must not end the run in silence
                failures.append(f"the fault '{fault.name}' itself failed: {type(error).__name__}: {error}")
            world.injected[fault.name] += 1
        if not plan.rounds:
            return


def _rest(world: World) -> float:
    """Wait until nothing is on its way any more, at most SETTLING; return how long it took."""
    begun = time.monotonic()
    while time.monotonic() < begun + SETTLING:
        ((left,),) = world.execute(
            "SELECT count(*) FROM jtd.whereabouts() AS w WHERE w.place NOT IN ('final', 'sent')"
        )
        if left == 0:
            break
        world.rest(0.3)
    return time.monotonic() - begun
