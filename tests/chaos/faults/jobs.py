"""Single jobs that are struck: one that kills every daemon that touches it, one that is overtaken."""

from random import Random
from uuid import UUID

from tests.chaos.faults.fault import Fault
from tests.chaos.faults.processes import NEVER, PATIENCE
from tests.chaos.traps import Blow, Trap
from tests.chaos.world import Poison, World
from tests.daemon import eventually

LONGEST = 60.0
"""Seconds in which such a job comes to its end, unless its provider is left alone just then."""
FINAL = "SELECT 1 FROM jtd.whereabouts(ARRAY[%s::uuid]) AS w WHERE w.place = 'final'"


def poison(channel: str, point: str) -> Fault:
    """A job that kills its daemon each time it comes to this point."""

    def inflict(world: World, rng: Random) -> None:
        job = {**world.producer.make(channel, rng), "max_retries": 1}
        jtd = UUID(job["id"])
        trap = world.traps.set(Trap(point=point, blow=Blow.KILL, jtd=jtd, is_lasting=True))
        world.poisons.append(Poison(jtd=jtd, kills=trap.struck))
        try:
            world.producer.insert([job])
            eventually(lambda: world.execute(FINAL, [jtd]), LONGEST)
        except AssertionError:  # the last word is with the oracle; from now on it is a job like any other
            world.injected[f"(let live) {channel} that kills its worker"] += 1
        finally:
            world.traps.remove(trap)

    return Fault(name=f"{channel} that kills its worker, {point}", inflict=inflict)


def overtaken(channel: str, point: str) -> Fault:
    """A job whose daemon freezes while it is sent, and settles while another daemon is sending it again."""

    def inflict(world: World, rng: Random) -> None:
        job = world.producer.make(channel, rng)
        first, second = (Trap(point=point, blow=Blow.FREEZE, jtd=UUID(job["id"])) for _ in range(2))
        try:
            for trap in (first, second):
                world.traps.set(trap)
                world.producer.insert([job])
                if not trap.sprung.wait(PATIENCE + world.lease):
                    world.injected[f"{NEVER} {channel} overtaken"] += 1
                    return
            world.daemons.thaw(first.struck[0])
            world.rest(world.lease / 2)
        finally:
            for trap in (first, second):
                world.traps.remove(trap)
                for name in trap.struck:
                    world.daemons.thaw(name)

    return Fault(name=f"{channel} overtaken, {point}", inflict=inflict)


OVERTAKEN = (
    overtaken("whatsapp", "webhook accepted"),
    overtaken("email", "smtp accepted"),
    overtaken("push", "webhook received"),
)
POISONS = (
    poison("email", "smtp received"),
    poison("push", "webhook accepted"),
    poison("sms", "webhook received"),
    poison("whatsapp", "hand_off before"),
)
