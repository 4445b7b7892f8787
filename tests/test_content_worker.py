"""The real daemon, and texts that are too long: what arrives, what the row says, what a retry sends."""

import re
import signal
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from tests.command import call
from tests.daemon import Daemon, eventually, run_until_idle, running
from tests.jobs import USER, insert_jtd, one, places, row

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECIPIENT: dict[str, dict[str, Any]] = {
    "email": {"recipient_contact": "john@example.com"},
    "sms": {"recipient_contact": "+14155550101"},
    "push": {"recipient_contact": None, "recipient_id": USER},
    "inapp": {"recipient_contact": None, "recipient_id": USER},
}
LONG_SMS = "Ihr Besuch kostet 45 €. " * 16
"""384 characters, 400 septets: three parts."""
LONG_PUSH = "Your visit is due tomorrow. " * 20
"""560 characters; at most 255 before the mark leave 251, up to the end of a word."""


@pytest.fixture(autouse=True)
def templates(db: psycopg.Connection) -> None:
    """A template of each channel that says `body`, and retries that come at once."""
    for channel in RECIPIENT:
        db.execute(
            "INSERT INTO n_jtd_templates (template_key, name, channel_code, content, variables)"
            " VALUES (%s, 'Body', %s, '{{ body }}', '[\"body\"]')",
            [f"body_{channel}", channel],
        )
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")


def insert(db: psycopg.Connection, channel: str, body: str, **columns: Any) -> UUID:
    return insert_jtd(
        db,
        **RECIPIENT[channel],
        channel_code=channel,
        template_key=f"body_{channel}",
        payload={"body": body},
        **columns,
    )


def webhook(server: ThreadedHttpServer, channel: str, unknown: str = "idempotent_retry") -> dict[str, str]:
    return {
        f"{channel}_webhook_url": server.url,
        f"{channel}_webhook_secret": SECRET,
        f"{channel}_webhook_unknown": unknown,
    }


def texts(server: ThreadedHttpServer) -> list[str]:
    return [request.json["data"]["text"] for request in server.server.requests]


def shown(dsn: str, jtd: UUID) -> dict[str, str]:
    """What `jtd-worker show` tells of the row."""
    told = call(dsn, "show", str(jtd))
    assert told.code == 0
    return dict(re.findall(r"^(\w+) {2,}(\S.*)$", told.out, re.MULTILINE))


def kill(daemon: Daemon) -> None:
    daemon.signal(signal.SIGKILL)
    daemon.wait()


def test_a_long_sms_goes_whole_and_costs_its_parts(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    long, short = insert(db, "sms", LONG_SMS), insert(db, "sms", "Hello.")
    with ThreadedHttpServer(answer(200, b"{}")) as server:
        daemon = run_until_idle(dsn, "sms:webhook", tmp_path, **webhook(server, "sms"))
        assert sorted(texts(server)) == ["Hello.", LONG_SMS]
    assert row(db, long)["cost"] == Decimal("2.25")
    assert row(db, short)["cost"] == Decimal("0.75")
    assert (shown(dsn, long)["units"], shown(dsn, long)["cost"]) == ("3", "2.25")
    assert (shown(dsn, short)["units"], shown(dsn, short)["cost"]) == ("1", "0.75")
    assert {line["jtd_id"]: line["units"] for line in daemon.lines("jtd.sent")} == {
        str(long): 3,
        str(short): 1,
    }


def test_a_retry_sends_and_costs_the_same_again(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def script(request: Request) -> Steps:
        seen[request.headers["webhook-id"]] += 1
        return answer({1: 502, 2: 500}.get(seen.total(), 200))

    with (
        ThreadedHttpServer(script) as server,
        running(dsn, "sms:webhook", tmp_path, **webhook(server, "sms")),
    ):
        jtd = insert(db, "sms", LONG_SMS)
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
        assert texts(server) == [LONG_SMS] * 3
    # of the first nobody knows, the second was refused, the third was taken
    assert row(db, jtd)["cost"] == Decimal("4.50")


def test_what_a_killed_worker_had_handed_over_is_counted(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert(db, "sms", LONG_SMS)
    settings = {"lease_seconds": "2"}
    with ThreadedHttpServer([Step.HANG]) as server:
        with running(dsn, "sms:webhook", tmp_path, **settings, **webhook(server, "sms", "hold")) as daemon:
            server.wait_until(lambda s: len(s.requests) == 1)
            kill(daemon)
        with running(dsn, "sms:webhook", tmp_path, **settings, **webhook(server, "sms", "hold")):
            eventually(lambda: row(db, jtd)["error_code"] == "outcome_unknown")
    assert row(db, jtd)["cost"] == Decimal("2.25")
    assert shown(dsn, jtd)["units"] == "3"


def test_a_test_row_costs_nothing(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    jtd = insert(db, "sms", LONG_SMS, is_live=False)
    with ThreadedHttpServer(answer(200)) as server:
        run_until_idle(dsn, "sms:webhook", tmp_path, **webhook(server, "sms"))
        assert texts(server) == []
    assert (row(db, jtd)["provider_code"], row(db, jtd)["cost"]) == ("outbox", 0)


def test_a_long_push_is_cut_with_a_mark_and_on_record(
    dsn: str, db: psycopg.Connection, tmp_path: Path, unused_tcp_port: int
) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    with (
        ThreadedHttpServer(answer(200, b"{}")) as server,
        running(dsn, "push:webhook", tmp_path, http=address, **webhook(server, "push")) as daemon,
    ):
        jtd, short = insert(db, "push", LONG_PUSH), insert(db, "push", "Hello.")
        eventually(lambda: places(db) == {"sent": 2})
        metrics = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
        cut = max(texts(server), key=len)
        [line] = [line for line in daemon.lines("jtd.sent") if "kept" in line]
    kept = len(cut) - 1
    assert cut == LONG_PUSH[:kept] + "…"
    assert kept == 251
    assert row(db, jtd)["execution_result"] == {
        **{"outcome": "sent", "attempt": 1},
        **{"kept": kept, "characters": len(LONG_PUSH)},
    }
    assert (line["jtd_id"], line["kept"], line["characters"]) == (str(jtd), kept, len(LONG_PUSH))
    assert (shown(dsn, jtd)["kept"], shown(dsn, jtd)["characters"]) == (str(kept), str(len(LONG_PUSH)))
    assert "kept" not in shown(dsn, short)
    assert row(db, jtd)["cost"] == Decimal("0.01")
    assert 'jtd_cut_total{channel="push"} 1.0' in metrics
    assert "visit" not in daemon.text
    assert "visit" not in metrics


def test_a_long_entry_of_the_feed_is_cut_and_on_record(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert(db, "inapp", "漢字 " * 500)
    run_until_idle(dsn, "inapp:db", tmp_path)
    body = one(db, "SELECT body FROM n_inapp_notifications")
    assert len(body) <= 1000
    assert body.endswith("字…")
    assert shown(dsn, jtd)["kept"] == str(len(body) - 1)
    assert row(db, jtd)["cost"] == 0


@pytest.mark.parametrize(
    ("change", "is_killed"),
    [
        ("max_content_length = 40", False),
        ("content_rule = 'refuse'", False),
        ("max_content_length = NULL", False),
        ("max_content_length = 40", True),
    ],
)
def test_a_retry_sends_what_the_first_attempt_sent_whatever_the_channel_takes_by_then(
    dsn: str, db: psycopg.Connection, tmp_path: Path, change: str, is_killed: bool
) -> None:
    seen: Counter[str] = Counter()

    def script(request: Request) -> Steps:
        seen[request.headers["webhook-id"]] += 1
        is_first = seen[request.headers["webhook-id"]] == 1
        return [Step.HANG] if is_first and is_killed else answer(502 if is_first else 200)

    with ThreadedHttpServer(script) as server:
        settings = {"lease_seconds": "2", **webhook(server, "push")}
        with running(dsn, "push:webhook", tmp_path, **settings) as daemon:
            cut, whole = insert(db, "push", LONG_PUSH), insert(db, "push", LONG_PUSH[:200])
            server.wait_until(lambda s: len(s.requests) == 2)
            if not is_killed:
                eventually(lambda: one(db, "SELECT sum(retry_count) FROM n_jtd") == 2)
            kill(daemon)
        db.execute(f"UPDATE n_jtd_channels SET {change} WHERE code = 'push'".encode())
        with running(dsn, "push:webhook", tmp_path, **settings):
            eventually(lambda: places(db) == {"sent": 2})
        bodies: dict[str, set[bytes]] = {}
        for request in server.server.requests:
            bodies.setdefault(request.headers["webhook-id"], set()).add(request.body)
        assert len(bodies[str(cut)]) == len(bodies[str(whole)]) == 1
        assert set(texts(server)) == {LONG_PUSH[:251] + "…", LONG_PUSH[:200]}
    assert row(db, cut)["execution_result"]["kept"] == 251
    assert "kept" not in row(db, whole)["execution_result"]
    assert row(db, cut)["cost"] == row(db, whole)["cost"] == Decimal("0.02")


@pytest.mark.parametrize(("channel", "length"), [("email", 50_001), ("sms", 1_531)])
def test_what_is_refused_fails_before_anything_is_sent_and_says_why(
    dsn: str, db: psycopg.Connection, tmp_path: Path, channel: str, length: int
) -> None:
    jtd, fits = insert(db, channel, "x" * length), insert(db, channel, "x" * (length - 1))
    with ThreadedHttpServer(answer(200)) as server:
        daemon = run_until_idle(dsn, f"{channel}:webhook", tmp_path, **webhook(server, channel))
        assert texts(server) == ["x" * (length - 1)]
    found = row(db, jtd)
    assert (found["status_code"], found["error_code"]) == ("failed", "content_too_long")
    assert str(length) in found["error_message"]
    assert channel in found["error_message"]
    assert "xx" not in found["error_message"] + daemon.text
    assert (found["executed_at"], found["retry_count"], found["cost"]) == (None, 0, 0)
    assert row(db, fits)["status_code"] == "sent"
    assert "content_too_long" in call(dsn, "attention").out
    [line] = daemon.lines("jtd.failed")
    assert line["code"] == "content_too_long"


def test_a_change_of_the_channel_is_heeded_by_a_running_worker(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server, "email")),
    ):
        jtd = insert(db, "email", "word " * 20_000)
        eventually(lambda: row(db, jtd)["error_code"] == "content_too_long")
        db.execute("UPDATE n_jtd_channels SET max_content_length = 100000 WHERE code = 'email'")

        def is_sent() -> bool:
            call(dsn, "retry", str(jtd))
            return bool(row(db, jtd)["status_code"] == "sent")

        eventually(is_sent)
        db.execute(
            "UPDATE n_jtd_channels SET content_rule = 'cut', max_content_length = 10 WHERE code = 'email'"
        )

        def is_cut() -> bool:
            later = insert(db, "email", "word word word")
            eventually(lambda: row(db, later)["status_code"] == "sent")
            return "kept" in row(db, later)["execution_result"]

        eventually(is_cut)
        assert texts(server)[-1] == "word word…"
