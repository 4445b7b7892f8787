"""The in-app feed: whose it is, what is listed and counted, and how jobs follow what users read."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from jtd_worker.feed_position import Position, Snapshot
from jtd_worker.feed_user import FeedUser, UnauthorizedError, feed_user
from tests.feed import FEED_SECRET, deliver, notify, token
from tests.jobs import OTHER_TENANT, TENANT, USER, history, one, places, row
from tests.worker_calls import Worker, locked

OTHER_USER = UUID("20000000-0000-0000-0000-000000000002")
SECRETS = (b"o" * 32, FEED_SECRET.encode())


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def listed(db: psycopg.Connection, show: str = "unarchived", **others: object) -> list[str]:
    """Return the titles that the user sees."""
    given = {"tenant": TENANT, "user": USER, "before": None, "limit": 100, "category": None, **others}
    rows = db.execute(
        "SELECT * FROM jtd.feed_list_v1(%s, %s, %s, %s, %s, %s)",
        [given["tenant"], given["user"], given["before"], given["limit"], show, given["category"]],
    ).fetchall()
    return [found[0]["title"] for found in rows]


def counts(db: psycopg.Connection, tenant: UUID = TENANT, user: UUID = USER) -> tuple[int, int]:
    rows = db.execute("SELECT * FROM jtd.feed_counts_v1(%s, %s)", [[tenant], [user]]).fetchall()
    return rows[0]


def seen(db: psycopg.Connection, up_to: UUID | None = None, limit: int = 1000) -> int:
    return int(one(db, "SELECT jtd.feed_seen_v1(%s, %s, %s, %s)", TENANT, USER, up_to, limit))


def read(db: psycopg.Connection, *ids: UUID, tenant: UUID = TENANT, user: UUID = USER) -> int:
    return int(one(db, "SELECT jtd.feed_read_v1(%s, %s, %s)", tenant, user, list(ids)))


def archive(db: psycopg.Connection, *ids: UUID, tenant: UUID = TENANT, user: UUID = USER) -> int:
    return int(one(db, "SELECT jtd.feed_archive_v1(%s, %s, %s)", tenant, user, list(ids)))


# ---------------------------------------------------------------- list and counts


def test_the_list_is_newest_first_and_goes_on_before_an_id(db: psycopg.Connection) -> None:
    ids = [notify(db, f"{n}") for n in range(5)]
    ids.sort()
    assert len(listed(db)) == 5
    first = db.execute(
        "SELECT * FROM jtd.feed_list_v1(%s, %s, NULL, 2, 'unarchived', NULL)", [TENANT, USER]
    ).fetchall()
    assert [UUID(found[0]["id"]) for found in first] == ids[:2:-1]
    rest = db.execute(
        "SELECT * FROM jtd.feed_list_v1(%s, %s, %s, 9, 'unarchived', NULL)", [TENANT, USER, ids[3]]
    ).fetchall()
    assert [UUID(found[0]["id"]) for found in rest] == ids[2::-1]


def test_lists_and_counts_tell_what_is_unread_unseen_archived_and_of_a_category(
    db: psycopg.Connection,
) -> None:
    a, b, c = (notify(db, title, category=category) for title, category in zip("abc", "xxy", strict=True))
    notify(db, "expired", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    notify(db, "later", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert counts(db) == (4, 4)
    assert read(db, a) == 1
    assert archive(db, b) == 1
    assert set(listed(db)) == {"a", "c", "later"}
    assert set(listed(db, "unread")) == {"c", "later"}
    assert listed(db, "archived") == ["b"]
    assert listed(db, category="x") == ["a"]
    assert listed(db, "unread", category="y") == ["c"]
    assert counts(db) == (2, 2)
    assert seen(db) == 2
    assert counts(db) == (0, 2)
    assert read(db, c) == 1
    assert counts(db) == (0, 1)


def test_marks_are_set_once_and_keep_their_first_time(db: psycopg.Connection) -> None:
    found = notify(db)
    assert (read(db, found, found), read(db, found), seen(db)) == (1, 0, 0)
    before = db.execute("SELECT seen_at, read_at FROM n_inapp_notifications").fetchone()
    assert archive(db, found) == 1
    assert archive(db, found) == 0
    assert db.execute("SELECT seen_at, read_at FROM n_inapp_notifications").fetchone() == before
    assert before is not None
    assert None not in before


def test_seen_goes_up_to_an_id_and_in_steps(db: psycopg.Connection) -> None:
    ids = sorted(notify(db) for _ in range(5))
    assert seen(db, ids[2], limit=2) == 2
    assert seen(db, ids[2], limit=2) == 1
    assert seen(db, ids[2], limit=2) == 0
    assert counts(db) == (2, 5)


def test_counts_say_a_thousand_for_all_that_is_more(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO n_inapp_notifications (tenant_id, user_id, title)"
        " SELECT %s, %s, 'x' FROM generate_series(1, 1200)",
        [TENANT, USER],
    )
    assert counts(db) == (1000, 1000)


@pytest.mark.parametrize(("tenant", "user"), [(OTHER_TENANT, USER), (TENANT, OTHER_USER)])
def test_nobody_sees_counts_or_marks_what_is_anothers(
    db: psycopg.Connection, tenant: UUID, user: UUID
) -> None:
    mine = notify(db, "mine")
    theirs = notify(db, "theirs", tenant, user)
    assert listed(db) == ["mine"]
    assert listed(db, tenant=tenant, user=user) == ["theirs"]
    assert counts(db) == (1, 1)
    assert read(db, mine, tenant=tenant, user=user) == 0
    assert archive(db, mine, tenant=tenant, user=user) == 0
    assert seen(db, max(mine, theirs)) == 1
    assert counts(db, tenant, user) == (1, 1)


def test_the_tick_deletes_what_has_expired_in_steps(db: psycopg.Connection, worker: Worker) -> None:
    db.execute(
        "INSERT INTO n_inapp_notifications (tenant_id, user_id, title, expires_at)"
        " SELECT %s, %s, 'x', now() - interval '1 s' FROM generate_series(1, 1001)",
        [TENANT, USER],
    )
    notify(db, "stays", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert worker.tick()["more"]
    assert one(db, "SELECT count(*) FROM n_inapp_notifications") == 2
    worker.tick()
    assert listed(db) == ["stays"]
    assert one(db, "SELECT count(*) FROM n_inapp_notifications") == 1


# ---------------------------------------------------------------- the jobs follow


def actors(db: psycopg.Connection, jtd_id: UUID) -> list[tuple[str, str, UUID | None]]:
    """Return the steps after `sent`, with who made them."""
    return db.execute(
        "SELECT to_status_code, performed_by_type, performed_by_id FROM n_jtd_history"
        " WHERE jtd_id = %s AND to_status_code IN ('delivered', 'read', 'viewed') ORDER BY id",
        [jtd_id],
    ).fetchall()


def test_what_is_seen_is_delivered_and_what_is_read_is_read_by_its_user(
    db: psycopg.Connection, worker: Worker
) -> None:
    jtd_id, notification = deliver(worker)
    assert row(db, jtd_id)["status_code"] == "sent"
    assert seen(db) == 1
    assert row(db, jtd_id)["status_code"] == "delivered"
    assert read(db, notification) == 1
    found = row(db, jtd_id)
    assert found["status_code"] == "read"
    assert found["completed_at"] is not None
    assert actors(db, jtd_id) == [("delivered", "user", USER), ("read", "user", USER)]
    assert all(step.valid for step in history(db, jtd_id))
    assert one(db, "SELECT count(*) FROM jtd.feed_moves") == 0
    assert one(db, "SELECT coalesce(current_setting('jtd.actor', true), '')") == ""


def test_what_is_read_at_once_goes_from_sent_to_read(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id, notification = deliver(worker)
    read(db, notification)
    read(db, notification)
    seen(db)
    assert [status for status, *_ in actors(db, jtd_id)] == ["read"]
    assert places(db) == {"final": 1}


def test_a_job_that_went_on_otherwise_stays_there(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id, notification = deliver(worker)
    db.execute("UPDATE n_jtd SET status_code = 'bounced' WHERE id = %s", [jtd_id])
    assert read(db, notification) == 1
    assert row(db, jtd_id)["status_code"] == "bounced"
    assert one(db, "SELECT count(*) FROM jtd.feed_moves") == 0


def test_a_job_that_somebody_holds_is_moved_by_a_later_tick(
    db: psycopg.Connection, dsn: str, worker: Worker
) -> None:
    held, notification = deliver(worker)
    free, another = deliver(worker)
    with locked(dsn, held):
        assert seen(db) == 2
        assert read(db, notification, another) == 2, "and the user does not wait"
        assert (row(db, held)["status_code"], row(db, free)["status_code"]) == ("sent", "read")
        worker.tick()
        assert row(db, held)["status_code"] == "sent"
    worker.tick()
    assert row(db, held)["status_code"] == "read"
    assert actors(db, held) == [("read", "user", USER)]
    assert one(db, "SELECT count(*) FROM jtd.feed_moves") == 0


def test_a_job_that_takes_no_change_harms_no_other(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [deliver(worker) for _ in range(5)]
    db.execute(f"ALTER TABLE n_jtd ADD CHECK (id <> '{jobs[2][0]}' OR status_code <> 'read')".encode())
    assert read(db, *[notification for _, notification in jobs]) == 5
    states = [row(db, jtd_id)["status_code"] for jtd_id, _ in jobs]
    assert states == ["read", "read", "sent", "read", "read"]
    assert history(db, jobs[2][0])[-1].action == "note"
    assert one(db, "SELECT count(*) FROM jtd.feed_moves") == 0


def test_a_notification_whose_job_is_gone_can_be_read(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id, notification = deliver(worker)
    db.execute("DELETE FROM n_jtd WHERE id = %s", [jtd_id])
    assert read(db, notification) == 1
    assert one(db, "SELECT count(*) FROM jtd.feed_moves") == 0


# ---------------------------------------------------------------- who asks


def test_a_token_names_tenant_and_user_under_any_of_the_secrets() -> None:
    for secret in (FEED_SECRET, "o" * 32):
        found = feed_user(f"bearer {token(secret=secret)}", SECRETS)
        assert (found.tenant_id, found.user_id) == (TENANT, USER)
        assert 600 < found.seconds_left < 620
    assert isinstance(found, FeedUser)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x.y.z",
        f"Basic {token()}",
        f"Bearer {token(secret='x' * 32)}",
        f"Bearer {token(seconds=-60)}",
        f"Bearer {token(exp=None)}",
        f"Bearer {token(sub=None)}",
        f"Bearer {token(sub='nobody')}",
        f"Bearer {token(tenant_id=None)}",
        f"Bearer {token(tenant_id=7)}",
        f"Bearer {token(aud='another service')}",
        f"Bearer {token(nbf=time.time() + 600)}",
        # alg none: {"alg":"none"} and an empty signature
        "Bearer eyJhbGciOiJub25lIn0." + token().split(".")[1] + ".",
    ],
    ids=range(14),
)
def test_a_token_that_proves_nothing_is_refused(authorization: str) -> None:
    with pytest.raises(UnauthorizedError):
        feed_user(authorization, SECRETS)


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("text", ["10:20:", "10:20:11,12", "5:5:", f"10:20:11/10:30:11,25/{uuid4()}"])
def test_a_position_is_read_as_it_was_written(text: str) -> None:
    assert str(Position.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "10",
        "20:10:",
        "0:10:",
        "10:20:9",
        "10:20:20",
        "10:20:12,11",
        "10:20:11/10:30:",
        "10:20:11/10:30:/x",
        "10:20:/10:20:/a/b",
        "1:" + "9" * 19 + ":",
        "10:20:" + ",".join(["11"] * 5000),
        "10:20:\n",
        "٣:٤:",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_position_is_none(text: str) -> None:
    assert Position.parse(text) is None


def test_a_snapshot_sees_what_postgres_says_it_sees(db: psycopg.Connection) -> None:
    for text in ("10:20:11,15", "10:10:", "10:20:10,19"):
        ours = Snapshot.parse(text)
        for transaction in range(5, 25):
            theirs = one(
                db, "SELECT pg_visible_in_snapshot(%s::xid8, %s::pg_snapshot)", str(transaction), text
            )
            assert ours.sees(transaction) == theirs, (text, transaction)
