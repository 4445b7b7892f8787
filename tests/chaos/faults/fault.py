"""A fault: its name in the report, and what it does."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tests.chaos.world import World

Inflict: TypeAlias = "Callable[[World, Random], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    inflict: Inflict
    """Breaks something, lets it last, mends it; every choice is made by the die that it is given."""


def fault(inflict: Inflict) -> Fault:
    """Make a fault of a function, under its name."""
    return Fault(name=inflict.__name__.replace("_", " "), inflict=inflict)
