"""The next time of a rule: in wall-clock time, across DST, with its ends and exceptions, and bounded work."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from jtd_worker.recurrence import Next, Over, Series, following

BERLIN = "Europe/Berlin"
HOURS = ",".join(map(str, range(24)))
MINUTES = ",".join(map(str, range(60)))


def begin(recurrence: str, start: str, zone: str = BERLIN, **changed: Any) -> Series:
    """Return a series that has its first job at a wall-clock time of its zone, which is now."""
    first = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    series = Series(
        id=UUID(int=1),
        basis="",
        recurrence=recurrence,
        zone=zone,
        start=first,
        last=first,
        number=1,
        clock=first,
    )
    return replace(series, **changed)


def occurrences(series: Series) -> Iterator[datetime]:
    """Yield the times of all jobs in UTC, each made when the one before is due."""
    yield series.last
    while isinstance(found := following(series), Next):
        assert found.skipped == 0
        yield found.at
        series = replace(series, last=found.at, clock=found.at, number=found.number)


def utc(series: Series, count: int = 6) -> list[str]:
    return [f"{at:%m-%d %H:%M}" for at in islice(occurrences(series), count)]


def local(series: Series, count: int = 6) -> list[str]:
    return [
        f"{at.astimezone(ZoneInfo(series.zone)):%Y-%m-%d %H:%M}" for at in islice(occurrences(series), count)
    ]


@pytest.mark.parametrize(
    ("zone", "recurrence", "start", "expected"),
    [
        (BERLIN, "FREQ=DAILY", "2026-03-28 09:00", ["03-28 08:00", "03-29 07:00", "03-30 07:00"]),
        (BERLIN, "FREQ=DAILY", "2026-03-28 02:30",
         ["03-28 01:30", "03-29 01:30", "03-30 00:30", "03-31 00:30"]),
        (BERLIN, "FREQ=DAILY", "2026-10-24 02:30", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        (BERLIN, "FREQ=HOURLY", "2026-03-29 01:00", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        (BERLIN, "FREQ=HOURLY", "2026-10-25 01:00", ["10-24 23:00", "10-25 00:00", "10-25 02:00"]),
        (BERLIN, "FREQ=MINUTELY;INTERVAL=20", "2026-03-29 01:40",
         ["03-29 00:40", "03-29 01:00", "03-29 01:20", "03-29 01:40", "03-29 02:00"]),
        (BERLIN, "FREQ=MINUTELY;INTERVAL=25", "2026-03-29 01:40",
         ["03-29 00:40", "03-29 01:05", "03-29 01:20", "03-29 01:30", "03-29 01:45", "03-29 01:55"]),
        ("America/New_York", "FREQ=DAILY", "2026-03-07 02:30", ["03-07 07:30", "03-08 07:30", "03-09 06:30"]),
        ("America/New_York", "FREQ=DAILY", "2026-10-31 01:30", ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
        ("Australia/Lord_Howe", "FREQ=DAILY", "2026-10-03 02:15",
         ["10-02 15:45", "10-03 15:45", "10-04 15:15"]),
        ("Australia/Lord_Howe", "FREQ=DAILY", "2026-04-04 01:45",
         ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
    ],
)  # fmt: skip
def test_a_rule_follows_the_clock_on_the_wall(
    zone: str, recurrence: str, start: str, expected: list[str]
) -> None:
    assert utc(begin(recurrence, start, zone), len(expected)) == expected


@pytest.mark.parametrize(
    ("recurrence", "start", "expected"),
    [
        ("FREQ=MONTHLY", "2026-01-31 09:00", ["2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2027-12-31 09:00",
         ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31"]),
        ("FREQ=YEARLY", "2028-02-29 09:00", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("FREQ=YEARLY", "2096-02-29 09:00", ["2096-02-29", "2104-02-29"]),
        ("FREQ=MONTHLY;BYDAY=-1FR;INTERVAL=2", "2026-01-30 09:00",
         ["2026-01-30", "2026-03-27", "2026-05-29"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "2026-01-05 09:00",
         ["2026-01-05", "2026-01-09", "2026-01-19", "2026-01-23"]),
        ("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05 09:00",
         ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29 09:00",
         ["1997-09-29", "1997-10-30", "1997-11-27", "1997-12-30"]),
    ],
)  # fmt: skip
def test_month_ends_leap_days_and_weeks_are_those_of_the_calendar(
    recurrence: str, start: str, expected: list[str]
) -> None:
    assert [day[:10] for day in local(begin(recurrence, start), len(expected))] == expected


@pytest.mark.parametrize(
    ("recurrence", "days"),
    [
        ("FREQ=DAILY;COUNT=3", [1, 2, 3]),
        ("FREQ=DAILY;UNTIL=20260103T080000Z", [1, 2, 3]),
        ("FREQ=DAILY;UNTIL=20260103T075959Z", [1, 2]),
        ("FREQ=DAILY;UNTIL=20260103T090000", [1, 2, 3]),
        ("FREQ=DAILY;UNTIL=20260103", [1, 2, 3]),
        ("FREQ=DAILY;COUNT=4\nEXDATE:20260102T090000", [1, 3, 4]),
        ("FREQ=DAILY;COUNT=3\r\nEXDATE:20260103T090000", [1, 2]),
        ("FREQ=DAILY;COUNT=4\nEXDATE;VALUE=DATE:20260102,20260103", [1, 4]),
        ("FREQ=DAILY;COUNT=3\nEXDATE;TZID=Asia/Kolkata:20260102T133000", [1, 3]),
        ("FREQ=DAILY;COUNT=3\nEXDATE:20260102T080000Z", [1, 3]),
        ("FREQ=DAILY;UNTIL=20260102\nRDATE:20260105T090000,20260102T090000", [1, 2, 5]),
        ("FREQ=DAILY;INTERVAL=2;UNTIL=20260105\nRDATE:20260102T090000", [1, 2, 3, 5]),
    ],
)
def test_a_series_ends_and_leaves_out_as_its_rule_says(recurrence: str, days: list[int]) -> None:
    assert local(begin(recurrence, "2026-01-01 09:00"), 10) == [f"2026-01-{day:02} 09:00" for day in days]


def test_the_reason_of_an_end_is_told() -> None:
    count = begin("FREQ=DAILY;COUNT=1", "2026-01-01 09:00")
    until = begin("FREQ=DAILY;UNTIL=20260101", "2026-01-01 09:00")
    assert following(count) == Over(reason="its COUNT of 1 is reached", needs_person=False)
    assert following(until) == Over(reason="its UNTIL is reached", needs_person=False)


def test_after_an_outage_only_the_time_ahead_is_made_and_those_missed_are_counted() -> None:
    daily = begin("FREQ=DAILY;COUNT=20\nEXDATE:20260103T090000", "2026-01-01 09:00")
    found = following(replace(daily, clock=daily.last + timedelta(days=9, hours=1)))
    assert isinstance(found, Next)
    assert (found.at.day, found.number, found.skipped) == (11, 11, 8)
    assert isinstance(following(replace(daily, clock=daily.last + timedelta(days=30))), Over), (
        "COUNT counts them"
    )


def test_a_rule_of_minutes_goes_on_after_years() -> None:
    series = begin(
        "FREQ=MINUTELY;INTERVAL=7", "2020-01-01 09:00", clock=datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
    )
    found = following(series)
    assert isinstance(found, Next)
    assert found.skipped is None
    assert timedelta(0) < found.at - series.clock <= timedelta(minutes=7)
    assert (found.at - series.start) % timedelta(minutes=7) == timedelta(0), "on its own beat"


@pytest.mark.parametrize(
    "recurrence",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1",
        "FREQ=DAILY;BYSETPOS=5",
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
        "FREQ=MONTHLY;BYDAY=53MO",
        f"FREQ=YEARLY;BYMONTH=1,3;BYHOUR={HOURS};BYMINUTE={MINUTES}\nRDATE:00000000T000000",
    ],
)
def test_a_malicious_rule_comes_to_an_end_that_a_person_looks_at(recurrence: str) -> None:
    found = following(begin(recurrence, "2026-01-31 10:00"))
    assert isinstance(found, Over)
    assert found.needs_person


def test_a_rule_too_dense_to_follow_ends() -> None:
    dense = begin(
        f"FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={HOURS};BYMINUTE={MINUTES}", "2026-06-01 10:00"
    )
    later = replace(dense, last=dense.last + timedelta(days=900), clock=dense.last + timedelta(days=900))
    assert following(later) == Over(reason="the rule is too dense", needs_person=True)


def test_a_rule_is_followed_for_some_hundred_years_and_no_further() -> None:
    centuries = begin("FREQ=YEARLY;INTERVAL=100", "2026-06-01 10:00")
    assert isinstance(following(centuries), Next)
    assert isinstance(following(replace(centuries, recurrence="FREQ=YEARLY;INTERVAL=600")), Over)


def test_a_zone_that_python_does_not_know_ends_the_series() -> None:
    for zone in ("FOO+3", "Europe", "../etc"):
        found = following(replace(begin("FREQ=DAILY", "2026-01-01 09:00"), zone=zone))
        assert found == Over(
            reason="the recurrence is unreadable: there is no such time zone", needs_person=True
        )


PIECES = st.sampled_from([
    "FREQ=", "DAILY", "SECONDLY", "YEARLY", "MONTHLY", ";", "=", "INTERVAL=", "COUNT=", "UNTIL=",
    "BYDAY=", "MO", "99", "-1", "0", ",", "\n", "RRULE:", "EXDATE:", "RDATE:", "99991231T235959Z",
    "00010101T000000", "20300101", ";TZID=", "Asia/Tokyo", ":", "BYMONTHDAY=", "BYSETPOS=", "BYWEEKNO=",
    "WKST=", "BYHOUR=", "é", "\x00",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(lambda p: "FREQ=DAILY" + "".join(p))
    )
)
def test_no_text_stops_a_worker(recurrence: str) -> None:
    assert isinstance(following(begin(recurrence, "2026-01-01 09:00")), Next | Over)


@pytest.mark.parametrize("end", ["99991231T235959Z", "99991231", "99991231T235959"])
def test_a_rule_may_say_for_ever(end: str) -> None:
    assert isinstance(following(begin(f"FREQ=DAILY;UNTIL={end}", "2026-01-01 09:00", "Asia/Tokyo")), Next)


RULES = st.builds(
    lambda freq, interval, more, count: f"FREQ={freq};INTERVAL={interval}{more};COUNT={count}",
    st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]),
    st.integers(1, 5),
    st.sampled_from([
        "", ";BYDAY=MO,TH", ";BYMONTH=1,6", ";BYMONTHDAY=1,-1", ";BYHOUR=2,14",
        ";BYMINUTE=0,30", ";WKST=SU;BYDAY=SU,TU",
    ]),
    st.integers(1, 12),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    recurrence=RULES,
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
)
def test_made_one_by_one_the_times_are_those_that_dateutil_lists(
    recurrence: str, start: datetime, zone: str
) -> None:
    start = start.replace(microsecond=0, second=0)
    try:
        listed = list(rrulestr(recurrence, dtstart=start))
    except ValueError:
        return  # an interval that meets none of its hours
    if not listed or listed[0].year > 2100:
        return
    series = begin(recurrence, listed[0].isoformat(), zone)
    expected = sorted({naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for naive in listed})
    if (
        len(expected) < len(listed)
        or series.last.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != listed[0]
    ):
        return  # two in one instant count once, and a start that the clock skips is another start
    assert list(occurrences(series)) == expected
