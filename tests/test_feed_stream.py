"""The feed over HTTP: who may ask, and streams that lose nothing and tell nothing twice."""

import random
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest

from jtd_worker.database import Link
from jtd_worker.feed_hub import FeedHub
from jtd_worker.feed_user import FeedUser
from tests.daemon import eventually, serving
from tests.feed import FEED_SECRET, Listener, bearer, deliver, listening, notify
from tests.jobs import OTHER_TENANT, TENANT, USER, one, row
from tests.wire import wire
from tests.worker_calls import Worker

OTHER_USER = UUID("20000000-0000-0000-0000-000000000002")
FEED = {"feed_secrets": f"{'o' * 32} {FEED_SECRET}"}


def has_begun(listener: Listener) -> bool:
    """Whether the stream has its place, so that what comes from now on is new to it."""
    return bool(listener.counts())


# ---------------------------------------------------------------- requests


def test_a_user_lists_counts_and_marks_his_own_feed_only(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id, notification = deliver(Worker(db))
    theirs = notify(db, "theirs", OTHER_TENANT, USER)
    with serving(dsn, tmp_path, **FEED) as (daemon, url):
        me = httpx.Client(base_url=url, headers=bearer())
        listed = me.get("/feed", params={"limit": 1, "category": "system"}).json()
        assert [item["id"] for item in listed["items"]] == [str(notification)]
        assert listed["before"] == str(notification)
        assert me.get("/feed", params={"before": listed["before"]}).json() == {"items": [], "before": None}
        assert me.get("/feed/counts").json() == {"unseen": 1, "unread": 1}
        assert me.post("/feed/seen", json={}).json() == {"changed": 1}
        assert me.post("/feed/read", json={"ids": [str(theirs), str(notification)]}).json() == {"changed": 1}
        assert row(db, jtd_id)["status_code"] == "read"
        assert me.post("/feed/archive", json={"ids": [str(theirs)]}).json() == {"changed": 0}
        other = httpx.Client(base_url=url, headers=bearer(OTHER_TENANT, USER))
        assert [item["title"] for item in other.get("/feed").json()["items"]] == ["theirs"]
        assert other.get("/feed/counts").json() == {"unseen": 1, "unread": 1}
        for client in (me, other):
            client.close()
        assert "Hello" not in daemon.text
        assert FEED_SECRET not in daemon.text


def test_without_a_token_nothing_is_told(dsn: str, tmp_path: Path) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url):
        for method, path in (
            ("GET", "/feed"),
            ("GET", "/feed/counts"),
            ("GET", "/feed/stream"),
            ("POST", "/feed/seen"),
            ("POST", "/feed/read"),
            ("POST", "/feed/archive"),
        ):
            for headers in ({}, bearer(secret="x" * 32), bearer(seconds=-60), {"cookie": "token=x"}):
                answer = httpx.request(method, f"{url}{path}", headers=headers, json={"ids": []})
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/feed?limit=101", None),
        ("/feed?limit=0", None),
        ("/feed?before=x", None),
        ("/feed?show=everything", None),
        ("/feed?category=%00", None),
        ("/feed/read", {"ids": ["x"]}),
        ("/feed/read", {}),
        ("/feed/archive", {"ids": [str(USER)] * 1001}),
        ("/feed/seen", {"up_to": "x"}),
    ],
)
def test_what_cannot_be_asked_is_refused(dsn: str, tmp_path: Path, path: str, body: object) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url):
        answer = httpx.request(
            "POST" if body is not None else "GET", f"{url}{path}", json=body, headers=bearer()
        )
        assert answer.status_code == 422


def test_pages_of_other_origins_are_let_in_only_by_name(dsn: str, tmp_path: Path) -> None:
    origin = {"origin": "https://app.example.com"}
    with serving(dsn, tmp_path, **FEED, feed_origins="https://app.example.com") as (_, url):
        answer = httpx.get(f"{url}/feed", headers=bearer() | origin)
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "access-control-allow-credentials" not in answer.headers
        answer = httpx.get(f"{url}/feed", headers=bearer() | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
    with serving(dsn, tmp_path, **FEED) as (_, url):
        answer = httpx.get(f"{url}/feed", headers=bearer() | origin)
        assert "access-control-allow-origin" not in answer.headers


# ---------------------------------------------------------------- streams


def test_a_stream_tells_what_comes_and_how_the_counts_change(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    first = notify(db, "before")
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url) as mine:
        eventually(lambda: mine.counts() == [(1, 1)])
        notify(db, "new\nline")
        notify(db, "another tenant's", OTHER_TENANT)
        notify(db, "another user's", user=OTHER_USER)
        eventually(lambda: mine.titles() == ["new\nline"])
        eventually(lambda: mine.counts()[-1] == (2, 2))
        httpx.post(f"{url}/feed/read", json={"ids": [str(first)]}, headers=bearer())
        eventually(lambda: mine.counts()[-1] == (1, 1))
        assert mine.titles() == ["new\nline"]
        text = httpx.get(f"{url}/metrics").text
        assert "jtd_feed_streams 1.0" in text


def test_what_is_read_the_moment_it_comes_is_counted_out_again(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """The process is awake then, and looks for news only."""
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url) as mine:
        eventually(lambda: has_begun(mine))
        for number in range(1, 11):
            found = notify(db)
            eventually(lambda n=number: len(mine.titles()) == n)
            db.execute("SELECT jtd.feed_read_v1(%s, %s, %s)", [TENANT, USER, [found]])
            eventually(lambda: mine.counts()[-1] == (0, 0))


def test_a_sleeping_stream_is_woken_and_does_not_wait_for_a_poll(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """Ten in a row: polls alone would take twenty seconds."""
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url) as mine:
        eventually(lambda: has_begun(mine))
        for number in range(10):
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.feed_watchers WHERE is_asleep") == 1)
            notify(db, f"{number}")
            eventually(lambda n=number: len(mine.titles()) == n + 1, 10)


def test_news_are_notified_only_to_who_sleeps_and_marks_to_who_is_there(
    db: psycopg.Connection, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("LISTEN jtd_feed")
        notify(db)
        db.execute("SELECT pg_notify('jtd_feed', 'end')")
        assert [notice.payload for notice in other.notifies(timeout=10, stop_after=1)] == ["end"]
        db.execute("INSERT INTO jtd.feed_watchers VALUES (gen_random_uuid(), true, now() - interval '1 s')")
        found = notify(db)
        mark = "SELECT jtd.feed_archive_v1(%s, %s, %s)"
        db.execute(mark, [TENANT, USER, [found]])
        db.execute("UPDATE jtd.feed_watchers SET until = now() + interval '1 min', is_asleep = false")
        notify(db)
        db.execute(mark, [TENANT, USER, [found]])
        assert [notice.payload for notice in other.notifies(timeout=10, stop_after=1)] == [f"{TENANT}:{USER}"]
        db.execute("UPDATE jtd.feed_watchers SET is_asleep = true")
        notify(db, "planted in a title")
        assert [notice.payload for notice in other.notifies(timeout=10, stop_after=1)] == [""]


def test_a_stream_goes_on_where_it_ended_without_gap_or_double(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url):
        with listening(url) as mine:
            eventually(lambda: has_begun(mine))
            notify(db, "a")
            eventually(lambda: mine.titles() == ["a"])
        place = mine.events[-1].id
        notify(db, "b")
        notify(db, "c")
        with listening(url, place) as again:
            eventually(lambda: sorted(again.titles()) == ["b", "c"])
        whole = [event for event in again.events if event.kind == "notification"]
        with listening(url, whole[0].id) as third:  # it ended in the middle of a batch
            eventually(lambda: third.titles() == again.titles()[1:])
            notify(db, "d")
            eventually(lambda: third.titles() == [*again.titles()[1:], "d"])


def test_what_was_written_early_and_committed_late_is_told(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """Its id is lower than one that the stream has told already."""
    with serving(dsn, tmp_path, **FEED) as (_, url), psycopg.connect(dsn) as slow:
        with listening(url) as mine:
            eventually(lambda: has_begun(mine))
            notify(slow, "early", id=UUID(int=1))
            notify(db, "late")
            eventually(lambda: mine.titles() == ["late"])
        slow.commit()
        with listening(url, mine.events[-1].id) as again:
            eventually(lambda: again.titles() == ["early"])


def test_streams_that_break_off_at_random_miss_nothing_and_tell_nothing_twice(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    chance = random.Random(7)
    told: list[str] = []
    place, number = "", 0
    with (
        serving(dsn, tmp_path, **FEED) as (_, url),
        psycopg.connect(dsn) as slow,
        psycopg.connect(dsn) as slower,
    ):
        with listening(url) as mine:
            eventually(lambda: has_begun(mine))
        place = mine.events[-1].id
        for _ in range(25):
            connections = (db, slow, slower)
            with listening(url, place) as mine:
                for _ in range(chance.randrange(8)):
                    notify(chance.choice(connections), f"{number}")
                    number += 1
                if chance.random() < 0.5:
                    chance.choice((slow, slower)).commit()
                if chance.random() < 0.5:
                    eventually(lambda: has_begun(mine))
            # the client keeps the id of the last event that it read whole, anywhere within a batch
            kept = mine.events[: chance.randrange(len(mine.events) + 1)]
            told += [event.data["title"] for event in kept if event.kind == "notification"]
            place = kept[-1].id if kept else place
        slow.commit()
        slower.commit()
        with listening(url, place) as mine:
            eventually(lambda: len(told) + len(mine.titles()) >= number)
            told += mine.titles()
    assert sorted(told, key=int) == [str(n) for n in range(number)]


def test_after_too_much_the_client_is_told_to_read_its_list_anew(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url):
        with listening(url) as mine:
            eventually(lambda: has_begun(mine))
        db.execute(
            "INSERT INTO n_inapp_notifications (tenant_id, user_id, title)"
            " SELECT %s, %s, 'x' FROM generate_series(1, 201)",
            [TENANT, USER],
        )
        with listening(url, mine.events[-1].id) as again:
            eventually(lambda: [event.kind for event in again.events][:1] == ["reset"])
            notify(db, "after")
            eventually(lambda: again.titles() == ["after"])


def test_a_place_that_is_none_begins_with_what_comes(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    notify(db, "before")
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url, "20:10:'); DROP TABLE") as mine:
        eventually(lambda: has_begun(mine))
        notify(db, "after")
        eventually(lambda: mine.titles() == ["after"])


def test_a_client_that_reads_nothing_is_cut_off_and_holds_up_nobody(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url) as mine:
        eventually(lambda: has_begun(mine))
        where = urlsplit(url)
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect((where.hostname, where.port))
            authorization = bearer()["authorization"]
            lazy.sendall(
                f"GET /feed/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode()
            )
            eventually(lambda: "jtd_feed_streams 2.0" in httpx.get(f"{url}/metrics").text)
            batch = 150
            for turn in range(1, 40):
                db.execute(
                    "INSERT INTO n_inapp_notifications (tenant_id, user_id, title, body)"
                    " SELECT %s, %s, 'x', repeat('y', 20000) FROM generate_series(1, %s)",
                    [TENANT, USER, batch],
                )
                eventually(lambda n=turn: len(mine.titles()) == n * batch)
                if "jtd_feed_streams 1.0" in httpx.get(f"{url}/metrics").text:
                    break
            eventually(lambda: "jtd_feed_streams 1.0" in httpx.get(f"{url}/metrics").text)
        notify(db, "goes on")
        eventually(lambda: mine.titles()[-1] == "goes on")


def test_a_stream_ends_with_its_token(dsn: str, tmp_path: Path) -> None:
    with serving(dsn, tmp_path, **FEED) as (_, url), listening(url, seconds=-8) as mine:
        eventually(lambda: mine.is_over)


def test_streams_end_when_the_process_is_told_to(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with serving(dsn, tmp_path, **FEED) as (daemon, url), listening(url) as mine:
        eventually(lambda: has_begun(mine))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.text
        eventually(lambda: mine.is_over)


async def test_a_stream_that_is_opened_after_that_ends_at_once(dsn: str) -> None:
    hub = FeedHub(Link(dsn, "feed"), Link(dsn, "feed listen"))
    hub.end()
    stream = hub.join(FeedUser(tenant_id=TENANT, user_id=USER, expires_at=0), None)
    assert stream.ended.is_set()


def test_a_stream_outlives_an_outage_of_the_database(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with wire(dsn) as proxy, serving(proxy.dsn, tmp_path, **FEED) as (_, url), listening(url) as mine:
        eventually(lambda: has_begun(mine))
        proxy.cut()
        notify(db, "meanwhile")
        proxy.mend()
        eventually(lambda: mine.titles() == ["meanwhile"])
        assert httpx.get(f"{url}/feed/counts", headers=bearer()).json() == {"unseen": 1, "unread": 1}


def test_behind_a_pooler_streams_are_kept_up_to_date_by_polls(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        wire(dsn, hides_process=True) as proxy,
        serving(proxy.dsn, tmp_path, **FEED) as (_, url),
        listening(url) as mine,
    ):
        eventually(lambda: has_begun(mine))
        notify(db, "polled")
        eventually(lambda: mine.titles() == ["polled"])
