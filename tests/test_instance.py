"""A database that is not the one its jobs were made in sends nothing until a person adopts it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from tests.command import call
from tests.daemon import eventually, running
from tests.jobs import history, insert_jtd, one, row, whereabouts
from tests.worker_calls import Worker, locked, result

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def copy(db: psycopg.Connection) -> psycopg.Connection:
    """The database, as if it had been restored in another cluster."""
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    return db


def adopt(dsn: str, since: str) -> str:
    ended = call(dsn, "adopt", "--since", since, "--as", "Jane Smith")
    assert ended.code == 0, ended.err
    return ended.out


def place(db: psycopg.Connection, jtd_id: UUID) -> str:
    return whereabouts(db, jtd_id).place


# What is known


def test_migrate_enters_the_database_as_the_one_where_its_jobs_are_made(db: psycopg.Connection) -> None:
    assert one(db, "SELECT jtd.is_adopted()")
    assert one(
        db,
        "SELECT i.database_oid = d.oid FROM jtd.instance AS i, pg_database AS d"
        " WHERE d.datname = current_database()",
    )


@pytest.mark.parametrize("column", ["system_identifier", "database_oid"])
def test_another_cluster_or_another_database_is_another_instance(db: psycopg.Connection, column: str) -> None:
    db.execute(f"UPDATE jtd.instance SET {column} = 1".encode())
    assert not one(db, "SELECT jtd.is_adopted()")


def test_a_role_that_owns_nothing_else_can_tell_where_it_is(db: psycopg.Connection) -> None:
    assert one(db, "SELECT system_identifier <> 0 AND timeline > 0 FROM jtd.here()")


# Nothing leaves


def test_nothing_is_claimed_on_a_copy(copy: psycopg.Connection) -> None:
    jtd_id = insert_jtd(copy)
    assert Worker(copy).claim() == []
    assert place(copy, jtd_id) == "queued"
    assert "sends nothing until jtd-worker adopt" in one(copy, "SELECT sentence FROM jtd.explain(%s)", jtd_id)


def test_what_goes_to_the_outbox_is_claimed_on_a_copy_too(copy: psycopg.Connection) -> None:
    insert_jtd(copy)
    worker = Worker(copy)
    copy.execute("SELECT jtd.register_v2(%s, 'w', '{email}', '{email}', 60)", [worker.id])
    assert len(worker.claim()) == 1


def test_nothing_is_handed_off_on_a_copy(db: psycopg.Connection) -> None:
    insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    assert worker.hand_off(job) == set()


def test_a_copy_takes_nothing_back_from_workers_that_may_live_elsewhere(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    lost, other = Worker(db), Worker(db)
    lost.claim_one()
    other.age()
    lost.lapse()
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    assert other.tick()["reclaimed"] == 0
    assert row(db, jtd_id)["status_code"] == "executing"


def test_a_daemon_on_a_copy_says_so_sends_nothing_and_goes_on_once_it_is_adopted(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    live, test = insert_jtd(db), insert_jtd(db, is_live=False)
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    with running(dsn, "email:noop", tmp_path) as daemon:
        daemon.wait_for("database.not_adopted")
        assert {row(db, jtd_id)["status_code"] for jtd_id in (live, test)} == {"queued"}
        adopt(dsn, "2020-01-01T00:00:00Z")
        eventually(lambda: row(db, live)["status_code"] == "sent")


def test_status_and_check_name_the_way_out(dsn: str, copy: psycopg.Connection) -> None:
    assert "jtd-worker adopt --since TIME" in call(dsn, "status").out
    assert "jtd-worker adopt --since TIME" in call(dsn, "check").out


# Adoption


def test_what_was_due_before_is_held_and_the_rest_goes_on(dsn: str, copy: psycopg.Connection) -> None:
    due = insert_jtd(copy)
    later = insert_jtd(copy, scheduled_at=TOMORROW)
    series = insert_jtd(copy, event_type_code="reminder", scheduled_at=TOMORROW)
    over = insert_jtd(copy, recipient_contact="nobody")
    told = adopt(dsn, "now")
    assert told.startswith("adopted; 2 jobs go on from where they stood, 1 are held")
    assert (row(copy, due)["status_code"], row(copy, due)["error_code"]) == ("failed", "outcome_unknown")
    assert [place(copy, jtd_id) for jtd_id in (due, later, series, over)] == [
        "final", "waiting", "waiting", "final",
    ]  # fmt: skip
    assert all(step.valid for jtd_id in (due, later, series) for step in history(copy, jtd_id))
    assert one(copy, "SELECT adopted_by FROM jtd.instance") == "Jane Smith"
    assert "adopted by Jane Smith" in call(dsn, "check").out
    assert one(copy, "SELECT jtd.is_adopted()")
    assert one(copy, "SELECT jtd.resolve(%s, 'resend')", due) == "pending"


def test_reminders_and_rows_without_a_beginning_are_held_by_valid_steps(
    dsn: str, copy: psycopg.Connection
) -> None:
    reminder = insert_jtd(copy, event_type_code="reminder", scheduled_at=TOMORROW)
    copy.execute("ALTER TABLE n_jtd DISABLE TRIGGER USER")
    bare = insert_jtd(copy)
    copy.execute("ALTER TABLE n_jtd ENABLE TRIGGER USER")
    adopt(dsn, "2999-01-01T00:00:00Z")
    assert {row(copy, jtd_id)["status_code"] for jtd_id in (reminder, bare)} == {"failed"}
    assert all(step.valid for jtd_id in (reminder, bare) for step in history(copy, jtd_id))


def test_with_a_time_long_past_everything_goes_on(dsn: str, copy: psycopg.Connection) -> None:
    jtd_id = insert_jtd(copy)
    assert "1 jobs go on from where they stood, 0 are held" in adopt(dsn, "2020-01-01T00:00:00Z")
    assert [job.id for job in Worker(copy).claim()] == [jtd_id]


def test_what_was_executing_is_held_whatever_the_time(dsn: str, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    db.execute("UPDATE jtd.instance SET system_identifier = system_identifier + 1")
    adopt(dsn, "2020-01-01T00:00:00Z")
    assert (row(db, jtd_id)["status_code"], place(db, jtd_id)) == ("failed", "final")
    assert one(db, "SELECT count(*) FROM jtd.inflight") == 0
    assert worker.settle(result(job, "sent")) == ["late"]  # the proof still counts
    assert row(db, jtd_id)["status_code"] == "sent"


def test_imported_jobs_are_adopted_on_the_database_itself_too(dsn: str, db: psycopg.Connection) -> None:
    ours = insert_jtd(db)
    old = insert_jtd(db, status_code="pending", created_at=LONG_AGO)
    new = insert_jtd(db, status_code="queued")
    told = adopt(dsn, (datetime.now(UTC) - timedelta(days=1)).isoformat())
    assert told.startswith("this database was adopted before; 1 jobs go on from where they stood, 1 are held")
    assert [place(db, jtd_id) for jtd_id in (ours, old, new)] == ["queued", "final", "queued"]


def test_an_adopted_job_that_is_lost_later_is_found_like_any_other(
    dsn: str, copy: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(copy, created_at=LONG_AGO)
    adopt(dsn, "2019-01-01T00:00:00Z")
    copy.execute("SELECT pgmq.purge_queue('jtd_email')")
    assert '"found": 1' in call(dsn, "rebuild-queues", "--json").out
    assert place(copy, jtd_id) == "queued"


def test_adoption_waits_for_a_job_that_somebody_holds(dsn: str, copy: psycopg.Connection) -> None:
    jtd_id = insert_jtd(copy)
    with locked(dsn, jtd_id):
        ended = call(dsn, "adopt", "--since", "now")
    assert ended.code == 1
    assert "another transaction holds" in ended.err
    assert not one(copy, "SELECT jtd.is_adopted()")


def test_adopt_asks_for_the_time(dsn: str) -> None:
    assert call(dsn, "adopt").code == 2
    assert "has no offset from UTC" in call(dsn, "adopt", "--since", "2030-01-31T09:00:00").err


# Another timeline


def test_what_was_claimed_before_a_failover_by_a_worker_now_dead_is_held(db: psycopg.Connection) -> None:
    before = insert_jtd(db)
    lost, other = Worker(db), Worker(db)
    lost.claim_one()
    db.execute("UPDATE jtd.instance SET timeline = timeline + 1")  # its hand-off may be what was lost
    other.tick()
    after = insert_jtd(db)
    lost.claim_one()
    other.age()
    lost.lapse()
    assert other.tick()["reclaimed"] == 2
    assert row(db, before)["error_code"] == "outcome_unknown"
    assert row(db, after)["status_code"] == "queued"
