"""A recurrence as RFC 5545 writes it, read by dateutil: its times by the wall clock of a zone."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from heapq import merge
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

MOST_STEPS: Final = 100_000
"""Times of a rule that are looked at for one answer; some tenths of a second."""
LAST_YEAR: Final = 9_000
CYCLE: Final = 400
"""Years after which dates fall on the same days of the week."""
AHEAD: Final = 100
"""Years, at least, in which a rule must come to something; the longest wait of a real one is 40."""
LONGEST_GAP: Final = timedelta(hours=25)
"""No clock was ever put forward by more: Samoa left out a day in 2011."""
STEPS: Final = {"WEEKLY": 7 * 86_400, "DAILY": 86_400, "HOURLY": 3_600, "MINUTELY": 60}
"""Seconds between two periods of a rule, where they are of one length."""


class Unreadable(Exception):
    """The recurrence has a mistake that SQL did not see; the message says what, and quotes nothing."""


class TooMany(Exception):
    """More than MOST_STEPS times would have to be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A recurrence as read; the times of the rule itself are `naive`, by the wall clock of `zone`."""

    zone: tzinfo
    start: datetime
    parts: dict[str, str]
    count: int | None
    until: datetime | None
    """The last instant, in UTC."""
    extra: list[datetime] = field(default_factory=list)
    """RDATE, in UTC."""
    left_out: set[datetime] = field(default_factory=set)
    """EXDATE, in UTC."""
    days_left_out: set[date] = field(default_factory=set)

    @classmethod
    def read(cls, recurrence: str, zone_name: str, start: datetime) -> "Rule":
        """Read what jtd.recurrence_mistake let pass, counted from `start`; raises Unreadable."""
        try:
            zone = _zone(zone_name)
            parts, extra, left_out, days = _lines(recurrence, zone)
            until = parts.pop("UNTIL", None)
            count = parts.pop("COUNT", None)
            return cls(
                zone=zone,
                start=start.astimezone(zone).replace(tzinfo=None, microsecond=0),
                parts=parts,
                count=None if count is None else int(count),
                until=None if until is None else _until(until, zone),
                extra=sorted(extra),
                left_out=left_out,
                days_left_out=days,
            )
        except (ValueError, OverflowError) as error:
            raise Unreadable("a number, or a date, is none") from error

    def dates(self, after: datetime) -> Iterator[datetime]:
        """Return the naive times of the rule from `after` on, and some before it, ascending.

        dateutil looks for a time until the year 9999, however long that takes. The calendar repeats after
        400 years, so the rule is read that near to the end, and its times are brought back. Raises
        Unreadable.
        """
        text = ";".join(f"{name}={value}" for name, value in self.parts.items())
        try:
            begin = _jump(self.parts.get("FREQ"), int(self.parts.get("INTERVAL", "1")), self.start, after)
            away = (9999 - AHEAD - begin.year) // CYCLE * CYCLE
            return _back(rrulestr(text, dtstart=begin.replace(year=begin.year + away)), away)
        except (ArithmeticError, ValueError) as error:
            raise Unreadable("its rule says nothing") from error

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Yield the times of the rule and RDATE after an instant, in UTC, ascending, each once."""
        last = after
        for instant in merge(self._ruled(after), self.extra):
            if instant > last:
                last = instant
                yield instant

    def _ruled(self, after: datetime) -> Iterator[datetime]:
        """Yield the times of the rule near and after an instant.

        A time that the clock skips is read with the offset before the gap, and so is later by the gap; one
        that comes twice is the first (RFC 5545 sections 3.3.5 and 3.8.5.3). So a skipped one may come after
        others that follow it.
        """
        behind: deque[datetime] = deque()
        near = after.astimezone(self.zone).replace(tzinfo=None) - LONGEST_GAP
        for steps, naive in enumerate(self.dates(near)):
            if steps >= MOST_STEPS:
                raise TooMany
            instant = _instant(naive, self.zone)
            if self.until is not None and instant > self.until:
                break
            if instant.astimezone(self.zone).replace(tzinfo=None) != naive:
                behind.append(instant)
                continue
            while behind and behind[0] <= instant:
                yield behind.popleft()
            yield instant
        yield from behind

    def is_left_out(self, instant: datetime) -> bool:
        """Return whether EXDATE names it, or its day."""
        return instant in self.left_out or instant.astimezone(self.zone).date() in self.days_left_out


def _jump(freq: str | None, interval: int, start: datetime, after: datetime) -> datetime:
    """Return a later start from which the rule says the same, not after `after`; `start` if there is none.

    It has the same day and time, from which dateutil takes what the rule leaves out.
    """
    if freq in STEPS:
        step = timedelta(seconds=STEPS[freq] * interval)
        return max(start, start + (after - start) // step * step)
    if freq not in {"YEARLY", "MONTHLY"}:
        raise ValueError("there is no such FREQ")
    months = interval * (12 if freq == "YEARLY" else 1)
    passed = 12 * (after.year - start.year) + after.month - start.month
    for periods in range(passed // months - 1, 0, -1):
        month = 12 * start.year + start.month - 1 + periods * months
        with suppress(ValueError):  # a month without that day
            return start.replace(year=month // 12, month=month % 12 + 1)
    return start


def _back(shifted: Iterable[datetime], years: int) -> Iterator[datetime]:
    try:
        for time in shifted:
            yield time.replace(year=time.year - years)
    except (ValueError, OverflowError):  # a day after the year 9999, or a step that meets none of its hours
        return
    except IndexError as error:
        raise Unreadable("it counts days that there are not") from error


def _lines(text: str, zone: tzinfo) -> tuple[dict[str, str], set[datetime], set[datetime], set[date]]:
    parts: dict[str, str] = {}
    extra: set[datetime] = set()
    left_out: set[datetime] = set()
    days: set[date] = set()
    for line in text.split():
        head, _, values = line.rpartition(":")
        name, _, parameter = head.partition(";")
        if name.upper() in {"", "RRULE"}:
            parts = dict(part.split("=", 1) for part in values.upper().split(";"))
            continue
        key, _, value = parameter.partition("=")
        own = _zone(value) if key.upper() == "TZID" else zone
        for item in values.upper().split(","):
            if re.fullmatch("[0-9]{8}", item):
                days.add(datetime.strptime(item, "%Y%m%d").date())
            else:
                (extra if name.upper() == "RDATE" else left_out).add(_moment(item, own))
    return parts, extra, left_out, days


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, no name at all, or a folder of zones
        raise Unreadable("there is no such time zone") from error


def _moment(text: str, zone: tzinfo) -> datetime:
    naive = datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S")
    if naive.year > LAST_YEAR:
        raise ValueError("too late for a zone to tell")
    return _instant(naive, UTC if text.endswith("Z") else zone)


def _until(text: str, zone: tzinfo) -> datetime:
    """Return the last instant; a day is included whole."""
    if text[:4] > str(LAST_YEAR):  # for ever, as some write it
        return datetime.max.replace(tzinfo=UTC)
    return _moment(text if "T" in text else f"{text}T235959", zone)


def _instant(naive: datetime, zone: tzinfo) -> datetime:
    return naive.replace(tzinfo=zone).astimezone(UTC)
