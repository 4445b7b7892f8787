"""What VaNi will do and has done: computed from what decides, so that plan and deed are one."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from tests.command import call
from tests.jobs import OTHER_TENANT, TENANT, USER, insert_jtd, one, row
from tests.tenants import ALL_ON, change, set_source, set_tenant
from tests.test_vani import ALL_TYPES, PERSON, VANI, deliver, in_, made, move, work
from tests.work import pass_time, tick


@pytest.fixture(autouse=True)
def utc(db: psycopg.Connection) -> None:
    db.execute("SET TimeZone = 'UTC'")


@pytest.fixture
def on(db: psycopg.Connection) -> None:
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)


def plan(db: psycopg.Connection, days: int = 30, tenant: UUID = TENANT) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        query = "SELECT * FROM jtd.vani_plan(%s, now() - interval '1 min', now() + %s * interval '1 day')"
        return cursor.execute(query, (tenant, days)).fetchall()


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, str | None]]:
    return [(found["step"], found["channel"], found["stop"]) for found in rows]


def done(db: psycopg.Connection, columns: str = "step, channel, outcome") -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM jtd.vani_done WHERE tenant_id = %s ORDER BY at, step, channel"
    return db.execute(query.encode(), (TENANT,)).fetchall()


REMINDERS = [("remind", "email", None), ("remind", "sms", None), ("remind", "whatsapp", None)] * 2


@pytest.mark.usefixtures("on")
def test_the_plan_tells_each_step_with_its_channels_time_and_rule(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    first = plan(db)
    assert brief(first) == [
        ("confirm", "email", None), ("confirm", "sms", None), ("walk", None, None), *REMINDERS,
    ]  # fmt: skip
    assert {(found["jtd_id"], found["kind"], found["title"], found["for_whom"]) for found in first} == {
        (appointment, "appointment", "Check-up", "Zoë")
    }
    tick(db)
    after = plan(db)
    assert brief(after) == REMINDERS
    at = row(db, appointment)["scheduled_at"]
    assert {found["at"] for found in after} == {at - timedelta(days=1), at - timedelta(hours=2)}
    assert after[0]["rule"] == "reminder 1 day before (vani_auto_execute_types has appointment)"
    assert after[0]["expected_at"] == after[0]["at"]


def test_a_tenant_without_vani_sees_what_she_would_do(db: psycopg.Connection) -> None:
    set_tenant(db)
    work(db, at="3 days")
    tick(db)
    assert {stop for *_, stop in brief(plan(db))} == {"vani_off"}
    assert brief(plan(db))[0][:2] == ("remind", "email")


@pytest.mark.usefixtures("on")
def test_the_plan_shows_only_the_time_and_the_tenant_asked_for(db: psycopg.Connection) -> None:
    work(db, at="3 days")
    work(db, at="20 days")
    tick(db)
    assert len(plan(db, days=10)) == 6
    assert len(plan(db, days=30)) == 12
    assert plan(db, tenant=OTHER_TENANT) == []
    assert one(db, "SELECT count(*) FROM jtd.vani_plan WHERE tenant_id = %s", TENANT) == 12


@pytest.mark.usefixtures("on")
def test_a_plan_is_read_in_pages_by_time(db: psycopg.Connection) -> None:
    for days in (3, 4, 5):
        work(db, at=f"{days} days")
    tick(db)
    query = "SELECT DISTINCT at FROM jtd.vani_plan(%s, %s, now() + interval '30 days', true, %s) ORDER BY at"
    every = [at for (at,) in db.execute(query, (TENANT, in_(db, "0"), None))]
    first = [at for (at,) in db.execute(query, (TENANT, in_(db, "0"), 3))]
    rest = [at for (at,) in db.execute(query, (TENANT, first[-1] + timedelta(seconds=1), 9))]
    assert (len(every), first + rest) == (6, every)


def _suppressed(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO public.n_jtd_suppressions (tenant_id, channel_code, recipient, kind)"
        " VALUES (%s, 'email', 'zoe@customer.example', 'bounce')",
        (TENANT,),
    )


def _paused(db: psycopg.Connection) -> None:
    db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", (TENANT,))


def _no_address(db: psycopg.Connection) -> None:
    db.execute(
        "UPDATE public.n_jtd SET payload = payload - 'recipient_data' WHERE event_type_code = 'appointment'"
    )


def _quiet(db: psycopg.Connection) -> None:
    change(db, "quiet_hours_start = '00:00', quiet_hours_end = '00:01'")
    change(db, "quiet_hours_start = '00:01', quiet_hours_end = '00:00'")


@pytest.mark.parametrize(
    ("hinder", "stop"),
    [
        (_suppressed, "blocked_suppressed"),
        (_paused, "tenant_paused"),
        (_no_address, "no_address"),
        (_quiet, "quiet_hours"),
        (lambda db: change(db, "channels_enabled = '{}'"), "blocked_channel_disabled"),
        (lambda db: db.execute("SELECT jtd.pause('email', 'x')"), "channel_paused"),
        (lambda db: set_source(db, source_type_code="appointment_reminder", channels_enabled=[]),
         "no_channel"),
        (lambda db: set_source(db, source_type_code="appointment_reminder", is_enabled=False),
         "blocked_source_disabled"),
    ],
    ids=["suppressed", "paused", "no address", "quiet hours", "switch", "channel", "no channel", "source"],
)  # fmt: skip
@pytest.mark.usefixtures("on")
def test_the_plan_names_what_stands_in_the_way(db: psycopg.Connection, hinder: Any, stop: str) -> None:
    work(db, at="3 days")
    tick(db)
    hinder(db)
    first = plan(db)[0]
    assert first["stop"] == stop
    if stop == "quiet_hours":
        assert first["at"] < first["expected_at"] < first["at"] + timedelta(days=1)


@pytest.mark.usefixtures("on")
def test_the_plan_knows_that_a_source_waits_before_it_sends(db: psycopg.Connection) -> None:
    set_source(db, source_type_code="appointment_reminder", delay_seconds=3600, batch_window_seconds=600)
    work(db, at="3 days")
    tick(db)
    rows = plan(db)
    assert {found["expected_at"] - found["at"] for found in rows} == {timedelta(minutes=70)}
    db.execute("UPDATE public.n_jtd_tenant_source_config SET delay_seconds = 7000")
    assert {found["expected_at"] - found["at"] for found in plan(db)[3:]} == {timedelta(seconds=7000)}
    db.execute("UPDATE public.n_jtd_tenant_source_config SET delay_seconds = 7201")
    assert [found["stop"] for found in plan(db)] == [None] * 3 + ["expires"] * 3
    pass_time(db, "2 days 1 min")
    tick(db)
    waits = (
        "SELECT DISTINCT round(extract(epoch FROM next_retry_at - now())) FROM public.n_jtd"
        " WHERE event_type_code = 'reminder'"
    )
    assert 7790 <= one(db, waits) <= 7801, "so does the deed"


# ---------------------------------------------------------------- done


@pytest.mark.usefixtures("on")
def test_what_was_done_tells_the_step_the_rule_and_what_became_of_it(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    deliver(db, appointment, "confirm")
    assert done(db) == [("confirm", "email", "sent"), ("confirm", "sms", "sent"), ("scheduled", None, "done")]
    assert {rule for (rule,) in done(db, "rule")} == {
        "created > scheduled is automatic (vani_auto_execute_types has appointment)",
        "it has a time, and its person is told (vani_auto_execute_types has appointment)",
    }


@pytest.mark.usefixtures("on")
def test_what_did_not_come_to_pass_names_the_change(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    move(db, appointment, "5 days")
    tick(db)
    why = "its work was closed, moved, or given to another person"
    assert [found for found in done(db, "outcome, why") if found[0] == "cancelled"] == [
        ("cancelled", why)
    ] * 2


@pytest.mark.usefixtures("on")
def test_no_contact_is_shown(db: psycopg.Connection) -> None:
    work(db, at="3 days")
    tick(db)
    assert "customer.example" not in str(plan(db)) + str(done(db, "*"))


# ---------------------------------------------------------------- plan and deed


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Kiritimati", "Asia/Kathmandu"]),
    offsets=st.lists(st.sampled_from(["1 day", "2 hours", "3 days", "90 min", "1 day 2 hours"]), max_size=3),
    channels=st.sets(st.sampled_from(["email", "sms", "whatsapp"])),
    hours=st.lists(st.integers(1, 120), min_size=1, max_size=3),
    reachable=st.sampled_from([PERSON, {"recipient_data": {"email": "zoe@customer.example"}}, {}]),
)
def test_what_is_planned_is_what_happens(
    db: psycopg.Connection,
    zone: str,
    offsets: list[str],
    channels: set[str],
    hours: list[int],
    reachable: Any,
) -> None:
    db.execute("TRUNCATE public.n_jtd, public.n_jtd_history, jtd.work, public.n_jtd_tenant_config,"
               " public.n_jtd_tenant_source_config, jtd.waiting, jtd.ready, jtd.vani_wakes")  # fmt: skip
    set_tenant(db, timezone=zone, vani_enabled=True, vani_auto_execute_types=ALL_TYPES,
               channels_enabled={channel: channel in channels for channel in ALL_ON})  # fmt: skip
    db.execute(
        "INSERT INTO public.n_jtd_tenant_source_config (tenant_id, source_type_code, reminder_offsets)"
        " VALUES (%s, 'appointment_created', %s::interval[])",
        (TENANT, offsets),
    )
    ids = [work(db, at=f"{n} h", payload={**reachable, "tenant_name": "Acme"}) for n in hours]
    planned = plan(db)
    now: datetime = in_(db, "0")
    passed = timedelta()
    for moment in sorted({found["at"] for found in planned}):
        step = max(moment - now - passed, timedelta()) + timedelta(seconds=1)
        pass_time(db, f"{step.total_seconds()} s")
        passed += step
        tick(db, 2)
    messages = {
        (jtd_id, step, channel): state
        for jtd_id in ids
        for step, channel, state in db.execute(
            "SELECT (metadata #>> '{vani,step}') || (metadata #>> '{vani,rule}'), channel_code, status_code"
            " FROM public.n_jtd WHERE metadata #>> '{vani,for}' = %s",
            (str(jtd_id),),
        ).fetchall()
    }
    sendable = {
        (found["jtd_id"], found["step"] + found["rule"], found["channel"])
        for found in planned
        if found["channel"] and found["stop"] is None
    }
    stopped = {
        (found["jtd_id"], found["step"] + found["rule"], found["channel"])
        for found in planned
        if found["channel"] and found["stop"] is not None
    }
    assert sendable <= messages.keys()
    assert messages.keys() <= sendable | stopped
    assert {messages[key] for key in sendable} <= {"queued", "pending"}
    for key in stopped & messages.keys():  # what it was told about it is what stops it
        assert messages[key] == "failed" or _verdict(db, key) != "send"


def _verdict(db: psycopg.Connection, key: tuple[UUID, str, str]) -> str:
    query = (
        "SELECT g.verdict FROM public.n_jtd AS j CROSS JOIN LATERAL jtd.gate(ARRAY[j.id]) AS g"
        " WHERE j.metadata #>> '{vani,for}' = %s AND j.channel_code = %s"
        " AND (j.metadata #>> '{vani,step}') || (j.metadata #>> '{vani,rule}') = %s"
    )
    return str(one(db, query, str(key[0]), key[2], key[1]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    quiet=st.tuples(st.integers(0, 23), st.integers(0, 23)),
    channels=st.sets(st.sampled_from(["email", "sms"])),
    suppressed=st.sampled_from([None, "bounce", "complaint", "opt_out"]),
    source_on=st.booleans(),
    paused=st.sampled_from([None, "tenant", "source", "channel"]),
    hours=st.integers(0, 72),
)
def test_what_is_foreseen_is_what_the_gate_says_then(
    db: psycopg.Connection, zone: str, quiet: tuple[int, int], channels: set[str], suppressed: str | None,
    source_on: bool, paused: str | None, hours: int,
) -> None:  # fmt: skip
    with db.transaction(force_rollback=True):
        set_tenant(db, timezone=zone, quiet_hours_start=f"{quiet[0]}:00", quiet_hours_end=f"{quiet[1]}:30",
                   channels_enabled={channel: channel in channels for channel in ALL_ON})  # fmt: skip
        set_source(db, source_type_code="appointment_reminder", is_enabled=source_on)
        if suppressed:
            db.execute(
                "INSERT INTO public.n_jtd_suppressions (tenant_id, channel_code, recipient, kind)"
                " VALUES (%s, 'email', 'zoe@customer.example', %s)",
                (TENANT, suppressed),
            )
        if paused == "tenant":
            db.execute("SELECT jtd.pause_tenant(%s, 'x')", (TENANT,))
        elif paused == "source":
            db.execute("SELECT jtd.pause_source('appointment_reminder', 'x')")
        elif paused == "channel":
            db.execute("SELECT jtd.pause('email', 'x')")
        message = insert_jtd(
            db, event_type_code="reminder", source_type_code="appointment_reminder", template_key=None,
            scheduled_at=in_(db, "80 h"), recipient_contact="zoe@customer.example", recipient_id=USER,
        )  # fmt: skip
        at = in_(db, f"{hours} h")
        said = db.execute(
            "SELECT reason, until IS NULL FROM jtd.gate(ARRAY[%s], %s)", (message, at)
        ).fetchone()
        foreseen = db.execute(
            "SELECT reason, until IS NULL"
            " FROM jtd.foresee(%s, true, 'reminder', 'appointment_reminder', 'email',"
            " 'zoe@customer.example', %s, %s)",
            (TENANT, USER, at),
        ).fetchone()
        assert foreseen == said


# ---------------------------------------------------------------- explain, and the commands


@pytest.mark.usefixtures("on")
def test_explain_tells_what_she_does_next(db: psycopg.Connection) -> None:
    appointment = work(db, at="3 days")
    tick(db)
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", appointment)
    assert "waits for a person to take the next step; VaNi does of herself: reminder 1 day before" in sentence
    change(db, "vani_enabled = false")
    assert "VaNi" not in one(db, "SELECT sentence FROM jtd.explain(%s)", appointment)


@pytest.mark.usefixtures("on")
def test_the_commands_show_plan_and_done(db: psycopg.Connection, dsn: str) -> None:
    assert "plans nothing" in call(dsn, "vani", "plan", "--tenant", str(TENANT)).out
    appointment = work(db, at="3 days")
    tick(db)
    shown = call(dsn, "vani", "plan", "--tenant", str(TENANT), COLUMNS="200").out
    assert "reminder 1 day before" in shown
    document = json.loads(call(dsn, "vani", "done", "--tenant", str(TENANT), "--json").out)
    assert {found["outcome"] for found in document} == {"queued", "done"}
    assert {found["work"] for found in document} == {str(appointment)}
    assert "confirm" in call(dsn, "vani", "done", "--tenant", str(TENANT), COLUMNS="200").out
    assert "did nothing" in call(dsn, "vani", "done", "--tenant", str(OTHER_TENANT)).out


def test_only_the_operator_may_ask_for_a_plan(db: psycopg.Connection) -> None:
    may = (
        "SELECT has_function_privilege("
        "%s, 'jtd.vani_plan(uuid, timestamptz, timestamptz, boolean, integer)', 'execute')"
    )
    assert one(db, may, "jtd_operator") is True
    assert one(db, may, "jtd_producer") is False
    assert made(db, VANI) == []
