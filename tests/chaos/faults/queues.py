"""Queues, triggers and lists of the database that somebody meddles with."""

from contextlib import suppress
from random import Random

import psycopg

from tests.chaos.faults.fault import fault
from tests.chaos.faults.processes import one_working
from tests.chaos.producer import CHANNELS
from tests.chaos.world import World

BURST = 120
"""Jobs that fill a queue for a moment."""


@fault
def a_queue_purged(world: World, rng: Random) -> None:
    channel = rng.choice(list(CHANNELS))
    world.producer.insert([world.producer.make(channel, rng) for _ in range(BURST)])
    ((purged,),) = world.execute("SELECT pgmq.purge_queue('jtd_' || %s)", [channel])
    world.injected["(messages purged)"] += purged


@fault
def triggers_disabled_during_inserts(world: World, rng: Random) -> None:
    """As a restore of data does; what is written meanwhile is on no list until the next sweep, at a start."""
    with suppress(psycopg.OperationalError), world.database() as db:
        db.execute("SET lock_timeout = '5s'")
        db.execute("ALTER TABLE n_jtd DISABLE TRIGGER USER")
    try:
        for _ in range(rng.randint(1, 3)):
            jobs = [world.producer.make(rng.choice(list(CHANNELS)), rng) for _ in range(rng.randint(1, 8))]
            world.producer.insert(jobs)
    finally:
        world.execute("ALTER TABLE n_jtd ENABLE TRIGGER USER")
        world.daemons.tell(one_working(world, rng))


@fault
def notifications_lost(world: World, _: Random) -> None:
    world.execute("DELETE FROM jtd.sleepers")
