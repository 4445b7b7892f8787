"""Who does not want a message, or cannot be reached, gets none."""

from typing import Any

import psycopg
import pytest

from tests.jobs import OTHER_TENANT, TENANT, USER, insert_jtd, one, row
from tests.tenants import SOURCE, insert
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def prefer(db: psycopg.Connection, source: str | None, channel: str | None, *, allowed: bool) -> None:
    db.execute(
        "SELECT jtd.set_preference(%s, ' John@example.com', %s, %s, %s)", [TENANT, source, channel, allowed]
    )


def test_who_does_not_want_a_message_gets_none(db: psycopg.Connection, worker: Worker) -> None:
    prefer(db, SOURCE, "email", allowed=False)
    jtd_id = insert(db)
    other = insert(db, source_type_code="contract_signed"), insert(db, tenant_id=OTHER_TENANT)
    assert {job.id for job in worker.claim()} == set(other)
    ended = row(db, jtd_id)
    assert (ended["status_code"], ended["error_code"]) == ("cancelled", "blocked_suppressed")
    assert ended["retry_count"] == 0
    assert one(db, "SELECT count(*) FROM jtd.attention") == 0, "nobody need look at it"
    prefer(db, SOURCE, "email", allowed=True)
    again = insert(db)
    assert worker.claim_one().id == again


def test_the_closest_preference_counts(db: psycopg.Connection, worker: Worker) -> None:
    prefer(db, None, None, allowed=False)
    prefer(db, SOURCE, None, allowed=True)
    wanted = insert(db)
    insert(db, source_type_code="contract_signed")
    assert [job.id for job in worker.claim()] == [wanted]
    prefer(db, SOURCE, "email", allowed=False)
    insert(db)
    assert worker.claim() == []


def test_an_identity_message_passes_a_preference_but_no_bounce(
    db: psycopg.Connection, worker: Worker
) -> None:
    prefer(db, None, None, allowed=False)
    identity = insert_jtd(db)
    assert worker.claim_one().id == identity
    db.execute(
        "INSERT INTO n_jtd_suppressions (tenant_id, recipient, channel_code, kind)"
        " VALUES (%s, 'JOHN@example.com', 'email', 'bounce')",
        [TENANT],
    )
    prefer(db, "user_invite", "email", allowed=True)
    bounced = insert_jtd(db)
    assert worker.claim() == []
    assert row(db, bounced)["error_code"] == "blocked_suppressed"


def test_a_preference_may_name_the_user_instead_of_his_address(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute("SELECT jtd.set_preference(%s, %s, NULL, 'email', false)", [TENANT, str(USER)])
    insert(db, recipient_id=USER)
    assert worker.claim() == []
    assert one(db, "SELECT error_code FROM n_jtd") == "blocked_suppressed"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((TENANT, "a@example.com", "gone", None, False), "JT003"),
        ((TENANT, "a@example.com", None, "pigeon", False), "JT002"),
        ((TENANT, " ", None, None, False), "JT044"),
        ((TENANT, "a@example.com", None, None, None), "JT044"),
    ],
)
def test_a_preference_that_means_nothing_is_refused(
    db: psycopg.Connection, arguments: tuple[Any, ...], code: str
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        db.execute("SELECT jtd.set_preference(%s, %s, %s, %s, %s)", arguments)
    assert caught.value.sqlstate == code
