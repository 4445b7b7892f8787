"""What operators look at: counts folded from the audit trail, the list of what needs a person, durations."""

import threading
from uuid import UUID

import psycopg
import pytest

from tests.jobs import OTHER_TENANT, insert_jtd, insert_many, one


def counts(db: psycopg.Connection) -> dict[str, int]:
    rows = db.execute(
        "SELECT status_code, sum(jobs)::integer FROM jtd.counts GROUP BY 1 HAVING sum(jobs) <> 0"
    )
    return dict(rows.fetchall())


def truth(db: psycopg.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT status_code, count(*)::integer FROM n_jtd GROUP BY 1").fetchall())


def fold(db: psycopg.Connection) -> int:
    return int(one(db, "SELECT jtd.fold_counts()"))


def test_counts_equal_the_table_after_every_kind_of_change(db: psycopg.Connection) -> None:
    insert_many(db, 5)
    insert_jtd(db, status_code="sent")
    insert_jtd(db, tenant_id=OTHER_TENANT, recipient_contact="nobody")
    fold(db)
    assert counts(db) == truth(db) == {"queued": 5, "sent": 1, "failed": 1}
    db.execute("UPDATE n_jtd SET status_code = 'cancelled' WHERE status_code = 'queued'")
    db.execute("DELETE FROM n_jtd WHERE status_code = 'sent'")
    fold(db)
    assert counts(db) == truth(db) == {"cancelled": 5, "failed": 1}
    assert fold(db) == 0
    by_tenant = "SELECT jobs FROM jtd.counts WHERE tenant_id = %s AND status_code = 'failed'"
    assert one(db, by_tenant, OTHER_TENANT) == 1


def test_a_transaction_that_still_runs_is_counted_when_it_has_ended(dsn: str, db: psycopg.Connection) -> None:
    with psycopg.connect(dsn) as slow:
        insert_many(slow, 2)
        insert_many(db, 3)
        fold(db)
        assert counts(db) == {}
        slow.commit()
    insert_many(db, 1)
    fold(db)
    assert counts(db) == truth(db) == {"queued": 6}


def test_counts_stay_true_while_others_write(dsn: str, db: psycopg.Connection) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.is_set():
                insert_many(conn, 3)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for _ in range(30):
        fold(db)
    stop.set()
    for writer in writers:
        writer.join()
    fold(db)
    assert counts(db) == truth(db)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("status_code = 'failed', error_code = 'smtp_550', completed_at = now()", "smtp_550"),
        ("status_code = 'failed', error_code = 'outcome_unknown', completed_at = now()", "outcome_unknown"),
        ("status_code = 'cancelled', error_code = 'blocked_source_disabled'", "blocked_source_disabled"),
        ("status_code = 'bounced'", "bounced"),
        ("status_code = 'cancelled'", None),
        ("status_code = 'sent'", None),
    ],
)
def test_what_needs_a_person_is_listed_until_it_does_not(
    db: psycopg.Connection, change: str, reason: str | None
) -> None:
    jtd = insert_jtd(db)
    db.execute(f"UPDATE n_jtd SET {change} WHERE id = %s".encode(), [jtd])
    listed = db.execute("SELECT jtd_id, reason FROM jtd.attention").fetchall()
    assert listed == ([(jtd, reason)] if reason else [])
    db.execute("UPDATE n_jtd SET status_code = 'pending' WHERE id = %s", [jtd])
    assert one(db, "SELECT count(*) FROM jtd.attention") == 0


def test_a_bad_recipient_is_listed_at_once_and_forgotten_with_its_job(db: psycopg.Connection) -> None:
    jtd: UUID = insert_jtd(db, recipient_contact="nobody")
    assert one(db, "SELECT reason FROM jtd.attention WHERE jtd_id = %s", jtd) == "invalid_recipient"
    assert one(db, "SELECT jtd.status_v1() -> 'attention'") == {"invalid_recipient": 1}
    db.execute("DELETE FROM n_jtd")
    assert one(db, "SELECT count(*) FROM jtd.attention") == 0


def test_durations_tell_how_long_each_state_lasted(db: psycopg.Connection) -> None:
    jtd = insert_jtd(db)
    db.execute("UPDATE n_jtd_history SET created_at = created_at - interval '1 minute'")
    db.execute("UPDATE n_jtd SET status_code = 'cancelled' WHERE id = %s", [jtd])
    rows = db.execute(
        "SELECT status_code, round(extract(epoch FROM lasted)) FROM jtd.durations"
        " WHERE jtd_id = %s ORDER BY since",
        [jtd],
    ).fetchall()
    assert rows[-2:] == [("queued", 60), ("cancelled", None)]


def test_the_tick_folds(db: psycopg.Connection) -> None:
    worker = "00000000-0000-0000-0000-0000000000aa"
    db.execute("SELECT jtd.register_v1(%s, 'test', '{email}', 60)", [worker])
    insert_many(db, 4)
    db.execute("SELECT jtd.tick_v1(%s, '{}')", [worker])
    db.execute("SELECT jtd.tick_v1(%s, '{}')", [worker])
    assert one(db, "SELECT jtd.status_v1() -> 'jobs'") == {"queued": 4}
