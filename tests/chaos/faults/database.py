"""A Postgres that crashes, drops connections or takes no changes, and a way to it that breaks.

What strikes all daemons alike silences none: nobody is left to judge them dead, and they come back first.
"""

from contextlib import ExitStack, suppress
from random import Random

import psycopg

from tests.chaos.faults.fault import Fault, fault
from tests.chaos.faults.processes import strike_at
from tests.chaos.ledger import Treatment
from tests.chaos.sinks import treating
from tests.chaos.traps import STATEMENTS, Blow
from tests.chaos.world import World


@fault
def postgres_immediate_stop_and_start(world: World, rng: Random) -> None:
    world.cluster.stop("immediate")
    world.rest(rng.uniform(0, 0.5))
    world.cluster.start()


@fault
def postgres_down_past_the_lease(world: World, rng: Random) -> None:
    world.cluster.stop("immediate")
    world.rest(world.lease * rng.uniform(1, 2))
    world.cluster.start()


@fault
def postgres_down_with_all_slots_sending(world: World, rng: Random) -> None:
    """Every send ends well while the database is away, or just after; none of that may be forgotten."""
    with ExitStack() as stack:
        for sink in world.sinks.values():
            stack.enter_context(treating(world.network, sink, rng, Treatment.LATE))
        world.rest(1)
        world.cluster.stop("immediate")
        world.rest(world.lease * rng.uniform(0.5, 1.5))
        world.cluster.start()


@fault
def pg_terminate_backend_of_some(world: World, rng: Random) -> None:
    share = rng.uniform(0.3, 1)
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < %s",
        [share],
    )


@fault
def pg_terminate_backend_of_the_listeners(world: World, _: Random) -> None:
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jtd-worker lease'"
    )


@fault
def connections_cut(world: World, rng: Random) -> None:
    name = rng.choice(world.daemons.names)
    world.daemons.silenced += 1
    world.proxies[name].cut()
    world.rest(world.lease * rng.uniform(0, 1.5))
    world.proxies[name].mend()


@fault
def connections_stalled(world: World, rng: Random) -> None:
    name = rng.choice(world.daemons.names)
    world.daemons.silenced += 1
    world.proxies[name].stall()
    world.rest(world.lease * rng.uniform(0.2, 1.5))
    if rng.random() < 0.5:
        world.proxies[name].cut()
    world.proxies[name].mend()


@fault
def database_read_only(world: World, rng: Random) -> None:
    def turn(on: str) -> None:
        for statement in (
            f"ALTER SYSTEM SET default_transaction_read_only = {on}",
            "SELECT pg_reload_conf()",
        ):
            world.execute(statement)
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    turn("on")
    world.rest(rng.uniform(0.5, 1.5) * world.lease)
    turn("off")


def cut_at(point: str) -> Fault:
    """A statement or its answer that is lost on the way, between two sides that live on."""

    def inflict(world: World, rng: Random) -> None:
        strike_at(point, Blow.CUT, world, rng)

    return Fault(name=f"connection lost, {point}", inflict=inflict)


@fault
def a_row_locked_by_a_user(world: World, rng: Random) -> None:
    """Hold some jobs that are on their way for longer than any lock timeout of the worker."""
    with suppress(psycopg.OperationalError), world.database(autocommit=False) as db:
        db.execute(
            "SELECT FROM n_jtd WHERE status_code IN ('queued', 'pending', 'executing') LIMIT %s FOR UPDATE",
            [rng.randint(1, 5)],
        )
        world.rest(rng.uniform(1.5, 4))


@fault
def a_long_snapshot(world: World, rng: Random) -> None:
    with suppress(psycopg.OperationalError), world.database(autocommit=False) as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        db.execute("SELECT count(*) FROM n_jtd")
        world.rest(rng.uniform(3, 8))


LOST_ANSWERS = tuple(
    cut_at(f"{statement} {moment}") for statement in STATEMENTS for moment in ("before", "during", "after")
)
