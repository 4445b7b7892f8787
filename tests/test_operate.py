"""What an operator asks and does: cancel, retry, explain, pause, dead letters, status, show, conservation."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from jtd_worker.metrics import Metrics
from jtd_worker.overview import tell
from tests.jobs import (
    TENANT,
    USER,
    Place,
    Step,
    history,
    insert_jtd,
    listed,
    messages,
    one,
    places,
    row,
    wait_for_lock,
    whereabouts,
)

WORKER = UUID("40000000-0000-0000-0000-000000000001")
TOMORROW = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
ABSENT = UUID("50000000-0000-0000-0000-000000000001")
WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
NO_WORKER = r"; but no running worker serves channel email\."
PAUSED_WINDOW = "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)"


@pytest.fixture(autouse=True)
def utc(db: psycopg.Connection) -> None:
    db.execute("SET TimeZone = 'UTC'")


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    """A second connection to the same database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def register(db: psycopg.Connection, seconds: int = 60) -> None:
    db.execute("SELECT jtd.register_v1(%s, 'host-1', '{email,inapp}', %s)", (WORKER, seconds))


def claim(db: psycopg.Connection, queue: str = "jtd_email") -> list[UUID]:
    found = db.execute("SELECT id FROM jtd.claim_v1(%s, %s, 10)", (WORKER, queue)).fetchall()
    return [jtd_id for (jtd_id,) in found]


def hand_off(db: psycopg.Connection, *ids: UUID, rule: str = "hold") -> None:
    attempts = [row(db, jtd_id)["attempt"] for jtd_id in ids]
    returned = db.execute(
        "SELECT jtd.hand_off_v1(%s, %s, %s, %s, 'smtp')", (WORKER, list(ids), attempts, rule)
    ).fetchall()
    assert {jtd_id for (jtd_id,) in returned} == set(ids)


def settle(db: psycopg.Connection, jtd_id: UUID, **result: Any) -> None:
    result = {"id": str(jtd_id), "attempt": row(db, jtd_id)["attempt"], "provider": "smtp", **result}
    answer = one(db, "SELECT answer FROM jtd.settle_v1(%s, %s)", WORKER, Jsonb([result]))
    assert answer == "applied"


def sent(db: psycopg.Connection) -> UUID:
    """Return a job that was claimed, handed off and sent."""
    jtd_id = executing(db)
    hand_off(db, jtd_id)
    settle(db, jtd_id, outcome="sent", provider_message_id="m-1")
    return jtd_id


def executing(db: psycopg.Connection) -> UUID:
    jtd_id = insert_jtd(db)
    register(db)
    assert claim(db) == [jtd_id]
    return jtd_id


def failed(db: psycopg.Connection, **result: Any) -> UUID:
    """Return a job whose only attempt was refused, or ended as `result` says."""
    jtd_id = executing(db)
    hand_off(db, jtd_id)
    settle(db, jtd_id, **{"outcome": "failed", "code": "rejected", "reason": "the mailbox is gone", **result})
    assert row(db, jtd_id)["status_code"] == "failed"
    return jtd_id


def explain(db: psycopg.Connection, jtd_id: UUID) -> dict[str, Any]:
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM jtd.explain(%s)", (jtd_id,)).fetchall()
    assert len(rows) == 1
    assert rows[0]["id"] == jtd_id
    return rows[0]


def says(db: psycopg.Connection, jtd_id: UUID, place: str, pattern: str) -> dict[str, Any]:
    """Explain a job, compare its place and sentence, and return the rest."""
    found = explain(db, jtd_id)
    assert found["place"] == place
    this = r"This \w+ (by email )?\(\w+\) "
    assert re.fullmatch(this + pattern.replace("WHEN", WHEN), found["sentence"]), found["sentence"]
    assert "  " not in found["sentence"]
    return found


def cancel(db: psycopg.Connection, jtd_id: UUID, reason: str | None = None) -> Any:
    return one(db, "SELECT jtd.cancel(%s, %s)", jtd_id, reason)


def retry(db: psycopg.Connection, jtd_id: UUID, *, resend: bool = False) -> Any:
    return one(db, "SELECT jtd.retry(%s, %s)", jtd_id, resend)


# Cancel


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "queued"),
        ({"scheduled_at": TOMORROW}, "pending"),
        ({"event_type_code": "reminder", "scheduled_at": TOMORROW}, "scheduled"),
        ({"recipient_contact": "nobody"}, "failed"),
        ({"event_type_code": "task", "source_type_code": "manual"}, "created"),
    ],
)
def test_a_job_that_has_not_left_is_cancelled(
    db: psycopg.Connection, columns: dict[str, Any], status: str
) -> None:
    jtd_id = insert_jtd(db, **columns)
    assert cancel(db, jtd_id, "the customer called") == "cancelled"
    assert history(db, jtd_id)[-1] == Step("status_changed", status, "cancelled", True)
    assert one(db, "SELECT reason FROM n_jtd_history ORDER BY id DESC LIMIT 1") == "the customer called"
    assert row(db, jtd_id)["completed_at"] is not None
    assert places(db) == {"final": 1}
    assert (cancel(db, jtd_id), cancel(db, ABSENT)) == ("final", "absent")
    assert len(history(db, jtd_id)) == len({*history(db, jtd_id)})


def test_a_claimed_job_can_be_cancelled_until_it_is_handed_off(db: psycopg.Connection) -> None:
    early = executing(db)
    assert cancel(db, early) == "cancelled"
    assert whereabouts(db, early) == Place(status="cancelled", place="final")
    assert history(db, early)[-1].valid
    late = executing(db)
    hand_off(db, late)
    assert cancel(db, late) == "too_late"
    assert whereabouts(db, late) == Place(status="executing", place="in_flight")


def test_what_was_sent_or_may_have_been_is_not_cancelled(db: psycopg.Connection) -> None:
    for jtd_id in (sent(db), failed(db, outcome="unknown", rule="hold")):
        before = history(db, jtd_id)
        assert cancel(db, jtd_id) == "too_late"
        assert history(db, jtd_id) == before


def test_work_that_its_flow_does_not_let_go_is_not_cancelled(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, event_type_code="task", source_type_code="manual")
    db.execute("UPDATE n_jtd SET status_code = 'in_progress'")
    db.execute("UPDATE n_jtd SET status_code = 'blocked'")
    assert cancel(db, jtd_id) == "too_late"
    assert whereabouts(db, jtd_id) == Place(status="blocked", place="work")


def test_a_cancel_that_waited_for_a_hand_off_comes_too_late(
    db: psycopg.Connection, other: psycopg.Connection, dsn: str
) -> None:
    jtd_id = executing(db)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(dsn, autocommit=True) as watcher:
        with db.transaction():
            hand_off(db, jtd_id)
            answer = pool.submit(cancel, other, jtd_id)
            wait_for_lock(watcher, other)
        assert answer.result(timeout=10) == "too_late"
    assert whereabouts(db, jtd_id).place == "in_flight"


def test_a_cancel_that_waited_for_the_end_of_the_job_finds_it_final(
    db: psycopg.Connection, other: psycopg.Connection, dsn: str
) -> None:
    jtd_id = insert_jtd(db)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(dsn, autocommit=True) as watcher:
        with db.transaction():
            db.execute("UPDATE n_jtd SET status_code = 'expired'")
            answer = pool.submit(cancel, other, jtd_id)
            wait_for_lock(watcher, other)
        assert answer.result(timeout=10) == "final"
    assert row(db, jtd_id)["status_code"] == "expired"


# Retry


def test_a_failed_job_gets_one_more_attempt_at_once(db: psycopg.Connection) -> None:
    jtd_id = failed(db)
    assert retry(db, jtd_id) == "pending"
    assert history(db, jtd_id)[-1] == Step("status_changed", "failed", "pending", True)
    assert whereabouts(db, jtd_id) == Place(status="pending", place="ready")
    job = row(db, jtd_id)
    assert job["completed_at"] is job["next_retry_at"] is None
    assert job["last_retry_at"] is not None
    assert one(db, "SELECT jtd.admit(10)") == 1
    assert claim(db) == [jtd_id]
    assert retry(db, jtd_id) == "not_failed"


def test_a_retry_does_not_wait_for_the_end_of_the_job(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, recipient_contact="nobody", expires_at=TOMORROW)
    db.execute("UPDATE n_jtd SET recipient_contact = 'a@b.c'")
    assert retry(db, jtd_id) == "pending"
    assert whereabouts(db, jtd_id).place == "ready"


def test_only_failed_jobs_are_retried(db: psycopg.Connection) -> None:
    final = insert_jtd(db)
    assert retry(db, final) == "not_failed"
    cancel(db, final)
    assert (retry(db, final), retry(db, ABSENT)) == ("not_failed", "absent")
    assert row(db, final)["status_code"] == "cancelled"


def test_a_job_that_may_have_been_sent_is_resent_only_on_demand(db: psycopg.Connection) -> None:
    jtd_id = failed(db, outcome="unknown", rule="hold")
    assert retry(db, jtd_id) == "unknown"
    assert whereabouts(db, jtd_id).place == "final"
    assert retry(db, jtd_id, resend=True) == "pending"
    assert [step.action for step in history(db, jtd_id)][-2:] == ["status_changed", "possible_duplicate"]
    assert whereabouts(db, jtd_id).place == "ready"


def test_a_retry_takes_the_newest_text_only_if_none_was_handed_off(db: psycopg.Connection) -> None:
    refused = failed(db)
    assert row(db, refused)["template_version"] == 1
    retry(db, refused)
    assert row(db, refused)["template_version"] == 1
    db.execute("UPDATE n_jtd SET status_code = 'cancelled'")
    unsent = executing(db)
    settle(db, unsent, outcome="failed", code="template_error", reason="name is missing")
    assert retry(db, unsent) == "pending"
    assert row(db, unsent)["template_version"] is None


# Explain


def test_explain_tells_until_when_a_job_waits(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at=TOMORROW)
    found = says(
        db,
        jtd_id,
        "waiting",
        r"waits for its scheduled time \(scheduled\) until 2099-01-02 03:04:05 UTC;"
        r" then it takes its turn for channel email\.",
    )
    assert (found["reason"], found["next_at"], found["status_code"]) == ("scheduled", TOMORROW, "pending")
    for_ever = insert_jtd(db, scheduled_at="infinity")
    assert "waits for its scheduled time" in one(db, "SELECT sentence FROM jtd.explain(%s)", for_ever)


def test_explain_tells_how_the_last_attempt_ended(db: psycopg.Connection) -> None:
    jtd_id = executing(db)
    settle(db, jtd_id, outcome="retry", code="busy", reason="try later")
    found = says(
        db,
        jtd_id,
        "waiting",
        r"waits for a retry \(retry\) until WHEN; then it takes its turn for channel email;"
        r" attempts used: 1 of 4, the last ended with busy: try later\.",
    )
    assert found["reason"] == "retry"
    assert found["next_at"] == row(db, jtd_id)["next_retry_at"]


def test_explain_tells_what_hinders_a_job_that_is_due(db: psycopg.Connection) -> None:
    queued = r"is queued for channel email, and the next free worker takes it"
    jtd_id = insert_jtd(db)
    found = says(db, jtd_id, "queued", queued + NO_WORKER)
    assert (found["reason"], found["next_at"]) == (None, None)
    register(db)
    found = says(db, jtd_id, "queued", queued + r"\.")
    assert (found["reason"], found["next_at"] is not None) == (None, True)
    test_row = insert_jtd(db, is_live=False)
    says(db, test_row, "queued", queued + r"; it is a test row and goes to the outbox\.")
    db.execute("SELECT jtd.pause('email', 'the relay moves')")
    paused = (
        r"; it is held back, and waits for its channel, which is paused, to be resumed \(channel_paused\)"
    )
    found = says(db, jtd_id, "queued", queued + paused + r": the relay moves\.")
    assert (found["reason"], found["next_at"]) == ("channel_paused", None)
    db.execute("SELECT jtd.resume('email')")
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, channels_enabled) VALUES (%s, '{}')", (TENANT,))
    db.execute("UPDATE n_jtd SET source_type_code = 'payment_received'")
    says(
        db,
        jtd_id,
        "queued",
        queued + r"; but it will end as cancelled: its tenant has"
        r" switched the channel off \(blocked_channel_disabled\)\.",
    )
    db.execute("UPDATE n_jtd SET expires_at = now()")
    says(db, jtd_id, "queued", queued + r"; but it will end as expired\.")


def test_explain_tells_that_a_job_awaits_its_turn(db: psycopg.Connection) -> None:
    db.execute(PAUSED_WINDOW, (TENANT,))
    jtd_id = insert_jtd(db)
    turn = r"is due and waits for its turn to be queued for channel email"
    says(db, jtd_id, "ready", turn + NO_WORKER)
    register(db)
    assert says(db, jtd_id, "ready", turn + r"\.")["next_at"] is not None


def test_explain_tells_who_sends_a_job_and_how_far_it_is(db: psycopg.Connection) -> None:
    jtd_id = executing(db)
    runs = "is carried out: attempt 1 runs on worker host-1 since WHEN; "
    found = says(db, jtd_id, "in_flight", runs + r"nothing has been handed to the provider yet\.")
    assert (found["reason"], found["next_at"]) == (None, None)
    hand_off(db, jtd_id)
    handed = r"it was handed to the provider, and if the worker stops now the rule is hold\."
    says(db, jtd_id, "in_flight", runs + handed)
    db.execute("UPDATE jtd.workers SET lease_until = '-infinity'")
    gone = runs.replace("host-1", r"unknown \(its lease is over, it will be reclaimed\)")
    says(db, jtd_id, "in_flight", gone + handed)


def test_explain_tells_that_only_a_receipt_can_change_what_was_sent(db: psycopg.Connection) -> None:
    jtd_id = sent(db)
    still = r"; only a receipt of the provider can still change it\."
    found = says(db, jtd_id, "sent", "was sent by smtp at WHEN" + still)
    assert (found["reason"], found["next_at"]) == (None, None)
    db.execute("UPDATE n_jtd SET status_code = 'delivered', expires_at = now()")
    assert says(db, jtd_id, "sent", "was sent by smtp at WHEN and is delivered" + still)["reason"] is None
    imported = insert_jtd(db, status_code="sent")
    says(db, imported, "sent", "was sent" + still)


def test_explain_tells_how_a_job_ended_and_what_could_still_be_done(db: psycopg.Connection) -> None:
    bad = insert_jtd(db, recipient_contact="nobody")
    found = says(
        db,
        bad,
        "final",
        "ended as failed at WHEN: invalid_recipient, the recipient is not usable for channel email;"
        r" nothing happens any more unless it is retried by hand\.",
    )
    assert (found["reason"], found["next_at"]) == ("invalid_recipient", None)
    unknown = failed(db, outcome="unknown", rule="hold", reason="the worker stopped")
    says(
        db,
        unknown,
        "final",
        "ended as failed at WHEN: outcome_unknown, the worker stopped; nothing happens any more"
        r" unless a person says what became of it: jtd\.resolve\.",
    )
    cancelled = insert_jtd(db)
    cancel(db, cancelled, "no need")
    says(db, cancelled, "final", r"ended as cancelled at WHEN: no need; nothing happens any more\.")
    read = insert_jtd(db, status_code="read", status_changed_at="2020-01-01")
    says(db, read, "final", r"ended as read at WHEN; nothing happens any more\.")


def test_explain_tells_that_work_is_a_persons(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, event_type_code="task", source_type_code="manual", channel_code=None)
    found = says(db, jtd_id, "work", r"is created, and waits for a person to take the next step\.")
    assert (found["reason"], found["next_at"]) == (None, None)


def test_explain_admits_that_a_job_is_nowhere(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute("DELETE FROM pgmq.q_jtd_email")
    says(db, jtd_id, "lost", r"is queued, but on no list and in no queue\.")
    assert db.execute("SELECT * FROM jtd.explain(%s)", (ABSENT,)).fetchall() == []


# Conservation


def test_conservation_counts_every_job_once_and_names_the_lost(db: psycopg.Connection) -> None:
    done = sent(db)
    running = executing(db)
    insert_jtd(db, recipient_contact="nobody")
    insert_jtd(db, scheduled_at=TOMORROW)
    insert_jtd(db, event_type_code="task", source_type_code="manual")
    queued = insert_jtd(db)
    db.execute(PAUSED_WINDOW, (TENANT,))
    ready = insert_jtd(db)
    assert places(db) == dict.fromkeys(
        ("sent", "in_flight", "final", "waiting", "work", "queued", "ready"), 1
    )
    # each kind of loss is seen: no message, no list, two lists, no holder, an older attempt, an unknown state
    for statement in (
        "DELETE FROM pgmq.q_jtd_email",
        "DELETE FROM jtd.ready",
        f"INSERT INTO jtd.waiting SELECT jtd_id, now(), channel_code, tenant_id, 'x' FROM jtd.ready"
        f" WHERE jtd_id = '{ready}'",
        f"DELETE FROM jtd.inflight WHERE jtd_id = '{running}'",
        f"UPDATE jtd.inflight SET attempt = 0 WHERE jtd_id = '{running}'",
        f"UPDATE n_jtd SET status_code = 'posted' WHERE id = '{done}'",
        f"UPDATE n_jtd SET status_code = 'no_credits' WHERE id = '{queued}'",
    ):
        with db.transaction(force_rollback=True):
            db.execute(statement)
            lost = db.execute("SELECT jobs FROM jtd.conservation() WHERE NOT sound").fetchall()
            assert lost == [(1,)], statement
    assert sum(places(db).values()) == 7


# Pause


def test_a_paused_channel_neither_admits_nor_hands_out_anything(db: psycopg.Connection) -> None:
    queued = insert_jtd(db)
    db.execute(PAUSED_WINDOW, (TENANT,))
    insert_jtd(db)
    register(db)
    assert one(db, "SELECT jtd.pause('email', 'maintenance')") is True
    assert one(db, "SELECT pause_reason FROM n_jtd_channels WHERE is_paused") == "maintenance"
    assert claim(db) == []
    assert one(db, "SELECT jtd.admit(10)") == 0
    insert_jtd(db, tenant_id=uuid4())  # a producer does not notice
    assert places(db) == {"queued": 2, "ready": 1}
    assert one(db, "SELECT jtd.resume('email')") is True
    assert one(db, "SELECT count(*) FROM n_jtd_channels WHERE is_paused OR pause_reason IS NOT NULL") == 0
    assert one(db, "SELECT jtd.admit(10)") == 1
    claimed = claim(db)
    assert queued in claimed
    assert len(claimed) == 3
    assert one(db, "SELECT jtd.pause('fax')") is one(db, "SELECT jtd.resume('fax')") is False


def test_a_resumed_channel_wakes_its_workers(db: psycopg.Connection, other: psycopg.Connection) -> None:
    other.execute("LISTEN jtd_wake")
    db.execute("SELECT jtd.resume('email')")
    heard = {notify.payload for notify in other.notifies(timeout=10, stop_after=2)}
    assert heard == {"jtd_email", "jtd_email_urgent"}


# Dead letters


BODIES: list[Any] = [{"jtd_id": 7}, "text", None, [1, {"a": None}]]


@pytest.fixture
def dead(db: psycopg.Connection) -> list[int]:
    """Messages that no claim could use, and their ids in the dead letter queue."""
    register(db)
    for body in BODIES:
        db.execute("SELECT pgmq.send('jtd_email', %s::jsonb)", (Jsonb(body),))
    assert claim(db) == []
    return [found[0] for found in db.execute("SELECT msg_id FROM jtd.dlq_list()").fetchall()]


def test_dead_letters_keep_body_reason_and_queue(db: psycopg.Connection, dead: list[int]) -> None:
    rows = db.execute("SELECT queue_name, reason, body, enqueued_at FROM jtd.dlq_list(10)").fetchall()
    assert sorted(map(repr, (found[2] for found in rows))) == sorted(map(repr, BODIES))
    assert {found[:2] for found in rows} == {("jtd_email", "no usable jtd_id in the message")}
    assert all(found[3] is not None for found in rows)
    assert len(db.execute("SELECT * FROM jtd.dlq_list(2)").fetchall()) == 2
    assert len(dead) == 4


def test_dead_letters_go_back_to_their_queue_with_their_bodies(
    db: psycopg.Connection, dead: list[int]
) -> None:
    assert one(db, "SELECT jtd.dlq_requeue(%s::bigint[])", [dead[1], 999_999]) == 1
    assert one(db, "SELECT jtd.dlq_requeue('{}')") == 0
    assert one(db, "SELECT jtd.dlq_requeue()") == 3
    bodies = db.execute("SELECT message FROM pgmq.q_jtd_email").fetchall()
    assert sorted(map(repr, (body for (body,) in bodies))) == sorted(map(repr, BODIES))
    assert db.execute("SELECT * FROM jtd.dlq_list()").fetchall() == []


def test_a_dead_letter_of_a_queue_that_is_gone_stays(db: psycopg.Connection, dead: list[int]) -> None:
    db.execute('SELECT pgmq.send(\'jtd_dlq\', \'{"queue": "jtd_fax", "reason": "r", "body": 1}\'::jsonb)')
    assert one(db, "SELECT jtd.dlq_requeue()") == len(dead)
    assert db.execute("SELECT queue_name, body FROM jtd.dlq_list()").fetchall() == [("jtd_fax", 1)]


def test_dead_letters_are_purged_one_by_one_or_all(db: psycopg.Connection, dead: list[int]) -> None:
    assert one(db, "SELECT jtd.dlq_purge('{}')") == 0
    assert one(db, "SELECT jtd.dlq_purge(%s::bigint[])", [dead[0], 999_999]) == 1
    assert one(db, "SELECT jtd.dlq_purge()") == 3
    assert one(db, "SELECT count(*) FROM pgmq.q_jtd_dlq") == 0


# Status and show


def test_status_of_an_idle_database_is_all_there_and_empty(db: psycopg.Connection) -> None:
    status = one(db, "SELECT jtd.status_v1()")
    assert {queue["queue"] for queue in status["queues"]} == {
        f"jtd_{channel}{lane}"
        for channel in ("email", "sms", "whatsapp", "push", "inapp")
        for lane in ("", "_urgent")
    }
    assert all(queue["messages"] == queue["ready"] == 0 for queue in status["queues"])
    empty = {
        "unserved": [],
        "waiting": {},
        "in_flight": 0,
        "dead_letters": 0,
        "workers": [],
        "discards": {},
    }
    assert {name: status[name] for name in empty} == empty


def test_status_counts_what_is_where_and_names_unserved_channels(
    db: psycopg.Connection, dead: list[int]
) -> None:
    running = insert_jtd(db)
    assert claim(db) == [running]
    insert_jtd(db)
    insert_jtd(db, scheduled_at=TOMORROW)
    insert_jtd(db, channel_code="sms", recipient_contact="+919876543210")
    db.execute(PAUSED_WINDOW, (TENANT,))
    insert_jtd(db)
    db.execute("SELECT jtd.pause('email', 'maintenance')")
    status = one(db, "SELECT jtd.status_v1()")
    email = next(queue for queue in status["queues"] if queue["queue"] == "jtd_email")
    assert email.pop("oldest_seconds") >= 0
    assert email == {
        "queue": "jtd_email",
        "channel": "email",
        "lane": "normal",
        "messages": 2,
        "ready": 1,
        "target": 1000,
        "is_paused": True,
        "pause_reason": "maintenance",
    }
    assert status["unserved"] == ["sms"]
    assert status["waiting"] == {"scheduled": 1}
    assert (status["in_flight"], status["dead_letters"]) == (1, len(dead))
    assert status["discards"] == {"unusable": len(dead)}
    worker = status["workers"][0]
    assert (worker["id"], worker["name"], worker["is_alive"]) == (str(WORKER), "host-1", True)
    assert worker["channels"] == ["email", "inapp"]


def test_a_worker_without_a_lease_serves_nothing(db: psycopg.Connection) -> None:
    insert_jtd(db)
    register(db)
    db.execute("UPDATE jtd.workers SET lease_until = '-infinity'")
    status = one(db, "SELECT jtd.status_v1()")
    assert status["unserved"] == ["email"]
    assert status["workers"][0]["is_alive"] is False


def test_show_tells_the_whole_life_and_keeps_contents_to_itself(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(
        db,
        recipient_contact="secret@example.com",
        recipient_name="Secret",
        payload={"a": "secret"},
        template_variables={"a": "secret"},
        business_context={"a": "secret"},
        metadata={"a": "secret"},
    )
    shown = one(db, "SELECT jtd.show_v1(%s)", jtd_id)
    assert shown["jtd"]["id"] == str(jtd_id)
    assert shown["jtd"]["status_code"] == "queued"
    assert [step["to_status_code"] for step in shown["history"]] == ["created", "pending", "queued"]
    assert shown["explain"]["sentence"] == explain(db, jtd_id)["sentence"]
    assert "secret" not in str(shown).lower()
    assert one(db, "SELECT jtd.show_v1(%s) IS NULL", ABSENT)


# Rights


def test_an_operator_may_look_and_steer_but_not_claim(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute("SET ROLE jtd_operator")
    for call in (
        "jtd.explain(%(id)s)",
        "jtd.show_v1(%(id)s)",
        "jtd.whereabouts(ARRAY[%(id)s])",
        "jtd.conservation()",
        "jtd.status_v1()",
        "jtd.dlq_list()",
        "jtd.dlq_requeue()",
        "jtd.dlq_purge()",
        "jtd.pause('sms')",
        "jtd.resume('sms')",
        "jtd.cancel(%(id)s)",
        "jtd.retry(%(id)s)",
    ):
        db.execute(f"SELECT * FROM {call}", {"id": jtd_id})
    for call in ("jtd.claim_v1(%(id)s, 'jtd_email', 1)", "jtd.step(ARRAY[%(id)s], 'sent')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(f"SELECT * FROM {call}", {"id": jtd_id})
    db.execute("RESET ROLE")
    assert row(db, jtd_id)["status_code"] == "cancelled"
    assert listed(db, "waiting", jtd_id) is None
    assert messages(db, "jtd_email") == [jtd_id], "a claim discards it"
    assert row(db, insert_jtd(db, recipient_id=USER))["status_code"] == "queued"


def test_a_transaction_that_holds_back_vacuum_is_told_of(dsn: str, db: psycopg.Connection) -> None:
    assert one(db, "SELECT jtd.status_v1() ->> 'oldest_snapshot_seconds'") == "0"
    with psycopg.connect(dsn) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        status = one(db, "SELECT jtd.status_v1()")
        assert status["oldest_snapshot_seconds"] > 0
        metrics = Metrics()
        metrics.see(status)
        assert b"jtd_oldest_snapshot_seconds 0.0\n" not in metrics.text()
    assert not [line for line in tell(status) if "vacuum" in str(line)]
    late = [line for line in tell({**status, "oldest_snapshot_seconds": 301.0}) if "vacuum" in str(line)]
    assert late == [
        "A transaction has been open for 5 min 1 s, and vacuum cannot clean up behind it: queues get slower."
        " pg_stat_activity tells whose, by xact_start."
    ]
