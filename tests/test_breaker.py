"""A provider that fails is left alone by all workers, until a probe arrives."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from jtd_worker.breaker import FAILURES, Breakers
from jtd_worker.database import Link
from jtd_worker.queue import Queue
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.testing.http_server import Request, Steps, ThreadedHttpServer, answer
from tests.command import call
from tests.daemon import eventually, run_until_idle, running
from tests.jobs import insert_jtd, insert_many, one, row
from tests.worker_calls import Worker

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SMTP = ("email", "smtp")
DOWN = Refused(retry=Retry.LATER, scope=Scope.NETWORK, code="smtp_connect", reason="refused")
WRONG_PASSWORD = Refused(
    retry=Retry.AFTER_OPERATOR, scope=Scope.CREDENTIAL, code="smtp_535", reason="authentication failed"
)
NO_SUCH_USER = Refused(retry=Retry.NEVER, scope=Scope.RECIPIENT, code="smtp_550", reason="no such user")


# What the database says


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def trip(db: psycopg.Connection, seconds: float | None = None) -> float:
    """Trip, and return the seconds until a probe may go."""
    pause: float = one(
        db,
        "SELECT extract(epoch FROM jtd.trip_v1('email', 'smtp', 'smtp_535', %s) - clock_timestamp())::float8",
        seconds,
    )
    return pause


def pause_is_over(db: psycopg.Connection) -> None:
    db.execute("UPDATE jtd.breakers SET retry_at = clock_timestamp(), probing_until = NULL")


def hand_off(worker: Worker, *jobs: Any, provider: str = "smtp") -> dict[UUID, str]:
    rows = worker.db.execute(
        "SELECT id, answer FROM jtd.hand_off_v2(%s, %s, %s, 'resend', 'email', %s)",
        [worker.id, [job.id for job in jobs], [job.attempt for job in jobs], provider],
    ).fetchall()
    return dict(rows)


def test_nothing_is_handed_to_a_provider_that_another_worker_found_failing(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_many(db, 2)
    jobs = worker.claim()
    trip(db)
    assert set(hand_off(worker, *jobs).values()) == {"open"}
    assert one(db, "SELECT count(*) FROM jtd.inflight WHERE handed_off_at IS NOT NULL") == 0
    assert worker.hand_off(jobs[0]) == set()  # as workers of the release before this one ask
    assert set(hand_off(worker, *jobs, provider="smtp.backup").values()) == {"go"}


def test_after_the_pause_one_message_goes_as_a_probe(db: psycopg.Connection, worker: Worker) -> None:
    insert_many(db, 3)
    jobs = worker.claim()
    trip(db)
    pause_is_over(db)
    assert sorted(hand_off(worker, *jobs).values()) == ["go", "open", "open"]
    assert set(hand_off(worker, *jobs).values()) == {"open"}


def test_a_probe_that_was_lost_with_its_worker_is_followed_by_another(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_many(db, 2)
    jobs = worker.claim()
    trip(db)
    pause_is_over(db)
    hand_off(worker, jobs[0])
    db.execute("UPDATE jtd.breakers SET probing_until = clock_timestamp()")
    assert hand_off(worker, jobs[1]) == {jobs[1].id: "go"}


def test_a_probe_is_followed_by_another_as_soon_as_its_worker_is_known_to_be_dead(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_many(db, 2)
    dead = Worker(db)
    probe = dead.claim(limit=1)[0]
    trip(db)
    pause_is_over(db)
    assert hand_off(dead, probe) == {probe.id: "go"}
    [waits] = worker.claim()
    assert hand_off(worker, waits) == {waits.id: "open"}
    dead.lapse()
    worker.age()
    assert worker.tick()["reclaimed"] == 1
    assert hand_off(worker, waits) == {waits.id: "go"}


def test_a_job_that_may_not_go_uses_up_no_probe(db: psycopg.Connection, worker: Worker) -> None:
    insert_many(db, 2)
    cancelled, good = worker.claim()
    trip(db)
    pause_is_over(db)
    one(db, "SELECT jtd.cancel(%s)", cancelled.id)
    assert hand_off(worker, cancelled) == {}
    assert hand_off(worker, good) == {good.id: "go"}


def test_the_pause_doubles_with_each_probe_that_fails_up_to_a_minute(
    db: psycopg.Connection, worker: Worker
) -> None:
    insert_jtd(db)
    [job] = worker.claim()
    pauses = [trip(db)]
    for _ in range(5):
        pause_is_over(db)
        hand_off(worker, job)
        pauses.append(trip(db))
    assert [round(pause) for pause in pauses] == [5, 10, 20, 40, 60, 60]


def test_what_others_saw_fail_meanwhile_makes_no_pause_longer(db: psycopg.Connection) -> None:
    trip(db)
    assert trip(db) <= 5
    assert one(db, "SELECT probes FROM jtd.breakers") == 0


def test_the_pause_is_what_the_provider_asked_for_but_at_most_an_hour(db: psycopg.Connection) -> None:
    assert round(trip(db, 90)) == 90
    assert round(trip(db, 10**9)) == 3600


def test_operators_see_what_stands_still_and_why(dsn: str, db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert_jtd(db)
    trip(db)
    assert "; provider smtp takes nothing at present (smtp_535) and is tried again at " in one(
        db, "SELECT sentence FROM jtd.explain(%s)", jtd_id
    )
    assert "Provider smtp of channel email takes nothing since" in call(dsn, "status").out
    assert worker.tick()["breakers"][0][:2] == ["email", "smtp"]


# What a worker makes of results


@pytest.fixture
def breakers() -> Breakers:
    """The breakers of a worker that tells the database nothing, since they do not run."""
    claims, settles, ticks, leases = (Link("", role) for role in ("claim", "settle", "tick", "lease"))
    queue = Queue(uuid4(), claims, settles, ticks, leases)
    return Breakers(queue, {"email": ["smtp", "smtp.backup"], "sms": ["webhook"]})


@pytest.mark.parametrize(
    ("result", "needed"),
    [
        (DOWN, FAILURES),
        (Unknown(code="timeout", reason="no answer"), FAILURES),
        (WRONG_PASSWORD, 1),
        (Throttled(retry_after=timedelta(seconds=30), code="http_429", reason="slow"), 1),
    ],
)
def test_so_many_failures_in_a_row_open_a_breaker(
    breakers: Breakers, result: SendResult, needed: int
) -> None:
    for _ in range(needed):
        assert breakers.pause(SMTP) == 0
        breakers.saw(SMTP, result)
    assert breakers.pause(SMTP) > 0


@pytest.mark.parametrize("result", [Sent(), NO_SUCH_USER])
def test_an_answer_about_a_message_shows_that_the_provider_works(
    breakers: Breakers, result: SendResult
) -> None:
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breakers.saw(SMTP, DOWN)
        breakers.saw(SMTP, result)
    assert breakers.pause(SMTP) == 0
    breakers.learn({SMTP: 0.0})
    breakers.saw(SMTP, result, is_probe=True)
    assert breakers.room("email", 500) == 500


def test_a_channel_stands_still_only_if_each_of_its_providers_does(breakers: Breakers) -> None:
    breakers.learn({SMTP: 30.0})
    assert breakers.room("email", 500) == 500
    breakers.learn({SMTP: 30.0, ("email", "smtp.backup"): 30.0})
    assert breakers.room("email", 500) == 0
    assert breakers.room("sms", 500) == breakers.room("inapp", 500) == 500
    breakers.learn({SMTP: -1.0, ("email", "smtp.backup"): 30.0})
    assert breakers.room("email", 500) == 1
    breakers.learn({})
    assert breakers.room("email", 500) == 500


# The worker as a whole


class Provider:
    """A webhook's script that can be switched between failing and working."""

    def __init__(self, failure: Steps) -> None:
        self.failure = failure
        self.works = False
        self.failed = 0

    def __call__(self, request: Request) -> Steps:
        if self.works:
            return answer(200)
        self.failed += 1
        return self.failure


@pytest.fixture
def impatient(db: psycopg.Connection) -> None:
    db.execute("UPDATE n_jtd_event_types SET retry_delay_seconds = 1, default_max_retries = 9")


def settings(*servers: ThreadedHttpServer) -> dict[str, str]:
    found = {}
    for name, server in zip(("webhook", "webhook_b"), servers, strict=False):
        found |= {f"email_{name}_url": server.url, f"email_{name}_secret": SECRET}
    return {**found, "slots": "4"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "failure",
    [answer(401), answer(503), answer(429, headers={"retry-after": "3"})],
    ids=["401", "503", "429"],
)
def test_a_failing_provider_is_asked_by_probes_alone_and_everything_arrives_when_it_works(
    dsn: str, db: psycopg.Connection, tmp_path: Path, failure: Steps
) -> None:
    provider = Provider(failure)
    insert_many(db, 100)
    with (
        ThreadedHttpServer(provider) as server,
        running(dsn, "email:webhook", tmp_path, **settings(server)),
        running(dsn, "email:webhook", tmp_path, **settings(server)),
    ):
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.breakers") == 1)
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        asked = provider.failed
        assert asked <= 2 * (4 + FAILURES)
        db.execute("UPDATE jtd.breakers SET retry_at = clock_timestamp()")
        eventually(lambda: provider.failed > asked)  # a probe
        eventually(lambda: one(db, "SELECT bool_and(retry_at > clock_timestamp()) FROM jtd.breakers"))
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        assert provider.failed == asked + 1
        assert one(db, "SELECT count(*) FROM n_jtd WHERE attempt = 0") >= 80  # not even claimed
        provider.works = True
        db.execute("UPDATE jtd.breakers SET retry_at = clock_timestamp()")
        db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE status_code = 'pending'")
        eventually(lambda: one(db, "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'") == 100)
        assert one(db, "SELECT count(*) FROM jtd.breakers") == 0
    assert max(server.server.counts.values()) <= 1 + provider.failed


def test_the_next_provider_of_the_pool_takes_over_without_the_first_being_asked(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    insert_many(db, 50)
    first, second = Provider(answer(503)), Provider(answer(200))
    second.works = True
    trip_first = "INSERT INTO jtd.breakers (channel_code, provider, code, retry_at)"
    db.execute(f"{trip_first} VALUES ('email', 'webhook', 'http_503', now() + interval '1 h')".encode())
    with ThreadedHttpServer(first) as a, ThreadedHttpServer(second) as b:
        run_until_idle(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b))
    assert (first.failed, len(b.server.counts)) == (0, 50)
    assert one(db, "SELECT array_agg(DISTINCT provider_code::text) FROM n_jtd") == ["webhook.b"]


def test_a_job_bound_to_a_provider_that_is_out_waits_and_the_others_go_on(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    bound, free = insert_jtd(db), insert_jtd(db)
    db.execute("""UPDATE n_jtd SET execution_result = '{"bound_to": "webhook"}' WHERE id = %s""", [bound])
    db.execute(
        "INSERT INTO jtd.breakers (channel_code, provider, code, retry_at)"
        " VALUES ('email', 'webhook', 'http_503', now() + interval '1 h')"
    )
    with ThreadedHttpServer(lambda _: answer(200)) as a, ThreadedHttpServer(lambda _: answer(200)) as b:
        run_until_idle(dsn, "email:webhook,email:webhook.b", tmp_path, **settings(a, b))
    assert row(db, free)["status_code"] == "sent"
    assert (row(db, bound)["status_code"], row(db, bound)["error_code"]) == ("pending", "provider_open")
    assert row(db, bound)["retry_count"] == 0


def test_until_idle_does_not_wait_for_a_provider(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    insert_many(db, 20)
    provider = Provider(answer(401))
    with ThreadedHttpServer(provider) as server:
        run_until_idle(dsn, "email:webhook", tmp_path, **settings(server))
    assert provider.failed <= 4 + FAILURES
