"""Test rows reach only recipients whom the tenant has listed."""

import psycopg
import pytest

from tests.jobs import TENANT, USER, insert_jtd
from tests.tenants import set_tenant
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.mark.parametrize("channel", ["email", "sms", "whatsapp", "push"])
def test_test_rows_leave_the_house_on_no_channel(
    db: psycopg.Connection, worker: Worker, channel: str
) -> None:
    to = {"email": "john@example.com"}.get(channel, "+14155550101")
    insert_jtd(db, channel_code=channel, recipient_contact=to, recipient_id=USER, is_live=False)
    assert worker.claim_one(f"jtd_{channel}").is_diverted


@pytest.mark.parametrize(
    ("listed_as", "channel", "to"),
    [
        ("John@Example.com", "email", " john@example.COM"),
        ("@example.com", "email", "anybody@example.com"),
        ("+1 (415) 555-0101", "sms", "+14155550101"),
        (str(USER), "push", None),
    ],
)
def test_a_listed_recipient_gets_test_messages(
    db: psycopg.Connection, worker: Worker, listed_as: str, channel: str, to: str | None
) -> None:
    set_tenant(db, is_live=False, test_recipients=[listed_as])
    insert_jtd(db, channel_code=channel, recipient_contact=to, recipient_id=USER, is_live=False)
    assert not worker.claim_one(f"jtd_{channel}").is_diverted
    other = insert_jtd(
        db,
        channel_code=channel,
        recipient_contact={"email": "a@example.org"}.get(channel, "+14155550199"),
        recipient_id=TENANT,
        is_live=False,
    )
    claimed = worker.claim_one(f"jtd_{channel}")
    assert (claimed.id, claimed.is_diverted) == (other, True)


def test_the_list_of_the_live_settings_lets_no_test_row_out(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, is_live=True, test_recipients=["john@example.com"])
    insert_jtd(db, is_live=False)
    assert worker.claim_one().is_diverted
