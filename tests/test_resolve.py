"""What a person says about jobs of which nobody knows whether they were sent."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.jobs import history, insert_jtd, one, row, whereabouts
from tests.worker_calls import Worker, result


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def unknown(db: psycopg.Connection, worker: Worker, **columns: Any) -> UUID:
    """Return a job that was handed off and of which no more is known."""
    jtd_id = insert_jtd(db, **columns)
    job = worker.claim_one()
    worker.hand_off(job, rule="hold")
    assert worker.settle(result(job, "unknown", rule="hold", code="timeout", provider="smtp")) == ["applied"]
    assert row(db, jtd_id)["error_code"] == "outcome_unknown"
    return jtd_id


def resolve(db: psycopg.Connection, jtd_id: UUID, verdict: str | None, reason: str | None = None) -> Any:
    return one(db, "SELECT jtd.resolve(%s, %s, %s)", jtd_id, verdict, reason)


def attention(db: psycopg.Connection, reason: str | None = None) -> list[UUID]:
    return [found[0] for found in db.execute("SELECT id FROM jtd.attention(%s)", [reason]).fetchall()]


def test_a_job_that_was_sent_after_all_counts_as_sent(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = unknown(db, worker)
    handed_off_at = row(db, jtd_id)["executed_at"]
    assert resolve(db, jtd_id, "sent", "found in the provider's log") == "sent"
    job = row(db, jtd_id)
    assert (job["status_code"], job["error_code"], job["executed_at"]) == ("sent", None, handed_off_at)
    assert whereabouts(db, jtd_id).place == "sent"
    assert [step.action for step in history(db, jtd_id)][-2:] == ["resolved", "status_changed"]
    assert all(step.valid for step in history(db, jtd_id))


def test_a_job_that_shall_be_sent_again_is_on_record_as_a_possible_duplicate(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = unknown(db, worker)
    assert resolve(db, jtd_id, "resend") == "pending"
    assert [step.action for step in history(db, jtd_id)][-3:] == [
        "status_changed", "possible_duplicate", "resolved",
    ]  # fmt: skip
    worker.tick()
    assert worker.claim_one().attempt == 2


def test_a_job_that_is_given_up_stays_failed_and_is_listed_no_more(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = unknown(db, worker)
    assert resolve(db, jtd_id, "fail") == "failed"
    assert (row(db, jtd_id)["error_code"], whereabouts(db, jtd_id).place) == ("written_off", "final")
    assert attention(db) == []
    assert one(db, "SELECT jtd.retry(%s)", jtd_id) == "written_off"  # given up is not known
    assert one(db, "SELECT jtd.cancel(%s)", jtd_id) == "too_late"


def test_a_proof_that_comes_after_the_verdict_still_counts(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    job = worker.claim_one()
    worker.hand_off(job, rule="hold")
    worker.settle(result(job, "unknown", rule="hold"))
    resolve(db, jtd_id, "fail")
    assert worker.settle(result(job, "sent", provider="smtp", provider_message_id="m-1")) == ["late"]
    assert (row(db, jtd_id)["status_code"], row(db, jtd_id)["provider_message_id"]) == ("sent", "m-1")


def test_the_record_names_who_said_it_and_why(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = unknown(db, worker)
    with db.transaction():
        db.execute("SET LOCAL jtd.actor = 'user::Jane Smith'")
        resolve(db, jtd_id, "fail", "the provider has no trace")
    said = db.execute(
        "SELECT performed_by_type, performed_by_name, reason, details ->> 'verdict' FROM n_jtd_history "
        "WHERE jtd_id = %s AND action = 'resolved'",
        [jtd_id],
    ).fetchone()
    assert said == ("user", "Jane Smith", "the provider has no trace", "fail")


def test_only_what_is_unknown_can_be_resolved(db: psycopg.Connection, worker: Worker) -> None:
    queued = insert_jtd(db)
    assert resolve(db, queued, "sent") == "not_unknown"
    assert resolve(db, uuid4(), "sent") == "absent"
    assert row(db, queued)["status_code"] == "queued"
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550"))
    assert resolve(db, queued, "resend") == "not_unknown"


@pytest.mark.parametrize("verdict", ["perhaps", None])
def test_a_verdict_that_is_none_is_refused_with_those_that_are(
    db: psycopg.Connection, worker: Worker, verdict: str | None
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        resolve(db, unknown(db, worker), verdict)
    assert refused.value.sqlstate == "JT011"
    assert refused.value.diag.message_hint == "Allowed: sent, resend, fail."


def test_attention_lists_the_unknown_by_age_until_they_are_resolved(
    db: psycopg.Connection, worker: Worker
) -> None:
    first, second = unknown(db, worker), unknown(db, worker)
    invalid = insert_jtd(db, recipient_contact="nobody")
    assert attention(db) == [first, second, invalid]
    assert attention(db, "outcome_unknown") == [first, second]
    assert one(db, "SELECT count(*) FROM jtd.attention(NULL, 2)") == 2
    resolve(db, first, "sent")
    assert attention(db, "outcome_unknown") == [second]
