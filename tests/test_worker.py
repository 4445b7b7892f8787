"""The worker as its users meet it: a process beside a database, real servers, and rows."""

import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from jtd_worker.testing.smtp_server import DROP, GARBAGE, HANG, SmtpServer, on
from tests.command import environment
from tests.daemon import eventually, run_until_idle, running
from tests.jobs import TENANT, history, insert_jtd, insert_many, one, places, row
from tests.wire import wire

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
USER = "20000000-0000-0000-0000-000000000001"
ALL_OUTBOX = "email:outbox,sms:outbox,whatsapp:outbox,push:outbox,inapp:db"


def smtp(server: SmtpServer) -> dict[str, str]:
    return {
        "email_smtp_host": "127.0.0.1",
        "email_smtp_port": str(server.port),
        "email_smtp_tls": "none",
        "email_smtp_from": "Acme <no-reply@acme.example>",
    }


def webhook(server: ThreadedHttpServer, unknown: str = "idempotent_retry") -> dict[str, str]:
    return {
        "email_webhook_url": server.url,
        "email_webhook_secret": SECRET,
        "email_webhook_unknown": unknown,
    }


def statuses(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    return [step.to_status for step in history(db, jtd_id)]


def test_the_seeds_insert_arrives_once_by_smtp_with_both_parts(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with SmtpServer.in_thread() as server, running(dsn, "email:smtp", tmp_path, **smtp(server)) as daemon:
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert statuses(db, jtd) == ["created", "pending", "queued", "executing", "sent"]
    assert all(step.valid for step in history(db, jtd))
    (mail,) = server.messages
    assert mail.recipients == ("john@example.com",)
    assert {part.get_content_type() for part in mail.mail.walk()} >= {"text/plain", "text/html"}
    assert str(jtd) in mail.mail["Message-ID"]


def test_more_signals_than_one_change_nothing_about_a_stop(dsn: str, tmp_path: Path) -> None:
    with running(dsn, "email:noop", tmp_path) as daemon:
        daemon.wait_for("worker.started")
        while daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
            time.sleep(0.002)  # so that some come after it has stopped, while it ends
        assert daemon.wait() == 0


def test_a_signal_that_comes_as_it_stops_listening_ends_it_no_other_way(dsn: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED_AT_THE_END, "run", "--until-idle"],
        env=environment(dsn, {"JTD_PROVIDERS": "email:noop"}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


SIGNALLED_AT_THE_END = """
import os, signal
from jtd_worker.cli import main

set_handler = signal.signal

def signal_at_worst(number, handler):
    before = set_handler(number, handler)
    if handler is signal.SIG_DFL:
        os.kill(os.getpid(), number)
    return before

signal.signal = signal_at_worst
main()
"""


def test_five_channels_arrive(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_jtd(db)
    insert_jtd(db, channel_code="sms", recipient_contact="+14155550100", template_key="user_invite_sms_v1")
    insert_jtd(
        db, channel_code="whatsapp", recipient_contact="+14155550100", template_key="user_invite_whatsapp_v1"
    )
    insert_jtd(db, channel_code="push", recipient_id=UUID(USER), template_key="user_invite_push_v1")
    insert_jtd(
        db,
        channel_code="inapp",
        recipient_id=UUID(USER),
        source_type_code="manual",
        template_key="task_assigned_inapp_v1",
        payload={"title": "Call back", "assigned_by": "Jane"},
    )
    run_until_idle(dsn, ALL_OUTBOX, tmp_path)
    assert places(db) == {"sent": 5}
    assert one(db, "SELECT count(DISTINCT channel_code) FROM n_jtd_outbox") == 4
    assert one(db, "SELECT count(*) FROM n_inapp_notifications WHERE user_id = %s", UUID(USER)) == 1


@pytest.mark.parametrize(
    ("script", "status", "code", "mails"),
    [
        ([on("rcpt", "450 4.2.1 later")], "pending", "smtp_450", 0),
        ([on("rcpt", "550 5.1.1 no such user")], "failed", "smtp_550", 0),
        ([on("banner", GARBAGE)], "pending", None, 0),
        ([on("mail", DROP)], "pending", None, 0),
        ([on("dot", "451 4.3.0 try again")], "pending", "smtp_451", 0),
        ([on("dot", DROP)], "pending", "outcome_unknown", 1),
    ],
)
def test_a_mail_server_that_misbehaves_gives_the_right_state(
    dsn: str, db: psycopg.Connection, tmp_path: Path, script: list, status: str, code: str | None, mails: int
) -> None:
    jtd = insert_jtd(db)
    with SmtpServer.in_thread(script) as server:
        run_until_idle(dsn, "email:smtp", tmp_path, **smtp(server))
        assert len(server.messages) == mails
    found = row(db, jtd)
    assert found["status_code"] == status
    assert found["error_code"] == code or code is None
    assert found["error_message"]
    assert places(db) == {"waiting": 1} if status == "pending" else {"final": 1}
    noted = [step.action for step in history(db, jtd) if step.action == "possible_duplicate"]
    assert len(noted) == (code == "outcome_unknown")
    assert "john@example.com" not in found["error_message"]


@pytest.mark.parametrize(
    ("steps", "status", "code", "attempts_used"),
    [
        (answer(400, b"no such tenant"), "failed", "http_400", 0),
        (answer(500), "pending", "http_500", 1),
        (answer(503, headers={"retry-after": "7"}), "pending", "http_503", 1),
        (answer(429, headers={"retry-after": "7"}), "pending", "http_429", 0),
        (answer(401), "pending", "http_401", 0),
        ([b"this is no HTTP\r\n\r\n", Step.CLOSE], "failed", "outcome_unknown", 0),
        ([Step.RESET], "failed", "outcome_unknown", 0),
    ],
)
def test_an_http_server_that_misbehaves_gives_the_right_state(
    dsn: str,
    db: psycopg.Connection,
    tmp_path: Path,
    steps: Steps,
    status: str,
    code: str | None,
    attempts_used: int,
) -> None:
    jtd = insert_jtd(db)
    with ThreadedHttpServer(steps) as server:
        run_until_idle(dsn, "email:webhook", tmp_path, **webhook(server, "hold"))
    found = row(db, jtd)
    assert (found["status_code"], found["error_code"]) == (status, code)
    assert found["retry_count"] == attempts_used
    place, sentence = db.execute("SELECT place, sentence FROM jtd.explain(%s)", [jtd]).fetchone() or ("", "")
    assert place == ("waiting" if status == "pending" else "final")
    assert code is None or code in sentence


def test_a_retry_sends_the_text_and_the_layout_of_its_first_attempt(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    edit = "UPDATE n_jtd_templates SET content_html = replace(content_html, %s, %s) WHERE template_key = %s"
    with (
        SmtpServer.in_thread([on("dot", DROP, nth=1)]) as server,
        running(dsn, "email:smtp", tmp_path, **smtp(server)),
    ):
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["retry_count"] == 1)
        db.execute(edit, ["</body>", "<p>A new footer</p></body>", "layout_email_v1"])
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
        insert_jtd(db)
        first, again, later = server.wait_for_messages(3)
    assert first.content == again.content
    footers = [b"A new footer" in mail.content for mail in (first, again, later)]
    assert footers == [False, False, True]


def test_a_retry_comes_on_time_and_clears_the_error(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    with (
        SmtpServer.in_thread([on("rcpt", "450 4.2.1 later", nth=1)]) as server,
        running(dsn, "email:smtp", tmp_path, **smtp(server)),
    ):
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
    assert statuses(db, jtd) == [
        *("created", "pending", "queued", "executing", "failed", "pending"),
        *("queued", "executing", "sent"),
    ]
    found = row(db, jtd)
    assert (found["error_code"], found["error_message"], found["retry_count"]) == (None, None, 1)
    waited = one(
        db,
        "SELECT extract(epoch FROM"
        " (SELECT max(created_at) FROM n_jtd_history WHERE to_status_code = 'executing')"
        " - (SELECT created_at FROM n_jtd_history WHERE to_status_code = 'failed'))",
    )
    assert 0.8 < waited < 10


@pytest.mark.parametrize(
    ("unknown", "status", "code"),
    [("idempotent_retry", "sent", None), ("resend", "sent", None), ("hold", "failed", "outcome_unknown")],
)
def test_the_rule_for_an_unknown_outcome_is_a_setting(
    dsn: str, db: psycopg.Connection, tmp_path: Path, unknown: str, status: str, code: str | None
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    seen: Counter[str] = Counter()

    def script(request: Request) -> Steps:
        seen[request.headers["webhook-id"]] += 1
        return answer(502 if seen.total() == 1 else 200)

    with (
        ThreadedHttpServer(script) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server, unknown)),
    ):
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == status and row(db, jtd)["error_code"] == code)
    assert seen == {str(jtd): 1 if unknown == "hold" else 2}
    actions = [step.action for step in history(db, jtd)]
    assert ("possible_duplicate" in actions) == (unknown == "resend")
    if unknown == "hold":
        assert "a person says" in one(db, "SELECT sentence FROM jtd.explain(%s)", jtd)


def test_two_replicas_send_each_of_5000_once(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_many(db, 5000)
    with (
        ThreadedHttpServer(answer(200, b"{}")) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as one_worker,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as other,
    ):
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 5000, 120)
        assert len(server.server.counts) == 5000
        assert set(server.server.counts.values()) == {1}
        assert one_worker.lines("jtd.sent")
        assert other.lines("jtd.sent")
    assert one(db, "SELECT count(*) FROM n_jtd_history WHERE to_status_code = 'executing'") == 5000


def test_sigterm_lets_running_sends_end_and_gives_back_the_rest(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_many(db, 20)
    with SmtpServer.in_thread([on("dot", HANG)]) as server:
        with running(dsn, "email:smtp", tmp_path, slots="4", drain_seconds="1", **smtp(server)) as daemon:
            server.wait_for_messages(4)
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0, daemon.text
        assert len(server.messages) == 4
    assert places(db) == {"waiting": 4, "queued": 16}
    assert one(db, "SELECT count(*) FROM n_jtd WHERE retry_count > 0") == 4
    assert one(db, "SELECT count(*) FROM n_jtd_history WHERE action = 'possible_duplicate'") == 4
    assert one(db, "SELECT count(*) FROM jtd.workers") == 0


def test_ctrl_c_stops_it_as_sigterm_does(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with running(dsn, "email:outbox", tmp_path) as daemon:
        insert_many(db, 5)
        eventually(lambda: places(db) == {"sent": 5})
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert daemon.lines("worker.stopped")


def test_a_lost_notification_costs_a_tick_and_no_job(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with running(dsn, "email:outbox", tmp_path):
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)
        db.execute("DELETE FROM jtd.sleepers")  # so the trigger sees nobody to notify
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == "sent")


def test_a_row_that_somebody_holds_delays_that_row_only(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtds = insert_many(db, 20)
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [jtds[7]])
        with running(dsn, "email:outbox", tmp_path):
            eventually(lambda: places(db) == {"sent": 19, "queued": 1})
            holder.commit()
            eventually(lambda: places(db) == {"sent": 20})


def test_a_row_that_somebody_holds_while_it_is_sent_is_settled_when_it_is_free(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_many(db, 3)
    with (
        ThreadedHttpServer([Step.WAIT, *answer(200)]) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
        psycopg.connect(dsn) as holder,
    ):
        server.wait_until(lambda s: len(s.requests) == 3)
        held = UUID(server.server.requests[0].headers["webhook-id"])
        holder.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [held])
        server.release()
        eventually(lambda: places(db) == {"sent": 2, "in_flight": 1})
        holder.commit()
        eventually(lambda: places(db) == {"sent": 3})
        assert set(server.server.counts.values()) == {1}


def test_a_killed_worker_loses_nothing(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_many(db, 10)
    hangs = on("dot", HANG)
    with SmtpServer.in_thread([hangs]) as server:
        with running(dsn, "email:smtp", tmp_path, slots="4", lease_seconds="2", **smtp(server)) as daemon:
            server.wait_for_messages(4)
            daemon.signal(signal.SIGKILL)
            daemon.wait()
        server.script.remove(hangs)
        with running(dsn, "email:smtp", tmp_path, lease_seconds="2", **smtp(server)):
            eventually(lambda: places(db).get("in_flight", 0) + places(db).get("queued", 0) == 0)
    # four may have left, and are sent again in their time, on record; the others went out once
    assert places(db) == {"sent": 6, "waiting": 4}
    assert one(db, "SELECT count(*) FROM n_jtd_history WHERE action = 'possible_duplicate'") == 4


def test_a_provider_that_hangs_holds_up_its_own_channel_alone(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_many(db, 20)
    with SmtpServer.in_thread([on("dot", HANG)]) as hangs, ThreadedHttpServer(answer(200)) as server:
        hook = {key.replace("email_", "sms_"): value for key, value in webhook(server).items()}
        with running(
            dsn, "email:smtp,sms:webhook", tmp_path, slots="4", drain_seconds="0", **smtp(hangs), **hook
        ) as daemon:
            hangs.wait_for_messages(2)
            jtd = insert_jtd(
                db, channel_code="sms", recipient_contact="+14155550100", template_key="user_invite_sms_v1"
            )
            eventually(lambda: row(db, jtd)["status_code"] == "sent")
            assert len(hangs.messages) == 2
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0


def test_a_test_row_never_leaves_the_house(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    jtd = insert_jtd(db, is_live=False)
    with SmtpServer.in_thread() as server:
        run_until_idle(dsn, "email:smtp", tmp_path, **smtp(server))
        assert server.messages == []
        assert server.connections == 0
    assert row(db, jtd)["provider_code"] == "outbox"
    assert one(db, "SELECT recipient FROM n_jtd_outbox") == "john@example.com"


def test_another_provider_takes_what_the_first_refuses(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert_jtd(db)
    with SmtpServer.in_thread([on("banner", "421 closing")]) as down, SmtpServer.in_thread() as up:
        backup = {key.replace("smtp_", "smtp_backup_"): value for key, value in smtp(up).items()}
        run_until_idle(dsn, "email:smtp,email:smtp.backup", tmp_path, **smtp(down), **backup)
        assert len(up.messages) == 1
    assert (row(db, jtd)["status_code"], row(db, jtd)["provider_code"]) == ("sent", "smtp.backup")


@pytest.mark.parametrize(
    ("columns", "code", "says"),
    [
        ({"template_key": "nowhere_v1"}, "template_missing", "nowhere_v1"),
        ({"payload": {"tenant_name": "Acme"}}, "variables_missing", "invite_link, inviter_name"),
    ],
)
def test_what_can_never_be_rendered_fails_with_its_reason(
    dsn: str, db: psycopg.Connection, tmp_path: Path, columns: dict, code: str, says: str
) -> None:
    jtd = insert_jtd(db, **columns)
    other = insert_jtd(db)
    run_until_idle(dsn, "email:outbox", tmp_path)
    found = row(db, jtd)
    assert (found["status_code"], found["error_code"]) == ("failed", code)
    assert says in found["error_message"]
    assert row(db, other)["status_code"] == "sent"


def test_malformed_payloads_and_broken_templates_stop_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    template = (
        "INSERT INTO n_jtd_templates (template_key, name, channel_code, content, variables)"
        " VALUES (%s, %s, 'email', %s, %s)"
    )
    db.execute(template, ("bad_variables", "bad", "x", '{"not": "a list"}'))
    db.execute(template, ("bad_syntax", "bad", "{% if %}", "[]"))
    for payload in ("[1, 2]", '"text"', "null", "5", '{"template_data": [1]}', '{"attachments": "x"}'):
        db.execute(
            "INSERT INTO n_jtd"
            " (tenant_id, event_type_code, channel_code, source_type_code, recipient_contact, payload)"
            " VALUES (%s, 'notification', 'email', 'user_invite', 'a@example.com', %s)",
            (TENANT, payload),
        )
    insert_jtd(db, template_key="bad_variables")
    insert_jtd(db, template_key="bad_syntax")
    good = insert_jtd(db)
    run_until_idle(dsn, "email:outbox", tmp_path)
    assert row(db, good)["status_code"] == "sent"
    assert places(db) == {"final": 8, "sent": 1}
    assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'failed' AND error_code IS NOT NULL") == 8


def test_a_thousand_jobs_take_at_most_30_statements_and_10_commits(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    thousands = 10
    with wire(dsn) as proxy, running(proxy.dsn, "email:noop", tmp_path) as daemon:
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)
        before = proxy.statements
        with db.transaction():
            for _ in range(thousands):
                insert_many(db, 1000)
        eventually(
            lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == thousands * 1000
        )
        # a statement outside a transaction block is a commit, so the stricter bound covers both
        assert proxy.statements - before <= 10 * thousands
        assert len(daemon.lines("jtd.sent")) == thousands * 1000


def test_an_idle_worker_asks_at_most_twice_a_second(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    seconds = 6
    with wire(dsn) as proxy, running(proxy.dsn, ALL_OUTBOX, tmp_path):
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 10)
        db.execute("SELECT pg_sleep(1)")  # each reader looks once more before it really sleeps
        before = proxy.statements
        db.execute("SELECT pg_sleep(%s)", [seconds])
        assert 0 < proxy.statements - before <= 2 * seconds


def test_at_most_four_connections(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    with running(dsn, ALL_OUTBOX, tmp_path):
        insert_many(db, 100)
        eventually(lambda: places(db) == {"sent": 100})
        names = [
            found[0]
            for found in db.execute(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'jtd-worker%'"
            )
        ]
    assert sorted(names) == [f"jtd-worker {role}" for role in ("claim", "lease", "settle", "tick")]


def test_a_job_committed_while_its_reader_falls_asleep_is_seen_without_a_tick(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(
        "CREATE OR REPLACE FUNCTION jtd.readable_queues(p_queues text[]) RETURNS text[] LANGUAGE sql STABLE"
        " AS $$ SELECT '{}'::text[] $$"
    )
    with running(dsn, "email:outbox", tmp_path), psycopg.connect(dsn) as producer:
        sleeps = "SELECT EXISTS (SELECT FROM jtd.sleepers WHERE queue_name = 'jtd_email')"
        eventually(lambda: one(db, sleeps))
        for _ in range(5):  # the commit must come within the last look, which a busy machine may miss
            db.execute("DELETE FROM n_jtd")
            db.execute("DELETE FROM jtd.sleepers")
            jtd = insert_jtd(producer)  # its trigger sees no sleeper, and notifies nobody
            db.execute("SELECT pg_notify('jtd_wake', 'jtd_email')")
            eventually(lambda: one(db, sleeps))
            producer.commit()
            with suppress(AssertionError):
                eventually(lambda jtd=jtd: row(db, jtd)["status_code"] == "sent", 1)
                return
        raise AssertionError("no job was seen without a tick")
