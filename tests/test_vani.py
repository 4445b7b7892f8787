"""VaNi: what she does by herself where a tenant lets her, and what she leaves to people."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.jobs import OTHER_TENANT, TENANT, USER, Step, history, insert_jtd, insert_many, one, row
from tests.tenants import change, set_source, set_tenant
from tests.work import AHEAD, insert_work, pass_time, tick
from tests.worker_calls import Worker, locked, no_triggers, result

VANI = UUID("00000000-0000-0000-0000-000000000001")
ALL_TYPES = ["appointment", "service_visit", "task"]
REMINDED_BY = ["email", "sms", "whatsapp"]
"""The channels of source type appointment_reminder."""
PERSON = {"recipient_data": {"email": "zoe@customer.example", "mobile": "+14155550123"},
          "title": "Check-up", "tenant_name": "Acme"}  # fmt: skip


@pytest.fixture(autouse=True)
def utc(db: psycopg.Connection) -> None:
    db.execute("SET TimeZone = 'UTC'")


@pytest.fixture
def on(db: psycopg.Connection) -> None:
    """VaNi carries out everything of TENANT."""
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)


def in_(db: psycopg.Connection, amount: str) -> datetime:
    moment: datetime = one(db, "SELECT now() + %s::interval", amount)
    return moment


def work(
    db: psycopg.Connection, kind: str = "appointment", at: str | None = "7 days", **columns: Any
) -> UUID:
    given = {"payload": PERSON, "recipient_name": "Zoë", "recipient_contact": None, **columns}
    if at is not None:
        given["scheduled_at"] = in_(db, at)
    return insert_work(db, kind, **given)


def made(db: psycopg.Connection, jtd_id: UUID) -> list[tuple[str, str, str]]:
    """What VaNi sends about some work: step, channel and status, siblings among them."""
    return db.execute(
        "SELECT metadata #>> '{vani,step}', channel_code, status_code FROM public.n_jtd"
        " WHERE metadata #>> '{vani,for}' = %s ORDER BY created_at, metadata #>> '{vani,step}', channel_code",
        (str(jtd_id),),
    ).fetchall()


def status(db: psycopg.Connection, jtd_id: UUID) -> str:
    return str(row(db, jtd_id)["status_code"])


def deliver(db: psycopg.Connection, jtd_id: UUID, step: str = "remind") -> None:
    """Let the messages of a step be sent, as a worker would."""
    db.execute(
        "UPDATE public.n_jtd SET status_code = 'sent' WHERE metadata #>> '{vani,for}' = %s"
        " AND metadata #>> '{vani,step}' = %s AND status_code IN ('queued', 'pending', 'executing')",
        (str(jtd_id), step),
    )


# ---------------------------------------------------------------- off, and on


def test_without_vani_work_waits_for_people(db: psycopg.Connection) -> None:
    appointment = work(db)
    tick(db)
    assert status(db, appointment) == "created"
    assert made(db, appointment) == []


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"vani_enabled": False, "vani_auto_execute_types": ALL_TYPES}, None),
        ({"vani_enabled": True, "vani_auto_execute_types": ["task"]}, None),
        ({"vani_enabled": True, "is_live": False, "vani_auto_execute_types": ALL_TYPES}, None),
        ({"vani_enabled": True, "is_active": False, "vani_auto_execute_types": ALL_TYPES}, None),
        ({"vani_enabled": False}, {"auto_execute": True}),
        ({"vani_enabled": True}, {"auto_execute": False}),
    ],
    ids=["disabled", "another type", "test rows only", "inactive", "source alone", "source not"],
)
def test_a_switch_that_is_not_on_keeps_her_out(
    db: psycopg.Connection, settings: dict[str, Any], source: dict[str, Any] | None
) -> None:
    set_tenant(db, **settings)
    if source is not None:
        set_source(db, source_type_code="appointment_created", **source)
    appointment = work(db)
    tick(db)
    assert (status(db, appointment), made(db, appointment)) == ("created", [])


def test_a_source_may_be_carried_out_alone(db: psycopg.Connection) -> None:
    set_tenant(db, vani_enabled=True)
    set_source(db, source_type_code="appointment_created", auto_execute=True)
    appointment, visit = work(db), work(db, "service_visit")
    tick(db)
    assert (status(db, appointment), status(db, visit)) == ("scheduled", "created")


@pytest.mark.usefixtures("on")
def test_she_schedules_work_and_confirms_it_on_each_channel_of_its_source(db: psycopg.Connection) -> None:
    appointment = work(db)
    tick(db)
    assert status(db, appointment) == "scheduled"
    assert made(db, appointment) == [("confirm", "email", "queued"), ("confirm", "sms", "queued")]
    tick(db)
    assert len(made(db, appointment)) == 2, "once"


@pytest.mark.usefixtures("on")
def test_every_row_of_hers_names_her_and_her_rule(db: psycopg.Connection) -> None:
    appointment = work(db)
    tick(db)
    found = db.execute(
        "SELECT performed_by_type, performed_by_id, performed_by_name, reason FROM public.n_jtd_history"
        " WHERE jtd_id = %s AND to_status_code = 'scheduled'",
        (appointment,),
    ).fetchall()
    rule = "created > scheduled is automatic (vani_auto_execute_types has appointment)"
    assert found == [("vani", VANI, "VaNi", rule)]
    who = "SELECT DISTINCT performed_by_type, performed_by_id FROM public.n_jtd WHERE metadata ? 'vani'"
    assert db.execute(who).fetchall() == [("vani", VANI)]


@pytest.mark.usefixtures("on")
def test_the_tick_does_other_things_under_its_own_name(db: psycopg.Connection) -> None:
    work(db)
    with db.transaction():
        tick(db, 1)
        assert one(db, "SELECT current_setting('jtd.actor', true)") == ""


@pytest.mark.usefixtures("on")
def test_work_of_others_and_test_rows_are_told_apart(db: psycopg.Connection) -> None:
    other, test = work(db, tenant_id=OTHER_TENANT), work(db, is_live=False)
    tick(db)
    assert [status(db, jtd_id) for jtd_id in (other, test)] == ["created", "created"]


@pytest.mark.usefixtures("on")
def test_work_without_a_time_waits(db: psycopg.Connection) -> None:
    appointment, past = work(db, at=None, scheduled_at=None), work(db, at="-1 h")
    tick(db)
    assert [status(db, jtd_id) for jtd_id in (appointment, past)] == ["created", "created"]
    assert made(db, appointment) == made(db, past) == []


# ---------------------------------------------------------------- reminders


@pytest.mark.usefixtures("on")
def test_reminders_go_before_the_time_and_then_it_is_reminded(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    assert made(db, appointment)[2:] == [("remind", channel, "queued") for channel in REMINDED_BY]
    assert status(db, appointment) == "scheduled", "nothing was sent yet"
    deliver(db, appointment)
    tick(db)
    assert status(db, appointment) == "reminded"
    pass_time(db, "22 h")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["confirm"] * 2 + ["remind"] * 6


@pytest.mark.usefixtures("on")
def test_a_reminder_that_was_not_sent_reminds_nobody(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    db.execute("UPDATE public.n_jtd SET status_code = 'failed' WHERE metadata #>> '{vani,step}' = 'remind'")
    tick(db)
    assert status(db, appointment) == "scheduled"


@pytest.mark.usefixtures("on")
def test_what_lies_before_it_was_made_is_not_reminded_of(db: psycopg.Connection) -> None:
    appointment = work(db, at="5 h")
    tick(db)
    pass_time(db, "3 h 1 min")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["confirm"] * 2 + ["remind"] * 3


@pytest.mark.usefixtures("on")
def test_after_an_outage_only_the_last_reminder_goes_and_the_other_is_accounted_for(
    db: psycopg.Connection,
) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "2 days 23 h")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["confirm"] * 2 + ["remind"] * 3
    notes = db.execute(
        "SELECT reason FROM public.n_jtd_history WHERE jtd_id = %s AND action = 'note'", (appointment,)
    ).fetchall()
    assert len(notes) == 1
    assert "too late (reminder 1 day before" in notes[0][0]


@pytest.mark.usefixtures("on")
def test_a_tenant_may_have_other_offsets_or_none(db: psycopg.Connection) -> None:
    set_source(db, source_type_code="appointment_created", reminder_offsets=[timedelta(hours=1)])
    set_source(db, source_type_code="service_scheduled", reminder_offsets=[])
    appointment, visit = work(db), work(db, "service_visit")
    steps = "SELECT rule FROM jtd.vani_steps(ARRAY[%s]) WHERE step = 'remind'"
    assert [rule for (rule,) in db.execute(steps, (appointment,))] == [
        "reminder 01 h before (vani_auto_execute_types has appointment)"
    ]
    assert db.execute(steps, (visit,)).fetchall() == []


@pytest.mark.usefixtures("on")
def test_other_offsets_count_at_once_for_what_lies_ahead(db: psycopg.Connection) -> None:
    set_source(db, source_type_code="appointment_created", reminder_offsets=[timedelta(hours=2)])
    appointment, later = work(db, at="3 days"), work(db, at="4 days")
    tick(db)
    db.execute("UPDATE public.n_jtd_tenant_source_config SET reminder_offsets = '{1 day,2 hours}'")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["confirm"] * 2 + ["remind"] * 3
    db.execute("DELETE FROM public.n_jtd_tenant_source_config")
    db.execute("UPDATE public.n_jtd_source_types SET reminder_offsets = '{1 day 12:00:00}'")
    tick(db)
    pass_time(db, "12 h")
    tick(db)
    assert [step for step, *_ in made(db, later)] == ["confirm"] * 2 + ["remind"] * 3


@pytest.mark.usefixtures("on")
def test_the_same_moment_in_other_words_or_one_that_has_passed_reminds_nobody_again(
    db: psycopg.Connection,
) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    db.execute("SET IntervalStyle = 'iso_8601'")  # in which an offset has another text
    db.execute("UPDATE public.n_jtd_source_types SET reminder_offsets = '{24:00:00,2 days,02:00:00}'")
    tick(db)
    db.execute("UPDATE jtd.work SET next_at = now()")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["confirm"] * 2 + ["remind"] * 3


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("offsets", ["{NULL,1 day}", "{-1 day,0}", "{400000 years}", "{178000000 years}"])
def test_absurd_offsets_stop_neither_her_nor_the_plan(db: psycopg.Connection, offsets: str) -> None:
    db.execute(
        "UPDATE public.n_jtd_source_types SET reminder_offsets = %s WHERE code = 'service_scheduled'",
        (offsets,),
    )
    odd, good = work(db, "service_visit"), work(db)
    tick(db)
    assert (status(db, odd), status(db, good)) == ("scheduled", "scheduled")
    planned = "SELECT count(*) FROM jtd.vani_plan(%s, now(), now() + interval '30 days') WHERE jtd_id = %s"
    assert one(db, planned, TENANT, good) == 6


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("at", ["infinity", "-infinity", "294276-12-31 23:00+00", "9999-12-31 00:00+00",
                                "4713-01-02 00:00+00 BC"])  # fmt: skip
def test_an_absurd_time_stops_neither_her_nor_the_plan(db: psycopg.Connection, at: str) -> None:
    change(db, "timezone = 'Asia/Kolkata'")
    odd = insert_work(db, scheduled_at=at)
    db.execute("SELECT jtd.vani_take(ARRAY[%s])", (odd,))
    good = work(db)
    tick(db)
    assert status(db, good) == "scheduled"
    query = "SELECT count(*) FROM jtd.vani_plan(%s, now(), 'infinity', p_limit => NULL) WHERE jtd_id = %s"
    assert one(db, query, TENANT, good) == 6
    assert "appointment" in one(db, "SELECT sentence FROM jtd.explain(%s)", odd)
    refused = "SELECT count(*) FROM public.n_jtd_history WHERE jtd_id = %s AND action = 'note'"
    assert one(db, refused, odd) == 0


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        # clocks in Berlin go forward on 30 March 2031 and back on 26 October 2031
        ("Europe/Berlin", datetime(2031, 3, 30, 7, 0, tzinfo=UTC), ["2031-03-29 08:00", "2031-03-30 05:00"]),
        ("Europe/Berlin", datetime(2031, 10, 26, 8, 0, tzinfo=UTC), ["2031-10-25 07:00", "2031-10-26 06:00"]),
        ("Asia/Kolkata", datetime(2031, 3, 30, 7, 0, tzinfo=UTC), ["2031-03-29 07:00", "2031-03-30 05:00"]),
    ],
)
def test_a_day_before_is_the_same_hour_in_the_tenants_zone(
    db: psycopg.Connection, zone: str, at: datetime, expected: list[str]
) -> None:
    set_tenant(db, timezone=zone)
    appointment = insert_work(db, scheduled_at=at)
    steps = (
        "SELECT to_char(at, 'YYYY-MM-DD HH24:MI') FROM jtd.vani_steps(ARRAY[%s])"
        " WHERE step = 'remind' ORDER BY at"
    )
    assert [moment for (moment,) in db.execute(steps, (appointment,))] == expected


@pytest.mark.usefixtures("on")
def test_a_message_tells_the_time_as_the_tenants_clock_shows_it(db: psycopg.Connection) -> None:
    change(db, "timezone = 'Asia/Kolkata'")
    appointment = insert_work(db, payload={**PERSON, "appointment_date": "as it was once"})
    tick(db)
    told = (
        "SELECT DISTINCT payload ->> 'appointment_date' FROM public.n_jtd"
        " WHERE metadata #>> '{vani,for}' = %s"
    )
    assert one(db, told, str(appointment)) == "2090-03-04 15:00"


@pytest.mark.usefixtures("on")
def test_messages_keep_quiet_hours_like_all_others(db: psycopg.Connection) -> None:
    change(
        db, "quiet_hours_start = '00:00', quiet_hours_end = '23:59', channels_enabled = '{\"email\": true}'"
    )
    appointment = work(db)
    tick(db)
    reasons = "SELECT DISTINCT transition_note FROM public.n_jtd WHERE metadata #>> '{vani,for}' = %s"
    # between 23:59 and midnight nothing is quiet
    assert one(db, reasons, str(appointment)) in ("quiet_hours", None)


# ---------------------------------------------------------------- moved, closed


def move(db: psycopg.Connection, jtd_id: UUID, amount: str) -> None:
    query = "SELECT jtd.act(%s, 'rescheduled', p_reason => 'he asked', p_scheduled_at => %s)"
    db.execute(query, (jtd_id, in_(db, amount)))


@pytest.mark.usefixtures("on")
def test_when_it_is_moved_the_old_messages_are_cancelled_and_new_ones_planned(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    move(db, appointment, "5 days")
    tick(db)
    assert status(db, appointment) == "scheduled", "rescheduled > scheduled is automatic"
    assert made(db, appointment) == [
        ("confirm", "email", "cancelled"), ("confirm", "sms", "cancelled"),
        ("confirm", "email", "queued"), ("confirm", "sms", "queued"),
    ]  # fmt: skip
    pass_time(db, "2 days 1 min")
    tick(db)
    assert len(made(db, appointment)) == 4, "no reminder for the old time"
    pass_time(db, "2 days")
    tick(db)
    assert [step for step, *_ in made(db, appointment)][4:] == ["remind"] * 3


@pytest.mark.usefixtures("on")
def test_moved_there_and_back_it_is_reminded_of_all_the_same(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    move(db, appointment, "5 days")
    tick(db)
    move(db, appointment, "3 days")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    assert ("remind", "email", "queued") in made(db, appointment)


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("end", ["cancelled", "no_show", "completed"])
def test_no_message_outlives_its_work(db: psycopg.Connection, end: str) -> None:
    appointment = work(db)
    tick(db)
    db.execute("SELECT jtd.act(%s, %s, p_reason => 'ill')", (appointment, end))
    tick(db)
    assert {state for *_, state in made(db, appointment)} == {"cancelled"}
    assert one(db, "SELECT next_at FROM jtd.work WHERE jtd_id = %s", appointment) is None
    reason = (
        "SELECT DISTINCT performed_by_type FROM public.n_jtd_history"
        " WHERE to_status_code = 'cancelled' AND jtd_id <> %s"
    )
    assert one(db, reason, appointment) == "vani"


@pytest.mark.usefixtures("on")
def test_what_somebody_holds_is_cancelled_as_soon_as_he_lets_go(db: psycopg.Connection, dsn: str) -> None:
    appointment = work(db)
    tick(db)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM public.n_jtd WHERE metadata ? 'vani' FOR UPDATE")
        db.execute("SELECT jtd.act(%s, 'cancelled', p_reason => 'ill')", (appointment,))
        tick(db)
        assert {state for *_, state in made(db, appointment)} == {"queued"}
    db.execute("UPDATE jtd.work SET next_at = now()")  # a second later
    tick(db)
    assert {state for *_, state in made(db, appointment)} == {"cancelled"}


@pytest.mark.usefixtures("on")
def test_who_holds_one_row_keeps_nobody_else_waiting(db: psycopg.Connection, dsn: str) -> None:
    held, free = work(db), work(db)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM public.n_jtd WHERE id = %s FOR UPDATE", (held,))
        tick(db)
        assert (status(db, held), status(db, free)) == ("created", "scheduled")


@pytest.mark.usefixtures("on")
def test_given_to_somebody_else_it_is_told_to_him_alone(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days", recipient_id=USER)
    tick(db)
    db.execute("UPDATE public.n_jtd SET recipient_id = %s WHERE id = %s", (uuid4(), appointment))
    tick(db)
    assert made(db, appointment) == [
        ("confirm", "email", "cancelled"), ("confirm", "sms", "cancelled"),
        ("confirm", "email", "queued"), ("confirm", "sms", "queued"),
    ]  # fmt: skip


@pytest.mark.usefixtures("on")
def test_a_message_that_was_on_its_way_when_it_was_moved_is_not_sent_again(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    worker = Worker(db)
    [job] = worker.claim("jtd_email")
    worker.hand_off(job)
    move(db, appointment, "5 days")
    tick(db)
    worker.settle(result(job, "retry", delay_seconds=300, error_code="busy"))
    assert row(db, job.id)["status_code"] == "pending"
    tick(db)
    assert row(db, job.id)["status_code"] == "cancelled"


@pytest.mark.usefixtures("on")
def test_who_holds_the_job_that_carries_a_stale_message_holds_up_no_tick(
    db: psycopg.Connection, dsn: str
) -> None:
    appointment, other = work(db), work(db, tenant_id=OTHER_TENANT)
    tick(db)
    carrier = insert_jtd(db)
    db.execute(
        "UPDATE public.n_jtd SET status_code = 'pending', carrier_id = %s WHERE metadata ? 'vani'", (carrier,)
    )
    set_tenant(db, tenant_id=OTHER_TENANT, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)
    with locked(dsn, carrier):
        db.execute("SELECT jtd.act(%s, 'cancelled', p_reason => 'ill')", (appointment,))
        db.execute("SET lock_timeout = '3s'")
        tick(db)
        assert status(db, other) == "scheduled"
        assert {state for *_, state in made(db, appointment)} == {"pending"}
    db.execute("UPDATE jtd.work SET next_at = now()")  # a second later
    tick(db)
    assert {state for *_, state in made(db, appointment)} == {"cancelled"}


@pytest.mark.usefixtures("on")
def test_no_message_outlives_work_that_was_deleted(db: psycopg.Connection, dsn: str) -> None:
    appointment = work(db)
    tick(db)
    sent = [jtd_id for (jtd_id,) in db.execute("SELECT id FROM public.n_jtd WHERE metadata ? 'vani'")]
    with locked(dsn, sent[0]):
        db.execute("DELETE FROM public.n_jtd WHERE id = %s", (appointment,))
        tick(db)
        assert sorted(state for *_, state in made(db, appointment)) == ["cancelled", "queued"]
    tick(db)
    assert {state for *_, state in made(db, appointment)} == {"cancelled"}
    assert one(db, "SELECT count(*) FROM jtd.vani_wakes") == 0


@pytest.mark.usefixtures("on")
def test_work_that_went_without_triggers_is_forgotten(db: psycopg.Connection) -> None:
    appointments = [work(db) for _ in range(60)]
    tick(db)
    with no_triggers(db):
        db.execute("DELETE FROM public.n_jtd WHERE id = ANY (%s)", (appointments,))
    db.execute("UPDATE jtd.work SET next_at = now()")
    tick(db)
    assert one(db, "SELECT count(*) FROM jtd.work") == 0
    assert {state for *_, state in made(db, appointments[0])} == {"cancelled"}


@pytest.mark.usefixtures("on")
def test_work_that_is_brought_here_is_not_confirmed_and_is_reminded_of(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days", status_code="scheduled")
    tick(db)
    assert made(db, appointment) == []
    pass_time(db, "2 days 1 min")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["remind"] * 3


@pytest.mark.usefixtures("on")
def test_a_message_that_was_deleted_is_not_made_again(db: psycopg.Connection) -> None:
    appointment = work(db)
    tick(db)
    db.execute("DELETE FROM public.n_jtd WHERE metadata ? 'vani'")
    db.execute("UPDATE jtd.work SET next_at = now()")
    tick(db)
    assert made(db, appointment) == []


# ---------------------------------------------------------------- people's steps


@pytest.mark.usefixtures("on")
def test_she_never_confirms_completes_or_says_that_somebody_did_not_come(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 h")
    tick(db)
    for amount in ("1 h 1 min", "2 h", "10 days"):
        pass_time(db, amount)
        tick(db)
    assert status(db, appointment) == "scheduled"


@pytest.mark.usefixtures("on")
def test_a_confirmed_appointment_begins_at_its_time(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 h")
    tick(db)
    db.execute("SELECT jtd.act(%s, 'confirmed')", (appointment,))
    pass_time(db, "3 h 1 min")
    tick(db)
    assert status(db, appointment) == "in_progress"
    assert history(db, appointment)[-1] == Step("status_changed", "confirmed", "in_progress", True)
    pass_time(db, "10 days")
    tick(db)
    assert status(db, appointment) == "in_progress"


@pytest.mark.usefixtures("on")
def test_an_edge_that_its_owner_takes_from_her_is_a_persons(db: psycopg.Connection) -> None:
    db.execute("UPDATE public.n_jtd_status_flows SET is_automatic = false")
    appointment = work(db)
    tick(db)
    assert status(db, appointment) == "created"


@pytest.mark.usefixtures("on")
def test_of_two_edges_that_are_due_she_takes_one(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO public.n_jtd_status_flows (event_type_code, from_status_id, to_status_id, is_automatic)"
        " SELECT 'appointment', a.id, b.id, true FROM public.n_jtd_statuses AS a, public.n_jtd_statuses AS b"
        " WHERE (a.event_type_code, a.code) = ('appointment', 'scheduled')"
        " AND (b.event_type_code, b.code) = ('appointment', 'in_progress')"
    )
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    deliver(db, appointment)
    pass_time(db, "1 day")
    tick(db)
    db.execute("UPDATE jtd.work SET next_at = now()")
    tick(db)
    assert status(db, appointment) == "in_progress"
    assert all(step.valid for step in history(db, appointment))


@pytest.mark.usefixtures("on")
def test_who_has_a_task_is_told_in_the_product_and_so_is_the_next(db: psycopg.Connection) -> None:
    task = work(db, "task", at=None, recipient_id=USER)
    tick(db)
    assert status(db, task) == "pending"
    assert made(db, task) == [("tell", "inapp", "queued")]
    db.execute("UPDATE public.n_jtd SET recipient_id = %s WHERE id = %s", (uuid4(), task))
    tick(db)
    assert made(db, task) == [("tell", "inapp", "cancelled"), ("tell", "inapp", "queued")]


# ---------------------------------------------------------------- switching


def test_switched_on_she_takes_up_what_lies_ahead_and_repeats_nothing(db: psycopg.Connection) -> None:
    set_tenant(db)
    appointment = work(db, at="3 days")
    tick(db)
    pass_time(db, "1 h")
    change(db, f"vani_enabled = true, vani_auto_execute_types = '{{{','.join(ALL_TYPES)}}}'")
    tick(db)
    assert status(db, appointment) == "scheduled"
    assert made(db, appointment) == [], "its confirmation was a person's"
    pass_time(db, "1 day 23 h 1 min")
    tick(db)
    assert [step for step, *_ in made(db, appointment)] == ["remind"] * 3
    change(db, "vani_enabled = false")
    pass_time(db, "22 h")
    tick(db)
    assert len(made(db, appointment)) == 3, "off at once"
    change(db, "vani_enabled = true")
    tick(db)
    assert len(made(db, appointment)) == 3, "and nothing is made up for"


def test_other_changes_of_the_settings_leave_the_switch_as_it_is(db: psycopg.Connection) -> None:
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=["task"])
    since = one(db, "SELECT vani_since FROM public.n_jtd_tenant_config")
    change(db, "daily_limit = 5, vani_since = '{}', vani_auto_execute_types = '{task,appointment}'")
    after = one(db, "SELECT vani_since FROM public.n_jtd_tenant_config")
    assert {key: after[key] for key in since} == since
    assert set(after) == {"", "task", "appointment"}


def test_work_that_was_made_while_she_was_being_switched_on_is_taken_up(
    db: psycopg.Connection, dsn: str
) -> None:
    with psycopg.connect(dsn) as other:
        set_tenant(other, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)
        appointment = work(db, at="3 days")
        tick(db)
        other.commit()
    tick(db)
    assert status(db, appointment) == "scheduled"


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.usefixtures("on")
def test_in_a_copy_of_the_database_she_does_nothing(db: psycopg.Connection) -> None:
    appointment = work(db)
    db.execute("UPDATE jtd.instance SET database_oid = 1")
    tick(db)
    assert (status(db, appointment), made(db, appointment)) == ("created", [])


@pytest.mark.usefixtures("on")
def test_no_channel_is_said_once_and_holds_up_nothing(db: psycopg.Connection) -> None:
    set_source(db, source_type_code="appointment_created", channels_enabled=[])
    appointment = work(db)
    tick(db, 5)
    soon = "SELECT count(*) FROM jtd.work WHERE next_at < now() + interval '1 day'"
    assert one(db, soon) == 0, "nobody looks again and again at what cannot be sent"
    db.execute("UPDATE jtd.work SET next_at = now()")
    tick(db)
    notes = "SELECT count(*) FROM public.n_jtd_history WHERE jtd_id = %s AND action = 'note'"
    assert (status(db, appointment), made(db, appointment), one(db, notes, appointment)) == (
        "scheduled",
        [],
        1,
    )


@pytest.mark.usefixtures("on")
def test_a_missing_address_is_a_failed_message_that_says_so(db: psycopg.Connection) -> None:
    appointment = work(db, payload={"title": "Check-up"})
    tick(db)
    assert made(db, appointment) == [("confirm", "email", "failed")]


@pytest.mark.usefixtures("on")
def test_one_bad_row_does_not_stop_the_others(db: psycopg.Connection) -> None:
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT odd"
        " CHECK (NOT (tags @> '{odd}' AND status_code = 'scheduled'))"
    )
    odd, good = work(db, tags=["odd"]), [work(db) for _ in range(5)]
    tick(db)
    assert status(db, odd) == "created"
    assert {status(db, jtd_id) for jtd_id in good} == {"scheduled"}
    notes = "SELECT reason FROM public.n_jtd_history WHERE jtd_id = %s AND action = 'note'"
    assert "VaNi cannot take her step" in one(db, notes, odd)
    assert one(db, "SELECT next_at - now() > interval '50 min' FROM jtd.work WHERE jtd_id = %s", odd)


@pytest.mark.usefixtures("on")
def test_a_message_that_takes_no_change_does_not_stop_the_tick(db: psycopg.Connection) -> None:
    odd, good = work(db, recipient_name="Odd"), work(db)
    tick(db)
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT odd"
        " CHECK (NOT (recipient_name = 'Odd' AND channel_code IS NOT NULL AND status_code = 'cancelled'))"
    )
    for jtd_id in (odd, good):
        db.execute("SELECT jtd.act(%s, 'cancelled', p_reason => 'ill')", (jtd_id,))
    tick(db)
    assert {state for *_, state in made(db, good)} == {"cancelled"}


@pytest.mark.usefixtures("on")
def test_who_holds_many_rows_does_not_keep_others_from_being_reminded(
    db: psycopg.Connection, dsn: str
) -> None:
    *held, free = [work(db, at="3 days") for _ in range(61)]
    tick(db)
    pass_time(db, "2 days 1 min")
    tick(db)
    for jtd_id in (*held, free):
        deliver(db, jtd_id)
    with locked(dsn, *held):
        tick(db)
        assert status(db, free) == "reminded"
    db.execute("UPDATE jtd.work SET next_at = now()")  # a second later
    tick(db)
    assert {status(db, jtd_id) for jtd_id in held} == {"reminded"}


@pytest.mark.usefixtures("on")
def test_work_of_one_great_statement_does_not_delay_that_of_others(db: psycopg.Connection) -> None:
    set_tenant(db, tenant_id=OTHER_TENANT, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)
    insert_many(db, 1500, event_type_code="task", source_type_code="manual", channel_code=None)
    first = "(SELECT min(next_at) FROM jtd.work)"
    assert one(db, f"SELECT count(*) FROM jtd.work WHERE next_at = {first}") == 1000
    assert one(db, f"SELECT max(next_at) - {first} FROM jtd.work") == timedelta(seconds=1)
    # as if the first had been looked at, and the rest had a while yet
    db.execute("UPDATE jtd.work SET next_at = next_at + interval '1 min'")
    appointment = work(db, tenant_id=OTHER_TENANT)
    tick(db, 1)
    assert status(db, appointment) == "scheduled"


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(
    "payload", ["[1]", "7", '{"title": {"a": 1}, "recipient_data": 7, "attachments": 3}']
)
def test_odd_payloads_stop_nothing(db: psycopg.Connection, payload: str) -> None:
    odd = work(db)
    db.execute("UPDATE public.n_jtd SET payload = %s, metadata = '[1]' WHERE id = %s", (payload, odd))
    tick(db)
    assert (status(db, odd), made(db, odd)) == ("scheduled", [("confirm", "email", "failed")])


@pytest.mark.usefixtures("on")
def test_a_message_that_a_producer_forges_is_none_of_hers(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    forged = insert_jtd(db, metadata={"vani": {"for": str(appointment), "step": "remind", "move": 0}})
    db.execute("UPDATE public.n_jtd SET status_code = 'sent' WHERE id = %s", (forged,))
    insert_jtd(db, metadata={"vani": {"for": "nonsense", "step": "remind"}})
    insert_jtd(db, metadata={"vani": 7})
    tick(db)
    assert status(db, appointment) == "scheduled"


@pytest.mark.usefixtures("on")
def test_a_deleted_piece_of_work_is_forgotten(db: psycopg.Connection) -> None:
    appointment = work(db)
    tick(db)
    db.execute("DELETE FROM public.n_jtd WHERE id = %s", (appointment,))
    tick(db)
    assert one(db, "SELECT count(*) FROM jtd.work") == 0
    assert one(db, "SELECT count(*) FROM jtd.conservation() WHERE NOT sound") == 0


def test_ahead_of_every_test(db: psycopg.Connection) -> None:
    assert one(db, "SELECT now()") < AHEAD
    assert TENANT != OTHER_TENANT
