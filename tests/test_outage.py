"""What a living worker does when its server is away, is another, or is reached through a pooler."""

import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from jtd_worker.database import seeking_primary
from jtd_worker.migrate import migrate
from jtd_worker.testing.http_server import Step, ThreadedHttpServer, answer
from tests.cluster import Cluster
from tests.daemon import eventually, running
from tests.jobs import history, insert_jtd, insert_many, one, row
from tests.postgres import lift_rate_limits
from tests.wire import wire
from tests.worker_calls import Worker, no_triggers, result

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
USER = UUID("20000000-0000-0000-0000-000000000001")
INAPP = {
    "channel_code": "inapp",
    "recipient_id": USER,
    "source_type_code": "manual",
    "template_key": "task_assigned_inapp_v1",
    "payload": {"title": "Call back", "assigned_by": "Jane"},
}


def webhook(server: ThreadedHttpServer, unknown: str = "hold") -> dict[str, str]:
    return webhook_at(server.url, unknown)


def webhook_at(url: str, unknown: str = "hold") -> dict[str, str]:
    return {
        "email_webhook_url": url,
        "email_webhook_secret": SECRET,
        "email_webhook_unknown": unknown,
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user may enter, and short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="jtd-outage-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def cluster(folder: Path) -> Iterator[Cluster]:
    (folder / "a").mkdir()
    with Cluster(folder / "a") as cluster:
        cluster.create("jobs")
        migrate(cluster.dsn("jobs"))
        lift_rate_limits(cluster.dsn("jobs"))  # hundreds at once
        yield cluster


@contextmanager
def connected(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.dsn("jobs"), autocommit=True) as conn:
        yield conn


def all_sent(cluster: Cluster, number: int) -> None:
    """Wait until so many jobs are sent, and no other."""
    with connected(cluster) as db:
        eventually(
            lambda: (
                db.execute("SELECT status_code::text, count(*) FROM n_jtd GROUP BY 1").fetchall()
                == [("sent", number)]
            )
        )
        assert one(db, "SELECT bool_and(sound) FROM jtd.conservation()")


def received(server: ThreadedHttpServer) -> Counter[int]:
    """Return how many messages came how often."""
    return Counter(server.server.counts.values())


# The server goes back in time


def test_a_server_that_lost_its_last_commits_learns_from_the_workers_what_was_sent(
    cluster: Cluster, tmp_path: Path
) -> None:
    with connected(cluster) as db:
        insert_many(db, 40)
        for _ in range(5):
            insert_jtd(db, **INAPP)
    cluster.stop("fast")
    cluster.keep()
    cluster.start()
    with (
        ThreadedHttpServer(lambda _: answer(200)) as server,
        running(cluster.dsn("jobs"), "email:webhook,inapp:db", tmp_path, **webhook(server)) as daemon,
    ):
        all_sent(cluster, 45)
        cluster.stop("immediate")
        cluster.go_back()
        cluster.start()
        assert daemon.wait_for("database.went_back")["count"] == 45
        all_sent(cluster, 45)
        assert received(server) == {1: 40}
    with connected(cluster) as db:
        assert one(db, "SELECT count(*) FROM n_inapp_notifications") == 5
        assert one(db, "SELECT count(*) FROM n_jtd_history WHERE action = 'late_result'") == 45
        assert one(db, "SELECT bool_and(is_valid_transition) FROM n_jtd_history")
        assert one(db, "SELECT bool_and(attempt = 1) FROM n_jtd WHERE channel_code = 'email'")


def test_a_restart_that_loses_nothing_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with connected(cluster) as db:
        insert_many(db, 20)
    with (
        ThreadedHttpServer(lambda _: answer(200)) as server,
        running(cluster.dsn("jobs"), "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        all_sent(cluster, 20)
        cluster.stop("immediate")
        cluster.start()
        with connected(cluster) as db:
            insert_jtd(db)
        all_sent(cluster, 21)
        assert not daemon.lines("database.went_back")
        assert received(server) == {1: 21}
    with connected(cluster) as db:
        assert one(db, "SELECT count(*) FROM n_jtd_history WHERE action <> 'created'") == 21 * 4


def test_a_worker_whose_lease_is_half_over_claims_nothing_that_it_could_only_give_back(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    left = "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 FROM jtd.workers"
    with running(dsn, "email:noop", tmp_path, lease_seconds="6"):
        with psycopg.connect(dsn) as other:
            other.execute("SELECT FROM jtd.workers FOR UPDATE")  # it cannot be renewed
            eventually(lambda: one(db, left) < 2.5)
            jobs = insert_many(db, 20)
            eventually(lambda: one(db, left) < 1)
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == len(jobs))
    assert one(db, "SELECT max(attempt) FROM n_jtd") <= 2


@pytest.mark.parametrize(
    ("rule", "status", "noted"),
    [
        ("hold", "failed", "late_result"),
        ("resend", "queued", "possible_duplicate"),
        ("idempotent_retry", "queued", "possible_duplicate"),
    ],
)
def test_an_attempt_of_unknown_outcome_that_the_server_lost_follows_its_rule(
    db: psycopg.Connection, rule: str, status: str, noted: str
) -> None:
    jtd_id = insert_jtd(db)
    worker = Worker(db)
    job = worker.claim_one()
    with no_triggers(db):
        db.execute("UPDATE n_jtd SET status_code = 'queued', attempt = 0")
    db.execute("DELETE FROM jtd.inflight")
    assert worker.settle(result(job, "unknown", rule=rule, provider="smtp", reason="timeout")) == ["late"]
    assert (row(db, jtd_id)["status_code"], row(db, jtd_id)["attempt"]) == (status, 1)
    assert history(db, jtd_id)[-2 if rule == "hold" else -1].action == noted
    assert row(db, jtd_id)["execution_result"].get("bound_to") == (
        "smtp" if rule == "idempotent_retry" else None
    )


# Another server


def test_a_standby_that_takes_over_goes_on_with_what_the_primary_had(
    cluster: Cluster, folder: Path, tmp_path: Path
) -> None:
    (folder / "b").mkdir()
    standby = cluster.standby(folder / "b")
    hosts = make_conninfo(
        host=f"{standby.socket},{cluster.socket}", port="5432,5432", user="postgres", dbname="jobs"
    )
    with (
        ThreadedHttpServer(lambda _: answer(200)) as server,
        standby,
        running(hosts, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        with connected(cluster) as db:
            insert_many(db, 20)
        all_sent(cluster, 20)
        with connected(cluster) as db:
            sent = one(db, "SELECT pg_current_wal_lsn()")
            eventually(
                lambda: one(db, "SELECT bool_or(replay_lsn >= %s::pg_lsn) FROM pg_stat_replication", sent)
            )
        cluster.stop("immediate")
        standby.promote()
        with connected(standby) as db:
            insert_many(db, 20)
        all_sent(standby, 40)
        assert received(server) == {1: 40}
        assert daemon.process.poll() is None
    assert daemon.lines("database.went_back")


def test_of_several_hosts_the_one_that_takes_changes_is_sought() -> None:
    assert "target_session_attrs=read-write" in seeking_primary("host=a,b dbname=x")
    assert seeking_primary("host=a dbname=x") == "host=a dbname=x"
    assert "target_session_attrs=any" in seeking_primary("host=a,b target_session_attrs=any")
    assert "read-write" in seeking_primary("postgresql://u@a:1,b:2/x")


def test_a_database_that_takes_no_changes_for_a_while_is_waited_for(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    name = db.info.dbname
    with running(dsn, "email:noop", tmp_path) as daemon:
        db.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        terminate_workers(db)
        daemon.wait_for("database.unreachable")
        db.execute("SET default_transaction_read_only = off")
        jtd_id = insert_jtd(db)
        db.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
        eventually(lambda: row(db, jtd_id)["status_code"] == "sent")


def terminate_workers(db: psycopg.Connection, role: str = "") -> int:
    number: int = one(
        db,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE %s",
        f"jtd-worker {role}%",
    )
    return number


# Connections


def test_what_one_provider_refused_is_unharmed_if_the_worker_ends_before_another_is_asked(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """The database is away just then, for longer than the drain time."""
    backup = {
        name.replace("webhook", "webhook_backup"): value
        for name, value in webhook_at("http://127.0.0.1:9/").items()
    }
    jtd_id = insert_jtd(db)
    with ThreadedHttpServer([Step.WAIT, *answer(503)]) as server, wire(dsn) as proxy:
        settings = webhook(server) | backup
        with running(
            proxy.dsn, "email:webhook,email:webhook.backup", tmp_path, **settings, drain_seconds="0"
        ) as daemon:
            server.wait_until(lambda server: bool(server.requests))
            proxy.cut()
            server.release()
            eventually(  # who asks is the hand-off
                lambda: any(line["role"] == "claim" for line in daemon.lines("database.unreachable"))
            )
            daemon.signal(signal.SIGTERM)
            daemon.wait_for("worker.draining")
            proxy.mend()
            assert daemon.wait() == 0, daemon.text
    found = row(db, jtd_id)
    assert (found["status_code"], found["retry_count"], found["error_code"]) == ("queued", 0, None)


def test_a_worker_holds_four_connections(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with running(dsn, "email:noop,inapp:db,sms:outbox", tmp_path, http="127.0.0.1:0"):
        jobs = insert_many(db, 500)
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == len(jobs))
        assert (
            one(
                db,
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'jtd-worker %'",
            )
            <= 4
        )


@pytest.mark.parametrize("role", ["lease", "claim", "settle", "tick", ""])
def test_a_terminated_connection_comes_back_and_costs_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path, role: str
) -> None:
    with running(dsn, "email:noop", tmp_path):
        first = insert_jtd(db)
        eventually(lambda: row(db, first)["status_code"] == "sent")
        assert terminate_workers(db, role) == (1 if role else 4)
        jtd_id = insert_jtd(db)
        eventually(lambda: row(db, jtd_id)["status_code"] == "sent")
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' OR query LIKE '%%renew_v1%%'"
        )
        eventually(lambda: one(db, listening) >= 1)
        assert row(db, jtd_id)["attempt"] == 1


def test_a_reader_whose_claims_were_not_answered_is_notified_again(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    sleepers = "SELECT count(*) FROM jtd.sleepers"
    with running(dsn, "email:noop", tmp_path, lease_seconds="6") as daemon:
        eventually(lambda: one(db, sleepers) == 2)
        db.execute("UPDATE jtd.workers SET lease_until = '-infinity'")
        with psycopg.connect(dsn) as other:
            other.execute("SELECT FROM jtd.workers FOR UPDATE")  # so that it is over for a while
            db.execute("DELETE FROM jtd.sleepers")
            db.execute("NOTIFY jtd_wake, 'jtd_email'")
            db.execute("NOTIFY jtd_wake, 'jtd_email_urgent'")
            eventually(lambda: len(daemon.lines("claim.refused")) >= 6)
        eventually(lambda: one(db, sleepers) == 2)


def test_what_is_on_record_survives_a_crash_also_where_commits_do_not_wait(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(f'ALTER DATABASE "{db.info.dbname}" SET synchronous_commit = off'.encode())
    seen = "CREATE TABLE seen AS SELECT current_setting('synchronous_commit') AS level FROM n_jtd LIMIT 0"
    db.execute(seen.encode())
    db.execute(
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO public.seen SELECT current_setting('synchronous_commit'); RETURN NULL; END $$"
    )
    db.execute("CREATE TRIGGER see AFTER UPDATE ON n_jtd FOR EACH STATEMENT EXECUTE FUNCTION see()")
    with running(dsn, "email:noop", tmp_path):
        jtd_id = insert_jtd(db)
        eventually(lambda: row(db, jtd_id)["status_code"] == "sent")
    assert db.execute("SELECT DISTINCT level FROM seen").fetchall() == [("on",)]


# A pooler between

POOLER = shutil.which("pgbouncer")


@contextmanager
def pooler(dsn: str, folder: Path) -> Iterator[str]:
    """Run pgbouncer in transaction mode in front of `dsn`."""
    folder.chmod(0o777)
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    owner = Path(str(parts["host"])).stat().st_uid  # may reach the socket, and is never root
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={parts['host']} port={parts.get('port', 5432)} user=postgres\n"
        f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 3\nignore_startup_parameters = options\n"
    )
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([str(POOLER), str(settings)], stdout=log, stderr=log, user=owner)
    try:
        eventually((folder / ".s.PGSQL.6432").exists)
        yield make_conninfo(dsn, host=str(folder), port="6432")
    finally:
        process.terminate()
        process.wait(10)


def test_a_worker_whose_connection_is_not_to_one_server_process_polls(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with wire(dsn, hides_process=True) as proxy, running(proxy.dsn, "email:noop", tmp_path) as daemon:
        daemon.wait_for("database.pooled")
        for _ in range(3):  # one by one, so that each finds the reader asleep
            jtd_id = insert_jtd(db)
            eventually(lambda jtd_id=jtd_id: row(db, jtd_id)["status_code"] == "sent", 5)
        assert one(db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'") == 0


@pytest.mark.skipif(POOLER is None, reason="there is no pgbouncer on this machine")
def test_through_a_pooler_in_transaction_mode_the_worker_goes_on_by_polling(
    dsn: str, db: psycopg.Connection, folder: Path, tmp_path: Path
) -> None:
    with pooler(dsn, folder) as pooled, running(pooled, "email:noop", tmp_path) as daemon:
        daemon.wait_for("database.pooled")
        for _ in range(3):  # one by one, so that each finds the reader asleep
            jtd_id = insert_jtd(db)
            eventually(lambda jtd_id=jtd_id: row(db, jtd_id)["status_code"] == "sent", 5)
        insert_many(db, 2000)
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 2003)
        assert one(db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'") == 0
    with psycopg.connect(dsn) as conn:  # no setting of ours was left for other clients of the pooler
        assert one(conn, "SHOW statement_timeout") == "0"
