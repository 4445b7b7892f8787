"""What a tenant sets for its jobs stands in for what rows and masters say, and counts for queued jobs too."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.jobs import OTHER_TENANT, TENANT, listed, one, row
from tests.tenants import change, insert, set_source, set_tenant
from tests.worker_calls import Worker


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def test_a_priority_override_stands_in_for_the_priority_of_a_row(db: psycopg.Connection) -> None:
    set_source(db, priority_override=9)
    assert row(db, insert(db, priority=1))["priority"] == 9
    assert row(db, insert(db, priority=1, tenant_id=OTHER_TENANT))["priority"] == 1


def test_a_tenants_default_priority_is_that_of_rows_that_name_none(db: psycopg.Connection) -> None:
    set_tenant(db, default_priority=3)
    assert row(db, insert(db))["priority"] == 3
    assert row(db, insert(db, priority=7))["priority"] == 7
    change(db, "default_priority = 5")
    assert row(db, insert(db, event_type_code="payment"))["priority"] == 8, "5 leaves it to the event type"


def test_a_delayed_source_waits_and_then_goes(db: psycopg.Connection, worker: Worker) -> None:
    set_source(db, delay_seconds=600)
    jtd_id = insert(db)
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["reason"] == "delay"
    assert waiting["due"] - row(db, jtd_id)["created_at"] == timedelta(seconds=600)
    assert worker.claim() == []
    db.execute("UPDATE n_jtd SET next_retry_at = now()")
    assert worker.claim() == []
    worker.tick()
    assert worker.claim_one().id == jtd_id
    assert row(db, jtd_id)["retry_count"] == 0


def test_a_delay_shortens_no_schedule(db: psycopg.Connection) -> None:
    set_source(db, delay_seconds=60)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    jtd_id = insert(db, scheduled_at=tomorrow)
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert (waiting["due"], waiting["reason"]) == (tomorrow, "scheduled")


def test_the_tenants_template_for_a_source_stands_in_for_the_one_named(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute(
        "INSERT INTO n_jtd_templates (tenant_id, template_key, name, channel_code, subject, content)"
        " VALUES (%s, 'ours', 'Ours', 'email', 'S', 'C')",
        [TENANT],
    )
    set_source(db, templates={"email": "ours"})
    insert(db, template_key="payment_received_email_v1")
    claimed = worker.claim_one()
    assert one(db, "SELECT template_key FROM n_jtd_templates WHERE id = %s", claimed.template_id) == "ours"


def test_a_template_that_is_not_there_is_named_as_the_tenant_named_it(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_source(db, templates={"email": "gone"})
    insert(db, template_key="payment_received_email_v1")
    claimed = worker.claim_one()
    assert (claimed.template_id, claimed.template_key) == (None, "gone")


def test_settings_that_are_not_active_count_for_nothing(db: psycopg.Connection, worker: Worker) -> None:
    set_source(
        db,
        priority_override=9,
        delay_seconds=600,
        templates={"email": "x"},
        is_enabled=False,
        is_active=False,
    )
    set_tenant(db, channels_enabled={}, default_priority=2, daily_limit=0, is_active=False)
    jtd_id = insert(db)
    assert row(db, jtd_id)["priority"] == 5
    assert worker.claim_one().id == jtd_id


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"timezone": "Mars/Olympus"}, "JT040"),
        ({"quiet_hours_start": "22:00"}, "JT041"),
        ({"test_recipients": ["@"]}, "JT042"),
        ({"test_recipients": [" "]}, "JT042"),
        ({"rate_limits": {"email": "many"}}, "JT043"),
        ({"rate_limits": {"email": 0}}, "JT043"),
        ({"rate_limits": Jsonb([1])}, "JT043"),
    ],
)
def test_settings_that_cannot_be_obeyed_are_refused(
    db: psycopg.Connection, columns: dict[str, Any], code: str
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        set_tenant(db, **columns)
    assert caught.value.sqlstate == code
    assert caught.value.diag.message_hint


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE n_jtd_tenant_config SET channels_enabled = '{}'", "blocked_channel_disabled"),
        ("UPDATE n_jtd_tenant_source_config SET is_enabled = false", "blocked_source_disabled"),
        ("UPDATE n_jtd_tenant_source_config SET channels_enabled = '{inapp}'", "blocked_channel_disabled"),
        ("UPDATE n_jtd_channels SET is_active = false", "blocked_channel_inactive"),
        ("UPDATE n_jtd_event_types SET is_active = false", "blocked_event_type_inactive"),
        ("UPDATE n_jtd_source_types SET is_active = false", "blocked_source_inactive"),
        ("UPDATE n_jtd_event_types SET allowed_channels = '{}'", "blocked_channel_not_allowed"),
    ],
)
def test_a_switch_counts_for_what_is_queued_already(
    db: psycopg.Connection, worker: Worker, statement: str, code: str
) -> None:
    set_tenant(db)
    set_source(db)
    jtd_id = insert(db)
    db.execute(statement.encode())
    assert worker.claim() == []
    ended = row(db, jtd_id)
    assert (ended["status_code"], ended["error_code"], ended["retry_count"]) == ("cancelled", code, 0)


def test_nothing_that_a_producer_writes_passes_a_gate(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, channels_enabled={})
    jtd_id = insert(
        db,
        priority=10,
        metadata={"bypasses_gates": True, "source_type": "user_invite", "is_identity": True},
        business_context={"bypasses_gates": True},
        tags=["identity", "urgent"],
        recipient_type="system",
        performed_by_type="vani",
        performed_by_id="00000000-0000-0000-0000-000000000001",
        performed_by_name="VaNi",
        transition_note="test_mode",
        attempt=7,
    )
    assert worker.claim("jtd_email_urgent") == []
    assert row(db, jtd_id)["error_code"] == "blocked_channel_disabled"
