"""What follows in a series: the first time ahead, how many were missed, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, assert_never
from uuid import UUID

from jtd_worker.lease import elapsed
from jtd_worker.result import Json
from jtd_worker.rule import Rule, TooMany, Unreadable

MOST_SECONDS: Final = 1.0
"""For one call of `answers`; what is left is due again at the next tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series whose latest job is due, see jtd.recurrences_due_v1."""

    id: UUID
    """Of the latest job."""
    basis: str
    recurrence: str
    zone: str
    start: datetime
    last: datetime
    """When the latest job was to be, by the rule."""
    number: int
    """Of the latest job, from 1."""
    clock: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The series goes on at a time that is still ahead."""

    at: datetime
    number: int
    skipped: int | None
    """Times that passed without a job, as nobody looked; None when there are too many to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The series has ended, for a reason in words."""

    reason: str
    needs_person: bool


Following: TypeAlias = Next | Over


def answers(due: Sequence[Series]) -> list[dict[str, Json]]:
    """Return what jtd.recur_v1 takes, for as many as MOST_SECONDS allow, at least one; blocks so long."""
    end = elapsed() + MOST_SECONDS
    made: list[dict[str, Json]] = []
    for series in due:
        made.append({"id": str(series.id), "basis": series.basis, **_told(following(series))})
        if elapsed() > end:
            break
    return made


def following(series: Series) -> Following:
    """Return what comes after the latest job: the first time ahead of both it and the clock."""
    try:
        rule = Rule.read(series.recurrence, series.zone, series.start)
        try:
            return _walk(rule, series.last, series)
        except TooMany:  # a pause of months in a rule of minutes: what passed is not counted
            if rule.count is not None or series.clock <= series.last:
                raise
            found = _walk(rule, series.clock, series)
            match found:
                case Next():
                    return Next(at=found.at, number=found.number, skipped=None)
                case Over():
                    return found
                case _:
                    assert_never(found)
    except TooMany:
        return Over(reason="the rule is too dense", needs_person=True)
    except Unreadable as error:
        return Over(reason=f"the recurrence is unreadable: {error}", needs_person=True)


def _told(found: Following) -> dict[str, Json]:
    match found:
        case Next():
            return {"next_at": found.at.isoformat(), "occurrence": found.number, "skipped": found.skipped}
        case Over():
            return {"reason": found.reason, "needs_person": found.needs_person}
        case _:
            assert_never(found)


def _walk(rule: Rule, after: datetime, series: Series) -> Following:
    """Return the first time after `after` that is ahead of the clock, too; those between are counted."""
    number, skipped = series.number, 0
    for instant in rule.instants(after):
        number += 1
        if rule.count is not None and number > rule.count:
            return Over(reason=f"its COUNT of {rule.count} is reached", needs_person=False)
        if rule.is_left_out(instant):
            continue
        if instant > series.clock:
            return Next(at=instant, number=number, skipped=skipped)
        skipped += 1
    if rule.until is not None:
        return Over(reason="its UNTIL is reached", needs_person=False)
    return Over(reason="its rule names no further time", needs_person=series.number == 1)
