"""A credential is handed at most its limit in any minute, by all workers together; the rest waits."""

import asyncio
import random
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from pydantic import BaseModel, SecretStr

from jtd_worker.adapter import Capabilities, UnknownRule
from jtd_worker.breaker import Breakers
from jtd_worker.channels import any_memory
from jtd_worker.database import Link
from jtd_worker.lease import elapsed
from jtd_worker.message import Message
from jtd_worker.queue import Queue
from jtd_worker.rate import GOOD_FOR, Rates, Tokens, count, cut
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import Refused, Retry, Scope, SendResult
from jtd_worker.settings import Configuration, Settings
from jtd_worker.testing.http_server import ThreadedHttpServer, answer
from jtd_worker.testing.smtp_server import SmtpServer
from jtd_worker.worker import Worker
from tests import worker_calls
from tests.command import call
from tests.daemon import eventually, running
from tests.jobs import insert_jtd, insert_many, one, row
from tests.test_breaker import settings
from tests.test_failure_modes import held_up, until_held_up
from tests.test_worker import smtp, webhook
from tests.wire import wire
from tests.worker_calls import wait_until

SMTP = ("email", "smtp")
BACKUP = ("email", "smtp.backup")
SENT = "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'"
USED = "SELECT coalesce(sum(n), 0) FROM jtd.rates, unnest(counts) AS n"
NO_LIMIT = {("email", None): None}


def limit(db: psycopg.Connection, per_minute: int | None) -> None:
    """Set the limit of each credential of email."""
    db.execute("UPDATE n_jtd_channels SET rate_limit_per_minute = %s WHERE code = 'email'", [per_minute])


def own_limit(db: psycopg.Connection, provider: str, per_minute: int | None) -> None:
    """Set the limit of one credential of email."""
    db.execute("INSERT INTO n_jtd_rate_limits VALUES ('email', %s, %s)", [provider, per_minute])


def pass_time(db: psycopg.Connection, seconds: int) -> None:
    """Let seconds pass, as far as the rates are concerned."""
    db.execute("UPDATE jtd.rates SET seconds = ARRAY(SELECT s - %s FROM unnest(seconds) AS s)", [seconds])


class Reserved(NamedTuple):
    granted: int
    second: int
    pause: float


def reserve(db: psycopg.Connection, wanted: int, lane: str = "normal", provider: str = "smtp") -> Reserved:
    query = "SELECT granted, second, pause FROM jtd.reserve_v1('email', %s, %s, %s)"
    return Reserved(*db.execute(query, [provider, lane, wanted]).fetchall()[0])


def give_back(db: psycopg.Connection, second: int, number: int) -> None:
    db.execute("SELECT jtd.give_back_v1('email', 'smtp', %s, %s)", [second, number])


# What the database grants


@pytest.mark.parametrize(
    ("per_minute", "normal"), [(1, 1), (2, 1), (9, 8), (10, 9), (19, 18), (60, 54), (100, 90)]
)
def test_the_normal_lane_leaves_a_tenth_to_the_urgent_one(
    db: psycopg.Connection, per_minute: int, normal: int
) -> None:
    limit(db, per_minute)
    assert reserve(db, 1000).granted == normal
    assert reserve(db, 1000).granted == 0
    assert reserve(db, 1000, "urgent").granted == per_minute - normal
    assert reserve(db, 1, "urgent").granted == 0


def test_a_burst_up_to_the_limit_goes_at_once(db: psycopg.Connection) -> None:
    limit(db, 100)
    assert reserve(db, 30)[::2] == (30, 0)
    assert reserve(db, 30)[::2] == (30, 0)


def test_a_limit_of_a_credential_goes_before_that_of_its_channel(db: psycopg.Connection) -> None:
    limit(db, 20)
    own_limit(db, "smtp.backup", 4)
    own_limit(db, "webhook", None)
    assert reserve(db, 1000).granted == 18
    assert reserve(db, 1000, provider="smtp.backup").granted == 3
    assert reserve(db, 1000, provider="webhook") == (1000, None, 0)
    limit(db, None)
    assert reserve(db, 1000) == (1000, None, 0)
    assert reserve(db, 1000, provider="smtp.backup").granted == 0


def test_what_was_taken_counts_for_a_minute_and_is_then_free_by_itself(db: psycopg.Connection) -> None:
    """As it is with what a dead worker took: nobody gives it back."""
    limit(db, 10)
    _, _, pause = reserve(db, 9)
    assert 55 < pause <= 62
    pass_time(db, 55)
    assert reserve(db, 9).granted == 0
    pass_time(db, 7)
    assert reserve(db, 9).granted == 9


def test_the_pause_ends_when_the_first_of_what_is_too_many_is_free(db: psycopg.Connection) -> None:
    limit(db, 10)
    reserve(db, 4)
    pass_time(db, 20)
    reserve(db, 1, "urgent")
    pass_time(db, 20)
    assert 15 < reserve(db, 4).pause <= 22
    limit(db, 7)  # six may be taken, and nine are: the first four are too many
    assert reserve(db, 1).granted == 0
    assert 15 < reserve(db, 1).pause <= 22
    limit(db, 6)  # five may be taken: the one after these, too
    assert 35 < reserve(db, 1).pause <= 42


def test_what_is_given_back_goes_to_its_own_second(db: psycopg.Connection) -> None:
    limit(db, 10)
    early = reserve(db, 5)
    pass_time(db, 30)
    late = reserve(db, 4)
    give_back(db, early.second - 30, 3)
    assert dict(
        db.execute("SELECT t.* FROM jtd.rates, unnest(seconds, counts) AS t").fetchall()
    ) == {early.second - 30: 2, late.second: 4}  # fmt: skip
    give_back(db, early.second - 30, 100)
    give_back(db, early.second - 1000, 100)
    assert one(db, USED) == 4
    assert reserve(db, 1000).granted == 5


def test_a_clock_that_was_put_back_makes_nobody_wait_longer_than_a_minute(db: psycopg.Connection) -> None:
    limit(db, 10)
    reserve(db, 9)
    pass_time(db, -3600)
    assert reserve(db, 1).granted == 0
    assert reserve(db, 1, "urgent").granted == 1  # which also writes the present second
    pass_time(db, 62)
    assert reserve(db, 9).granted == 9


def test_a_change_of_the_limit_holds_at_once(db: psycopg.Connection) -> None:
    limit(db, 10)
    reserve(db, 9)
    limit(db, 5)
    assert reserve(db, 9).granted == 0
    limit(db, 20)
    assert reserve(db, 1000).granted == 9


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_taken_and_given_back_no_minute_has_more_than_the_limit(
    db: psycopg.Connection, seed: int
) -> None:
    """Used as late as may be, at any moment of their seconds: so the bound is for 61 seconds here."""
    chance = random.Random(seed)
    per_minute = chance.choice([1, 2, 3, 10, 57, 100])
    limit(db, per_minute)
    passed = 0
    taken: dict[int, int] = {}  # by the second, with the time that has passed
    for _ in range(120):
        if chance.random() < 0.4:
            seconds = chance.choice([1, 1, 2, 5, 20, 60])
            pass_time(db, seconds)
            passed += seconds
        if taken and chance.random() < 0.3:
            second = chance.choice(sorted(taken))
            number = chance.randint(0, taken[second])
            taken[second] -= number
            give_back(db, second - passed, number)
        lane, wanted = chance.choice(["normal", "urgent"]), chance.randint(1, 40)
        got = reserve(db, wanted, lane)
        now = got.second + passed
        counted = sum(number for second, number in taken.items() if second > now - 62)
        most = per_minute - (max(1, per_minute // 10) if lane == "normal" and per_minute > 1 else 0)
        assert got.granted == min(wanted, max(0, most - counted))
        taken[now] = taken.get(now, 0) + got.granted
        # begun at the end of one second, used up at the beginning of another 61 s later
        assert sum(number for second, number in taken.items() if now - 61 <= second <= now) <= per_minute
        assert (got.pause > 0) == (got.granted + counted >= most)


def test_eight_that_take_at_once_get_no_more_than_the_limit(dsn: str, db: psycopg.Connection) -> None:
    limit(db, 500)
    got: list[int] = []
    together = threading.Barrier(8)

    def take() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            together.wait()
            while granted := reserve(conn, 7).granted:
                got.append(granted)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(got) == 450
    assert one(db, USED) == 450


def test_operators_see_who_is_at_its_rate_and_until_when(dsn: str, db: psycopg.Connection) -> None:
    normal, urgent = insert_jtd(db), insert_jtd(db, priority=10)
    worker = worker_calls.Worker(db)
    explain = "SELECT sentence FROM jtd.explain(%s)"
    limit(db, 10)
    reserve(db, 5)
    assert "rate email:smtp 5 of 10 a minute" in " ".join(call(dsn, "status").out.split())
    assert "at its rate" not in one(db, explain, normal)
    reserve(db, 4)
    assert "; provider smtp is at its rate of 10 a minute until " in one(db, explain, normal)
    assert "at its rate" not in one(db, explain, urgent)
    assert "Provider smtp of channel email is at its rate of 10 a minute; more goes at " in (
        told := " ".join(call(dsn, "status").out.split())
    )
    assert "urgent ones at once" in told
    assert "is at its rate of 10" in call(dsn, "show", str(normal)).out
    tick = worker.tick()
    assert ["email", None, 10] in tick["limits"]
    [[channel, provider, wait, urgent_wait]] = tick["full"]
    assert (channel, provider, urgent_wait) == ("email", "smtp", 0)
    assert 0 < wait <= 62
    reserve(db, 1, "urgent")
    assert "is at its rate of 10" in one(db, explain, urgent)
    assert "urgent ones at once" not in call(dsn, "status").out


def test_check_says_which_limits_hold(dsn: str, db: psycopg.Connection) -> None:
    limit(db, 10)
    own_limit(db, "webhook.b", None)
    with ThreadedHttpServer() as server:
        told = call(
            dsn,
            "check",
            JTD_PROVIDERS="email:webhook,email:webhook.b,inapp:db",
            **{f"JTD_{name.upper()}": value for name, value in settings(server, server).items()},
        ).out
    told = " ".join(told.split())
    assert "rate email:webhook is handed at most 10 messages a minute" in told
    assert "rate email:webhook.b has no limit" in told
    assert "rate inapp:db" not in told


# What a worker makes of it


@asynccontextmanager
async def rates(dsn: str, *codes: str) -> AsyncIterator[Rates]:
    """The rates of a worker with these providers of email; they run until the block ends."""
    links = [Link(dsn, role) for role in ("claim", "settle", "tick", "lease")]
    queue = Queue(uuid4(), *links)
    made = Rates(queue, Breakers(queue, {"email": codes}), {"email": codes}, [])
    running_rates = asyncio.create_task(made.run())
    yield made
    running_rates.cancel()
    for link in links:
        await link.aclose()


async def test_without_a_limit_the_database_is_not_asked() -> None:
    async with rates("host=/nowhere", "smtp") as made:
        made.learn(NO_LIMIT, {})
        permit = await made.permit("email", "normal", 500)
        assert permit.room == 500
        assert count(await permit.take(SMTP, 500)) == 500


async def test_before_the_first_tick_there_may_be_a_limit(dsn: str, db: psycopg.Connection) -> None:
    limit(db, 10)
    async with rates(dsn, "smtp") as made:
        assert (await made.permit("email", "normal", 500)).room == 9
        limit(db, None)
        assert (await made.permit("email", "urgent", 500)).room == 500


async def test_a_provider_without_a_limit_takes_what_the_one_before_it_may_not(
    dsn: str, db: psycopg.Connection
) -> None:
    limit(db, 10)
    async with rates(dsn, "smtp", "smtp.backup") as made:
        made.learn({("email", None): 10, BACKUP: None}, {})
        permit = await made.permit("email", "normal", 500)
        assert permit.room == 500
        assert count(await permit.take(SMTP, 500)) == 9
        assert count(await permit.take(BACKUP, 500)) == 500


async def test_the_next_provider_is_taken_for_what_the_first_may_not_have(
    dsn: str, db: psycopg.Connection
) -> None:
    limit(db, 10)
    async with rates(dsn, "smtp", "smtp.backup") as made:
        permit = await made.permit("email", "normal", 12)
        assert permit.room == 12
        assert (count(await permit.take(SMTP, 12)), count(await permit.take(BACKUP, 3))) == (9, 3)
        assert made.room("email", "normal", 500) == 500
        assert (await made.permit("email", "normal", 500)).room == 6
        assert made.room("email", "normal", 500) == 0
        assert made.room("email", "urgent", 500) == 500


async def test_what_a_claim_did_not_use_goes_back_at_once_and_in_any_case_when_it_is_void(
    dsn: str, db: psycopg.Connection
) -> None:
    limit(db, 100)
    async with rates(dsn, "smtp") as made:
        permit = await made.permit("email", "normal", 50)
        batch = permit.split(20)
        batch.keep(15)
        await batch.take(SMTP, 10)  # used: nobody gives these back
        permit.give_back()
        await made.end()
        assert one(db, USED) == 10 + 5
        await asyncio.to_thread(eventually, lambda: one(db, USED) == 10)  # without what was left in the batch


def tokens(number: int, *, age: float = 0.0, second: int | None = 1) -> Tokens:
    return Tokens(provider=SMTP, count=number, second=second, asked_at=elapsed() - age)


def test_tokens_are_good_for_a_second_and_those_without_a_limit_for_ever() -> None:
    assert [(t.may_begin, t.is_void) for t in (tokens(1), tokens(1, age=0.6), tokens(1, age=GOOD_FOR))] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert tokens(1, age=99, second=None).may_begin
    assert not tokens(1, age=99, second=None).is_void


def test_tokens_are_parted_one_by_one() -> None:
    first, rest = cut([tokens(3), tokens(4)], 5)
    assert ([t.count for t in first], [t.count for t in rest]) == ([3, 2], [2])
    assert cut([], 3) == ([], [])


async def test_a_refusal_is_not_repeated_soon_unless_something_is_free(
    dsn: str, db: psycopg.Connection
) -> None:
    limit(db, 10)
    reserve(db, 9)
    async with rates(dsn, "smtp") as made:
        assert (await made.permit("email", "normal", 5)).room == 0
        made.learn({("email", None): 10}, {SMTP: {"normal": 0.2, "urgent": 0.0}})
        assert made.pause(SMTP, "normal") > 1
        assert made.wait("email", "normal") == pytest.approx(made.pause(SMTP, "normal"), abs=0.1)
        assert made.wait("email", "urgent") is None
        made.learn({("email", None): 10}, {})
        assert made.pause(SMTP, "normal") == 0


# The worker as a whole


def test_a_worker_sends_what_the_limit_lets_it_and_then_stands_still(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 60)
    jobs = insert_many(db, 80)
    with (
        SmtpServer.in_thread() as server,
        wire(dsn) as proxy,
        running(proxy.dsn, "email:smtp", tmp_path, **smtp(server)) as daemon,
    ):
        eventually(lambda: one(db, SENT) == 54)
        insert_many(db, 20, priority=10)  # these have a tenth for themselves
        eventually(lambda: one(db, SENT) == 60)
        daemon.wait_for("provider.rate_reached")
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        db.execute("SELECT pg_sleep(1)")  # each reader looks once more before it really sleeps
        before = proxy.statements
        db.execute("SELECT pg_sleep(5)")
        assert proxy.statements - before <= 10
        assert (one(db, SENT), len(server.messages), one(db, USED)) == (60, 60, 60)
        rest = "SELECT count(*) FROM n_jtd WHERE status_code = 'queued' AND attempt = 0 AND retry_count = 0"
        assert one(db, rest) == 40
        waits = next(job for job in jobs if row(db, job)["status_code"] == "queued")
        assert "is at its rate of 60 a minute" in one(db, "SELECT sentence FROM jtd.explain(%s)", waits)
        limit(db, 1000)
        eventually(lambda: one(db, SENT) == 100, 5)
    assert len(server.messages) == 100


def test_a_reader_that_stands_still_goes_on_by_itself_when_the_minute_is_over(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 10)
    insert_many(db, 18)
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        eventually(lambda: one(db, SENT) == 9)
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        pass_time(db, 60)
        eventually(lambda: one(db, SENT) == 18)


def test_workers_share_the_limit(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    limit(db, 50)
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, slots="4", **webhook(server)) as first,
        running(dsn, "email:webhook", tmp_path, slots="4", **webhook(server)) as second,
    ):
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 4)
        insert_many(db, 100)
        eventually(lambda: one(db, SENT) == 45)
        for daemon in first, second:
            daemon.wait_for("provider.rate_reached")
        db.execute("SELECT pg_sleep(2)")
        assert (one(db, SENT), len(server.server.counts)) == (45, 45)
        # what either took and did not use is not lost for the urgent
        insert_many(db, 10, priority=9)
        eventually(lambda: one(db, SENT) == 50)
        db.execute("SELECT pg_sleep(1)")
        assert len(server.server.counts) == 50


def test_what_a_killed_worker_took_counts_as_used(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    limit(db, 20)
    insert_many(db, 20)
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        running(dsn, "email:webhook", tmp_path, slots="6", **webhook(server)) as dead,
    ):
        until_held_up(db)
        dead.signal(signal.SIGKILL)
        dead.wait()
        lost = one(db, USED)
        assert lost >= 6
        release()
        with running(dsn, "email:webhook", tmp_path, **webhook(server)):
            eventually(lambda: one(db, SENT) == 18 - lost)
            db.execute("SELECT pg_sleep(2)")
            assert (one(db, SENT), one(db, USED)) == (18 - lost, 18)


def test_nothing_is_sent_by_what_was_taken_too_long_ago(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 20)
    insert_jtd(db)
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        until_held_up(db)
        wait_until(db, "SELECT clock_timestamp() > min(claimed_at) + interval '1 s' FROM jtd.inflight")
        release()
        eventually(lambda: one(db, SENT) == 1)
        assert one(db, "SELECT count(*) FROM n_jtd_history WHERE reason = 'given_back'") >= 1
        assert len(server.server.requests) == 1
        eventually(lambda: one(db, USED) == 1)


def test_what_a_cancelled_job_and_a_test_row_do_not_use_goes_back(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 20)
    cancelled, *_ = insert_many(db, 3)
    insert_many(db, 4, is_live=False)
    insert_jtd(db, payload={})
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "templates_v2") as release,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        until_held_up(db)
        one(db, "SELECT jtd.cancel(%s)", cancelled)
        release()
        eventually(lambda: one(db, SENT) == 2 + 4)
        eventually(lambda: one(db, USED) == 2)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert len(server.server.counts) == 2
    assert one(db, USED) == 2


def test_a_worker_that_is_stopped_gives_back_what_it_has_not_used(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 20)
    insert_many(db, 9)
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "hand_off_v2") as release,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
    ):
        until_held_up(db)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("worker.draining")
        release()
        assert daemon.wait() == 0
    assert (one(db, SENT), one(db, USED)) == (0, 0)


def test_a_worker_that_is_stopped_does_not_end_before_it_has_given_back(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, 60)
    insert_jtd(db)
    db.execute("ALTER FUNCTION jtd.give_back_v1 SET lock_timeout = 0")
    with (
        ThreadedHttpServer(answer(200)) as server,
        held_up(dsn, db, "claim_v1") as release,
        running(dsn, "email:webhook", tmp_path, **webhook(server)) as daemon,
        psycopg.connect(dsn) as user,
    ):
        until_held_up(db)
        user.execute("SELECT FROM jtd.rates FOR UPDATE")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("worker.draining")
        release()
        wait_until(
            db,
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE cardinality(pg_blocking_pids(pid)) > 0 AND query LIKE '%give_back_v1%'",
        )
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        db.execute("SELECT pg_sleep(1)")
        assert daemon.process.poll() is None, "it ended before its tokens were given back"
        assert one(db, USED) > 1
        user.rollback()
        assert daemon.wait() == 0
    assert (one(db, SENT), one(db, USED)) == (0, 0)


def test_a_limit_that_is_set_while_a_worker_runs_is_heeded(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        insert_many(db, 50)
        eventually(lambda: one(db, SENT) == 50)
        assert one(db, USED) == 0
        limit(db, 10)
        # before the next tick it may not know of it
        eventually(lambda: insert_jtd(db) and one(db, USED) > 0, 5)
        uncounted = one(db, "SELECT count(*) FROM n_jtd") - 1
        insert_many(db, 50)
        eventually(lambda: one(db, USED) == 9)
        db.execute("SELECT pg_sleep(1)")
        assert one(db, SENT) <= uncounted + 9


def test_a_pool_is_used_up_provider_by_provider(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    limit(db, 10)
    own_limit(db, "webhook.b", 20)
    insert_many(db, 50)
    with (
        ThreadedHttpServer(answer(200)) as a,
        ThreadedHttpServer(answer(200)) as b,
        running(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b)),
    ):
        eventually(lambda: one(db, SENT) == 9 + 18)
        db.execute("SELECT pg_sleep(2)")
        assert (len(a.server.counts), len(b.server.counts)) == (9, 18)
        assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'queued' AND attempt = 0") == 50 - 27


def test_a_job_bound_to_a_provider_at_its_rate_waits_and_the_others_go_on(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    limit(db, None)
    own_limit(db, "webhook", 10)
    reserve(db, 9, provider="webhook")
    bound, free = insert_jtd(db), insert_jtd(db)
    db.execute("""UPDATE n_jtd SET execution_result = '{"bound_to": "webhook"}' WHERE id = %s""", [bound])
    with (
        ThreadedHttpServer(answer(200)) as a,
        ThreadedHttpServer(answer(200)) as b,
        running(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b)),
    ):
        eventually(lambda: row(db, free)["status_code"] == "sent")
        eventually(lambda: row(db, bound)["error_code"] == "provider_at_rate")
    assert (row(db, bound)["status_code"], row(db, bound)["retry_count"]) == ("pending", 0)
    assert (len(a.server.counts), len(b.server.counts)) == (0, 1)


class NoSettings(BaseModel):
    """Nothing to set."""


class Choosy:
    """Refuses every message, and names others."""

    capabilities = Capabilities(unknown_rule=UnknownRule.RESEND, batch_size=100)

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        refusal = Refused(retry=Retry.ELSEWHERE, scope=Scope.PROVIDER, code="no", reason="not this one")
        return [refusal] * len(batch)

    async def aclose(self) -> None:
        pass


async def test_what_is_handed_to_a_second_provider_after_a_refusal_needs_a_token_of_that_one(
    dsn: str, db: psycopg.Connection
) -> None:
    limit(db, None)
    own_limit(db, "memory", 4)
    insert_many(db, 5)
    memory = any_memory.Memory()
    names = [ProviderName(channel="email", provider=code) for code in ("choosy", "memory")]
    made: list[Any] = [
        SimpleNamespace(build=lambda settings, channel, adapter=adapter: adapter, Settings=NoSettings)
        for adapter in (Choosy(), memory)
    ]
    pool = tuple(
        Provider(name=name, module=module, settings=NoSettings())
        for name, module in zip(names, made, strict=True)
    )
    worker = Worker(
        Configuration(
            settings=Settings(database_url=SecretStr(dsn), providers=tuple(names)), providers={"email": pool}
        ),
        until_idle=True,
    )
    async with asyncio.timeout(20):
        await worker.run()
    assert len(memory.messages) == 3
    ended = (
        "SELECT array_agg(DISTINCT error_code) FROM n_jtd WHERE status_code = 'pending' AND retry_count = 0"
    )
    assert one(db, ended) == ["provider_at_rate"]
    assert one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'pending'") == 2
