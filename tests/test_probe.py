"""The worker's own web server, and what makes it say that it is not ready."""

import http.client
import json
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from jtd_worker.lease import Lease, elapsed
from jtd_worker.progress import STALL, Progress
from tests.daemon import Daemon, eventually, running
from tests.jobs import insert_many, places
from tests.wire import wire


def get(daemon: Daemon, path: str, method: str = "GET") -> tuple[int, str]:
    url = urlsplit(daemon.wait_for("probe.listening")["url"])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_readiness_and_metrics(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with running(dsn, "email:outbox", tmp_path, http="127.0.0.1:0") as daemon:
        assert get(daemon, "/healthz") == (200, "ok\n")
        eventually(lambda: get(daemon, "/readyz") == (200, "ready\n"))
        insert_many(db, 30)
        eventually(lambda: places(db) == {"sent": 30})
        status, text = get(daemon, "/metrics")
        assert status == 200
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert figures['jtd_attempts_total{channel="email",outcome="sent",provider="outbox"}'] == "30.0"
        assert figures["jtd_workers"] == "1.0"
        assert figures["jtd_worker_ready"] == "1.0"
        assert 'jtd_queue_messages{channel="sms",lane="urgent"}' in figures
        assert "example.com" not in text
        assert get(daemon, "/metrics?x=1")[0] == 200
        assert get(daemon, "/elsewhere")[0] == 404
        assert get(daemon, "/healthz", "POST")[0] == 405


def test_a_client_that_talks_nonsense_does_no_harm(dsn: str, tmp_path: Path) -> None:
    with running(dsn, "email:outbox", tmp_path, http="127.0.0.1:0") as daemon:
        url = urlsplit(daemon.wait_for("probe.listening")["url"])
        for nonsense in (b"", b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"x" * 100_000):
            with socket.create_connection((url.hostname, url.port), timeout=10) as client:
                client.sendall(nonsense)
        assert get(daemon, "/healthz") == (200, "ok\n")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_worker_cut_off_from_its_database_is_alive_but_not_ready(dsn: str, tmp_path: Path) -> None:
    with (
        wire(dsn) as proxy,
        running(proxy.dsn, "email:outbox", tmp_path, http="127.0.0.1:0", lease_seconds="2") as daemon,
    ):
        eventually(lambda: get(daemon, "/readyz")[0] == 200)
        proxy.cut()
        eventually(lambda: get(daemon, "/readyz")[0] == 503)
        assert "lease" in get(daemon, "/readyz")[1]
        assert get(daemon, "/healthz")[0] == 200
        proxy.mend()
        eventually(lambda: get(daemon, "/readyz")[0] == 200)


def test_a_worker_is_not_ready_while_messages_wait_and_none_is_claimed() -> None:
    progress = made()
    progress.ticked(["jtd_email"], is_partitioned=True, is_adopted=True)
    progress._readable_since["jtd_email"] -= STALL + 1
    assert "jtd_email" in progress.hindrances()[0]
    progress.claimed("jtd_email")
    assert progress.hindrances() == []


def test_a_worker_is_not_ready_while_results_do_not_reach_the_database() -> None:
    progress = made()
    progress.settling()
    progress._unsettled_since = elapsed() - STALL - 1
    progress.settling()
    assert "results wait" in progress.hindrances()[0]
    progress.settled()
    assert progress.hindrances() == []


def test_a_worker_is_not_ready_without_ticks_lease_or_partition() -> None:
    progress = made()
    progress.ticked([], is_partitioned=False, is_adopted=True)
    assert "n_jtd_history" in progress.hindrances()[0]
    progress._ticked -= STALL + 1
    assert any("no tick" in hindrance for hindrance in progress.hindrances())
    assert Progress(Lease(8)).hindrances()[0].startswith("the lease is over")


def made() -> Progress:
    lease = Lease(60)
    lease.renewed(elapsed())
    return Progress(lease)


def test_log_lines_are_json_with_known_keys_only(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    from jtd_worker.logs import KEYS, only_known_keys

    with running(dsn, "email:outbox", tmp_path) as daemon:
        insert_many(db, 3)
        eventually(lambda: len(daemon.lines("jtd.sent")) == 3)
        lines = [json.loads(line) for line in daemon.text.splitlines()]
    assert all(line.keys() <= KEYS for line in lines)
    assert "john@example.com" not in daemon.text
    dropped = only_known_keys(None, "info", {"event": "x", "to": "john@example.com"})
    assert dropped == {"event": "x", "code": "dropped to"}
