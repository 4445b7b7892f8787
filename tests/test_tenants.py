"""What a tenant sets is obeyed, from the INSERT to the claim."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from jtd_worker.testing.http_server import ThreadedHttpServer, answer
from tests.daemon import eventually, running
from tests.jobs import (
    OTHER_TENANT,
    TENANT,
    USER,
    history,
    insert_jtd,
    insert_many,
    listed,
    one,
    places,
    row,
)
from tests.test_worker import webhook
from tests.worker_calls import Worker, result

SOURCE = "payment_received"
"""No identity message: the tenant's settings hold for it."""
EMAIL = "user_invite_email_v1"
"""A template whose variables the jobs of these tests have."""
ALL_ON = {"email": True, "sms": True, "whatsapp": True, "push": True, "inapp": True}


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def set_tenant(db: psycopg.Connection, **columns: Any) -> None:
    """Write a row of n_jtd_tenant_config, every channel on; `is_live` and others as given."""
    given = {"tenant_id": TENANT, "channels_enabled": ALL_ON, **columns}
    values = [Jsonb(value) if isinstance(value, dict) else value for value in given.values()]
    names = sql.SQL(", ").join(map(sql.Identifier, given))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(given))
    db.execute(
        sql.SQL("INSERT INTO public.n_jtd_tenant_config ({}) VALUES ({})").format(names, places), values
    )


def set_source(db: psycopg.Connection, **columns: Any) -> None:
    """Write a row of n_jtd_tenant_source_config for SOURCE."""
    given = {"tenant_id": TENANT, "source_type_code": SOURCE, **columns}
    values = [Jsonb(value) if isinstance(value, dict) else value for value in given.values()]
    names = sql.SQL(", ").join(map(sql.Identifier, given))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(given))
    db.execute(
        sql.SQL("INSERT INTO public.n_jtd_tenant_source_config ({}) VALUES ({})").format(names, places),
        values,
    )


def insert(db: psycopg.Connection, **columns: Any) -> UUID:
    return insert_jtd(db, **{"source_type_code": SOURCE, "template_key": None, **columns})


def change(db: psycopg.Connection, statement: str) -> None:
    db.execute(f"UPDATE public.n_jtd_tenant_config SET {statement}".encode())


# What is set differently for a source, and defaults


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


# Routing


def test_a_message_without_a_channel_goes_to_each_channel_of_its_source(db: psycopg.Connection) -> None:
    parent = insert(
        db,
        channel_code=None,
        source_type_code="payment_overdue",
        template_key="payment_overdue_email_v1",
        recipient_contact=None,
        payload={"recipient_data": {"email": "john@example.com", "mobile": "+14155550101"}, "amount": "9"},
        idempotency_key="invoice/7",
        metadata={"campaign": "june"},
    )
    first, second = db.execute(
        "SELECT channel_code, recipient_contact, status_code, parent_id, idempotency_key, template_key,"
        " metadata FROM n_jtd ORDER BY parent_id NULLS FIRST"
    ).fetchall()
    key = "payment_overdue_email_v1"
    metadata = {"campaign": "june"}
    assert first == ("email", "john@example.com", "queued", None, "invoice/7", key, metadata)
    assert second == ("sms", "+14155550101", "queued", parent, "invoice/7:sms", None, metadata)
    assert places(db) == {"queued": 2}


def test_the_same_key_again_makes_no_second_sibling(db: psycopg.Connection) -> None:
    for _ in range(2):
        db.execute(
            "SELECT * FROM jtd.enqueue(tenant_id => %s, event_type => 'notification', source_type =>"
            " 'payment_overdue', recipient => '+14155550101', idempotency_key => 'k', payload => %s)",
            [TENANT, Jsonb({"recipient_data": {"email": "john@example.com"}})],
        )
    assert db.execute("SELECT channel_code FROM n_jtd ORDER BY 1").fetchall() == [("email",), ("sms",)]


def test_the_tenants_channels_for_a_source_come_before_its_own(db: psycopg.Connection) -> None:
    set_source(db, channels_enabled=["inapp", "pigeon", "email", "email"])
    jtd_id = insert(db, channel_code=None, recipient_id=USER)
    found = db.execute("SELECT channel_code, parent_id FROM n_jtd ORDER BY parent_id NULLS FIRST").fetchall()
    assert found == [("inapp", None), ("email", jtd_id)]


def test_a_channel_that_reaches_nobody_is_left_out_and_on_record(db: psycopg.Connection) -> None:
    jtd_id = insert(db, channel_code=None, source_type_code="payment_overdue")
    assert one(db, "SELECT channel_code FROM n_jtd") == "email"
    assert one(db, "SELECT reason FROM n_jtd_history WHERE action = 'note' AND jtd_id = %s", jtd_id) == (
        "not sent by sms as well: no usable recipient"
    )


def test_the_row_takes_the_first_channel_that_reaches_somebody(db: psycopg.Connection) -> None:
    insert(db, channel_code=None, source_type_code="payment_overdue", recipient_contact="+14155550101")
    assert db.execute("SELECT channel_code, status_code FROM n_jtd").fetchall() == [("sms", "queued")]


def test_a_channel_that_the_tenant_has_off_is_not_routed_to(db: psycopg.Connection) -> None:
    set_tenant(db, channels_enabled={"email": False, "inapp": True})
    set_source(db, channels_enabled=["email", "inapp"])
    insert(db, channel_code=None, recipient_id=USER)
    assert one(db, "SELECT channel_code FROM n_jtd") == "inapp"
    change(db, "channels_enabled = '{}'")
    off = insert(db, channel_code=None, recipient_id=USER)
    assert row(db, off)["channel_code"] == "email", "a switch of the tenant's never fails a producer"


def test_a_message_for_which_no_channel_fits_is_refused(db: psycopg.Connection) -> None:
    set_source(db, channels_enabled=["pigeon"])
    with pytest.raises(psycopg.Error, match="channel is missing") as caught:
        insert(db, channel_code=None)
    assert caught.value.sqlstate == "JT008"


def test_a_row_that_is_not_inserted_has_no_siblings(db: psycopg.Connection) -> None:
    insert(db, idempotency_key="k")
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, payload, idempotency_key)"
        " VALUES (%s, 'notification', 'payment_overdue', %s, 'k') ON CONFLICT DO NOTHING",
        [TENANT, Jsonb({"recipient_data": {"email": "a@example.com", "mobile": "+14155550101"}})],
    )
    assert one(db, "SELECT count(*) FROM n_jtd") == 1


def test_an_imported_row_is_not_routed(db: psycopg.Connection) -> None:
    insert(db, status_code="sent", route=Jsonb([{"channel": "sms", "recipient": "+14155550101"}]))
    assert one(db, "SELECT count(*) FROM n_jtd") == 1
    given = insert(db, route=Jsonb([{"channel": "sms", "recipient": "+14155550101"}]))
    assert row(db, given)["route"] is None, "a producer does not write it"


# Quiet hours


def quiet(db: psycopg.Connection, **columns: Any) -> datetime:
    """Let quiet hours have begun an hour ago and end in an hour, whole minutes; return their end."""
    start, end, ends = db.execute(
        "SELECT ((now() - interval '1 h') AT TIME ZONE 'UTC')::time(0),"
        " date_trunc('minute', (now() + interval '1 h') AT TIME ZONE 'UTC')::time,"
        " date_trunc('minute', now() + interval '1 h')"
    ).fetchall()[0]
    set_tenant(db, quiet_hours_start=start, quiet_hours_end=end, **columns)
    ended: datetime = ends
    return ended


def test_in_quiet_hours_a_message_waits_for_their_end(db: psycopg.Connection, worker: Worker) -> None:
    ends = quiet(db)
    jtd_id = insert(db)
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["reason"] == "quiet_hours"
    assert ends <= waiting["due"] <= ends + timedelta(minutes=10)
    assert [step.to_status for step in history(db, jtd_id)][-2:] == ["queued", "pending"]
    assert row(db, jtd_id)["retry_count"] == 0
    assert one(db, "SELECT count(*) FROM pgmq.q_jtd_email") == 0
    db.execute(
        "UPDATE n_jtd SET next_retry_at = now(); UPDATE n_jtd_tenant_config SET quiet_hours_exempt = '{}'"
    )
    change(db, "quiet_hours_start = NULL, quiet_hours_end = NULL")
    worker.tick()
    assert worker.claim_one().id == jtd_id


def test_what_waits_in_quiet_hours_is_spread(db: psycopg.Connection, worker: Worker) -> None:
    ends = quiet(db)
    insert_many(db, 100, source_type_code=SOURCE, template_key=None)
    assert worker.claim() == []
    dues = [found[0] for found in db.execute("SELECT due FROM jtd.waiting ORDER BY 1")]
    assert all(ends <= due <= ends + timedelta(minutes=10) for due in dues)
    assert dues[-1] - dues[0] > timedelta(minutes=5)


def test_the_same_cause_twice_is_one_remark(db: psycopg.Connection, worker: Worker) -> None:
    quiet(db)
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    jtd_id = insert(db)
    for _ in range(3):
        worker.tick()
        waiting = listed(db, "waiting", jtd_id)
        assert waiting is not None
        assert waiting["reason"] == "quiet_hours"
        db.execute("UPDATE n_jtd SET next_retry_at = now()")
    actions = [step.action for step in history(db, jtd_id)]
    assert actions == ["created", "status_changed", "deferred"]


def test_urgent_and_identity_messages_are_exempt_as_far_as_the_tenant_says(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db)
    urgent = insert(db, priority=9)
    identity = insert_jtd(db)
    assert [job.id for job in worker.claim("jtd_email_urgent")] == [urgent]
    assert [job.id for job in worker.claim()] == [identity]
    change(db, "quiet_hours_exempt = '{}'")
    insert(db, priority=9), insert_jtd(db)
    assert worker.claim("jtd_email_urgent") == []
    assert worker.claim() == []


def test_a_message_that_would_come_too_late_after_quiet_hours_expires_in_time(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db)
    expires = datetime.now(UTC) + timedelta(minutes=5)
    jtd_id = insert(db, expires_at=expires)
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["due"] == expires


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


# Limits


def used(db: psycopg.Connection) -> tuple[int, int]:
    """Return what the settings show as used this day and this month."""
    [found] = db.execute("SELECT daily_used, monthly_used FROM n_jtd_tenant_config").fetchall()
    return found


def test_a_daily_limit_lets_through_so_many_and_the_rest_tomorrow(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, daily_limit=3)
    insert_many(db, 5, source_type_code=SOURCE, template_key=None)
    jobs = worker.claim()
    assert len(jobs) == 3
    assert worker.claim() == []
    assert db.execute(
        "SELECT DISTINCT transition_note FROM n_jtd WHERE status_code = 'pending'"
    ).fetchall() == [("daily_limit",)]
    assert places(db) == {"in_flight": 3, "ready": 2}
    worker.tick()
    assert used(db) == (3, 3)
    assert one(db, "SELECT last_reset_date = (now() AT TIME ZONE 'UTC')::date FROM n_jtd_tenant_config")
    assert one(db, "SELECT until = date_trunc('day', now(), 'UTC') + interval '1 day' FROM jtd.holds")
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    # tomorrow
    db.execute(
        "UPDATE jtd.holds SET until = now(); UPDATE jtd.usage SET begins = begins - 1 WHERE period = 'day'"
    )
    worker.tick()
    assert len(worker.claim()) == 2
    worker.tick()
    assert used(db) == (2, 5)


def test_a_limit_that_is_raised_counts_at_once(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    worker.tick()
    assert worker.claim() == []
    change(db, "daily_limit = 2")
    worker.tick()
    assert len(worker.claim()) == 1
    assert worker.claim() == []


def test_a_limit_may_cancel_what_is_over_it(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, monthly_limit=1, limit_action="block")
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    insert(db)
    worker.tick()
    assert worker.claim() == []
    ended = db.execute(
        "SELECT status_code, error_code FROM n_jtd WHERE status_code <> 'executing'"
    ).fetchall()
    assert ended == [("cancelled", "blocked_monthly_limit")] * 3


def test_a_retry_does_not_count_again(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    jtd_id = insert(db)
    worker.settle(result(worker.claim_one(), "retry", code="busy", reason="busy"))
    db.execute("UPDATE n_jtd SET next_retry_at = now()")
    worker.tick()
    assert worker.claim_one().id == jtd_id
    worker.tick()
    assert used(db) == (1, 1)


def test_identity_messages_pass_a_limit_and_do_not_count(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    identity = insert_jtd(db)
    assert row(db, identity)["status_code"] == "pending"
    worker.tick()
    assert worker.claim_one().id == identity
    worker.tick()
    assert used(db) == (1, 1)


def test_a_producer_cannot_say_that_a_job_was_counted(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None, attempt=1)
    assert len(worker.claim()) == 1


def test_test_rows_have_limits_of_their_own(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, daily_limit=1)
    set_tenant(db, daily_limit=1, is_live=False)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None, is_live=False)
    assert sorted(job.is_diverted for job in worker.claim()) == [False, True]
    for _ in range(2):
        worker.tick()
        assert worker.claim() == []
    assert places(db) == {"in_flight": 2, "ready": 1, "waiting": 1}


def test_a_limit_holds_exactly_while_many_claim(dsn: str, db: psycopg.Connection) -> None:
    set_tenant(db, daily_limit=100)
    set_tenant(db, tenant_id=OTHER_TENANT, daily_limit=70, monthly_limit=50)
    for tenant in (TENANT, OTHER_TENANT):
        insert_many(db, 200, source_type_code=SOURCE, template_key=None, tenant_id=tenant)
    taken: dict[UUID, int] = {TENANT: 0, OTHER_TENANT: 0}

    def claim_all(_: int) -> list[Any]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            worker = Worker(conn)
            jobs = []
            while claimed := worker.claim(limit=7):
                jobs += claimed
            return jobs

    with ThreadPoolExecutor(8) as pool:
        for jobs in pool.map(claim_all, range(8)):
            for job in jobs:
                taken[job.tenant_id] += 1
    while True:  # what one found locked or the other had put off
        worker = Worker(db)
        worker.tick()
        jobs = worker.claim()
        for job in jobs:
            taken[job.tenant_id] += 1
        if not jobs and one(db, "SELECT count(*) FROM pgmq.q_jtd_email WHERE vt < now()") == 0:
            break
    assert taken == {TENANT: 100, OTHER_TENANT: 50}


def test_the_day_of_a_limit_is_that_of_the_tenant(db: psycopg.Connection, worker: Worker) -> None:
    zone = one(  # one where it is another day than in UTC
        db,
        "SELECT CASE WHEN extract(hour FROM now() AT TIME ZONE 'UTC') < 11"
        " THEN 'Etc/GMT+12' ELSE 'Etc/GMT-14' END",
    )
    set_tenant(db, daily_limit=1, timezone=zone)
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1
    worker.tick()
    today = one(db, "SELECT (now() AT TIME ZONE %s)::date", zone)
    assert one(db, "SELECT last_reset_date FROM n_jtd_tenant_config") == today
    assert today != one(db, "SELECT (now() AT TIME ZONE 'UTC')::date")
    assert one(db, "SELECT until = (%s::date + 1)::timestamp AT TIME ZONE %s FROM jtd.holds", today, zone)


def test_a_tenants_own_rate_lets_through_so_many_a_minute(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, rate_limits={"email": 3}, daily_limit=100)
    insert_many(db, 5, source_type_code=SOURCE, template_key=None)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    assert len([job for job in worker.claim() if job.id != other]) == 3
    worker.tick()
    assert worker.claim() == []
    assert one(db, "SELECT reason FROM jtd.holds WHERE until BETWEEN now() AND now() + interval '63 s'") == (
        "tenant_rate"
    )
    waits = one(db, "SELECT jtd_id FROM jtd.ready LIMIT 1")
    assert "waits for its tenant's rate limit (tenant_rate) until " in one(
        db, "SELECT sentence FROM jtd.explain(%s)", waits
    )
    worker.tick()
    assert used(db) == (3, 3), "what the rate holds back uses no limit of the day"
    db.execute("UPDATE jtd.tenant_rates SET seconds = ARRAY(SELECT s - 63 FROM unnest(seconds) AS s)")
    db.execute("UPDATE jtd.holds SET until = now()")
    worker.tick()
    assert len(worker.claim()) == 2


def test_a_backlog_behind_a_tenants_rate_is_admitted_a_minutes_worth_at_a_time(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db, rate_limits={"email": 3})
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    insert_many(db, 50, source_type_code=SOURCE, template_key=None)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    for _ in range(3):
        worker.tick()
    assert places(db) == {"queued": 4, "ready": 47}
    assert {job.id for job in worker.claim()} > {other}
    assert places(db) == {"in_flight": 4, "ready": 47}, "nothing was admitted in vain"


def test_a_tenants_rate_is_exact_while_many_claim(dsn: str, db: psycopg.Connection) -> None:
    set_tenant(db, rate_limits={"email": 40})
    insert_many(db, 200, source_type_code=SOURCE, template_key=None)

    def claim_all(_: int) -> int:
        with psycopg.connect(dsn, autocommit=True) as conn:
            worker = Worker(conn)
            return sum(len(worker.claim(limit=7)) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim_all, range(8))) == 40


# What is held, and by whom


def three(db: psycopg.Connection, worker: Worker, **limits: Any) -> None:
    """Use up limits by the first of three jobs."""
    set_tenant(db, **limits)
    insert_many(db, 3, source_type_code=SOURCE, template_key=None)
    assert len(worker.claim()) == 1


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM n_jtd_tenant_config",
        "UPDATE n_jtd_tenant_config SET is_active = false",
        "UPDATE n_jtd_tenant_config SET monthly_limit = NULL, daily_limit = NULL",
        "UPDATE n_jtd_tenant_config SET timezone = 'Asia/Kolkata', monthly_limit = 9",
    ],
)
def test_a_hold_ends_with_the_limits_that_it_was_for(
    db: psycopg.Connection, worker: Worker, change: str
) -> None:
    three(db, worker, monthly_limit=1)
    assert worker.claim() == []
    db.execute(change.encode())
    worker.tick()
    assert len(worker.claim()) == 2


@pytest.mark.parametrize("action", ["defer", "block"])
def test_a_limit_that_is_raised_while_a_claim_counts_holds_nothing(
    dsn: str, db: psycopg.Connection, worker: Worker, action: str
) -> None:
    set_tenant(db, monthly_limit=1, limit_action=action)
    insert(db)
    with psycopg.connect(dsn) as other:
        late = Worker(other)
        other.commit()
        assert len(late.claim()) == 1
        change(db, "monthly_limit = 100")
        other.commit()
    insert_many(db, 2, source_type_code=SOURCE, template_key=None)
    worker.tick()
    assert len(worker.claim()) == 2


def test_a_change_of_settings_that_is_not_committed_delays_no_tick_and_no_claim(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    three(db, worker, rate_limits={"email": 1}, daily_limit=5)
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    with psycopg.connect(dsn) as user:
        user.execute("UPDATE n_jtd_tenant_config SET daily_limit = 7")
        db.execute("UPDATE jtd.holds SET until = now()")
        db.execute("UPDATE jtd.tenant_rates SET seconds = ARRAY[seconds[1] - 100]")
        worker.tick()
        insert(db)
        assert other in {job.id for job in worker.claim()}
        worker.tick()


def test_a_pause_of_a_provider_that_is_not_committed_delays_no_tick(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    db.execute("SELECT jtd.trip_v1('email', 'smtp', 'smtp_421', 1)")
    db.execute("UPDATE jtd.breakers SET retry_at = now() - interval '1 h'")
    with psycopg.connect(dsn) as user:
        user.execute("SELECT jtd.pause_provider('email', 'smtp')")
        worker.tick()


def test_a_job_that_is_put_off_while_its_source_is_resumed_goes_on(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_source(%s)", [SOURCE])
    with psycopg.connect(dsn) as other:
        late = Worker(other)
        other.commit()
        assert late.claim() == []
        db.execute("SELECT jtd.resume_source(%s)", [SOURCE])
        other.commit()
    worker.tick()
    assert worker.claim_one().id == jtd_id


def test_what_was_given_back_counts_for_the_rate_again(db: psycopg.Connection, worker: Worker) -> None:
    set_tenant(db, rate_limits={"email": 2})
    insert_many(db, 6, source_type_code=SOURCE, template_key=None)
    for _ in range(2):
        worker.settle(*(result(job, "release") for job in worker.claim()))
        db.execute("UPDATE jtd.holds SET until = now(); DELETE FROM jtd.tenant_rates")
        worker.tick()
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert len(worker.claim()) == 2
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0


def test_limits_that_were_written_past_the_checks_harm_nobody_else(
    db: psycopg.Connection, worker: Worker
) -> None:
    set_tenant(db)
    db.execute("SET session_replication_role = replica")
    change(db, """rate_limits = '{"email": "lots"}'""")
    db.execute("RESET session_replication_role")
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    jobs = {insert(db), insert_jtd(db, tenant_id=OTHER_TENANT)}
    worker.tick()
    assert {job.id for job in worker.claim()} == jobs


def test_many_tenants_who_may_not_go_are_looked_at_some_at_a_time_and_delay_nobody(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute(
        "INSERT INTO jtd.pauses (scope, code)"
        " SELECT 'tenant', lpad(to_hex(n), 32, '0')::uuid FROM generate_series(1, 2500) AS n"
    )
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id)"
        " SELECT 'email', 'normal', code::uuid FROM jtd.pauses"
    )
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, recipient_contact)"
        " SELECT code::uuid, 'notification', %s, 'email', 'a@example.com' FROM jtd.pauses",
        [SOURCE],
    )
    last = UUID(int=2**127)
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [last]
    )
    jtd_id = insert(db, tenant_id=last)
    for _ in range(3):
        worker.tick()
    assert worker.claim_one().id == jtd_id


# Test mode


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


# Preferences and suppressions


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


# Pauses


def test_a_paused_tenant_waits_and_goes_on(db: psycopg.Connection, worker: Worker) -> None:
    queued = insert(db), insert_jtd(db)
    db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", [TENANT])
    other = insert(db, tenant_id=OTHER_TENANT)
    assert [job.id for job in worker.claim()] == [other]
    later = insert(db)
    for _ in range(3):
        worker.tick()
        assert worker.claim() == []
    assert places(db)["ready"] == 3
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    assert one(db, "SELECT jtd.resume_tenant(%s)", TENANT) is True
    worker.tick()
    assert {job.id for job in worker.claim()} == {*queued, later}
    assert one(db, "SELECT jtd.resume_tenant(%s)", TENANT) is False


def test_a_paused_source_type_waits_and_goes_on(db: psycopg.Connection, worker: Worker) -> None:
    queued = insert(db)
    assert one(db, "SELECT jtd.pause_source(%s, 'wrong text')", SOURCE) is True
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", [TENANT]
    )
    pending = insert(db)
    db.execute("DELETE FROM jtd.windows")
    other = insert(db, source_type_code="contract_signed")
    assert [job.id for job in worker.claim()] == [other]
    worker.tick()
    assert worker.claim() == []
    assert db.execute("SELECT reason, count(*) FROM jtd.waiting GROUP BY 1").fetchall() == [
        ("source_paused", 2)
    ]
    assert one(db, "SELECT jtd.resume_source(%s)", SOURCE) is True
    worker.tick()
    assert {job.id for job in worker.claim()} == {queued, pending}
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    assert one(db, "SELECT jtd.pause_source('gone')") is False


def test_a_source_that_stays_paused_is_looked_at_again_without_a_trace(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_source(%s)", [SOURCE])
    assert worker.claim() == []
    before = history(db, jtd_id)
    db.execute("UPDATE jtd.waiting SET due = now()")
    worker.tick()
    assert history(db, jtd_id) == before
    assert places(db) == {"waiting": 1}


def test_nothing_is_handed_to_a_paused_provider(db: psycopg.Connection, worker: Worker) -> None:
    insert(db)
    job = worker.claim_one()
    assert one(db, "SELECT jtd.pause_provider('email', 'smtp', 'moving')") is True
    ask = "SELECT answer FROM jtd.hand_off_v2(%s, %s, %s, 'resend', 'email', %s)"
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "open"
    db.execute("SELECT jtd.trip_v1('email', 'smtp', 'smtp_421', 1)")
    db.execute("SELECT jtd.mended_v1('email', 'smtp')")
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "open", (
        "no worker ends what a person began"
    )
    assert worker.tick()["breakers"][0][:2] == ["email", "smtp"]
    assert one(db, "SELECT jtd.resume_provider('email', 'smtp')") is True
    assert one(db, ask, worker.id, [job.id], [job.attempt], "smtp") == "go"
    assert one(db, "SELECT jtd.resume_provider('email', 'smtp')") is False
    assert one(db, "SELECT jtd.pause_provider('pigeon', 'smtp')") is False


@pytest.mark.parametrize(
    ("pause", "resume", "free"),
    [
        ("pause_tenant('{tenant}')", "resume_tenant('{tenant}')", {"tenant_id": OTHER_TENANT}),
        (
            "pause_source('payment_received')",
            "resume_source('payment_received')",
            {"source_type_code": "user_invite"},
        ),
        (
            "pause('email')",
            "resume('email')",
            {
                "channel_code": "sms",
                "recipient_contact": "+14155550101",
                "template_key": "user_invite_sms_v1",
            },
        ),
        (
            "pause_provider('email', 'webhook')",
            "resume_provider('email', 'webhook')",
            {
                "channel_code": "sms",
                "recipient_contact": "+14155550101",
                "template_key": "user_invite_sms_v1",
            },
        ),
    ],
)
def test_a_running_worker_heeds_a_pause_and_its_end(
    dsn: str, db: psycopg.Connection, tmp_path: Path, pause: str, resume: str, free: dict[str, Any]
) -> None:
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook,sms:noop", tmp_path, **webhook(server)) as daemon,
    ):
        daemon.wait_for("worker.started")
        first = insert(db, template_key=EMAIL)
        eventually(lambda: row(db, first)["status_code"] == "sent")
        db.execute(f"SELECT jtd.{pause.format(tenant=TENANT)}".encode())
        stopped = insert(db, template_key=EMAIL)
        for _ in range(2):
            other = insert(db, **{"template_key": EMAIL, **free})
            eventually(lambda other=other: row(db, other)["status_code"] == "sent")
        assert row(db, stopped)["status_code"] in {"pending", "queued", "executing"}
        assert row(db, stopped)["executed_at"] is None
        db.execute(f"SELECT jtd.{resume.format(tenant=TENANT)}".encode())
        eventually(lambda: row(db, stopped)["status_code"] == "sent", 5)
        assert row(db, stopped)["retry_count"] == 0


# What nobody may get around


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


# Switches thrown after a job was queued


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


# Explained


def sentence(db: psycopg.Connection, jtd_id: UUID) -> str:
    return str(one(db, "SELECT sentence FROM jtd.explain(%s)", jtd_id))


def test_a_job_that_is_put_off_says_why_until_when_and_what_comes_next(
    db: psycopg.Connection, worker: Worker
) -> None:
    quiet(db, daily_limit=1, monthly_limit=1)
    jtd_id = insert(db)
    worker.claim()
    due = one(db, "SELECT to_char(due, 'YYYY-MM-DD HH24:MI:SS TZ') FROM jtd.waiting")
    assert sentence(db, jtd_id) == (
        "This notification by email (payment_received) waits for the end of its tenant's quiet hours"
        f" (quiet_hours) until {due}; then it takes its turn for channel email."
    )
    change(db, "quiet_hours_start = NULL, quiet_hours_end = NULL")
    over = [insert(db), insert(db)][1]
    assert len(worker.claim()) == 1
    until = one(
        db, "SELECT to_char(until, 'YYYY-MM-DD HH24:MI:SS TZ') FROM jtd.holds WHERE reason = 'monthly_limit'"
    )
    assert sentence(db, over) == (
        "This notification by email (payment_received) is due and waits for its turn to be queued for channel"
        " email; it is held back, and waits for the next month of its tenant, whose limit is used up"
        f" (monthly_limit) until {until}."
    )
    assert one(
        db,
        "SELECT next_at = until FROM jtd.explain(%s), jtd.holds WHERE holds.reason = 'monthly_limit'",
        over,
    )


def test_a_paused_job_says_who_must_resume_it(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert(db)
    db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", [TENANT])
    assert sentence(db, jtd_id).endswith(
        "; it is held back, and waits for its tenant, who is paused, to be resumed (tenant_paused): unpaid."
    )
    db.execute("SELECT jtd.resume_tenant(%s), jtd.pause_source(%s, 'wrong text')", [TENANT, SOURCE])
    worker.claim()
    assert sentence(db, jtd_id) == (
        "This notification by email (payment_received) waits for its source type, which is paused, to be"
        " resumed (source_paused): wrong text; then it takes its turn for channel email."
    )
    assert one(db, "SELECT next_at FROM jtd.explain(%s)", jtd_id) is None
    db.execute("SELECT jtd.resume_source(%s), jtd.pause_provider('email', 'smtp', 'moving')", [SOURCE])
    worker.tick()
    assert sentence(db, jtd_id).endswith("; provider smtp takes nothing at present (paused): moving.")


def test_every_reason_of_the_gate_is_put_in_words(db: psycopg.Connection) -> None:
    gate = one(db, "SELECT pg_get_functiondef('jtd.gate'::regproc)")
    reasons = set(re.findall(r"'(blocked_\w+[a-z]|\w+_paused|quiet_hours|expired)'", gate))
    reasons |= {"daily_limit", "monthly_limit", "tenant_rate", "blocked_daily_limit", "blocked_monthly_limit"}
    assert len(reasons) >= 15
    assert {reason for reason in reasons if not one(db, "SELECT jtd.wording(%s)", reason)} == set()
