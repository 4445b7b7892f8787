"""What hostile rows and odd timing do to recovery, breakers and adoption, and what must hold all the same."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg

from jtd_worker.breaker import Breakers
from jtd_worker.database import Link
from jtd_worker.queue import Queue
from jtd_worker.result import Sent, Throttled
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from tests.command import call
from tests.daemon import eventually, running
from tests.jobs import history, insert_jtd, insert_many, one, row, whereabouts
from tests.test_breaker import settings
from tests.test_sweep import due, sweep
from tests.worker_calls import Worker, no_triggers, result


def test_a_job_whose_result_somebody_else_wrote_stops_no_claim(db: psycopg.Connection) -> None:
    strange = insert_jtd(db, execution_result={"code": "worker_lost", "outcome": "release", "lost": "2.0"})
    good = insert_jtd(db)
    claimed = {job.id for _ in range(3) for job in Worker(db).claim()}
    assert good in claimed, (strange, claimed)


def test_a_step_of_the_sweep_ends_in_time_when_all_its_jobs_are_lost(db: psycopg.Connection) -> None:
    worker = Worker(db)
    sweep(db, worker)
    db.execute("UPDATE jtd.queues SET closes_at = 5000")
    for _ in range(5):
        insert_many(db, 1000)
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    due(db)
    db.execute("SET statement_timeout = '15s'")  # half of what a worker gives it
    assert sweep(db, worker) == 5000


def test_a_remark_on_an_imported_job_does_not_get_it_sent(db: psycopg.Connection) -> None:
    worker = Worker(db)
    sweep(db, worker)
    brought = insert_jtd(db, status_code="queued")
    assert whereabouts(db, brought).place == "imported"
    db.execute(
        "INSERT INTO n_jtd_history (jtd_id, tenant_id, action, to_status_code, performed_by_type, reason)"
        " SELECT id, tenant_id, 'note', status_code, 'system', 'seen by support' FROM n_jtd WHERE id = %s",
        [brought],
    )
    due(db)
    sweep(db, worker)
    assert worker.claim() == []


def test_retry_of_a_job_that_was_given_up_names_a_way_that_is_open(dsn: str, db: psycopg.Connection) -> None:
    job_id = insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    worker.hand_off(job)
    worker.settle(result(job, "unknown", rule="hold", code="x", reason="x"))
    assert one(db, "SELECT jtd.resolve(%s, 'fail')", job_id) == "failed"
    said = call(dsn, "retry", str(job_id))
    assert "jtd-worker resolve" not in said.out or call(dsn, "resolve", str(job_id), "--resend").code == 0


def test_resolve_answers_only_what_it_says_it_answers(dsn: str, db: psycopg.Connection) -> None:
    job_id = insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    worker.hand_off(job)
    worker.settle(result(job, "unknown", rule="hold", code="x", reason="x"))
    db.execute("UPDATE n_jtd_statuses SET allows_retry = false WHERE code = 'failed'")
    said = call(dsn, "resolve", str(job_id), "--resend")
    assert "Traceback" not in said.err, said.err
    assert "KeyError" not in said.err, said.err


def test_a_send_begun_before_the_breaker_opened_does_not_close_it() -> None:
    claims, settles, ticks, leases = (Link("", role) for role in ("claim", "settle", "tick", "lease"))
    breakers = Breakers(Queue(uuid4(), claims, settles, ticks, leases), {"email": ["webhook"]})
    provider = ("email", "webhook")
    # two sends run; one is told to come back in 30 s, and the other ends well a moment later
    breakers.saw(provider, Throttled(retry_after=timedelta(seconds=30), code="http_429", reason="slow"))
    breakers.saw(provider, Sent())
    assert breakers.pause(provider) > 20


def test_the_pause_that_a_provider_asked_for_is_kept_though_an_earlier_send_arrives(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    asked: list[str] = []

    def script(request: Request) -> Steps:
        asked.append(request.headers["webhook-id"])
        if len(asked) == 1:
            return [Step.WAIT, *answer(200)]
        return answer(429, headers={"retry-after": "60"}) if len(asked) == 2 else answer(200)

    with (
        ThreadedHttpServer(script) as server,
        running(dsn, "email:webhook", tmp_path, **settings(server)),
    ):
        insert_jtd(db)
        eventually(lambda: len(asked) == 1)
        insert_jtd(db)
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.breakers") == 1)
        server.release()
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 1)
        insert_jtd(db)
        renewed = one(db, "SELECT max(lease_until) FROM jtd.workers")
        eventually(lambda: one(db, "SELECT max(lease_until) FROM jtd.workers") > renewed)  # and two ticks
        assert len(asked) == 2


def test_a_breaker_of_a_provider_that_nobody_uses_any_more_goes_away(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(
        "INSERT INTO jtd.breakers (channel_code, provider, code, opened_at, retry_at)"
        " VALUES ('email', 'smtp', 'smtp_535', now() - interval '30 days', now() - interval '29 days')"
    )
    with (
        ThreadedHttpServer(lambda _: answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, **settings(server)),
    ):
        sent = insert_jtd(db)
        eventually(lambda: row(db, sent)["status_code"] == "sent")
        with db.transaction():
            waits = insert_jtd(db)
            sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", waits)
        assert "provider smtp takes nothing" not in sentence, sentence


def test_counts_go_on_after_a_restore_in_a_younger_cluster(dsn: str, db: psycopg.Connection) -> None:
    worker = Worker(db)
    db.execute("UPDATE jtd.counted SET below_txid = 1000000000")  # as the old cluster left it
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    assert call(dsn, "adopt", "--since", "2020-01-01T00:00:00Z").code == 0
    insert_many(db, 3)
    for _ in range(3):
        worker.tick()
    assert one(db, "SELECT jtd.status_v1() -> 'jobs' ->> 'queued'") == "3"


def test_one_job_that_takes_no_change_keeps_no_database_from_being_adopted(
    dsn: str, db: psycopg.Connection
) -> None:
    bad = insert_jtd(db)
    insert_jtd(db)
    db.execute("ALTER TABLE n_jtd ADD CONSTRAINT later_rule CHECK (recipient_name <> 'Bad') NOT VALID")
    with no_triggers(db):
        db.execute("ALTER TABLE n_jtd DROP CONSTRAINT later_rule")
        db.execute("UPDATE n_jtd SET recipient_name = 'Bad' WHERE id = %s", [bad])
        db.execute("ALTER TABLE n_jtd ADD CONSTRAINT later_rule CHECK (recipient_name <> 'Bad') NOT VALID")
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    ended = call(dsn, "adopt", "--since", "now")
    assert ended.code == 0, ended.err


def test_a_job_that_cannot_be_placed_is_not_said_to_be_put_back_with_each_sweep(
    db: psycopg.Connection,
) -> None:
    worker = Worker(db)
    sweep(db, worker)
    db.execute("UPDATE n_jtd_source_types SET default_channels = '{}' WHERE code = 'user_invite'")
    with no_triggers(db):
        job_id = insert_jtd(
            db, status_code="pending", channel_code=None, scheduled_at="2099-01-01T00:00:00Z", priority=5
        )
    found = []
    for _ in range(3):
        due(db)
        found.append(sweep(db, worker))
    notes = [step for step in history(db, job_id) if step.action == "note"]
    assert found[1:] == [0, 0], (found, notes)


def test_imported_executing_jobs_are_kept_as_given(db: psycopg.Connection) -> None:
    worker = Worker(db)
    sweep(db, worker)
    brought = insert_jtd(db, status_code="executing")
    due(db)
    sweep(db, worker)
    assert row(db, brought)["status_code"] == "executing"


def test_a_host_that_opens_its_identifier_later_does_not_stop_all_sending(db: psycopg.Connection) -> None:
    db.execute("UPDATE jtd.instance SET system_identifier = 0")  # entered while pg_control_system was closed
    assert one(db, "SELECT jtd.is_adopted()")


def test_a_daemon_lives_on_beside_a_job_whose_result_somebody_else_wrote(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_jtd(db, execution_result={"code": "worker_lost", "outcome": "release", "lost": "2.0"})
    good = insert_jtd(db)
    with running(dsn, "email:noop", tmp_path) as daemon:
        eventually(lambda: row(db, good)["status_code"] == "sent" or daemon.process.poll() is not None)
        assert daemon.process.poll() is None, daemon.text[-800:]


def test_a_restart_of_postgres_does_not_undo_a_retry_by_hand(db: psycopg.Connection) -> None:
    job_id = insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    worker.hand_off(job)
    sent = result(job, "sent", provider="smtp")
    worker.settle(sent)
    # a receipt tells that it failed after all, and a person has it sent again
    db.execute(
        "UPDATE n_jtd SET status_code = 'failed', error_code = 'no_route', completed_at = now()"
        " WHERE id = %s",
        [job_id],
    )
    assert one(db, "SELECT jtd.retry(%s)", job_id) == "pending"
    worker.settle(sent)  # what Queue._meet does within a minute of the send
    assert row(db, job_id)["status_code"] in ("pending", "queued")


def test_taking_in_jobs_that_were_imported_ends_in_time(db: psycopg.Connection) -> None:
    for _ in range(5):
        insert_many(db, 1000, status_code="pending", scheduled_at="2099-01-01T00:00:00Z")
    db.execute("SET statement_timeout = '15s'")
    db.execute("SELECT * FROM jtd.adopt_jobs(now(), NULL, 5000)")


def test_a_retry_after_in_the_past_beyond_reason_ends_no_worker(db: psycopg.Connection) -> None:
    seconds = timedelta(days=-999_999_999).total_seconds()
    db.execute("SELECT jtd.trip_v1('email', 'smtp', 'x', %s)", [seconds])


def test_a_job_that_another_provider_takes_is_told_to_go_now(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(
        "INSERT INTO jtd.breakers (channel_code, provider, code, retry_at)"
        " VALUES ('email', 'webhook', 'http_503', now() + interval '1 h')"
    )
    with (
        ThreadedHttpServer(lambda _: answer(200)) as a,
        ThreadedHttpServer(lambda _: answer(200)) as b,
        running(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b)),
        db.transaction(),
    ):
        waits = insert_jtd(db)
        next_at = one(db, "SELECT next_at FROM jtd.explain(%s)", waits)
        assert next_at is not None


def test_what_one_provider_always_refuses_comes_to_an_end_while_the_other_is_out(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1, default_max_retries = 1")
    db.execute(
        "INSERT INTO jtd.breakers (channel_code, provider, code, retry_at)"
        " VALUES ('email', 'webhook.b', 'http_503', now() + interval '1 h')"
    )
    asked: list[str] = []

    def script(request: Request) -> Steps:
        asked.append(request.headers["webhook-id"])
        return answer(503)

    with (
        ThreadedHttpServer(script) as a,
        ThreadedHttpServer(lambda _: answer(200)) as b,
        running(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b)),
    ):
        job_id = insert_jtd(db)
        for number in (1, 2, 3):
            eventually(lambda n=number: len(asked) >= n or row(db, job_id)["status_code"] == "failed", 8)
            db.execute(
                "UPDATE n_jtd SET next_retry_at = now() WHERE id = %s AND status_code = 'pending'", [job_id]
            )
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
            db.execute(
                "UPDATE n_jtd SET next_retry_at = now() WHERE id = %s AND status_code = 'pending'", [job_id]
            )
        found = row(db, job_id)
        assert found["retry_count"] > 0 or found["status_code"] == "failed", (found["attempt"], len(asked))
