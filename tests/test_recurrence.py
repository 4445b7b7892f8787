"""Jobs that recur: the next is made when the last is due, once, and a series ends with a word why."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.command import call
from tests.jobs import TENANT, insert_jtd, insert_many, listed, one, places, row, whereabouts
from tests.series import go_on, insert_series, jobs, latest, look, recur
from tests.work import insert_work
from tests.worker_calls import Worker, locked, move, no_triggers

BEFORE = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
"""When the first job of a series is due, unless said otherwise."""
AHEAD = datetime(2090, 3, 4, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


def begin(db: psycopg.Connection, recurrence: str = "FREQ=DAILY", **columns: Any) -> Any:
    return insert_series(db, recurrence, **{"scheduled_at": BEFORE, **columns})


def remarks(db: psycopg.Connection, jtd_id: Any) -> list[str]:
    rows = db.execute(
        "SELECT reason FROM n_jtd_history WHERE jtd_id = %s AND action = 'series' ORDER BY id", [jtd_id]
    )
    return [found[0] for found in rows.fetchall()]


def ended(db: psycopg.Connection, series: Any) -> str | None:
    reason: str | None = one(db, "SELECT ended FROM jtd.recurring WHERE series_id = %s", series)
    return reason


def attention(db: psycopg.Connection) -> list[Any]:
    return [found[0] for found in db.execute("SELECT id FROM jtd.attention('series_ended')").fetchall()]


# What is accepted


def test_a_job_with_a_recurrence_begins_a_series(db: psycopg.Connection) -> None:
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, timezone) VALUES (%s, 'Europe/Berlin')", [TENANT])
    series = insert_series(db, "FREQ=WEEKLY", scheduled_at=AHEAD)
    job = row(db, series)
    assert (job["series_id"], job["occurrence"], job["recurrence_zone"]) == (series, 1, "Europe/Berlin")
    assert job["occurs_at"] == job["series_start"] == job["scheduled_at"]
    assert one(db, "SELECT next_look FROM jtd.recurring WHERE jtd_id = %s", series) == AHEAD
    assert (
        row(db, insert_series(db, "FREQ=DAILY", scheduled_at=AHEAD, recurrence_zone="Asia/Tokyo"))[
            "recurrence_zone"
        ]
        == "Asia/Tokyo"
    )


@pytest.mark.parametrize("event_type", ["notification", "payment", "document"])
def test_what_does_not_recur_is_refused(db: psycopg.Connection, event_type: str) -> None:
    with pytest.raises(psycopg.Error, match="recurrence of event type") as caught:
        begin(db, event_type_code=event_type)
    assert caught.value.sqlstate == "JT015"
    assert "reminder, service_visit" in str(caught.value.diag.message_hint)


@pytest.mark.parametrize(
    ("recurrence", "words"),
    [
        ("", "none of RRULE"),
        ("FREQ=SECONDLY", "shortest interval"),
        ("FREQ=DAILY;BYSECOND=1,2", "shortest interval"),
        ("FREQ=DAILY;BYEASTER=1", "Easter"),
        ("INTERVAL=2", "none of RRULE"),
        ("RRULE:INTERVAL=2", "FREQ is missing"),
        ("FREQ=DAILY;FREQ=WEEKLY", "FREQ is there twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=1000", "INTERVAL"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;COUNT=100000", "COUNT"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20300101", "exclude each other"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
        ("FREQ=WEEKLY;BYDAY=1MO", "MONTHLY and YEARLY"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY"),
        ("FREQ=HOURLY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=DAILY;X-MINE=1", "NAME=VALUE"),
        ("FREQ=DAILY;MINE=1", "MINE"),
        ("FREQ=DAILY;", "NAME=VALUE"),
        ("FREQ=DAILY\nRRULE:FREQ=WEEKLY", "one rule"),
        ("EXDATE:20300101T090000", "one rule"),
        ("DTSTART:20300101T090000\nRRULE:FREQ=DAILY", "scheduled_at"),
        ("FREQ=DAILY\nEXDATE:2030-01-01", "EXDATE"),
        ("FREQ=DAILY\nRDATE;VALUE=DATE:20300101", "EXDATE or RDATE"),
        ("FREQ=DAILY;COUNT=2\nRDATE:20300101T090000", "COUNT does not count RDATE"),
        ("FREQ=DAILY\nEXDATE:" + ",".join(["20300101T090000"] * 300), "4000"),
        ("every day", "none of RRULE"),
    ],
)
def test_a_mistake_in_a_recurrence_is_refused_in_words(
    db: psycopg.Connection, recurrence: str, words: str
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        begin(db, recurrence)
    assert caught.value.sqlstate == "JT016"
    assert words in str(caught.value.diag.message_primary)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"scheduled_at": None}, "scheduled_at is missing"),
        ({"scheduled_at": "infinity"}, "out of range"),
        ({"recurrence_zone": "Mars/Olympus"}, "recurrence_zone"),
        ({"recurrence_zone": "x y"}, "recurrence_zone"),
    ],
)
def test_a_series_needs_a_start_and_a_zone(db: psycopg.Connection, columns: Any, words: str) -> None:
    with pytest.raises(psycopg.Error, match=words) as caught:
        begin(db, **columns)
    assert caught.value.sqlstate == "JT016"


def test_rows_without_a_recurrence_and_imports_begin_no_series(db: psycopg.Connection) -> None:
    insert_many(db, 3)
    begin(db, status_code="sent", recurrence="no rule at all")
    key = {"idempotency_key": "once"}
    insert_jtd(db, **key)
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, scheduled_at,"
        " recurrence, idempotency_key)"
        " VALUES (%s, 'reminder', 'payment_due', 'email', now(), 'FREQ=DAILY', 'once')"
        " ON CONFLICT DO NOTHING",
        [TENANT],
    )
    assert one(db, "SELECT count(*) FROM jtd.recurring") == 0


# The next job


def test_a_tick_tells_of_series_that_are_due_and_of_no_others(db: psycopg.Connection) -> None:
    worker = Worker(db)
    insert_series(db, "FREQ=DAILY", scheduled_at=AHEAD)
    assert worker.tick()["recurring"] == 0
    begin(db)
    assert one(db, "SELECT jtd.idle_v1('{}')") is False
    assert worker.tick()["recurring"] == 1
    go_on(db)
    assert worker.tick()["recurring"] == 0
    assert one(db, "SELECT jtd.idle_v1('{}')") is True


def test_the_next_job_is_a_copy_with_its_own_time(db: psycopg.Connection) -> None:
    given = {
        "priority": 7, "max_retries": 1, "tags": ["a"], "metadata": {"reply_to": "x@example.com"},
        "template_variables": {"tenant_name": "Ours"}, "source_ref": "A-1", "jtd_number": "7",
        "business_context": {"a": 1}, "recipient_contact": " jo@example.com", "locale": "de",
        "is_live": False, "expires_at": BEFORE + timedelta(hours=3),
    }  # fmt: skip
    series = begin(db, "FREQ=DAILY;COUNT=5", **given)
    assert go_on(db) == {series: "made"}
    first, second = row(db, series), latest(db, series)
    assert second["id"] != series
    same = given.keys() - {"expires_at"} | {
        "payload",
        "recurrence",
        "recurrence_zone",
        "series_id",
        "template_key",
    }
    assert {name: second[name] for name in same} == {name: first[name] for name in same}
    assert second["scheduled_at"] == second["occurs_at"] == BEFORE + timedelta(days=1)
    assert second["expires_at"] == BEFORE + timedelta(days=1, hours=3)
    assert (second["occurrence"], second["series_start"]) == (2, BEFORE)
    assert second["idempotency_key"] == f"series:{series}:2"
    assert whereabouts(db, second["id"]).place == "waiting"
    assert f"number 2, is job {second['id']}" in remarks(db, series)[0]
    assert go_on(db) == {}, "nothing is due"


def test_what_a_claim_chose_is_chosen_anew_for_the_next_job(db: psycopg.Connection) -> None:
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, locale) VALUES (%s, 'de')", [TENANT])
    series = begin(db)
    job = Worker(db).claim_one()
    assert job.id == series
    assert (row(db, series)["locale"], row(db, series)["template_id"] is None) == ("de", False)
    go_on(db)
    assert (latest(db, series)["locale"], latest(db, series)["template_id"]) == (None, None)


def test_a_series_without_a_channel_goes_to_each_channel_every_time(db: psycopg.Connection) -> None:
    data = {"recipient_data": {"email": "jo@example.com", "mobile": "+14155550101"}}
    series = begin(db, channel_code=None, recipient_contact=None, template_key=None, payload=data)
    go_on(db)
    assert go_on(db) == {}, "the siblings are no series of their own"
    for job in jobs(db, series):
        rows = db.execute("SELECT channel_code, recurrence FROM n_jtd WHERE parent_id = %s", [job]).fetchall()
        assert (row(db, job)["channel_code"], set(rows)) == ("email", {("sms", None), ("whatsapp", None)})


def test_a_service_visit_recurs_as_work(db: psycopg.Connection) -> None:
    visit = insert_work(db, "service_visit", scheduled_at=BEFORE, recurrence="FREQ=MONTHLY;INTERVAL=6")
    db.execute("SELECT jtd.act(%s, 'scheduled')", [visit])
    go_on(db)
    following = latest(db, visit)
    assert (following["status_code"], following["occurrence"]) == ("created", 2)
    assert one(db, "SELECT at FROM jtd.appointments WHERE id = %s", following["id"]) == following["occurs_at"]


def test_many_workers_at_once_make_the_next_job_once(dsn: str, db: psycopg.Connection) -> None:
    many = [begin(db) for _ in range(20)]
    nexts = look(db)
    start = threading.Barrier(4)
    answers: list[str] = []

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as mine:
            start.wait(10)
            answers.extend(recur(mine, nexts).values())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(30)
    assert sorted(answers) == ["made"] * 20 + ["passed"] * 60
    assert [len(jobs(db, series)) for series in many] == [2] * 20


def test_the_key_alone_keeps_a_job_from_being_made_twice(db: psycopg.Connection) -> None:
    series = begin(db)
    nexts = look(db)
    go_on(db)
    made = latest(db, series)["id"]
    db.execute("UPDATE jtd.recurring SET jtd_id = %s WHERE series_id = %s", [series, series])
    assert recur(db, nexts) == {series: "ended"}
    assert jobs(db, series) == [series, made]
    assert "is taken by another job" in str(ended(db, series))
    assert attention(db) == [series]


def test_what_changed_meanwhile_is_looked_at_again(db: psycopg.Connection) -> None:
    series = begin(db)
    nexts = look(db)
    move(db, series, "recurrence = 'FREQ=WEEKLY'")
    assert recur(db, nexts) == {series: "passed"}
    assert go_on(db) == {series: "made"}
    assert latest(db, series)["occurs_at"] == BEFORE + timedelta(days=7)


def test_a_job_that_somebody_holds_delays_only_its_own_series(dsn: str, db: psycopg.Connection) -> None:
    series, other = begin(db), begin(db)
    with locked(dsn, series):
        assert go_on(db) == {series: "passed", other: "made"}
    assert go_on(db) == {series: "made"}


def test_a_job_that_is_refused_ends_only_its_own_series(db: psycopg.Connection) -> None:
    many = [begin(db) for _ in range(5)]
    bad = begin(db, channel_code="sms", recipient_contact="+14155550101", template_key=None)
    db.execute("UPDATE n_jtd_channels SET is_active = false WHERE code = 'sms'")
    assert go_on(db) == {bad: "ended"} | dict.fromkeys(many, "made")
    assert "channel 'sms' is not allowed" in str(ended(db, bad))
    assert attention(db) == [bad]
    assert "channel 'sms' is not allowed" in one(db, "SELECT sentence FROM jtd.explain(%s)", bad)
    assert go_on(db) == {}, "it does not loop"

    db.execute("UPDATE n_jtd_channels SET is_active = true WHERE code = 'sms'")
    move(db, bad, "recurrence = recurrence, occurs_at = occurs_at - interval '1 s'")
    assert go_on(db) == {}, "only another rule revives it"
    assert attention(db) == [bad]
    move(db, bad, "recurrence = NULL")
    move(db, bad, "recurrence = 'FREQ=DAILY'")
    assert attention(db) == []
    assert go_on(db) == {bad: "made"}


def test_a_rule_that_nobody_can_read_ends_its_series_and_asks_for_a_person(db: psycopg.Connection) -> None:
    series = begin(db, "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", scheduled_at=BEFORE)
    assert go_on(db) == {series: "ended"}
    assert remarks(db, series) == ["the series has ended: its rule names no further time"]
    assert attention(db) == [series]
    assert go_on(db) == {}


def test_a_series_that_ends_by_its_rule_says_so_and_needs_nobody(db: psycopg.Connection) -> None:
    series = begin(db, "FREQ=DAILY;COUNT=1")
    assert go_on(db) == {series: "ended"}
    assert remarks(db, series) == ["the series has ended: its COUNT of 1 is reached"]
    assert attention(db) == []


def test_after_an_outage_one_job_is_made_and_the_missed_are_on_record(db: psycopg.Connection) -> None:
    series = begin(db, scheduled_at=BEFORE - timedelta(days=10))
    go_on(db)
    assert latest(db, series)["occurs_at"] == BEFORE + timedelta(days=1)
    assert latest(db, series)["occurrence"] == 12
    assert "10 missed" in remarks(db, series)[0]
    assert len(jobs(db, series)) == 2


def test_an_occurrence_that_is_moved_moves_no_other(db: psycopg.Connection) -> None:
    series = begin(db)
    move(db, series, "scheduled_at = scheduled_at + interval '3 days'")
    go_on(db)
    assert latest(db, series)["scheduled_at"] == BEFORE + timedelta(days=1)


def test_a_copy_of_the_database_makes_no_jobs(db: psycopg.Connection) -> None:
    begin(db)
    db.execute("UPDATE jtd.instance SET system_identifier = 1")
    assert Worker(db).tick()["recurring"] == 0
    assert one(db, "SELECT jtd.idle_v1('{}')") is True


# Changes by people


def test_what_is_edited_on_the_latest_job_counts_from_then_on(db: psycopg.Connection) -> None:
    series = begin(db)
    go_on(db)
    second = latest(db, series)["id"]
    move(db, second, "payload = '{\"appointment_date\": \"new\"}', recurrence = 'FREQ=HOURLY'")
    move(db, second, f"occurs_at = '{BEFORE.isoformat()}'")
    go_on(db)
    third = latest(db, series)
    assert third["payload"] == {"appointment_date": "new"}
    assert (third["occurs_at"], third["occurrence"]) == (BEFORE + timedelta(hours=1), 3)
    with pytest.raises(psycopg.Error, match=str(third["id"])) as caught:
        move(db, second, "recurrence = 'FREQ=DAILY'")
    assert caught.value.sqlstate == "JT016"


def test_a_write_that_changes_nothing_does_not_begin_the_rule_anew(db: psycopg.Connection) -> None:
    series = begin(db)
    go_on(db)
    second = latest(db, series)
    move(
        db, second["id"], "recurrence = recurrence, recurrence_zone = recurrence_zone, occurs_at = occurs_at"
    )
    assert latest(db, series)["series_start"] == BEFORE


def test_a_job_that_is_there_may_begin_a_series_later(db: psycopg.Connection) -> None:
    job = begin(db, recurrence=None)
    move(db, job, "recurrence = 'FREQ=DAILY'")
    assert go_on(db) == {job: "made"}
    assert latest(db, job)["occurrence"] == 2


def test_an_occurrence_that_is_cancelled_is_the_only_one(db: psycopg.Connection) -> None:
    series = begin(db)
    assert one(db, "SELECT jtd.cancel(%s)", series) == "cancelled"
    assert go_on(db) == {series: "made"}
    assert latest(db, series)["status_code"] == "scheduled"


def test_a_series_that_is_ended_cancels_what_is_ahead_and_makes_no_more(db: psycopg.Connection) -> None:
    series = begin(db)
    go_on(db)
    second = latest(db, series)["id"]
    assert one(db, "SELECT jtd.end_series(%s, %s)", second, "moved away") == "ended"
    assert row(db, second)["status_code"] == "cancelled"
    assert row(db, series)["status_code"] != "cancelled", "its time has come"
    assert remarks(db, second) == ["the series has ended: moved away"]
    assert one(db, "SELECT jtd.end_series(%s)", series) == "over"
    assert one(db, "SELECT jtd.end_series(%s)", insert_jtd(db)) == "absent"
    db.execute("UPDATE jtd.recurring SET next_look = NULL")
    assert go_on(db) == {}


def test_a_due_series_that_is_ended_is_not_continued_by_who_looked_before(db: psycopg.Connection) -> None:
    series = begin(db)
    nexts = look(db)
    db.execute("SELECT jtd.end_series(%s)", [series])
    assert recur(db, nexts) == {series: "passed"}
    assert jobs(db, series) == [series]


def test_the_command_ends_a_series(dsn: str, db: psycopg.Connection) -> None:
    series = insert_series(db, "FREQ=DAILY", scheduled_at=AHEAD)
    done = call(dsn, "end-series", str(series), "--reason", "enough")
    assert "the series has ended" in done.out
    assert row(db, series)["status_code"] == "cancelled"
    assert ended(db, series) == "enough"
    assert "Its series has ended: enough." in " ".join(call(dsn, "show", str(series)).out.split())


def test_a_recurrence_that_is_taken_away_ends_the_series(db: psycopg.Connection) -> None:
    series = begin(db)
    move(db, series, "recurrence = NULL")
    assert go_on(db) == {}
    assert ended(db, series) == "its recurrence was taken away"


def test_a_latest_job_that_is_deleted_takes_its_series_along(db: psycopg.Connection) -> None:
    series = begin(db)
    db.execute("DELETE FROM n_jtd WHERE id = %s", [series])
    assert listed(db, "recurring", series) is None


def test_a_series_that_was_spoilt_by_hand_stops_no_other(db: psycopg.Connection) -> None:
    spoilt, other = begin(db), begin(db)
    move(db, spoilt, "series_start = 'infinity', occurrence = NULL")
    with no_triggers(db):
        move(db, spoilt, "recurrence_zone = NULL, occurs_at = '-infinity'")
    assert go_on(db) == {spoilt: "made", other: "made"}


def test_a_series_whose_job_vanished_costs_no_look(db: psycopg.Connection) -> None:
    series = begin(db)
    with no_triggers(db):
        db.execute("DELETE FROM n_jtd WHERE id = %s", [series])
    assert Worker(db).tick()["recurring"] == 0


def test_the_sentence_tells_when_the_next_of_the_series_is_made(db: psycopg.Connection) -> None:
    series = insert_series(db, "FREQ=DAILY", scheduled_at=AHEAD)
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", series)
    assert "The next of its series is made at 2090-03-04" in sentence


def test_a_next_job_beyond_all_bounds_ends_its_series(db: psycopg.Connection) -> None:
    series = begin(db)
    [job] = look(db)
    job["next_at"] = "9999-12-31T00:00:00Z"
    move(db, series, "expires_at = scheduled_at + interval '1 day'")
    assert recur(db, [job]) == {series: "ended"}
    assert "n_jtd_times_check" in str(ended(db, series))


def test_an_empty_call_does_nothing(db: psycopg.Connection) -> None:
    assert db.execute("SELECT * FROM jtd.recur_v1(%s)", [Jsonb([])]).fetchall() == []


def test_a_producer_begins_a_series_by_a_plain_insert(db: psycopg.Connection) -> None:
    with db.transaction():
        db.execute("SET LOCAL ROLE jtd_producer")
        series = begin(db)
    assert go_on(db) == {series: "made"}


def test_only_an_operator_ends_a_series(db: psycopg.Connection) -> None:
    may = "SELECT has_function_privilege(%s, 'jtd.end_series(uuid, text)', 'EXECUTE')"
    assert [one(db, may, f"jtd_{role}") for role in ("operator", "worker", "producer")] == [
        True,
        False,
        False,
    ]
