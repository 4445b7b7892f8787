"""One thing that the self-check found."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    level: Level
    """`failure`: a worker cannot run, or not as it should. `warning`: it can, but look at this."""
    subject: str
    fact: str
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """The fact, and after it the remedy if there is one."""
        return f"{self.fact}; {self.remedy}" if self.remedy else self.fact


def ok(subject: str, fact: str) -> Finding:
    """Return a finding about which nothing need be done."""
    return Finding(level="ok", subject=subject, fact=fact)


def warning(subject: str, fact: str, remedy: str) -> Finding:
    """Return a finding with which a worker runs all the same."""
    return Finding(level="warning", subject=subject, fact=fact, remedy=remedy)


def failure(subject: str, fact: str, remedy: str = "") -> Finding:
    """Return a finding with which no worker runs as it should; the fact may tell the remedy itself."""
    return Finding(level="failure", subject=subject, fact=fact, remedy=remedy)
