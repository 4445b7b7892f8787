"""What others count on never changes: migrations that databases have applied, functions that workers call."""

import psycopg
import pytest

from tests.generated import landed, present


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("migrations", "put these back as they were, and write a new file for what should be different"),
        ("functions", "a new shape is a new name; the old one stays a release"),
    ],
)
def test_what_has_landed_stays_as_it_is(db: psycopg.Connection, kind: str, advice: str) -> None:
    is_now, was = present(db)[kind], landed()[kind]
    assert {name for name, what in was.items() if is_now.get(name) != what} == set(), advice
    assert is_now.keys() == was.keys(), "enter the new ones: python -m tests.generated"
