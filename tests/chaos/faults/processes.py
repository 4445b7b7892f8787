"""Daemons that are killed, frozen or stopped: at any moment, and at every step of a job's way."""

from random import Random

from tests.chaos.faults.fault import Fault, fault
from tests.chaos.producer import CHANNELS
from tests.chaos.traps import MOMENTS, STEPS, Blow, Trap
from tests.chaos.world import World
from tests.daemon import eventually

NEVER = "(never reached)"
PATIENCE = 15.0
"""Seconds in which every step is taken by somebody, while jobs come in."""


def one_working(world: World, rng: Random) -> str:
    """Choose a daemon that has started, as soon as there is one."""
    return rng.choice(eventually(world.daemons.working, 60))


@fault
def sigkill(world: World, rng: Random) -> None:
    world.daemons.strike(one_working(world, rng), Blow.KILL)


@fault
def sigkill_of_all_at_once(world: World, rng: Random) -> None:
    for name in world.daemons.names:
        world.daemons.strike(name, Blow.KILL)


@fault
def sigstop_past_the_lease(world: World, rng: Random) -> None:
    name = one_working(world, rng)
    if world.daemons.strike(name, Blow.FREEZE):
        world.rest(world.lease * rng.uniform(1.2, 2.2))
        world.daemons.thaw(name)


@fault
def sigterm_under_load(world: World, rng: Random) -> None:
    world.daemons.tell(one_working(world, rng))


def strike_at(point: str, blow: Blow, world: World, rng: Random) -> str | None:
    """Strike whichever daemon comes to this step next, and return its name; None if none came."""
    trap = world.traps.set(Trap(point=point, blow=blow))
    world.producer.insert([world.producer.make(channel, rng) for channel in CHANNELS for _ in range(2)])
    if trap.sprung.wait(PATIENCE):
        return trap.struck[0]
    world.traps.remove(trap)
    world.injected[f"{NEVER} {point}"] += 1
    return None


def kill_at(point: str) -> Fault:
    """SIGKILL at this step."""

    def inflict(world: World, rng: Random) -> None:
        strike_at(point, Blow.KILL, world, rng)

    return Fault(name=f"SIGKILL, {point}", inflict=inflict)


def freeze_at(point: str) -> Fault:
    """SIGSTOP at this step, and SIGCONT when others have taken over what it held."""

    def inflict(world: World, rng: Random) -> None:
        if name := strike_at(point, Blow.FREEZE, world, rng):
            world.rest(world.lease * rng.uniform(1.2, 2.2))
            world.daemons.thaw(name)

    return Fault(name=f"SIGSTOP, {point}", inflict=inflict)


KILLS = tuple(kill_at(step) for step in STEPS)
KILLS_ASIDE = tuple(kill_at(f"{aside} {moment}") for aside in ("tick", "renew") for moment in MOMENTS)
FREEZES = tuple(freeze_at(step) for step in STEPS if not step.endswith("during"))
