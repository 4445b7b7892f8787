"""What the commands print of values: one line each, in units that people read."""

from datetime import timedelta

import pytest

from jtd_worker.console import moment, plain, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.12, "120 ms"),
        (4.25, "4.2 s"),
        (184, "3 min 4 s"),
        (3600, "1 h 0 min"),
        (2 * 86400 + 3 * 3600 + 59, "2 d 3 h"),
    ],
)
def test_a_duration_shows_its_two_greatest_units(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def test_a_value_is_one_line_without_controls() -> None:
    assert plain("a\r\nb\x1b[0m\u200b\u202e\u00e9") == "a  b\ufffd[0m\ufffd\ufffd\u00e9"
    assert plain(None) == ""
    assert plain(5) == "5"


def test_a_time_is_in_seconds_and_an_absent_one_is_empty() -> None:
    assert moment("2030-01-31T09:00:00.12345+00:00") == "2030-01-31 09:00:00"
    assert moment(None) == ""
