"""What a hostile user, adapter or network does to the worker, and what must hold all the same."""

import asyncio
import base64
import signal
import time
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from jtd_worker.channels import any_memory
from jtd_worker.result import Refused, Retry, Scope, Sent
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from jtd_worker.testing.smtp_server import SmtpServer
from tests.command import call
from tests.daemon import Daemon, eventually, run_until_idle, running
from tests.jobs import TENANT, history, insert_jtd, insert_many, one, places, row
from tests.test_worker import SECRET, smtp, statuses, webhook
from tests.wire import wire
from tests.worker_calls import wait_until_blocked

INVITE = '"inviter_name": "J", "tenant_name": "A", "invite_link": "https://example.com/i"'


def raw_payload(db: psycopg.Connection, column: str, text: str) -> UUID:
    jtd = uuid4()
    given = {"payload": f"{{{INVITE}}}", "template_variables": "{}", "metadata": "{}"} | {column: text}
    db.execute(
        "INSERT INTO n_jtd (id, tenant_id, event_type_code, channel_code, source_type_code,"
        " recipient_contact, payload, template_variables, metadata)"
        " VALUES (%s, %s, 'notification', 'email', 'user_invite', 'a@example.com', %s, %s, %s)",
        [jtd, TENANT, *(given[c] for c in ("payload", "template_variables", "metadata"))],
    )
    return jtd


@pytest.mark.parametrize(
    "text", [f'{{{INVITE}, "n": 1e5000}}', f'{{{INVITE}, "n": {"[" * 4000}{"]" * 4000}}}']
)
def test_json_that_python_cannot_read_stops_no_other_job(
    dsn: str, db: psycopg.Connection, tmp_path: Path, text: str
) -> None:
    raw_payload(db, "payload", text)
    good = insert_jtd(db)
    with running(dsn, "email:outbox", tmp_path) as daemon:
        eventually(lambda: row(db, good)["status_code"] == "sent" or daemon.process.poll() is not None)
        assert daemon.process.poll() is None, daemon.text[-1500:]


def test_an_urgent_job_overtakes_a_backlog(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_many(db, 150)

    def script(request: Request) -> Steps:
        time.sleep(0.05)  # the provider is slow; nothing waits for this
        return answer(200)

    with (
        ThreadedHttpServer(script) as server,
        running(dsn, "email:webhook", tmp_path, slots="2", **webhook(server)),
    ):
        server.wait_until(lambda s: len(s.requests) >= 10, 20)
        before = len(server.server.requests)
        urgent = insert_jtd(db, priority=10)
        eventually(lambda: str(urgent) in server.server.counts, 60)
        place = [r.headers["webhook-id"] for r in server.server.requests].index(str(urgent))
    assert place - before <= 10, f"{place - before} normal jobs went before the urgent one"


def test_after_an_unknown_outcome_no_other_provider_sends_in_silence(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    asked: Counter[str] = Counter()

    def script(request: Request) -> Steps:
        asked["all"] += 1
        # it takes the message, and its answer is lost; then it is in maintenance
        return [Step.CLOSE] if asked["all"] == 1 else answer(503)

    with ThreadedHttpServer(script) as server, SmtpServer.in_thread() as mail:
        with running(dsn, "email:webhook,email:smtp", tmp_path, **webhook(server), **smtp(mail)):
            jtd = insert_jtd(db)
            eventually(lambda: row(db, jtd)["status_code"] == "sent" or asked["all"] > 2)
        actions = [step.action for step in history(db, jtd)]
        assert not mail.messages or "possible_duplicate" in actions, (statuses(db, jtd), actions)


def test_cancel_does_not_claim_that_a_posted_message_will_not_be_sent(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer([Step.WAIT, *answer(200)]) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        jtd = insert_jtd(db)
        server.wait_until(lambda s: len(s.requests) == 1)
        sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", jtd)
        said = call(dsn, "cancel", str(jtd))
        server.release()
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
    assert "nothing has been handed" not in sentence, sentence
    assert "nothing more of it will be sent" not in said.out, (said.out, row(db, jtd)["status_code"])


def test_the_same_key_gives_the_same_job_as_the_readme_shows(db: psycopg.Connection) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    block = next(
        b for b in text.split("```") if "SELECT id, created FROM jtd.enqueue" in b and b.startswith("sql")
    )
    statement = block.removeprefix("sql").strip()
    first = db.execute(statement.encode()).fetchone()
    second = db.execute(statement.encode()).fetchone()  # a producer that tries again
    assert first is not None
    assert second is not None
    assert first[0] == second[0]


def test_an_event_type_without_statuses_loses_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(
        "INSERT INTO n_jtd_event_types (code, name, allowed_channels) VALUES ('promo', 'Promo', '{email}')"
    )
    db.execute(
        "INSERT INTO n_jtd"
        " (tenant_id, event_type_code, channel_code, source_type_code, recipient_contact, expires_at)"
        " VALUES (%s, 'promo', 'email', 'user_invite', 'a@example.com', now())",
        [TENANT],
    )
    bad = insert_jtd(db, event_type_code="promo", template_key="nowhere")
    run_until_idle(dsn, "email:outbox", tmp_path)
    assert row(db, bad)["status_code"] == "failed"
    assert one(db, "SELECT jtd.retry(%s)", bad) == "pending"
    queued = insert_jtd(db, event_type_code="promo")
    assert one(db, "SELECT jtd.cancel(%s)", queued) == "cancelled"
    places(db)


@pytest.mark.parametrize(
    "when", ["infinity", "-infinity", "200000-01-01", "0044-03-15 BC", "9999-12-31 23:59:59+00"]
)
@pytest.mark.parametrize("column", ["scheduled_at", "next_retry_at"])
def test_show_tells_any_time(dsn: str, db: psycopg.Connection, when: str, column: str) -> None:
    jtd = insert_jtd(db, **{column: when})
    said = call(dsn, "show", str(jtd))
    assert said.code == 0, said.err[-500:]
    print(said.out)


def test_a_remark_of_a_service_stops_no_worker(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    db.execute(
        "INSERT INTO n_jtd_history (jtd_id, action, performed_by_type) VALUES (%s, 'created', 'user')",
        [uuid4()],
    )
    with running(dsn, "email:outbox", tmp_path) as daemon:
        insert_jtd(db)
        eventually(lambda: one(db, "SELECT jtd.status_v1() -> 'jobs'").get("sent") == 1)  # counted by a tick
        assert daemon.process.poll() is None, daemon.text[-800:]


def test_a_partition_made_by_the_operator_stops_no_worker(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    day = one(db, "SELECT to_char(date_trunc('month', now()) + interval '3 months', 'YYYY_MM')")
    db.execute(f"DROP TABLE n_jtd_history_{day}".encode())
    db.execute(
        "DO $$ BEGIN EXECUTE format("
        "'CREATE TABLE history_mine PARTITION OF n_jtd_history FOR VALUES FROM (%L) TO (%L)',"
        " date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months',"
        " date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 year'); END $$"
    )
    with running(dsn, "email:outbox", tmp_path) as daemon:
        insert_jtd(db)
        eventually(lambda: one(db, "SELECT jtd.status_v1() -> 'jobs'").get("sent") == 1)  # counted by a tick
        assert daemon.process.poll() is None, daemon.text[-800:]


def test_a_job_that_kills_its_worker_ends(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    """A poison row ends after 1 + max_retries lost attempts."""
    jtd = insert_jtd(db, max_retries=1)
    for _ in range(5):
        with (
            ThreadedHttpServer([Step.HANG]) as server,
            running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)) as daemon,
        ):
            try:
                server.wait_until(lambda s: len(s.requests) >= 1, 12)
            except TimeoutError:
                break
            daemon.signal(signal.SIGKILL)
            daemon.wait()
    found = row(db, jtd)
    assert found["attempt"] <= 2, (
        f"attempt {found['attempt']}, retry_count {found['retry_count']}, {found['status_code']}"
    )


def test_one_job_that_kills_its_workers_takes_no_neighbour_with_it_twice(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 0")
    poison = insert_jtd(db, max_retries=2)
    others = insert_many(db, 999)
    killed: list[Daemon] = []

    def script(request: Request) -> Steps:
        if request.headers["webhook-id"] != str(poison):
            return answer(200)
        killed.append(current[-1])
        current[-1].signal(signal.SIGKILL)
        return [Step.CLOSE]

    current: list[Daemon] = []
    over = "SELECT count(*) FROM n_jtd WHERE status_code NOT IN ('sent', 'failed')"
    with ThreadedHttpServer(script) as server:
        while one(db, over):
            log = tmp_path / f"{len(current)}.log"
            settings = {"lease_seconds": "2", "slots": "32", **webhook(server)}
            with Daemon(dsn, "email:webhook", log, **settings) as daemon:
                current.append(daemon)
                eventually(lambda daemon=daemon: daemon.process.poll() is not None or not one(db, over), 60)
    assert (len(killed), row(db, poison)["status_code"]) == (3, "failed")
    charged = "SELECT status_code::text, max(retry_count) FROM n_jtd WHERE id = ANY (%s) GROUP BY 1"
    [(status, most)] = db.execute(charged, [others]).fetchall()
    assert (status, most) == ("sent", 1)
    assert one(db, "SELECT count(*) FROM n_jtd WHERE retry_count > 0 AND id <> %s", poison) < 3 * 32


@pytest.mark.parametrize(
    "given",
    [
        None,
        [None],
        [Sent(provider_message_id=42)],
        [Sent(response={"at": object()})],  # type: ignore
        [Refused(retry=Retry.NEVER, scope=Scope.MESSAGE, code=550, reason="x")],
    ],  # type: ignore
    ids=["None", "[None]", "int id", "object in response", "int code"],
)
def test_an_adapter_that_answers_nonsense_harms_its_own_job_only(
    monkeypatch: pytest.MonkeyPatch, dsn: str, db: psycopg.Connection, given: object
) -> None:
    """A send_one without return is the likely one: the worker dies, and again on each restart that claims."""
    from jtd_worker import settings
    from jtd_worker.worker import Worker

    async def send(self: object, batch: object) -> object:
        return given

    monkeypatch.setattr(any_memory.Memory, "send", send)
    monkeypatch.setenv("JTD_DATABASE_URL", dsn)
    monkeypatch.setenv("JTD_PROVIDERS", "email:memory")
    jtd = insert_jtd(db)

    async def work() -> None:
        async with asyncio.timeout(8):
            await Worker(settings.load(), until_idle=True).run()

    asyncio.run(work())
    assert row(db, jtd)["status_code"] in ("sent", "failed", "pending")


def test_big_attachments_do_not_cost_the_lease(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    """32 mails (the default slots) of 7 MB: were they built on the loop, the lease would lapse."""
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    blob = base64.b64encode(b"x" * (7 << 20)).decode()
    invite = {"inviter_name": "J", "tenant_name": "A", "invite_link": "https://e.com/i"}
    insert_many(
        db,
        32,
        payload={
            **invite,
            "attachments": [{"name": "a.pdf", "type": "application/pdf", "content_base64": blob}],
        },
    )
    with (
        SmtpServer.in_thread() as server,
        running(dsn, "email:smtp", tmp_path, **smtp(server)),
        running(dsn, "sms:outbox", tmp_path),  # another live worker, which ticks
    ):
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 32, 90)
        mails = len(server.messages)
    actions = Counter(r[0] for r in db.execute("SELECT action FROM n_jtd_history"))
    assert (mails, actions["possible_duplicate"]) == (32, 0), (mails, actions)


def test_a_batch_of_big_results_is_recorded(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    """500 bodies of 600 kB (MAX_PART is 1 MiB) are one jsonb of 300 MB: never recorded, the settler hangs."""
    db.execute(
        "INSERT INTO n_jtd_templates (template_key, name, channel_code, content, variables)"
        " VALUES ('big', 'b', 'email', '{{ body }}', '[\"body\"]')"
    )
    db.execute("UPDATE n_jtd_channels SET max_content_length = NULL WHERE code = 'email'")
    insert_many(db, 500, template_key="big", payload={"body": "x" * 600_000})
    with running(dsn, "email:outbox", tmp_path) as daemon:
        eventually(
            lambda: (
                one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 500
                or len(daemon.lines("database.unreachable")) > 1
            ),
            100,
        )
        assert not daemon.lines("database.unreachable"), daemon.lines("database.unreachable")


def test_why_an_operator_is_needed_is_told(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    jtd = insert_jtd(db)
    with ThreadedHttpServer(answer(401, b"the secret was revoked on Monday")) as server:
        run_until_idle(dsn, "email:webhook", tmp_path, **webhook(server))
    shown = call(dsn, "show", str(jtd)).out
    assert "revoked on Monday" in shown, shown[-600:]


def test_a_job_that_expires_first_is_not_said_to_take_its_turn(dsn: str, db: psycopg.Connection) -> None:
    now = one(db, "SELECT now()")
    from datetime import timedelta

    jtd = insert_jtd(db, scheduled_at=now + timedelta(hours=2), expires_at=now + timedelta(hours=1))
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", jtd)
    assert "expire" in sentence, sentence


def test_whoever_takes_slots_gets_some() -> None:
    async def two() -> list[int]:
        from jtd_worker.slots import Slots

        slots = Slots(1)
        await slots.take(1)
        takers = [asyncio.create_task(slots.take(1)) for _ in range(2)]
        await asyncio.sleep(0)
        slots.give(1)
        done, _ = await asyncio.wait(takers, timeout=0.1)
        return [task.result() for task in done]

    assert 0 not in asyncio.run(two())


def test_a_claim_that_ends_after_its_connection_was_cut_is_given_back(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    """The network breaks while a claim runs on the server; it commits after the worker has looked."""
    db.execute(
        "INSERT INTO jtd.discards (queue_name, reason, count, last_at)"
        " VALUES ('jtd_email', 'absent', 1, now())"
    )
    with wire(dsn) as proxy, running(proxy.dsn, "email:outbox", tmp_path) as daemon:
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)
        with psycopg.connect(dsn) as holder:
            holder.execute("SELECT FROM jtd.discards FOR UPDATE")  # makes the claim wait where it counts
            with db.transaction():
                db.execute("SELECT pgmq.send('jtd_email', %s)", [Jsonb({"jtd_id": str(uuid4())})])
                jtd = insert_jtd(db)
            claiming = one(
                db,
                "SELECT pid FROM pg_stat_activity"
                " WHERE application_name = 'jtd-worker claim' AND datname = current_database()",
            )
            wait_until_blocked(db, claiming)
            proxy.cut()
            eventually(lambda: daemon.lines("claim.interrupted"))
            proxy.mend()
            forgot = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jtd-worker claim'"
            eventually(lambda: one(db, forgot + " AND datname = current_database()") >= 2)
        eventually(lambda: row(db, jtd)["status_code"] == "sent")


@pytest.mark.parametrize("channel", [None, "nosuch"])
def test_a_message_keeps_a_channel(db: psycopg.Connection, channel: str | None) -> None:
    jtd = insert_jtd(db)
    with pytest.raises(psycopg.DatabaseError) as refused:
        db.execute("UPDATE n_jtd SET channel_code = %s WHERE id = %s", [channel, jtd])
    assert refused.value.sqlstate == "JT002"
    assert "email" in (refused.value.diag.message_hint or "")


def test_a_waiting_job_set_back_to_created_by_hand_begins_anew(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert_jtd(db, scheduled_at=one(db, "SELECT now() + interval '1 hour'"))
    db.execute("UPDATE n_jtd SET status_code = 'created', scheduled_at = NULL")
    run_until_idle(dsn, "email:outbox", tmp_path)
    assert row(db, jtd)["status_code"] == "sent"


def test_each_channel_that_leaves_the_house_needs_a_slot(dsn: str, tmp_path: Path) -> None:
    hook = {"email_webhook_url": "https://hook.example/", "email_webhook_secret": SECRET}
    hook |= {key.replace("email_", "sms_"): value for key, value in hook.items()}
    with Daemon(dsn, "email:webhook,sms:webhook", tmp_path / "log", slots="1", **hook) as daemon:
        assert daemon.wait() == 1
    assert "JTD_SLOTS is 1" in daemon.text


def test_what_is_lost_with_one_worker_after_the_other_ends(db: psycopg.Connection) -> None:
    """Also what dies before the hand-off, e.g. in rendering."""
    jtd = insert_jtd(db, max_retries=1)
    worker = "00000000-0000-0000-0000-0000000000aa"
    for _ in range(3):
        db.execute("SELECT jtd.register_v1(%s, 'dies', '{email}', 60)", [worker])
        claimed = db.execute("SELECT id FROM jtd.claim_v1(%s, 'jtd_email', 10)", [worker]).fetchall()
        assert claimed == [(jtd,)]
        db.execute("SELECT jtd.reclaim(ARRAY[%s::uuid])", [jtd])
    assert (row(db, jtd)["status_code"], row(db, jtd)["error_code"]) == ("failed", "worker_lost")
    assert places(db) == {"final": 1}


def test_a_job_that_a_removed_provider_may_have_is_sent_elsewhere_only_by_hand(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert_jtd(db)
    with ThreadedHttpServer(answer(502)) as server:
        run_until_idle(dsn, "email:webhook", tmp_path, **webhook(server))
    for answered in ("pending", "pending"):
        db.execute("UPDATE n_jtd SET next_retry_at = NULL WHERE id = %s", [jtd])
        run_until_idle(dsn, "email:outbox", tmp_path)
        assert (row(db, jtd)["status_code"], row(db, jtd)["error_code"]) == ("failed", "provider_gone")
        assert one(db, "SELECT jtd.retry(%s)", jtd) == answered
    run_until_idle(dsn, "email:outbox", tmp_path)
    assert one(db, "SELECT jtd.retry(%s, true)", jtd) == "pending"
    run_until_idle(dsn, "email:outbox", tmp_path)
    assert row(db, jtd)["status_code"] == "sent"
    assert "possible_duplicate" in [step.action for step in history(db, jtd)]
