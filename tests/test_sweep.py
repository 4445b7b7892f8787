"""Jobs on no list are found and put back: after a purge, without triggers, from nothing but n_jtd."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.command import call
from tests.jobs import Step, history, insert_jtd, one, row, whereabouts
from tests.postgres import Databases
from tests.worker_calls import Worker, locked, move, no_triggers, queue_content, result

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TOMORROW = datetime(2099, 1, 2, tzinfo=UTC)


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    """A worker that is alive; the sweep of its start is over."""
    worker = Worker(db)
    sweep(db, worker)
    return worker


def sweep(db: psycopg.Connection, worker: Worker) -> int:
    """Tick until no sweep runs; return how many jobs were found."""
    found = 0
    for _ in range(20):
        said = worker.tick()
        found += said["found"]
        if not said["more"] and not one(db, "SELECT is_running FROM jtd.sweeps"):
            return found
    raise AssertionError("the sweep does not end")


def due(db: psycopg.Connection) -> None:
    """Let the next tick begin a sweep."""
    db.execute("UPDATE jtd.sweeps SET began_at = NULL, ended_at = NULL")


def place(db: psycopg.Connection, jtd_id: UUID) -> str:
    return whereabouts(db, jtd_id).place


def sound(db: psycopg.Connection) -> bool:
    answer: bool = one(db, "SELECT bool_and(sound) FROM jtd.conservation()")
    return answer


# What is found


def test_queued_jobs_of_a_purged_queue_get_new_messages(db: psycopg.Connection, worker: Worker) -> None:
    jobs = {insert_jtd(db) for _ in range(3)}
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    assert {place(db, jtd_id) for jtd_id in jobs} == {"lost"}
    due(db)
    assert sweep(db, worker) == 3
    assert {job.id for job in worker.claim()} == jobs
    assert sound(db)


def test_a_queued_job_that_has_its_message_is_left_alone(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    due(db)
    assert sweep(db, worker) == 0
    assert [message.jtd_id for message in queue_content(db, "jtd_email")] == [jtd_id]
    assert len(history(db, jtd_id)) == 3


@pytest.mark.parametrize("columns", [{"scheduled_at": TOMORROW}, {"event_type_code": "reminder"}])
def test_waiting_jobs_whose_list_was_emptied_are_listed_again(
    db: psycopg.Connection, worker: Worker, columns: dict[str, Any]
) -> None:
    jtd_id = insert_jtd(db, **{"scheduled_at": TOMORROW, **columns})
    db.execute("TRUNCATE jtd.waiting")
    due(db)
    assert sweep(db, worker) == 1
    assert place(db, jtd_id) == "waiting"


def test_jobs_that_were_inserted_without_triggers_are_adopted(db: psycopg.Connection, worker: Worker) -> None:
    with no_triggers(db):
        plain = insert_jtd(db)
        no_channel = insert_jtd(db, channel_code=None)
        later = insert_jtd(db, status_code="pending", scheduled_at=TOMORROW, priority=5, max_retries=3)
    due(db)
    assert sweep(db, worker) == 3
    assert [place(db, jtd_id) for jtd_id in (plain, no_channel, later)] == ["queued", "queued", "waiting"]
    assert row(db, no_channel)["channel_code"] == "email"
    steps = history(db, plain)
    assert steps[0] == Step("created", None, "created", True)
    assert [step.to_status for step in steps] == ["created", "created", "pending", "queued"]
    assert all(step.valid for step in steps)
    assert {job.id for job in worker.claim()} == {plain, no_channel}


def test_the_counts_are_right_after_jobs_without_a_beginning_were_found(
    db: psycopg.Connection, worker: Worker
) -> None:
    with no_triggers(db):
        insert_jtd(db)
    due(db)
    sweep(db, worker)
    worker.tick()
    counts = db.execute("SELECT status_code, jobs FROM jtd.counts WHERE jobs <> 0").fetchall()
    assert counts == [("queued", 1)]


def test_an_executing_job_that_nobody_holds_is_held_for_a_person(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert_jtd(db)
    worker.claim_one()
    db.execute("DELETE FROM jtd.inflight")
    due(db)
    assert sweep(db, worker) == 1
    assert (row(db, jtd_id)["status_code"], row(db, jtd_id)["error_code"]) == ("failed", "outcome_unknown")
    assert sound(db)


def test_an_executing_job_that_a_worker_holds_is_left_alone(db: psycopg.Connection, worker: Worker) -> None:
    job = (insert_jtd(db), worker.claim_one())[1]
    db.execute("SELECT pgmq.purge_queue('jtd_email')")  # what is in flight needs no message
    due(db)
    assert sweep(db, worker) == 0
    assert worker.settle(result(job, "sent")) == ["applied"]


def test_a_failed_job_without_a_mover_comes_to_rest_and_is_listed(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id = insert_jtd(db)
    with no_triggers(db):
        move(db, jtd_id, "status_code = 'failed'")
    due(db)
    sweep(db, worker)
    assert place(db, jtd_id) == "final"
    assert one(db, "SELECT reason FROM jtd.attention") == "failed"


def test_a_job_that_is_over_is_taken_off_a_list(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db, scheduled_at=TOMORROW)
    with no_triggers(db):
        move(db, jtd_id, "status_code = 'cancelled', completed_at = now()")
    assert place(db, jtd_id) == "lost"
    due(db)
    assert sweep(db, worker) == 1
    assert place(db, jtd_id) == "final"


def test_work_of_people_is_left_alone(db: psycopg.Connection, worker: Worker) -> None:
    insert_jtd(db, event_type_code="task", source_type_code="manual", channel_code=None)
    due(db)
    assert sweep(db, worker) == 0


def test_a_job_that_a_user_holds_is_found_by_the_next_sweep(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    held, free = insert_jtd(db), insert_jtd(db)
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    due(db)
    with locked(dsn, held):
        assert sweep(db, worker) == 1
    assert (place(db, held), place(db, free)) == ("lost", "queued")
    due(db)
    assert sweep(db, worker) == 1


def test_a_job_that_takes_no_change_does_not_keep_others_from_being_found(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute(
        "ALTER TABLE n_jtd ADD CONSTRAINT none CHECK (recipient_name <> 'Poison' OR status_code = 'created')"
    )
    with no_triggers(db):
        good = [insert_jtd(db) for _ in range(3)]
        bad = insert_jtd(db, recipient_name="Poison")
        good.append(insert_jtd(db))
    for _ in range(2):  # the note is written once
        due(db)
        sweep(db, worker)
    assert {place(db, jtd_id) for jtd_id in good} == {"queued"}
    assert row(db, bad)["status_code"] == "created"
    notes = one(db, "SELECT array_agg(reason) FROM n_jtd_history WHERE jtd_id = %s AND action = 'note'", bad)
    assert len(notes) == 1
    assert notes[0].startswith("it cannot be put back: ")


# When it runs


def test_a_sweep_takes_one_step_a_tick_the_newest_first(db: psycopg.Connection, worker: Worker) -> None:
    with no_triggers(db):
        old = insert_jtd(db)
        db.execute(
            "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, status_code)"
            " SELECT gen_random_uuid(), 'notification', 'manual', 'sent' FROM generate_series(1, 6000)"
        )
        new = insert_jtd(db)
    due(db)
    assert worker.tick()["more"]
    assert (place(db, new), place(db, old)) == ("queued", "lost")
    assert not worker.tick()["more"]
    assert place(db, old) == "queued"


def test_a_worker_that_starts_makes_a_sweep_due(db: psycopg.Connection, worker: Worker) -> None:
    insert_jtd(db)
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    assert sweep(db, worker) == 0
    assert sweep(db, Worker(db)) == 1


def test_fewer_messages_than_jobs_make_a_sweep_due_at_the_third_look(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_jtd(db)
    worker.tick()  # the counts
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    found = []
    for _ in range(4):
        db.execute("UPDATE jtd.sweeps SET compared_at = NULL")
        found.append(worker.tick()["found"])
    assert found == [0, 0, 1, 0]


def test_looks_in_vain_come_to_be_rare(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    worker.tick()
    with no_triggers(db):  # the counts go on saying queued
        move(db, jtd_id, "status_code = 'cancelled', completed_at = now()")
    db.execute("SELECT pgmq.purge_queue('jtd_email')")
    begun = set()
    for _ in range(12):
        db.execute("UPDATE jtd.sweeps SET compared_at = NULL")
        worker.tick()
        begun.add(one(db, "SELECT began_at FROM jtd.sweeps"))
    assert len(begun) == 2  # the one of the start, and one in vain
    assert one(db, "SELECT fruitless FROM jtd.sweeps") == 1
    db.execute(
        "UPDATE jtd.sweeps SET began_at = began_at - interval '2 min', ended_at = ended_at - interval '2 min'"
    )
    worker.tick()
    assert one(db, "SELECT fruitless FROM jtd.sweeps") == 2


def test_a_long_sweep_is_followed_by_a_long_pause(db: psycopg.Connection, worker: Worker) -> None:
    def begun() -> Any:
        return one(db, "SELECT began_at FROM jtd.sweeps")

    db.execute("UPDATE jtd.workers SET started_at = '-infinity'")
    db.execute(
        "UPDATE jtd.sweeps SET ended_at = now() - interval '15 min', began_at = now() - interval '16 min'"
    )
    before = begun()
    worker.tick()
    assert begun() == before
    db.execute(
        "UPDATE jtd.sweeps SET ended_at = now() - interval '21 min', began_at = now() - interval '22 min'"
    )
    worker.tick()
    assert begun() > before


def test_until_idle_waits_for_the_sweep_to_end(db: psycopg.Connection, worker: Worker) -> None:
    idle = "SELECT jtd.idle_v1('{jtd_email}')"
    assert one(db, idle)
    db.execute("UPDATE jtd.sweeps SET is_running = true")
    assert not one(db, idle)


# The command


def test_rebuild_queues_makes_everything_from_the_jobs_alone(dsn: str, db: psycopg.Connection) -> None:
    jobs = [insert_jtd(db), insert_jtd(db, priority=10), insert_jtd(db, scheduled_at=TOMORROW)]
    db.execute("SELECT pgmq.drop_queue('jtd_email')")
    db.execute("SELECT pgmq.purge_queue('jtd_email_urgent')")
    db.execute("TRUNCATE jtd.waiting, jtd.ready")
    assert "put 3 jobs back" in call(dsn, "rebuild-queues").out
    assert [place(db, jtd_id) for jtd_id in jobs] == ["queued", "queued", "waiting"]
    assert call(dsn, "rebuild-queues", "--json").out == '{\n  "found": 0\n}\n'


def test_rebuild_queues_takes_as_many_steps_as_it_needs(dsn: str, db: psycopg.Connection) -> None:
    with no_triggers(db):
        lost = insert_jtd(db)
        db.execute(
            "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, status_code)"
            " SELECT gen_random_uuid(), 'task', 'manual', 'created' FROM generate_series(1, 10001)"
        )
    assert "put 1 jobs back" in call(dsn, "rebuild-queues").out
    assert place(db, lost) == "queued"


# What was brought from elsewhere


def test_imported_jobs_rest_and_are_not_lost(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert_jtd(db, status_code=status) for status in ("queued", "pending")]
    due(db)
    assert sweep(db, worker) == 0
    assert {place(db, jtd_id) for jtd_id in jobs} == {"imported"}
    assert "jtd-worker adopt" in one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[0])
    assert sound(db)


def test_jobs_restored_without_triggers_rest_too(db: psycopg.Connection, worker: Worker) -> None:
    with no_triggers(db):
        old = insert_jtd(db, status_code="queued", created_at=LONG_AGO)
        ours = insert_jtd(db, status_code="queued")
    due(db)
    assert sweep(db, worker) == 1
    assert (place(db, old), place(db, ours)) == ("imported", "queued")


def test_sweep_is_not_for_everybody(databases: Databases, db: psycopg.Connection) -> None:
    assert not one(db, "SELECT has_function_privilege('jtd_worker', 'jtd.sweep(integer)', 'EXECUTE')")
    assert one(db, "SELECT has_function_privilege('jtd_operator', 'jtd.rebuild_queues(boolean)', 'EXECUTE')")
