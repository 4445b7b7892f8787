"""What goes wrong with workers of this kind in production, and what holds here instead."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from jtd_worker import database, settings
from jtd_worker.channels import any_memory
from jtd_worker.lease import Lease, elapsed
from jtd_worker.result import Sent
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from jtd_worker.testing.smtp_server import HANG, SmtpServer, on
from jtd_worker.worker import Worker
from tests import worker_calls
from tests.daemon import eventually, run_until_idle, running
from tests.jobs import history, insert_jtd, insert_many, one, places, row
from tests.test_email_smtp import HURRIED, message, smtp
from tests.test_worker import webhook
from tests.wire import Wire, wire


@contextmanager
def held_up(dsn: str, db: psycopg.Connection, function: str) -> Iterator[Callable[[], None]]:
    """Let calls of a function of schema jtd do their work, but not end before the yielded one was called."""
    signature = "SELECT pg_get_function_{}(%s::regproc)"
    arguments = one(db, signature.format("arguments"), f"jtd.{function}")
    returned = one(db, signature.format("result"), f"jtd.{function}")
    inner = sql.Identifier("jtd", f"{function}_itself")
    db.execute(
        sql.SQL("ALTER FUNCTION {} RENAME TO {}").format(
            sql.Identifier("jtd", function), sql.Identifier(f"{function}_itself")
        )
    )
    db.execute(
        sql.SQL(
            "CREATE FUNCTION {}({}) RETURNS {} LANGUAGE plpgsql SET lock_timeout = 0 AS"
            " $$ BEGIN RETURN QUERY SELECT * FROM {}({}); PERFORM pg_advisory_xact_lock_shared(1); END $$"
        ).format(
            sql.Identifier("jtd", function),
            sql.SQL(arguments),
            sql.SQL(returned),
            inner,
            sql.SQL(", ").join(sql.SQL(f"${n}") for n in range(1, arguments.count(",") + 2)),
        )
    )
    with psycopg.connect(dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")

        def release() -> None:
            holder.execute("SELECT pg_advisory_unlock(1)")

        yield release


def until_held_up(db: psycopg.Connection) -> None:
    """Wait until a call has done its work and waits for its release."""
    eventually(
        lambda: one(
            db,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
        )
    )


def actions(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    return [step.action for step in history(db, jtd_id) if step.action not in ("created", "status_changed")]


# Between the claim and the send


def test_a_job_cancelled_between_its_claim_and_its_hand_off_is_not_sent(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    first, second = insert_many(db, 2)
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "templates_v2") as release,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        until_held_up(db)
        assert one(db, "SELECT jtd.cancel(%s)", first) == "cancelled"
        release()
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        assert server.server.counts == {str(second): 1}
    assert (row(db, first)["status_code"], row(db, second)["status_code"]) == ("cancelled", "sent")


def test_sigterm_gives_back_at_once_and_unharmed_what_has_not_begun(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_many(db, 20)
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "templates_v2") as release,
        running(dsn, "email:webhook", tmp_path, slots="20", lease_seconds="60", **webhook(server)) as daemon,
    ):
        until_held_up(db)
        assert places(db) == {"in_flight": 20}
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("worker.draining")
        begun = one(db, "SELECT clock_timestamp()")
        release()
        assert daemon.wait() == 0, daemon.text
        assert server.server.requests == []
    assert places(db) == {"queued": 20}
    assert one(db, "SELECT extract(epoch FROM max(created_at) - %s)::float8 FROM n_jtd_history", begun) < 2
    assert one(db, "SELECT max(retry_count) FROM n_jtd") == 0
    assert one(db, "SELECT count(*) FROM n_jtd WHERE error_code IS NOT NULL") == 0
    assert len(worker_calls.Worker(db).claim()) == 20


def test_a_send_that_runs_when_sigterm_comes_may_end(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer([Step.WAIT, *answer(200)]) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        jtd = insert_jtd(db)
        server.wait_until(lambda s: len(s.requests) == 1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("worker.draining")
        server.release()
        assert daemon.wait() == 0, daemon.text
    assert (row(db, jtd)["status_code"], actions(db, jtd)) == ("sent", [])


def test_two_messages_for_one_job_in_one_batch_send_it_once(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd = insert_jtd(db)
    worker_calls.send_id(db, "jtd_email", jtd)
    worker_calls.send_id(db, "jtd_email", jtd)
    with ThreadedHttpServer(answer(200)) as server:
        run_until_idle(dsn, "email:webhook", tmp_path, **webhook(server))
        assert server.server.counts == {str(jtd): 1}
    assert (places(db), row(db, jtd)["attempt"]) == ({"sent": 1}, 1)


def test_sigterm_ends_a_worker_whose_provider_is_out_of_order(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer(answer(401)) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        insert_jtd(db)
        daemon.wait_for("provider.failing")
        eventually(lambda: places(db) == {"waiting": 1})
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0, daemon.text


# Leases


def test_half_a_lease_must_be_left_for_a_send_to_start() -> None:
    more, less, none = Lease(60), Lease(60), Lease(60)
    more.renewed(elapsed() - 25)
    less.renewed(elapsed() - 35)
    none.renewed(elapsed() - 65)
    assert [lease.allows_start for lease in (more, less, none)] == [True, False, False]
    assert [lease.is_over for lease in (more, less, none)] == [False, False, True]


def test_a_send_that_takes_longer_than_the_lease_is_left_to_its_worker(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    other = worker_calls.Worker(db, lease=2)

    def nothing_is_reclaimed_for_three_leases() -> bool:
        db.execute("SELECT jtd.renew_v1(%s)", [other.id])
        assert other.tick()["reclaimed"] == 0
        held = (
            "SELECT EXISTS (SELECT FROM jtd.inflight WHERE claimed_at < clock_timestamp() - interval '6 s')"
        )
        return bool(one(db, held))

    with (
        ThreadedHttpServer([Step.WAIT, *answer(200)]) as server,
        running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)),
    ):
        jtd = insert_jtd(db)
        server.wait_until(lambda s: len(s.requests) == 1)
        eventually(nothing_is_reclaimed_for_three_leases)
        server.release()
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
        assert server.server.counts == {str(jtd): 1}
    assert (row(db, jtd)["attempt"], actions(db, jtd)) == (1, [])


def test_a_worker_that_was_frozen_writes_nothing_over_its_successor(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")

    def script(request: Request) -> Steps:
        is_first = len(server.server.requests) == 1
        return [Step.WAIT, *answer(200, b'{"id": "first"}')] if is_first else answer(200, b'{"id": "second"}')

    with (
        ThreadedHttpServer(script) as server,
        running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)) as frozen,
    ):
        jtd = insert_jtd(db)
        server.wait_until(lambda s: len(s.requests) == 1)
        frozen.signal(signal.SIGSTOP)
        with running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)):
            eventually(lambda: row(db, jtd)["status_code"] == "sent")
            server.release()
            frozen.signal(signal.SIGCONT)
            assert frozen.wait_for("settle.not_applied")["answer"] == "late"
        assert server.server.counts == {str(jtd): 2}
    found = row(db, jtd)
    assert (found["status_code"], found["provider_message_id"], found["attempt"]) == ("sent", "second", 2)
    assert actions(db, jtd) == ["duplicate_known"]


class SlowWire(Wire):
    """A network that loses packets; sent again they come later than those of new connections."""

    def __init__(self, dsn: str, folder: Path, *, hides_process: bool = False) -> None:
        super().__init__(dsn, folder, hides_process=hides_process)
        self._held_back: frozenset[asyncio.StreamWriter] = frozenset()
        self._is_sent_again = asyncio.Event()

    def lose(self) -> None:
        """Hold back what the server says on the connections that there are, and refuse new ones."""
        self._is_cut = True
        self._held_back = frozenset(self._writers)

    def send_again(self) -> None:
        """Let through what was held back."""
        self._loop.call_soon_threadsafe(self._is_sent_again.set)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # type: ignore
        while data := await reader.read(65536):
            if writer in self._held_back:
                await self._is_sent_again.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


def test_a_hand_off_whose_answer_comes_when_the_lease_is_over_starts_no_send(
    monkeypatch: pytest.MonkeyPatch, dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.wire.Wire", SlowWire)
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        wire(dsn) as proxy,
        running(proxy.dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)) as cut_off,
    ):
        assert isinstance(proxy, SlowWire)
        jtd = insert_jtd(db)
        until_held_up(db)
        proxy.lose()
        release()
        with running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)):
            eventually(lambda: row(db, jtd)["status_code"] == "sent")
            proxy.send_again()
            eventually(lambda: cut_off.lines("jtd.released") or cut_off.lines("jtd.sent"))
            proxy.mend()
            cut_off.wait_for("settle.not_applied")
        assert server.server.counts == {str(jtd): 1}
    assert row(db, jtd)["attempt"] == 2


def test_a_hand_off_from_before_the_lease_was_over_starts_no_send_after_it_is_renewed(
    monkeypatch: pytest.MonkeyPatch, dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.wire.Wire", SlowWire)
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        wire(dsn) as proxy,
        running(proxy.dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)) as cut_off,
    ):
        assert isinstance(proxy, SlowWire)
        jtd = insert_jtd(db)
        until_held_up(db)
        lease = "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM jtd.workers WHERE id = %s"
        its_id = one(db, "SELECT id FROM jtd.workers")
        proxy.lose()
        release()
        with running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)):
            eventually(lambda: row(db, jtd)["status_code"] == "sent")
            assert one(db, lease, its_id) < 0
            proxy.mend()
            for _ in range(2):  # the second renewal tells that the answer to the first has come
                eventually(lambda: one(db, lease, its_id) > 1.9)
                eventually(lambda: one(db, lease, its_id) < 1.5)
            proxy.send_again()
            cut_off.wait_for("settle.not_applied")
        assert server.server.counts == {str(jtd): 1}


def test_a_worker_that_was_frozen_after_the_hand_off_sends_nothing_any_more(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1")
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)) as frozen,
    ):
        jtd = insert_jtd(db)
        until_held_up(db)
        frozen.signal(signal.SIGSTOP)
        release()
        with running(dsn, "email:webhook", tmp_path, lease_seconds="2", **webhook(server)):
            eventually(lambda: row(db, jtd)["status_code"] == "sent")
            frozen.signal(signal.SIGCONT)
            frozen.wait_for("settle.not_applied")
        assert server.server.counts == {str(jtd): 1}
    assert row(db, jtd)["attempt"] == 2


# Outages


async def test_a_database_that_does_not_answer_is_given_up_and_asked_anew(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ANSWER_TIMEOUT", 0.3)
    link = database.Link(dsn, "claim")
    try:
        async with asyncio.timeout(10):
            [[first]] = await link.once("SELECT pg_backend_pid()")
            with pytest.raises(TimeoutError):
                await link.once("SELECT pg_sleep(60)")
            [[second]] = await link.once("SELECT pg_backend_pid()")
    finally:
        await link.aclose()
    assert first != second


def test_an_outage_of_the_database_costs_no_job_and_little_time(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with wire(dsn) as proxy, running(proxy.dsn, "email:outbox", tmp_path) as daemon:
        insert_many(db, 100)
        eventually(lambda: places(db) == {"sent": 100})
        proxy.cut()
        eventually(lambda: len(daemon.lines("database.unreachable")) > 3)
        insert_many(db, 500)
        proxy.mend()
        eventually(lambda: places(db) == {"sent": 600}, 5)
        assert daemon.process.poll() is None, daemon.text


def test_an_answer_that_comes_during_an_outage_of_the_database_is_recorded_after_it(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer([Step.WAIT, *answer(200)]) as server,
        wire(dsn) as proxy,
        running(proxy.dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        jtd = insert_jtd(db)
        server.wait_until(lambda s: len(s.requests) == 1)
        proxy.cut()
        server.release()
        daemon.wait_for("jtd.sent")
        eventually(lambda: len(daemon.lines("database.unreachable")) > 3)
        assert row(db, jtd)["status_code"] == "executing"
        proxy.mend()
        eventually(lambda: row(db, jtd)["status_code"] == "sent")
        assert server.server.counts == {str(jtd): 1}
    assert (row(db, jtd)["attempt"], actions(db, jtd)) == (1, [])


def test_a_template_that_cannot_be_read_now_is_not_taken_for_a_missing_one(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        wire(dsn) as proxy,
        held_up(dsn, db, "templates_v2") as release,
        running(proxy.dsn, "email:outbox", tmp_path) as daemon,
    ):
        jtd = insert_jtd(db)
        until_held_up(db)
        proxy.cut()
        daemon.wait_for("database.unreachable")
        release()
        proxy.mend()
        eventually(lambda: row(db, jtd)["status_code"] in ("sent", "failed"))
    assert (row(db, jtd)["status_code"], row(db, jtd)["error_code"]) == ("sent", None)


def record_ticks(db: psycopg.Connection, wake: str) -> None:
    """Let each tick tell who sleeps, and wake what the SQL expression `wake` says."""
    db.execute("ALTER FUNCTION jtd.readable_queues RENAME TO readable_queues_itself")
    db.execute("CREATE TABLE ticks (asleep text[])")
    db.execute(
        "CREATE FUNCTION jtd.readable_queues(p_queues text[]) RETURNS text[] LANGUAGE sql"
        f" AS $$ INSERT INTO public.ticks VALUES (p_queues); SELECT {wake} $$".encode()
    )


def until_all_sleep(db: psycopg.Connection) -> None:
    """Wait until both readers sleep so long that they have had their last look."""
    db.execute("DELETE FROM ticks")
    eventually(lambda: one(db, "SELECT count(*) FROM ticks WHERE cardinality(asleep) = 2") >= 2)


def test_a_sleeping_worker_that_nobody_notifies_is_woken_by_a_tick(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    record_ticks(db, wake="jtd.readable_queues_itself(p_queues)")
    with running(dsn, "email:outbox", tmp_path):
        until_all_sleep(db)
        db.execute("DELETE FROM jtd.sleepers")  # so the trigger sees nobody to notify
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == "sent", 10)


def test_a_worker_listens_again_after_an_outage(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    record_ticks(db, wake="'{}'::text[]")
    sleepers = "SELECT count(*) FROM jtd.sleepers"
    with wire(dsn) as proxy, running(proxy.dsn, "email:outbox", tmp_path) as daemon:
        eventually(lambda: one(db, sleepers) == 2)
        proxy.cut()
        daemon.wait_for("lease.not_renewed")
        db.execute("DELETE FROM jtd.sleepers")
        proxy.mend()
        eventually(lambda: one(db, sleepers) == 2)
        until_all_sleep(db)
        jtd = insert_jtd(db)
        eventually(lambda: row(db, jtd)["status_code"] == "sent", 10)


def test_a_worker_finds_the_jobs_of_a_purged_queue(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_many(db, 20)
    assert one(db, "SELECT pgmq.purge_queue('jtd_email')") == 20
    with ThreadedHttpServer(answer(200)) as server:
        with running(dsn, "email:webhook", tmp_path, **webhook(server)):
            eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 20)
        assert set(server.server.counts.values()) == {1}
    assert places(db) == {"sent": 20}


# Texts from outside


def test_a_nul_in_an_answer_costs_neither_its_job_nor_the_others(
    monkeypatch: pytest.MonkeyPatch, dsn: str, db: psycopg.Connection
) -> None:
    async def send(self: object, batch: list[object]) -> list[Sent]:
        return [Sent(provider_message_id="a\0b", response={"c\0d": "e\ud800f"})] * len(batch)

    monkeypatch.setattr(any_memory.Memory, "send", send)
    monkeypatch.setenv("JTD_DATABASE_URL", dsn)
    monkeypatch.setenv("JTD_PROVIDERS", "email:memory")
    jtd, *_ = insert_many(db, 20)

    async def work() -> None:
        async with asyncio.timeout(10):
            await Worker(settings.load(), until_idle=True).run()

    asyncio.run(work())
    assert places(db) == {"sent": 20}
    found = row(db, jtd)
    assert (found["provider_message_id"], found["error_code"]) == ("a\ufffdb", None)
    assert found["provider_response"] == {"c\ufffdd": "e\ufffdf"}


# Providers that hang


@pytest.mark.parametrize("phase", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_mail_server_that_hangs_is_given_up(phase: Any) -> None:
    async with SmtpServer([on(phase, HANG)]) as server, smtp(server, HURRIED) as adapter, asyncio.timeout(10):
        assert not isinstance(await adapter.send_one(message()), Sent)
