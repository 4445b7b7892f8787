"""Providers that are down, hang, refuse, ask for a pause, or do any of it by the throw of a die."""

from contextlib import ExitStack
from random import Random

from tests.chaos.faults.fault import Fault, fault
from tests.chaos.ledger import Treatment
from tests.chaos.sinks import treating
from tests.chaos.world import World

ANYTHING = (*Treatment, *3 * (Treatment.TAKE, Treatment.SLOW))
"""As often well as not."""
LASTING = (0.5, 2.5)
"""Seconds that a provider is out of order, at the least and at the most."""


def treats(name: str, *treatments: Treatment) -> Fault:
    """A provider that treats every message in one of these ways for a few seconds."""

    def inflict(world: World, rng: Random) -> None:
        channel = rng.choice(list(world.sinks))
        with treating(world.network, world.sinks[channel], Random(rng.random()), *treatments):
            world.rest(rng.uniform(*LASTING))

    return Fault(name=f"a provider {name}", inflict=inflict)


@fault
def a_provider_down(world: World, rng: Random) -> None:
    sink = world.sinks[rng.choice(list(world.sinks))]
    world.network.run(sink.go_down())
    world.rest(rng.uniform(*LASTING))
    world.network.run(sink.come_up())


@fault
def a_provider_restarted(world: World, rng: Random) -> None:
    world.network.call(world.sinks[rng.choice(list(world.sinks))].hang_up)


@fault
def all_providers_slow_then_all_down(world: World, rng: Random) -> None:
    """Many sends are in flight when it happens."""
    with ExitStack() as stack:
        for sink in world.sinks.values():
            stack.enter_context(treating(world.network, sink, rng, Treatment.SLOW))
        world.rest(0.5)
        for sink in world.sinks.values():
            world.network.run(sink.go_down())
        world.rest(rng.uniform(*LASTING))
        for sink in world.sinks.values():
            world.network.run(sink.come_up())


HANGS = treats("hangs", Treatment.HANG_BEFORE, Treatment.HANG_AFTER)
THROTTLES = treats("asks for a pause", Treatment.THROTTLE)
REFUSES = treats("refuses for now", Treatment.LATER, Treatment.GATEWAY_BEFORE)
DROPS = treats("drops connections", Treatment.DROP_BEFORE, Treatment.DROP_AFTER, Treatment.TAKE)
UNRULY = treats("does anything", *ANYTHING)
