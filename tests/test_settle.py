"""Settling records how each attempt ended, once, whole, and never over a newer attempt."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.jobs import USER, history, insert_jtd, insert_many, one, places, row, whereabouts
from tests.worker_calls import (
    DEADLINE,
    Worker,
    discards,
    locked,
    move,
    queue_content,
    queues_of,
    result,
    wait_until_blocked,
)

TERMINAL_FAILURE = [("executing", "failed")]
RETRIED = [("executing", "failed"), ("failed", "pending")]
INAPP = {"channel_code": "inapp", "recipient_id": USER, "recipient_contact": None}


@pytest.fixture(params=["plain", "prepared"])
def either(request: pytest.FixtureRequest, dsn: str) -> Iterator[Worker]:
    """A worker, once with and once without prepared statements."""
    threshold = 0 if request.param == "prepared" else None
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=threshold) as conn:
        yield Worker(conn)


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


class Attempt(NamedTuple):
    """What a result must name."""

    id: UUID
    attempt: int


def begin(worker: Worker, **columns: Any) -> Attempt:
    """Insert a job and claim it."""
    jtd_id = insert_jtd(worker.db, **columns)
    return claim(worker, jtd_id)


def claim(worker: Worker, jtd_id: UUID) -> Attempt:
    """Claim a job by its queue, and nothing else."""
    [queue] = queues_of(worker.db, jtd_id)
    [job] = [job for job in worker.claim(queue) if job.id == jtd_id]
    return Attempt(job.id, job.attempt)


def due_now(worker: Worker, jtd_id: UUID) -> Attempt:
    """Let the time of a pending job come, and claim it."""
    move(worker.db, jtd_id, "next_retry_at = now() - interval '1 s'")
    worker.tick()
    return claim(worker, jtd_id)


def ended(db: psycopg.Connection, jtd_id: UUID) -> list[tuple[str | None, str]]:
    """Return the steps of the audit trail since the last claim; each must be a valid one."""
    steps = [step for step in history(db, jtd_id) if step.action == "status_changed"]
    assert all(step.valid for step in steps), steps
    last = max(n for n, step in enumerate(steps) if step.to_status == "executing")
    return [(step.from_status, step.to_status) for step in steps[last + 1 :]]


def remarks(db: psycopg.Connection, jtd_id: UUID) -> list[tuple[str, Any]]:
    """Return what the audit trail says beside the steps: (action, details)."""
    rows = db.execute(
        "SELECT action, details FROM public.n_jtd_history"
        " WHERE jtd_id = %s AND action NOT IN ('created', 'imported', 'status_changed') ORDER BY id",
        [jtd_id],
    )
    return [tuple(found) for found in rows.fetchall()]


def delay(db: psycopg.Connection, jtd_id: UUID) -> float:
    """Return the seconds from now to the next attempt."""
    seconds: float = one(
        db,
        "SELECT extract(epoch FROM next_retry_at - clock_timestamp())::float8"
        " FROM public.n_jtd WHERE id = %s",
        jtd_id,
    )
    return seconds


# Sent


def test_sent_fills_every_result_column(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    either.hand_off(job)
    answers = either.settle(
        result(job, "sent", provider="smtp", provider_message_id="<1@x>", response={"reply": [250, "ok"]})
    )
    assert answers == ["applied"]
    found = row(db, job.id)
    assert found["status_code"] == "sent"
    assert found["status_id"] == one(db, "SELECT jtd.status_id('notification', 'sent')")
    assert found["previous_status_code"] == "executing"
    assert (found["provider_code"], found["provider_message_id"]) == ("smtp", "<1@x>")
    assert found["provider_response"] == {"reply": [250, "ok"]}
    assert found["execution_result"] == {"outcome": "sent", "attempt": 1}
    assert found["error_code"] is found["error_message"] is found["completed_at"] is None
    assert timedelta(0) <= found["status_changed_at"] - found["executed_at"] < timedelta(seconds=5)
    assert ended(db, job.id) == [("executing", "sent")]
    assert (queue_content(db, "jtd_email"), one(db, "SELECT count(*) FROM jtd.inflight")) == ([], 0)
    assert whereabouts(db, job.id).place == "sent"


def test_the_time_of_the_hand_off_is_kept(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.hand_off(job)
    db.execute("UPDATE jtd.inflight SET handed_off_at = '2030-01-01Z'")
    worker.settle(result(job, "sent"))
    assert row(db, job.id)["executed_at"] == datetime(2030, 1, 1, tzinfo=UTC)


def test_what_an_earlier_failure_left_is_cleared_when_it_is_sent(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    worker.settle(result(job, "retry", code="smtp_451", reason="busy", provider="smtp", response={"a": 1}))
    job = due_now(worker, job.id)
    worker.settle(result(job, "sent", provider="smtp.backup", provider_message_id="2"))
    found = row(db, job.id)
    assert found["error_code"] is found["error_message"] is found["next_retry_at"] is None
    assert found["transition_note"] is found["provider_response"] is None
    assert (found["provider_code"], found["provider_message_id"]) == ("smtp.backup", "2")
    assert found["execution_result"] == {"outcome": "sent", "attempt": 2}
    assert (found["attempt"], found["retry_count"]) == (2, 1)


def test_the_audit_trail_of_a_whole_life_is_exact(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    either.settle(result(job, "retry", code="later", reason="busy", provider="smtp"))
    job = due_now(either, job.id)
    either.settle(result(job, "sent", provider="smtp"))
    rows = db.execute(
        "SELECT from_status_code, to_status_code, action, reason, details - 'not_before', performed_by_type"
        " FROM public.n_jtd_history WHERE jtd_id = %s ORDER BY id",
        [job.id],
    ).fetchall()
    refusal = {"attempt": 1, "error_code": "later", "error_message": "busy", "provider": "smtp"}
    assert rows == [
        (None, "created", "created", None, None, "system"),
        ("created", "pending", "status_changed", None, None, "system"),
        ("pending", "queued", "status_changed", None, None, "system"),
        ("queued", "executing", "status_changed", None, {"attempt": 1}, "system"),
        ("executing", "failed", "status_changed", None, refusal, "system"),
        ("failed", "pending", "status_changed", "retry", refusal, "system"),
        ("pending", "queued", "status_changed", None, refusal, "system"),
        ("queued", "executing", "status_changed", None, refusal | {"attempt": 2}, "system"),
        ("executing", "sent", "status_changed", None, {"attempt": 2, "provider": "smtp"}, "system"),
    ]


# Not sent


def test_a_retry_uses_an_attempt_and_waits(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    answers = either.settle(
        result(job, "retry", code="smtp_451", reason="busy", provider="smtp", response={"reply": 451})
    )
    assert answers == ["applied"]
    found = row(db, job.id)
    assert (found["status_code"], found["retry_count"], found["attempt"]) == ("pending", 1, 1)
    assert (found["error_code"], found["error_message"]) == ("smtp_451", "busy")
    assert (found["provider_code"], found["provider_response"]) == ("smtp", {"reply": 451})
    assert found["execution_result"] == {"outcome": "retry", "attempt": 1, "code": "smtp_451"}
    assert found["last_retry_at"] is not None
    assert found["completed_at"] is None
    assert ended(db, job.id) == RETRIED
    waiting = db.execute("SELECT jtd_id, due, reason FROM jtd.waiting").fetchall()
    assert waiting == [(job.id, found["next_retry_at"], "retry")]
    assert queue_content(db, "jtd_email") == []


def test_the_delay_doubles_with_each_attempt_up_to_six_hours(worker: Worker, db: psycopg.Connection) -> None:
    ids = insert_many(db, 12, max_retries=100)
    db.execute("UPDATE public.n_jtd_event_types SET retry_delay_seconds = 300 WHERE code = 'notification'")
    for used, base in enumerate([300, 600, 1200, 2400, 4800, 9600, 19200, 21600, 21600]):
        jobs = worker.claim()
        assert sorted(job.id for job in jobs) == ids
        worker.settle(*(result(job, "retry", code="x") for job in jobs))
        delays = [delay(db, jtd_id) for jtd_id in ids]
        assert min(delays) > 0.9 * base - 5
        assert max(delays) <= min(1.1 * base, 21600)
        assert len(set(delays)) > 1 or base == 21600  # so that what failed together is not tried together
        assert one(db, "SELECT min(retry_count) FROM public.n_jtd") == used + 1
        db.execute("UPDATE public.n_jtd SET next_retry_at = now() - interval '1 s'")
        worker.tick()


@pytest.mark.parametrize(("asked", "granted"), [(10, 300), (4000, 4000), (100_000, 100_000), (None, 300)])
def test_a_longer_wait_that_the_provider_asks_for_wins(
    worker: Worker, db: psycopg.Connection, asked: float | None, granted: float
) -> None:
    job = begin(worker)
    worker.settle(result(job, "retry", code="x", delay=asked))
    assert 0.9 * granted - 5 < delay(db, job.id) <= 1.1 * granted


def test_the_last_attempt_that_fails_ends_the_job(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, max_retries=1)
    worker.settle(result(job, "retry", code="x"))
    job = due_now(worker, job.id)
    assert worker.settle(result(job, "retry", code="y", reason="still")) == ["applied"]
    found = row(db, job.id)
    assert (found["status_code"], found["retry_count"], found["error_code"]) == ("failed", 1, "y")
    assert found["completed_at"] is not None
    assert ended(db, job.id) == TERMINAL_FAILURE
    assert whereabouts(db, job.id).place == "final"
    assert worker.tick()["due"] == 0


def test_no_retries_means_none(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, max_retries=0)
    worker.settle(result(job, "retry", code="x"))
    assert (whereabouts(db, job.id).status, whereabouts(db, job.id).place) == ("failed", "final")
    assert row(db, job.id)["retry_count"] == 0


def test_retries_left_out_are_those_of_the_event_type(worker: Worker, db: psycopg.Connection) -> None:
    db.execute("UPDATE public.n_jtd_event_types SET default_max_retries = 1 WHERE code = 'notification'")
    job = begin(worker, max_retries=None)
    worker.settle(result(job, "retry", code="x"))
    job = due_now(worker, job.id)
    worker.settle(result(job, "retry", code="x"))
    assert whereabouts(db, job.id).place == "final"


def test_a_snooze_costs_no_attempt(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either, max_retries=0)
    for turn in range(1, 4):
        assert job.attempt == turn
        assert either.settle(result(job, "snooze", code="throttled", reason="slow", delay=120)) == ["applied"]
        found = row(db, job.id)
        assert (found["status_code"], found["retry_count"]) == ("pending", 0)
        assert (found["error_code"], found["error_message"]) == ("throttled", "slow")
        assert 115 < delay(db, job.id) <= 120
        assert ended(db, job.id) == [("executing", "pending")]
        assert one(db, "SELECT reason FROM jtd.waiting") == "throttled"
        job = due_now(either, job.id)


def test_a_snooze_ends_when_the_job_expires(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    move(db, job.id, "expires_at = now() + interval '1 minute'")
    worker.settle(result(job, "snooze", code="throttled", delay=3600))
    assert one(db, "SELECT due <= now() + interval '1 minute' FROM jtd.waiting")


def test_failed_is_the_end(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    assert either.settle(result(job, "failed", code="smtp_550", reason="no such user", provider="smtp")) == [
        "applied"
    ]
    found = row(db, job.id)
    assert (found["status_code"], found["error_code"]) == ("failed", "smtp_550")
    assert found["error_message"] == "no such user"
    assert found["completed_at"] is not None
    assert found["retry_count"] == 0
    assert ended(db, job.id) == TERMINAL_FAILURE
    assert whereabouts(db, job.id).place == "final"


def test_blocked_cancels_and_is_no_failure(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.settle(result(job, "blocked", code="blocked_suppressed", reason="bounced before"))
    found = row(db, job.id)
    assert (found["status_code"], found["error_code"]) == ("cancelled", "blocked_suppressed")
    assert found["transition_note"] == "blocked_suppressed"
    assert found["completed_at"] is not None
    assert found["retry_count"] == 0
    assert ended(db, job.id) == [("executing", "cancelled")]


def test_a_release_gives_the_job_back_unharmed_and_at_once(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    assert either.settle(result(job, "release")) == ["applied"]
    found = row(db, job.id)
    assert (found["status_code"], found["retry_count"]) == ("queued", 0)
    assert found["error_code"] is None
    assert ended(db, job.id) == [("executing", "pending"), ("pending", "queued")]
    assert [(m.jtd_id, m.hidden_for) for m in queue_content(db, "jtd_email")] == [(job.id, 0)]
    assert claim(either, job.id).attempt == 2


def test_a_release_wakes_a_sleeper(worker: Worker, dsn: str, db: psycopg.Connection) -> None:
    job = begin(worker)
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN jtd_wake")
        Worker(db).claim()
        worker.settle(result(job, "release"))
        [told] = listener.notifies(timeout=DEADLINE, stop_after=1)
    assert told.payload == "jtd_email"


# Unknown


@pytest.mark.parametrize("rule", ["hold", None])
def test_an_unknown_outcome_is_held_unless_its_rule_allows_another_attempt(
    worker: Worker, db: psycopg.Connection, rule: str | None
) -> None:
    job = begin(worker)
    worker.hand_off(job, rule="hold")
    worker.settle(result(job, "unknown", code="timeout", reason="no answer", rule=rule, provider="msg91"))
    found = row(db, job.id)
    assert (found["status_code"], found["error_code"]) == ("failed", "outcome_unknown")
    assert (found["error_message"], found["provider_code"]) == ("no answer", "msg91")
    assert found["execution_result"]["code"] == "timeout"
    assert found["completed_at"] is not None
    assert found["executed_at"] is not None
    assert remarks(db, job.id) == []
    assert whereabouts(db, job.id).place == "final"


def test_an_unknown_outcome_with_resend_is_sent_again_and_says_so(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    worker.hand_off(job)
    worker.settle(result(job, "unknown", code="timeout", reason="no answer", rule="resend"))
    found = row(db, job.id)
    assert (found["status_code"], found["retry_count"]) == ("pending", 1)
    assert found["error_code"] == "outcome_unknown"
    assert ended(db, job.id) == RETRIED
    assert remarks(db, job.id) == [("possible_duplicate", {"attempt": 1})]


def test_an_unknown_outcome_with_an_idempotent_provider_is_no_possible_duplicate(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    worker.settle(result(job, "unknown", code="timeout", rule="idempotent_retry", provider="p1"))
    assert (row(db, job.id)["status_code"], row(db, job.id)["retry_count"]) == ("pending", 1)
    assert remarks(db, job.id) == []


def test_an_unknown_outcome_of_the_last_attempt_is_held(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, max_retries=0)
    worker.settle(result(job, "unknown", code="timeout", rule="resend"))
    assert (row(db, job.id)["status_code"], row(db, job.id)["error_code"]) == ("failed", "outcome_unknown")
    assert row(db, job.id)["completed_at"] is not None
    assert remarks(db, job.id) == []


# The answers


OUTCOMES = ["sent", "retry", "snooze", "failed", "blocked", "unknown", "release"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_same_result_twice_changes_nothing_the_second_time(
    either: Worker, db: psycopg.Connection, outcome: str
) -> None:
    job = begin(either)
    settled = result(job, outcome, code="x", reason="y", rule="resend", delay=60, provider="p")
    assert either.settle(settled) == ["applied"]
    before, trail = row(db, job.id), remarks(db, job.id)
    assert either.settle(settled) == ["already"]
    assert (row(db, job.id), remarks(db, job.id)) == (before, trail)


def test_two_results_for_one_attempt_in_one_call_are_one(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    settled = result(job, "failed", code="x")
    rows = db.execute(
        "SELECT answer FROM jtd.settle_v1(%s, %s)", [worker.id, psycopg.types.json.Jsonb([settled, settled])]
    ).fetchall()
    assert sorted(rows) == [("already",), ("applied",)]
    assert ended(db, job.id) == TERMINAL_FAILURE


def test_every_result_of_a_batch_has_its_own_answer(either: Worker, dsn: str, db: psycopg.Connection) -> None:
    insert_many(db, 5)
    fresh, done, newer, held, deleted = sorted(either.claim())
    either.settle(result(done, "sent"))
    move(db, newer.id, "attempt = 2")
    db.execute("UPDATE jtd.inflight SET attempt = 2 WHERE jtd_id = %s", [newer.id])
    db.execute("DELETE FROM public.n_jtd WHERE id = %s", [deleted.id])
    with locked(dsn, held.id):
        answers = either.settle(*(result(job, "sent") for job in (fresh, done, newer, held, deleted)))
    assert answers == ["applied", "already", "late", "locked", "gone"]
    assert whereabouts(db, held.id).place == "in_flight"
    assert either.settle(result(held, "sent")) == ["applied"]


def test_nothing_to_settle_is_nothing_done(worker: Worker) -> None:
    assert worker.settle() == []


# Too late


def test_a_stale_result_never_changes_a_newer_attempt(either: Worker, db: psycopg.Connection) -> None:
    first = begin(either)
    either.settle(result(first, "release"))
    second = claim(either, first.id)
    before = row(db, first.id)
    for outcome in OUTCOMES:
        assert either.settle(
            result(first, outcome, code="x", reason="old", provider="p", provider_message_id="m")
        ) == ["late"]
    assert row(db, first.id) == before
    assert one(db, "SELECT attempt FROM jtd.inflight") == second.attempt
    noted = remarks(db, first.id)
    reference = {"attempt": 1, "provider": "p", "provider_message_id": "m"}
    assert noted == [("late_result", {"outcome": o, **reference}) for o in OUTCOMES if o != "release"]
    assert either.settle(result(second, "failed", code="x")) == ["applied"]


def test_a_proof_of_a_send_after_a_newer_one_is_a_known_duplicate(
    worker: Worker, db: psycopg.Connection
) -> None:
    first = begin(worker)
    worker.settle(result(first, "unknown", code="timeout", rule="resend"))
    second = due_now(worker, first.id)
    worker.settle(result(second, "sent", provider="smtp"))  # without a message id, as smtp may
    before = row(db, first.id)
    assert worker.settle(result(first, "sent", provider="smtp", provider_message_id="<1>")) == ["late"]
    assert row(db, first.id) == before
    assert remarks(db, first.id) == [
        ("possible_duplicate", {"attempt": 1}),
        (
            "duplicate_known",
            {"attempt": 1, "outcome": "sent", "provider": "smtp", "provider_message_id": "<1>"},
        ),
    ]


def test_a_proof_of_a_send_while_a_newer_one_runs_makes_that_a_known_duplicate(
    worker: Worker, db: psycopg.Connection
) -> None:
    first = begin(worker)
    worker.settle(result(first, "unknown", code="timeout", rule="resend"))
    second = due_now(worker, first.id)
    proof = {"attempt": 1, "outcome": "sent", "provider_message_id": "<1>"}
    assert worker.settle(result(first, "sent", provider_message_id="<1>")) == ["late"]
    assert remarks(db, first.id)[1:] == [("late_result", proof)]
    assert worker.settle(result(second, "sent")) == ["applied"]
    assert remarks(db, first.id)[2:] == [("duplicate_known", proof)]


@pytest.mark.parametrize("outcome", ["unknown", "retry", "release"])
def test_a_proof_of_an_older_attempt_leaves_the_newer_one_as_it_is(
    worker: Worker, db: psycopg.Connection, outcome: str
) -> None:
    first = begin(worker)
    worker.settle(result(first, "unknown", code="timeout", rule="resend"))
    second = due_now(worker, first.id)
    worker.settle(result(second, outcome, code="timeout", rule="hold"))
    before = row(db, first.id)
    assert worker.settle(result(first, "sent", provider_message_id="<1>")) == ["late"]
    assert row(db, first.id) == before
    assert [action for action, _ in remarks(db, first.id)] == ["possible_duplicate", "late_result"]


@pytest.mark.parametrize("rule", ["hold", "resend", "idempotent_retry"])
def test_a_late_proof_resolves_an_unknown_outcome_of_the_same_attempt(
    worker: Worker, db: psycopg.Connection, rule: str
) -> None:
    job = begin(worker)
    worker.hand_off(job)
    worker.settle(result(job, "unknown", code="timeout", reason="no answer", rule=rule))
    assert worker.settle(result(job, "sent", provider="p", provider_message_id="m", response={"a": 1})) == [
        "late"
    ]
    found = row(db, job.id)
    assert (found["status_code"], found["provider_message_id"]) == ("sent", "m")
    assert (found["provider_code"], found["provider_response"]) == ("p", {"a": 1})
    assert found["error_code"] is found["error_message"] is found["completed_at"] is None
    assert found["next_retry_at"] is None
    assert found["execution_result"] == {"outcome": "sent", "attempt": 1}
    assert [action for action, _ in remarks(db, job.id)][-1] == "late_result"
    assert ended(db, job.id)[-1][1] == "sent"
    assert worker.tick()["due"] == 0


def test_a_late_proof_settles_a_job_that_was_given_back_and_not_claimed_again(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    worker.settle(result(job, "release"))
    assert worker.settle(result(job, "sent", provider="p")) == ["late"]
    assert row(db, job.id)["status_code"] == "sent"
    assert ended(db, job.id)[2:] == [("queued", "pending"), ("pending", "sent")]
    assert worker.claim() == []
    assert discards(db) == {"settled": 1}


def test_a_late_delivery_that_was_never_written_proves_nothing(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker, **INAPP)
    worker.settle(result(job, "release"))
    row_to_write = {"user_id": str(USER), "title": "t"}
    late = result(job, "sent", delivery={"kind": "inapp", "row": row_to_write})
    assert worker.settle(late) == ["late"]
    assert row(db, job.id)["status_code"] == "queued"
    again = claim(worker, job.id)
    assert worker.settle(result(again, "sent", delivery=late["delivery"])) == ["applied"]
    assert one(db, "SELECT count(*) FROM public.n_inapp_notifications") == 1
    assert remarks(db, job.id) == [("late_result", {"attempt": 1, "outcome": "not_written"})]


def test_a_known_failure_is_not_undone_by_a_contradiction(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.settle(result(job, "failed", code="x"))
    assert worker.settle(result(job, "sent", provider_message_id="m")) == ["late"]
    assert row(db, job.id)["status_code"] == "failed"
    assert remarks(db, job.id) == [
        ("late_result", {"attempt": 1, "outcome": "sent", "provider_message_id": "m"})
    ]


def test_a_job_cancelled_while_it_was_sent_stays_cancelled_with_the_proof(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    move(db, job.id, "status_code = 'cancelled'")
    assert worker.settle(result(job, "sent", provider_message_id="m")) == ["late"]
    assert row(db, job.id)["status_code"] == "cancelled"
    assert [action for action, _ in remarks(db, job.id)] == ["late_result"]
    assert one(db, "SELECT count(*) FROM jtd.inflight") == 0
    assert queue_content(db, "jtd_email") == []


# Deliveries into our own database


def notification(**fields: Any) -> dict[str, Any]:
    return {"kind": "inapp", "row": {"user_id": str(USER), "title": "Paid", **fields}}


def test_a_notification_is_written_with_the_status_and_once(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either, **INAPP)
    delivery = notification(
        body="b", notification_type="success", category="c", action_url="/i/1", action_label="Open",
        metadata={"k": 1}, id=str(uuid4()), tenant_id=str(uuid4()), source_jtd_id=str(uuid4()),
    )  # fmt: skip
    settled = result(job, "sent", provider="db", delivery=delivery)
    assert either.settle(settled) == ["applied"]
    assert either.settle(settled) == ["already"]
    rows = db.execute(
        "SELECT tenant_id, source_jtd_id, user_id, title, body, notification_type, category, action_url,"
        " action_label, metadata FROM public.n_inapp_notifications"
    ).fetchall()
    tenant = row(db, job.id)["tenant_id"]
    assert rows == [(tenant, job.id, USER, "Paid", "b", "success", "c", "/i/1", "Open", {"k": 1})]


def test_an_outbox_row_is_written_with_the_status_and_once(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either, is_live=False)
    delivery = {
        "kind": "outbox",
        "row": {
            "recipient": "a@b.c",
            "recipient_name": "A",
            "subject": "s",
            "content": "c",
            "content_html": "h",
        },
    }
    settled = result(job, "sent", delivery=delivery)
    assert either.settle(settled) == ["applied"]
    assert either.settle(settled) == ["already"]
    rows = db.execute(
        "SELECT jtd_id, channel_code, recipient, recipient_name, subject, content, content_html, metadata"
        " FROM public.n_jtd_outbox"
    ).fetchall()
    assert rows == [(job.id, "email", "a@b.c", "A", "s", "c", "h", {})]


def test_a_stale_delivery_writes_nothing(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, **INAPP)
    move(db, job.id, "status_code = 'cancelled'")
    assert worker.settle(result(job, "sent", delivery=notification())) == ["late"]
    assert one(db, "SELECT count(*) FROM public.n_inapp_notifications") == 0


def test_what_is_not_sent_writes_nothing(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker, **INAPP)
    worker.settle(result(job, "retry", code="x", delivery=notification()))
    assert one(db, "SELECT count(*) FROM public.n_inapp_notifications") == 0


# Poison: one result that cannot be stored must not cost the others theirs

WEIRD = "\u202e\ufeff\U0001f4a9\ud7ff\ue000\ufffe\uffff\x01\x7f\u0085\u2028 'quote' \"double\" \\ $1 {}"
BATCH = 50


def poisoned(worker: Worker, poison: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """Settle a batch of which one result is `poison`; returns the row of that one."""
    insert_many(worker.db, BATCH, **columns)
    queue = "jtd_inapp" if columns else "jtd_email"
    jobs = worker.claim(queue)
    assert len(jobs) == BATCH
    good = {"delivery": notification()} if columns else {}
    results = [
        result(job, **({"outcome": "sent", "provider": "p", **good} | (poison if n == 31 else {})))
        for n, job in enumerate(jobs)
    ]
    assert worker.settle(*results) == ["applied"] * BATCH
    fine = [row(worker.db, job.id) for n, job in enumerate(jobs) if n != 31]
    assert {(found["status_code"], found["error_code"]) for found in fine} == {("sent", None)}
    assert one(worker.db, "SELECT count(*) FROM jtd.inflight") == 0
    assert queue_content(worker.db, queue) == []
    return row(worker.db, jobs[31].id)


@pytest.mark.parametrize("outcome", ["sent", "retry", "failed", "snooze", "unknown"])
def test_weird_and_long_texts_are_stored(either: Worker, outcome: str) -> None:
    found = poisoned(
        either,
        {
            "outcome": outcome,
            "code": WEIRD * 10,
            "reason": WEIRD * 1000,
            "provider_message_id": WEIRD,
            "response": {WEIRD: [WEIRD, None, 1.5, {}]},
            "delay": 10,
        },
    )
    if outcome in ("sent", "retry", "failed"):
        assert found["provider_response"] == {WEIRD: [WEIRD, None, 1.5, {}]}
    if outcome == "sent":
        assert found["provider_message_id"] == WEIRD
    if outcome in ("retry", "failed"):
        assert found["error_message"] == (WEIRD * 1000)[:2000]
        assert found["error_code"] == (WEIRD * 10)[:100]


@pytest.mark.parametrize(
    "poison",
    [
        {"provider_message_id": "x" * 1_000_000},
        {"response": {"page": "<html>" * 200_000}},
        {"provider": "p" * 1000},
        {"delay": "soon"},
        {"delay": 1e300, "outcome": "sent", "attempt_": 1, "rule": 5, "provider": "q" * 101},
    ],
    ids=["long id", "long response", "long provider", "no number", "many"],
)
def test_a_result_that_cannot_be_stored_keeps_its_outcome_and_says_why(
    either: Worker, poison: dict[str, Any]
) -> None:
    found = poisoned(either, {"provider_message_id": "ref", **poison})
    assert found["status_code"] == "sent"
    assert found["error_code"] == "result_not_stored"
    assert found["error_message"].startswith("the database refused a part of the result: ")
    assert found["provider_code"] == str(poison.get("provider", "p"))[:100]
    assert found["provider_message_id"] == (None if "provider_message_id" in poison else "ref")
    assert found["execution_result"]["outcome"] == "sent"


def test_a_wait_beyond_all_time_is_the_usual_one(worker: Worker, db: psycopg.Connection) -> None:
    found = poisoned(worker, {"outcome": "retry", "code": "x", "delay": 1e300})
    assert (found["status_code"], found["error_code"]) == ("pending", "result_not_stored")
    assert 200 < delay(db, found["id"]) < 400


@pytest.mark.parametrize("outcome", ["teleported", None, 5])
def test_an_outcome_that_this_version_does_not_know_is_held(worker: Worker, outcome: Any) -> None:
    found = poisoned(worker, {"outcome": outcome})
    assert (found["status_code"], found["error_code"]) == ("failed", "outcome_unknown")
    assert found["completed_at"] is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"notification_type": "loud"},
        {"title": None},
        {"user_id": None},
        {"user_id": "nobody"},
        {"category": "c" * 51},
    ],
    ids="-".join,
)
def test_a_notification_that_breaks_a_rule_fails_alone(
    either: Worker, db: psycopg.Connection, fields: dict[str, Any]
) -> None:
    found = poisoned(either, {"delivery": notification(**fields)}, **INAPP)
    assert (found["status_code"], found["error_code"]) == ("failed", "result_not_stored")
    assert found["completed_at"] is not None
    assert one(db, "SELECT count(*) FROM public.n_inapp_notifications") == BATCH - 1


def test_a_delivery_that_is_no_row_fails_alone(worker: Worker) -> None:
    found = poisoned(worker, {"delivery": {"kind": "inapp", "row": [1]}}, **INAPP)
    assert (found["status_code"], found["error_code"]) == ("failed", "result_not_stored")


def test_a_job_that_takes_no_change_is_answered_locked_and_the_others_stand(
    either: Worker, db: psycopg.Connection
) -> None:
    ids = insert_many(db, 20)
    jobs = either.claim()
    poison = next(job for job in jobs if job.id == ids[13])
    move(db, poison.id, "recipient_name = 'poison'")
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT no_poison CHECK (recipient_name <> 'poison') NOT VALID"
    )
    answers = either.settle(*(result(job, "sent") for job in jobs))
    assert [job.id for job, answer in zip(jobs, answers, strict=True) if answer == "locked"] == [poison.id]
    assert answers.count("applied") == 19
    db.execute("ALTER TABLE public.n_jtd DROP CONSTRAINT no_poison")
    assert either.settle(result(poison, "sent")) == ["applied"]


def test_a_result_without_a_usable_id_costs_the_others_nothing(
    worker: Worker, db: psycopg.Connection
) -> None:
    job = begin(worker)
    rows = db.execute(
        "SELECT * FROM jtd.settle_v1(%s, %s)",
        [
            worker.id,
            psycopg.types.json.Jsonb(
                [{"id": "x", "attempt": "y", "outcome": "sent"}, result(job, "sent"), {"outcome": "sent"}]
            ),
        ],
    ).fetchall()
    assert (job.id, 1, "applied") in rows
    assert row(db, job.id)["status_code"] == "sent"


# Hand-off


def test_a_hand_off_is_put_on_record_with_its_rule(either: Worker, db: psycopg.Connection) -> None:
    job = begin(either)
    assert either.hand_off(job, rule="hold") == {job.id}
    [(at, *noted)] = db.execute("SELECT handed_off_at, unknown_rule, provider FROM jtd.inflight").fetchall()
    assert at is not None
    assert noted == ["hold", "smtp"]


def test_only_those_that_may_go_are_handed_off(either: Worker, dsn: str, db: psycopg.Connection) -> None:
    insert_many(db, 7)
    good, cancelled, expired, newer, held, settled, other = sorted(either.claim())
    db.execute("SELECT jtd.cancel(%s, 'changed my mind')", [cancelled.id])
    move(db, expired.id, "expires_at = now() - interval '1 s'")
    move(db, newer.id, "attempt = 2")
    db.execute("UPDATE jtd.inflight SET attempt = 2 WHERE jtd_id = %s", [newer.id])
    db.execute("UPDATE jtd.inflight SET worker_id = %s WHERE jtd_id = %s", [Worker(db).id, other.id])
    either.settle(result(settled, "failed", code="x"))
    with locked(dsn, held.id):
        assert either.hand_off(good, cancelled, expired, newer, held, settled, other) == {good.id}
    handed_off = db.execute("SELECT jtd_id FROM jtd.inflight WHERE handed_off_at IS NOT NULL").fetchall()
    assert handed_off == [(good.id,)]


def test_nothing_is_handed_off_once_the_lease_is_over(worker: Worker, db: psycopg.Connection) -> None:
    job = begin(worker)
    worker.lapse()
    assert worker.hand_off(job) == set()
    assert one(db, "SELECT handed_off_at FROM jtd.inflight") is None


def test_a_hand_off_and_a_cancel_at_the_same_time_never_both_succeed(
    either: Worker, dsn: str, db: psycopg.Connection
) -> None:
    insert_many(db, 2)
    first, second = either.claim()
    with psycopg.connect(dsn) as user, psycopg.connect(dsn) as sender, ThreadPoolExecutor(1) as pool:
        user.execute("SELECT jtd.cancel(%s)", [first.id])
        assert either.hand_off(first) == set()
        user.commit()

        sender.execute(
            "SELECT jtd.hand_off_v1(%s, %s, %s, 'resend', 'smtp')", [either.id, [second.id], [second.attempt]]
        )
        cancel = pool.submit(one, user, "SELECT jtd.cancel(%s)", second.id)
        wait_until_blocked(db, user.info.backend_pid)
        sender.commit()
        assert cancel.result(DEADLINE) == "too_late"
        user.commit()
    assert [whereabouts(db, job.id).status for job in (first, second)] == ["cancelled", "executing"]


def test_results_of_two_workers_at_the_same_time_are_all_recorded(dsn: str, db: psycopg.Connection) -> None:
    insert_many(db, 200)

    def work() -> list[str]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            worker, answers = Worker(conn), []
            while jobs := worker.claim(limit=20):
                answers += worker.settle(*(result(job, "sent") for job in jobs))
            return answers

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(work) for _ in range(2)]
        answers = [answer for done in both for answer in done.result(DEADLINE)]
    assert answers == ["applied"] * 200
