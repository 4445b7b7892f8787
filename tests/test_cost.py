"""What a job costs: the units of each attempt that was sent or may have been, exact and counted once."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from jtd_worker.migrations import load
from tests.jobs import USER, insert_jtd, listed, one, places, row
from tests.worker_calls import Worker, locked, move, queues_of, result

SMS = {
    "channel_code": "sms",
    "recipient_contact": "+14155550101",
    "template_key": "user_invite_sms_v1",
}
INAPP = {"channel_code": "inapp", "recipient_id": USER, "recipient_contact": None}


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


def price(db: psycopg.Connection, cost: str, channel: str = "sms") -> None:
    db.execute(
        "UPDATE n_jtd_channels SET default_cost_per_unit = %s WHERE code = %s", [Decimal(cost), channel]
    )


def begin(worker: Worker, **columns: Any) -> Any:
    return claim(worker, insert_jtd(worker.db, **{**SMS, **columns}))


def claim(worker: Worker, jtd_id: UUID) -> Any:
    [queue] = queues_of(worker.db, jtd_id)
    [job] = [job for job in worker.claim(queue) if job.id == jtd_id]
    return job


def again(worker: Worker, jtd_id: UUID) -> Any:
    move(worker.db, jtd_id, "next_retry_at = now() - interval '1 s'")
    worker.tick()
    return claim(worker, jtd_id)


def weigh(worker: Worker, job: Any, *, units: int | None = None, kept: int | None = None) -> None:
    """Hand off as the worker does, with what the message counts as."""
    characters = None if kept is None else 300
    rows = worker.db.execute(
        "SELECT h.answer FROM jtd.hand_off_v2(%s, %s, %s, 'resend', %s, 'webhook') AS h"
        " CROSS JOIN jtd.weigh_v1(%s, %s, %s, %s::integer[], %s::integer[], %s::integer[])",
        [
            *(worker.id, [job.id], [job.attempt], job.channel_code),
            *(worker.id, [job.id], [job.attempt], [units], [kept], [characters]),
        ],
    ).fetchall()
    assert rows == [("go",)]


def cost(db: psycopg.Connection, jtd_id: UUID) -> Decimal:
    found = row(db, jtd_id)["cost"]
    assert isinstance(found, Decimal)
    return found


# What counts


@pytest.mark.parametrize(
    ("told", "price_of_one", "cost_of_all"),
    [
        ({"units": 3}, "0.75", "2.25"),
        ({"units": 3}, "0.0001", "0.0003"),
        ({"units": 7}, "0.1", "0.7"),  # as floats: 0.7000000000000001
        ({}, "0.75", "0.75"),  # a worker of an earlier release
        ({"units": None}, "0.75", "0.75"),
        ({"units": 0}, "0.75", "0"),
        ({"units": -3}, "0.75", "0"),
        ({"units": 10}, "0", "0"),
    ],
)
def test_a_sent_message_costs_its_units_times_the_price_of_its_channel(
    worker: Worker, db: psycopg.Connection, told: dict, price_of_one: str, cost_of_all: str
) -> None:
    price(db, price_of_one)
    job = begin(worker)
    assert worker.settle(result(job, "sent", **told)) == ["applied"]
    assert cost(db, job.id) == Decimal(cost_of_all)


@pytest.mark.parametrize("outcome", ["retry", "snooze", "failed", "blocked", "release"])
def test_what_certainly_did_not_leave_costs_nothing(
    worker: Worker, db: psycopg.Connection, outcome: str
) -> None:
    job = begin(worker)
    weigh(worker, job, units=3)
    worker.settle(result(job, outcome, code="x", units=3))
    assert cost(db, job.id) == 0


@pytest.mark.parametrize("rule", ["hold", "resend", "idempotent_retry"])
def test_what_may_have_left_costs_as_much_as_what_did(
    worker: Worker, db: psycopg.Connection, rule: str
) -> None:
    job = begin(worker)
    weigh(worker, job, units=2)
    worker.settle(result(job, "unknown", code="x", rule=rule, units=2))
    assert cost(db, job.id) == Decimal("1.50")


def test_attempts_add_up(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.settle(result(job, "unknown", code="x", rule="resend", units=3))
    job = again(worker, job.id)
    worker.settle(result(job, "retry", code="x"))
    price(db, "0.80")
    job = again(worker, job.id)
    worker.settle(result(job, "sent", units=3))
    assert cost(db, job.id) == Decimal("4.65")  # 3 x 0.75, then 3 x 0.80
    assert row(db, job.id)["execution_result"] == {"outcome": "sent", "attempt": 3, "units": 3}


def test_what_the_outbox_kept_costs_nothing(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, is_live=False)
    assert job.is_diverted
    delivery = {"kind": "outbox", "row": {"recipient": "+14155550101", "content": "Hello"}}
    worker.settle(result(job, "sent", provider="outbox", delivery=delivery, units=2))
    assert (row(db, job.id)["status_code"], cost(db, job.id)) == ("sent", 0)


def test_an_entry_of_the_feed_costs_what_its_channel_says(worker: Worker, db: psycopg.Connection) -> None:
    delivery = {"kind": "inapp", "row": {"user_id": str(USER), "title": "Hello"}}
    free = begin(worker, **INAPP, template_key=None)
    worker.settle(result(free, "sent", delivery=delivery))
    price(db, "0.01", "inapp")
    dear = begin(worker, **INAPP, template_key=None)
    worker.settle(result(dear, "sent", delivery=delivery))
    assert (cost(db, free.id), cost(db, dear.id)) == (0, Decimal("0.01"))


def test_a_cost_beyond_the_column_stops_at_its_end_and_keeps_no_result_back(
    worker: Worker, db: psycopg.Connection
) -> None:
    price(db, "999999.9999")
    job, other = begin(worker), begin(worker)
    answers = worker.settle(result(job, "sent", units=2_000_000_000), result(other, "sent", units=1))
    assert answers == ["applied", "applied"]
    assert cost(db, job.id) == Decimal("99999999.9999")
    assert cost(db, other.id) == Decimal("999999.9999")


@pytest.mark.parametrize("units", ["many", 10**12, [3], {"a": 1}, 1.5])
def test_units_that_are_no_number_cost_the_others_nothing(
    worker: Worker, db: psycopg.Connection, units: Any
) -> None:
    job, other = begin(worker), begin(worker)
    weigh(worker, job, units=2)
    assert worker.settle(result(job, "sent", units=units), result(other, "sent", units=3)) == [
        "applied",
        "applied",
    ]
    assert {row(db, found.id)["status_code"] for found in (job, other)} == {"sent"}
    assert cost(db, job.id) == Decimal("1.50"), "as it was handed off"
    assert cost(db, other.id) == Decimal("2.25")


# Workers that die, results that come late


@pytest.mark.parametrize(("units", "cost_of_all"), [(4, "3.00"), (None, "0.75")])
def test_a_message_whose_worker_died_after_the_hand_off_is_counted(
    worker: Worker, db: psycopg.Connection, units: int | None, cost_of_all: str
) -> None:
    job = begin(worker)
    weigh(worker, job, units=units)
    other = Worker(db)
    worker.lapse()
    other.age()
    assert other.tick()["reclaimed"] == 1
    assert cost(db, job.id) == Decimal(cost_of_all)
    assert row(db, job.id)["execution_result"].get("units") == units


def test_a_message_whose_worker_died_before_the_hand_off_costs_nothing(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    db.execute(
        "SELECT jtd.weigh_v1(%s, %s, %s, '{4}', '{NULL}', '{NULL}')", [worker.id, [job.id], [job.attempt]]
    )
    other = Worker(db)
    worker.lapse()
    other.age()
    other.tick()
    assert (row(db, job.id)["status_code"], cost(db, job.id)) == ("queued", 0)
    assert claim(other, job.id).attempt == 2
    assert listed(db, "inflight", job.id)["units"] is None, "nothing is left of the attempt before"


def test_the_entry_of_an_attempt_that_ended_by_hand_passes_nothing_on(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    weigh(worker, job, units=4, kept=20)
    move(db, job.id, "status_code = 'failed'")
    move(db, job.id, "status_code = 'pending'")
    worker.tick()
    worker.claim("jtd_sms")  # the message of before
    entry = listed(db, "inflight", job.id)
    assert entry["attempt"] == 2
    assert (entry["units"], entry["kept"], entry["characters"], entry["handed_off_at"]) == (None,) * 4


def test_only_the_worker_that_has_a_job_says_what_it_counts_as(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    job = begin(worker)
    call = "SELECT jtd.weigh_v1(%s, %s, %s, '{4}', '{NULL}', '{NULL}')"
    db.execute(call, [Worker(db).id, [job.id], [job.attempt]])
    db.execute(call, [worker.id, [job.id], [job.attempt + 1]])
    assert listed(db, "inflight", job.id)["units"] is None
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM jtd.inflight FOR UPDATE")
        db.execute(call, [worker.id, [job.id], [job.attempt]])  # waits for nobody
        holder.rollback()
    assert listed(db, "inflight", job.id)["units"] is None
    db.execute(call, [worker.id, [job.id], [job.attempt]])
    assert listed(db, "inflight", job.id)["units"] == 4


@pytest.mark.parametrize("rule", ["hold", "resend"])
def test_a_late_proof_of_what_was_unknown_is_not_counted_again(
    worker: Worker, db: psycopg.Connection, rule: str
) -> None:
    job = begin(worker)
    worker.settle(result(job, "unknown", code="x", rule=rule, units=3))
    worker.settle(result(job, "sent", units=3))
    assert (row(db, job.id)["status_code"], cost(db, job.id)) == ("sent", Decimal("2.25"))
    assert row(db, job.id)["execution_result"]["units"] == 3
    assert worker.settle(result(job, "sent", units=3)) == ["already"]
    assert cost(db, job.id) == Decimal("2.25")


@pytest.mark.parametrize("outcome", ["sent", "unknown"])
def test_an_attempt_that_the_database_lost_is_counted_when_it_learns_of_it(
    worker: Worker, db: psycopg.Connection, outcome: str
) -> None:
    job = begin(worker)
    worker.settle(result(job, "release"))
    lost = {"id": str(job.id), "attempt": 5, "outcome": outcome, "rule": "hold", "units": 2}
    assert worker.settle(lost) == ["late"]
    assert cost(db, job.id) == Decimal("1.50")


def test_a_person_who_resolves_a_job_changes_neither_cost_nor_parts(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    weigh(worker, job, units=3, kept=20)
    worker.settle(result(job, "unknown", code="x", rule="hold", units=3, kept=20, characters=300))
    assert one(db, "SELECT jtd.resolve(%s, 'sent')", job.id) == "sent"
    assert cost(db, job.id) == Decimal("2.25")
    assert row(db, job.id)["execution_result"] == {
        **{"outcome": "sent", "attempt": 1},
        **{"units": 3, "kept": 20, "characters": 300},
    }


def test_a_row_that_somebody_holds_is_counted_once(worker: Worker, dsn: str, db: psycopg.Connection) -> None:
    job = begin(worker)
    with locked(dsn, job.id):
        assert worker.settle(result(job, "sent", units=2)) == ["locked"]
    twice = [result(job, "sent", units=2)] * 2
    db.execute("SELECT FROM jtd.settle_v1(%s, %s)", [worker.id, Jsonb(twice)])
    assert cost(db, job.id) == Decimal("1.50")


# Where a text was cut


def kept(db: psycopg.Connection, jtd_id: UUID) -> int | None:
    found: int | None = one(db, "SELECT jtd.kept_v1(%s)", jtd_id)
    return found


WHOLE = 2147483647


@pytest.mark.parametrize("outcome", ["unknown", "retry", "snooze", "failed"])
def test_where_a_text_was_cut_at_the_hand_off_holds_for_every_later_attempt(
    worker: Worker, db: psycopg.Connection, outcome: str
) -> None:
    job = begin(worker)
    assert kept(db, job.id) is None, "the rule of the channel decides"
    weigh(worker, job, kept=250)
    worker.settle(result(job, outcome, code="x", rule="resend", delay=60))
    assert kept(db, job.id) == 250
    if outcome == "failed":
        assert one(db, "SELECT jtd.retry(%s)", job.id) == "pending"
    job = again(worker, job.id)
    worker.settle(result(job, "failed", code="template_missing"))  # before it was rendered
    assert kept(db, job.id) == 250


def test_a_text_that_went_whole_is_not_cut_later(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.hand_off(job)
    worker.settle(result(job, "unknown", code="x", rule="resend"))
    assert kept(db, job.id) == WHOLE


def test_what_was_never_handed_off_is_not_bound_to_a_cut(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    db.execute(
        "SELECT jtd.weigh_v1(%s, %s, %s, '{4}', '{250}', '{300}')", [worker.id, [job.id], [job.attempt]]
    )
    worker.settle(result(job, "snooze", code="provider_open", delay=60))
    assert kept(db, job.id) is None
    assert row(db, job.id)["execution_result"] == {"outcome": "snooze", "attempt": 1, "code": "provider_open"}


def test_a_cut_outlives_the_worker_that_made_it(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    weigh(worker, job, kept=250)
    other = Worker(db)
    worker.lapse()
    other.age()
    assert other.tick()["reclaimed"] == 1
    assert kept(db, job.id) == 250


@pytest.mark.parametrize(
    "text", ['"x"', "-1", "1.5", "99999999999999", "null", "{}", '"12; DROP TABLE n_jtd"']
)
def test_a_cut_that_somebody_wrote_into_the_row_stops_nothing(db: psycopg.Connection, text: str) -> None:
    jtd = insert_jtd(db, **SMS)
    move(db, jtd, f"executed_at = now(), execution_result = '{{\"kept\": {text}}}'")
    assert kept(db, jtd) == WHOLE


# The rules of channels


def test_the_channels_have_the_rules_that_the_documentation_says(db: psycopg.Connection) -> None:
    assert one(db, "SELECT jtd.content_rules_v1()") == {
        "email": {"rule": "refuse", "characters": 50000, "parts": None, "recipient_key": "email"},
        "sms": {"rule": "split", "characters": 160, "parts": 10, "recipient_key": "mobile"},
        "whatsapp": {"rule": "refuse", "characters": 4096, "parts": None, "recipient_key": "mobile"},
        "push": {"rule": "cut", "characters": 256, "parts": None, "recipient_key": "user"},
        "inapp": {"rule": "cut", "characters": 1000, "parts": None, "recipient_key": "user"},
    }


def test_a_new_channel_takes_texts_of_any_length_until_it_is_told_otherwise(
    worker: Worker, db: psycopg.Connection
) -> None:
    db.execute("INSERT INTO n_jtd_channels (code, name, queue_name) VALUES ('voice', 'Voice', 'jtd_voice')")
    told = worker.tick()["content_rules"]
    assert told["voice"] == {"rule": "refuse", "characters": None, "parts": None, "recipient_key": "user"}
    db.execute("UPDATE n_jtd_channels SET content_rule = 'split', max_parts = 2 WHERE code = 'voice'")
    told = worker.tick()["content_rules"]["voice"]
    assert told == {"rule": "split", "characters": None, "parts": 2, "recipient_key": "user"}
    db.execute("UPDATE n_jtd_channels SET content_rule = 'cut', max_content_length = -5 WHERE code = 'sms'")
    told = worker.tick()["content_rules"]
    assert told["sms"] == {"rule": "cut", "characters": 1, "parts": 10, "recipient_key": "mobile"}, (
        "an SMS is counted in parts all the same"
    )


@pytest.mark.parametrize(
    "change", ["content_rule = 'drop'", "content_rule = NULL", "max_parts = 0", "max_parts = 256"]
)
def test_a_rule_that_is_none_is_refused(db: psycopg.Connection, change: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        db.execute(f"UPDATE n_jtd_channels SET {change}".encode())


def test_the_migration_that_runs_again_leaves_the_rules_of_the_owner(db: psycopg.Connection) -> None:
    [migration] = [script for script in load().migrations if script.number == "009"]
    db.execute("UPDATE n_jtd_channels SET content_rule = 'refuse', max_parts = 3")
    db.execute(migration.text.encode())
    rows = db.execute("SELECT DISTINCT content_rule, max_parts FROM n_jtd_channels").fetchall()
    assert rows == [("refuse", 3)]
