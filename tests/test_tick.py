"""A tick moves what only time can move: due jobs, dead workers' jobs, admission to the queues."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.jobs import (
    OTHER_TENANT,
    TENANT,
    history,
    insert_jtd,
    insert_many,
    messages,
    one,
    places,
    row,
    whereabouts,
)
from tests.worker_calls import (
    DEADLINE,
    Worker,
    locked,
    move,
    no_triggers,
    queue_content,
    result,
    send_id,
)

REMINDER = {"event_type_code": "reminder", "source_type_code": "payment_due", "template_key": None}
MANY = 6000


@pytest.fixture(params=["plain", "prepared"])
def either(request: pytest.FixtureRequest, dsn: str) -> Iterator[Worker]:
    """A worker, once with and once without prepared statements."""
    threshold = 0 if request.param == "prepared" else None
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=threshold) as conn:
        yield Worker(conn)


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def nothing_is_lost(db: psycopg.Connection) -> Iterator[None]:
    yield
    places(db)


def steps(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    """Return the states of a job in order; each step must be a valid one."""
    trail = history(db, jtd_id)
    assert all(step.valid for step in trail), trail
    return [step.to_status for step in trail]


def tenant(number: int) -> UUID:
    return UUID(int=number)


def make_ready(db: psycopg.Connection, count: int = 1, **columns: Any) -> list[UUID]:
    """Insert jobs that await admission, as behind a closed window; returns them in their turn."""
    db.execute("INSERT INTO jtd.windows SELECT 'email', 'normal', %s", [columns.get("tenant_id", TENANT)])
    ids = insert_many(db, count, **columns)
    db.execute("DELETE FROM jtd.windows")
    turn = db.execute("SELECT jtd_id FROM jtd.ready WHERE jtd_id = ANY (%s) ORDER BY arrived_at, ctid", [ids])
    ready = [found[0] for found in turn.fetchall()]
    assert len(ready) == count
    return ready


def target(db: psycopg.Connection, depth: int, queue: str = "jtd_email") -> None:
    """Give the queue a target, and let nothing be known of what it consumed."""
    db.execute("UPDATE jtd.queues SET target_depth = %s, depth = 0 WHERE queue_name = %s", [depth, queue])


def windows(db: psycopg.Connection) -> set[UUID]:
    """Return the tenants whose window for mail is closed."""
    found = db.execute("SELECT tenant_id FROM jtd.windows WHERE (channel_code, lane) = ('email', 'normal')")
    return {found[0] for found in found.fetchall()}


def tenants_in_queue(db: psycopg.Connection) -> list[int]:
    """Return how many messages each tenant has in the queue, by tenant."""
    rows = db.execute(
        "SELECT j.tenant_id, count(*)::integer FROM pgmq.q_jtd_email AS m"
        " JOIN public.n_jtd AS j ON j.id = jtd.message_id(m.message) GROUP BY 1 ORDER BY 1"
    )
    return [count for _, count in rows.fetchall()]


# What has come due


def test_a_scheduled_job_is_queued_at_its_time_and_not_before(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at="tomorrow", **REMINDER)
    assert either.tick()["due"] == 0
    assert whereabouts(db, jtd_id).status == "scheduled"
    assert either.claim() == []
    move(db, jtd_id, "scheduled_at = now() - interval '1 s'")
    done = either.tick("jtd_email")
    assert (done["leader"], done["admitted"], done["wake"]) == (True, 1, ["jtd_email"])
    assert steps(db, jtd_id) == ["created", "scheduled", "pending", "queued"]


def test_time_alone_moves_a_scheduled_job(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at="tomorrow", **REMINDER)
    let_time_pass(db)
    done = either.tick()
    assert (done["due"], done["admitted"]) == (1, 1)
    assert steps(db, jtd_id) == ["created", "scheduled", "pending", "queued"]
    assert whereabouts(db, jtd_id).place == "queued"
    assert one(db, "SELECT count(*) FROM jtd.waiting") == 0


def let_time_pass(db: psycopg.Connection) -> None:
    """Move every time that is waited for into the past, as two days would."""
    with no_triggers(db):
        db.execute(
            "UPDATE public.n_jtd SET scheduled_at = scheduled_at - interval '2 days',"
            " next_retry_at = next_retry_at - interval '2 days', expires_at = expires_at - interval '2 days'"
        )
    db.execute("UPDATE jtd.waiting SET due = due - interval '2 days'")


def test_time_alone_moves_a_retry(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    either.settle(result(either.claim_one(), "retry", code="x"))
    assert either.tick()["due"] == 0
    let_time_pass(db)
    assert either.tick()["due"] == 1
    assert steps(db, jtd_id)[-3:] == ["failed", "pending", "queued"]
    assert either.claim_one().attempt == 2


def test_a_job_that_expires_while_it_waits_ends_then(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at="2099-01-02Z", expires_at="2099-01-01Z")
    assert one(db, "SELECT due = '2099-01-01Z' FROM jtd.waiting")
    db.execute("UPDATE jtd.waiting SET due = now() - interval '1 s'")
    with no_triggers(db):
        move(db, jtd_id, "expires_at = now() - interval '1 s'")
    worker.tick()
    assert steps(db, jtd_id)[-2:] == ["pending", "expired"]
    assert row(db, jtd_id)["error_code"] == "expired"
    assert whereabouts(db, jtd_id).place == "final"
    assert queue_content(db, "jtd_email") == []


def test_more_due_jobs_than_a_tick_takes_are_drained_by_the_next(
    worker: Worker, db: psycopg.Connection
) -> None:
    insert_many(db, MANY, scheduled_at="tomorrow")
    target(db, 50_000)
    let_time_pass(db)
    first, second, third = worker.tick(), worker.tick(), worker.tick()
    assert (first["due"], second["due"], third["due"]) == (5000, 1000, 0)
    assert (first["more"], third["more"]) == (True, False)
    assert places(db) == {"queued": MANY}


def test_due_jobs_that_somebody_holds_delay_no_other(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    worker.tick()  # and the sweep of its start
    insert_many(db, MANY, scheduled_at="tomorrow")
    let_time_pass(db)
    earliest = [found[0] for found in db.execute("SELECT jtd_id FROM jtd.waiting ORDER BY due LIMIT 5500")]
    target(db, 50_000)
    with locked(dsn, *earliest):
        done = worker.tick()
        assert (done["due"], done["more"]) == (500, False)
        assert places(db) == {"queued": 500, "waiting": 5500}
    assert worker.tick()["due"] == 5000


def test_an_entry_for_no_job_is_taken_off_the_list(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at="tomorrow")
    make_ready(db)
    with no_triggers(db):
        db.execute("DELETE FROM public.n_jtd")
    later = insert_jtd(db, scheduled_at="tomorrow")
    db.execute("UPDATE jtd.waiting SET due = now() - interval '1 s' WHERE jtd_id = %s", [jtd_id])
    worker.tick()
    assert db.execute("SELECT jtd_id FROM jtd.waiting").fetchall() == [(later,)]
    assert one(db, "SELECT count(*) FROM jtd.ready") == 0
    worker.tick()
    assert windows(db) == set()


def test_a_due_job_that_takes_no_change_waits_and_says_why(worker: Worker, db: psycopg.Connection) -> None:
    ids = insert_many(db, 20, scheduled_at="tomorrow", **REMINDER)
    poison = ids[13]
    move(db, poison, "recipient_name = 'poison'")
    let_time_pass(db)
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT no_poison CHECK (recipient_name <> 'poison') NOT VALID"
    )
    for _ in range(10):
        worker.tick()
    assert places(db) == {"queued": 19, "waiting": 1}
    waits = db.execute(
        "SELECT jtd_id, reason, due > now() + interval '55 minutes' FROM jtd.waiting"
    ).fetchall()
    assert waits == [(poison, "refused", True)]
    assert "no_poison" in last_reason(db, poison)


def last_reason(db: psycopg.Connection, jtd_id: UUID) -> str:
    found: str = one(
        db, "SELECT reason FROM public.n_jtd_history WHERE jtd_id = %s ORDER BY id DESC LIMIT 1", jtd_id
    )
    return found


# Admission


def test_admission_fills_a_queue_to_its_target(either: Worker, db: psycopg.Connection) -> None:
    target(db, 30)
    ids = insert_many(db, 10)
    make_ready(db, 50)
    assert either.tick()["admitted"] == 20
    assert len(messages(db, "jtd_email")) == 30
    assert set(ids) < set(messages(db, "jtd_email"))
    done = either.tick()
    assert (done["admitted"], done["more"]) == (0, False)
    either.settle(*(result(job, "sent") for job in either.claim(limit=25)))
    target(db, 30)
    assert either.tick()["admitted"] == 25


def test_tenants_take_turns_and_a_large_one_delays_nobody(either: Worker, db: psycopg.Connection) -> None:
    target(db, 30)
    make_ready(db, 500, tenant_id=tenant(1))
    make_ready(db, 20, tenant_id=tenant(2))
    make_ready(db, 20, tenant_id=tenant(3))
    assert either.tick()["admitted"] == 30
    assert tenants_in_queue(db) == [10, 10, 10]


def test_what_small_tenants_leave_goes_to_the_large_one_at_once(
    worker: Worker, db: psycopg.Connection
) -> None:
    target(db, 100)
    make_ready(db, 500, tenant_id=tenant(1))
    for number in range(2, 12):
        make_ready(db, 1, tenant_id=tenant(number))
    assert worker.tick()["admitted"] == 100
    assert tenants_in_queue(db) == [90, *[1] * 10]


def test_with_more_tenants_than_room_the_round_goes_on_where_it_ended(
    worker: Worker, db: psycopg.Connection
) -> None:
    for number in range(1, 8):
        make_ready(db, 5, tenant_id=tenant(number))
    served: list[int] = []
    for _ in range(7):
        target(db, 3)
        assert worker.tick()["admitted"] == 3
        served += [found.tenant_id.int for found in worker.claim()]
        worker.settle(*in_flight_sent(db))
    assert sorted(served) == [number for number in range(1, 8) for _ in range(3)]


def in_flight_sent(db: psycopg.Connection) -> list[dict[str, Any]]:
    """Return a result sent for each job in flight."""
    rows = db.execute("SELECT jtd_id, attempt FROM jtd.inflight").fetchall()
    return [{"id": str(jtd_id), "attempt": attempt, "outcome": "sent"} for jtd_id, attempt in rows]


def test_the_most_urgent_of_a_tenant_goes_first_and_then_the_oldest(
    worker: Worker, db: psycopg.Connection
) -> None:
    ids = {priority: make_ready(db, 3, priority=priority) for priority in (2, 8, 5)}
    target(db, 7)
    worker.tick()
    admitted = set(messages(db, "jtd_email"))
    assert admitted == {*ids[8], *ids[5], ids[2][0]}
    assert set(messages(db, "jtd_email")[:3]) == set(ids[8])


def test_an_urgent_job_does_not_wait_for_the_backlog_of_its_own_tenant(
    worker: Worker, db: psycopg.Connection
) -> None:
    target(db, 5)
    make_ready(db, 50)
    worker.tick()
    urgent = insert_jtd(db, priority=10)
    assert messages(db, "jtd_email_urgent") == [urgent]
    assert worker.claim_one("jtd_email_urgent").id == urgent


def test_a_window_is_closed_while_older_jobs_of_the_tenant_wait_and_opens_after(
    worker: Worker, db: psycopg.Connection
) -> None:
    target(db, 10)
    make_ready(db, 25)
    worker.tick()
    assert windows(db) == {TENANT}
    mine, other = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
    assert (whereabouts(db, mine).place, whereabouts(db, other).place) == ("ready", "queued")
    target(db, 100)
    assert worker.tick()["admitted"] == 16
    assert windows(db) == set()
    assert whereabouts(db, insert_jtd(db)).place == "queued"


def test_what_fills_a_queue_row_by_row_between_two_ticks_goes_the_way_of_the_list(
    worker: Worker, db: psycopg.Connection
) -> None:
    target(db, 10)
    worker.tick()
    for _ in range(20):  # twice the target
        assert whereabouts(db, insert_jtd(db)).place == "queued"
    behind, other = insert_jtd(db), insert_jtd(db, tenant_id=OTHER_TENANT)
    assert (whereabouts(db, behind).place, whereabouts(db, other).place) == ("ready", "ready")
    worker.tick()
    assert windows(db) == {TENANT, OTHER_TENANT}
    for job in worker.claim():
        worker.settle(result(job, "sent"))
    target(db, 10)
    worker.tick()
    assert (whereabouts(db, behind).place, whereabouts(db, other).place) == ("queued", "queued")
    worker.tick()
    assert windows(db) == set()
    assert whereabouts(db, insert_jtd(db)).place == "queued"


def test_the_target_follows_what_was_read(worker: Worker, db: psycopg.Connection) -> None:
    def read(before: int, now_there: int, seconds: float, queue: str = "jtd_email") -> int:
        db.execute(f"DELETE FROM pgmq.q_{queue}".encode())
        for _ in range(now_there):
            send_id(db, queue, uuid4())
        db.execute(
            "UPDATE jtd.queues SET depth = %s, last_msg_id = jtd.last_msg_id(queue_name),"
            " measured_at = clock_timestamp() - make_interval(secs => %s) WHERE queue_name = %s",
            [before, seconds, queue],
        )
        room = one(db, "SELECT jtd.queue_room(%s)", queue)
        found: int = one(db, "SELECT target_depth FROM jtd.queues WHERE queue_name = %s", queue)
        assert room == max(0, found - now_there)
        return found

    def roughly(depth: float) -> object:
        return pytest.approx(depth, rel=0.1)

    assert read(20_005, 5, 1.0) == roughly(12_000)  # 20,000 a second: 0.6 s of that
    assert read(20_005, 5, 1.0, "jtd_email_urgent") == roughly(6_000)
    assert read(8005, 5, 2.0) == roughly(2400)
    assert read(8005, 5, 3600.0) == roughly(2400)  # there was nothing to read for most of it
    assert read(5, 5, 1.0) == roughly(2400)  # nothing was read: nothing is learnt
    assert read(405, 5, 0.2) == roughly(2160)  # little time: it counts for little
    assert read(10, 0, 1.0) == roughly(2160)  # all was read: it may be no more than there was
    make_ready(db)
    worker.db.execute("SELECT jtd.close_windows('jtd_email')")
    assert read(10, 0, 1.0) == roughly(4320)  # and there was more: the target was too small
    assert read(10_000_005, 5, 1.0) == 50_000
    assert read(6, 5, 1.0) == 100


def test_jobs_that_somebody_holds_take_no_room_from_the_tenants_others(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    target(db, 10)
    ids = make_ready(db, 50)
    for number in range(2, 6):
        make_ready(db, 2, tenant_id=tenant(number))
    with locked(dsn, *ids[:20]):
        assert worker.tick()["admitted"] == 10
        assert set(messages(db, "jtd_email")) & set(ids) == {ids[20], ids[21]}
    target(db, 500)
    worker.tick()
    assert one(db, "SELECT count(*) FROM jtd.ready") == 0


def test_when_all_that_is_ready_is_held_the_tick_ends_and_tries_again(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    ids = make_ready(db, 5)
    with locked(dsn, *ids):
        done = worker.tick()
        assert (done["admitted"], done["more"]) == (0, False)
        assert windows(db) == {TENANT}
    assert worker.tick()["admitted"] == 5


def test_a_ready_job_that_takes_no_change_waits_and_says_why(worker: Worker, db: psycopg.Connection) -> None:
    ids = make_ready(db, 20)
    poison = ids[13]
    move(db, poison, "recipient_name = 'poison'")
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT no_poison CHECK (recipient_name <> 'poison') NOT VALID"
    )
    worker.tick()
    assert places(db) == {"queued": 19, "waiting": 1}
    assert db.execute("SELECT jtd_id, reason FROM jtd.waiting").fetchall() == [(poison, "refused")]
    assert "no_poison" in last_reason(db, poison)


def test_a_paused_channel_admits_nothing(worker: Worker, db: psycopg.Connection) -> None:
    [jtd_id] = make_ready(db)
    db.execute("SELECT jtd.pause('email', 'maintenance')")
    assert worker.tick()["admitted"] == 0
    assert whereabouts(db, jtd_id).place == "ready"
    db.execute("SELECT jtd.resume('email')")
    assert worker.tick()["admitted"] == 1


def test_the_queue_of_a_paused_channel_stays_short(worker: Worker, db: psycopg.Connection) -> None:
    target(db, 3)
    ready = make_ready(db, 1)
    db.execute("SELECT jtd.pause('email', 'maintenance')")
    for _ in range(6):
        insert_jtd(db, tenant_id=OTHER_TENANT)
    done = worker.tick("jtd_email")
    assert (done["admitted"], done["more"], done["wake"]) == (0, False, [])
    assert whereabouts(db, ready[0]).place == "ready"
    assert whereabouts(db, insert_jtd(db, tenant_id=OTHER_TENANT)).place == "ready"
    db.execute("SELECT jtd.resume('email')")
    worker.settle(*(result(job, "sent") for job in worker.claim()))
    assert worker.tick("jtd_email")["admitted"] == 2


# Gates at admission


def off_for_tenant(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO public.n_jtd_tenant_config (tenant_id, channels_enabled)"
        " VALUES (%s, '{\"email\": false}')",
        [TENANT],
    )


def source_off(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO public.n_jtd_tenant_source_config (tenant_id, source_type_code, is_enabled)"
        " VALUES (%s, 'payment_received', false)",
        [TENANT],
    )


def not_allowed(db: psycopg.Connection) -> None:
    db.execute("UPDATE public.n_jtd_event_types SET allowed_channels = '{sms}' WHERE code = 'notification'")


def inactive(db: psycopg.Connection) -> None:
    db.execute("UPDATE public.n_jtd_channels SET is_active = false WHERE code = 'email'")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (off_for_tenant, "blocked_channel_disabled"),
        (source_off, "blocked_source_disabled"),
        (not_allowed, "blocked_channel_not_allowed"),
        (inactive, "blocked_channel_inactive"),
    ],
)
def test_a_job_that_the_gate_blocks_is_cancelled_at_admission(
    worker: Worker, db: psycopg.Connection, setting: Any, reason: str
) -> None:
    [jtd_id] = make_ready(db, 1, source_type_code="payment_received")
    setting(db)
    assert worker.tick()["admitted"] == 1
    assert steps(db, jtd_id) == ["created", "pending", "cancelled"]
    found = row(db, jtd_id)
    assert (found["error_code"], found["transition_note"]) == (reason, reason)
    assert found["completed_at"] is not None
    assert (found["attempt"], found["retry_count"]) == (0, 0)
    assert queue_content(db, "jtd_email") == []
    worker.tick()
    assert windows(db) == set()


@pytest.mark.parametrize("setting", [off_for_tenant, source_off])
def test_a_source_that_bypasses_gates_passes_the_switches_of_a_tenant(
    worker: Worker, db: psycopg.Connection, setting: Any
) -> None:
    setting(db)
    [jtd_id] = make_ready(db, 1, source_type_code="user_invite")
    worker.tick()
    assert whereabouts(db, jtd_id).place == "queued"
    assert worker.claim_one().id == jtd_id


def test_one_blocked_job_stops_no_other(worker: Worker, db: psycopg.Connection) -> None:
    off_for_tenant(db)
    make_ready(db, 3, source_type_code="payment_received")
    fine = make_ready(db, 3, source_type_code="payment_received", tenant_id=OTHER_TENANT)
    worker.tick()
    assert set(messages(db, "jtd_email")) == set(fine)
    assert places(db) == {"final": 3, "queued": 3}


# Dead workers


def killed(db: psycopg.Connection, *, rule: str | None = None, **columns: Any) -> UUID:
    """Return a job that a worker claimed, and handed off if there is a rule, before it was killed."""
    jtd_id = insert_jtd(db, **columns)
    dead = Worker(db)
    job = dead.claim_one()
    if rule:
        assert dead.hand_off(job, rule=rule) == {jtd_id}
    dead.lapse()
    return jtd_id


def test_a_job_that_was_not_handed_off_is_given_back_unharmed(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = killed(db, max_retries=0)
    either.age()
    assert either.tick("jtd_email")["reclaimed"] == 1
    assert steps(db, jtd_id)[-3:] == ["executing", "pending", "queued"]
    found = row(db, jtd_id)
    assert (found["retry_count"], found["attempt"], found["error_code"]) == (0, 1, None)
    assert [message.hidden_for for message in queue_content(db, "jtd_email")] == [0]
    assert either.claim_one().attempt == 2


@pytest.mark.parametrize(
    ("rule", "retries", "status", "remark"),
    [
        ("hold", 3, "failed", []),
        ("resend", 3, "pending", ["possible_duplicate"]),
        ("resend", 0, "failed", []),
        ("idempotent_retry", 3, "pending", []),
        ("idempotent_retry", 0, "failed", []),
    ],
)
def test_a_job_that_was_handed_off_follows_its_rule(
    worker: Worker, db: psycopg.Connection, rule: str, retries: int, status: str, remark: list[str]
) -> None:
    jtd_id = killed(db, rule=rule, max_retries=retries)
    worker.age()
    assert worker.tick()["reclaimed"] == 1
    found = row(db, jtd_id)
    assert (found["status_code"], found["error_code"]) == (status, "outcome_unknown")
    assert found["retry_count"] == (1 if status == "pending" else 0)
    assert found["provider_code"] == "smtp"
    bound_to = {"bound_to": "smtp"} if rule == "idempotent_retry" else {}
    assert found["execution_result"] == {
        "outcome": "unknown", "attempt": 1, "code": "worker_lost", **bound_to
    }  # fmt: skip
    actions = [step.action for step in history(db, jtd_id)]
    assert [action for action in actions if action not in ("created", "status_changed")] == remark
    assert whereabouts(db, jtd_id).place == ("final" if status == "failed" else "waiting")
    assert (queue_content(db, "jtd_email"), one(db, "SELECT count(*) FROM jtd.inflight")) == ([], 0)


def test_a_job_that_loses_worker_after_worker_ends(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = killed(db, rule="resend", max_retries=2)
    for _ in range(2):
        worker.age()
        worker.tick()
        let_time_pass(db)
        worker.tick()
        dead = Worker(db)
        dead.hand_off(dead.claim_one())
        dead.lapse()
    worker.age()
    worker.tick()
    assert whereabouts(db, jtd_id).place == "final"
    assert (row(db, jtd_id)["attempt"], row(db, jtd_id)["retry_count"]) == (3, 2)


def test_the_jobs_of_a_live_worker_are_left_alone(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    Worker(db).claim_one()
    worker.age()
    assert worker.tick()["reclaimed"] == 0
    assert whereabouts(db, jtd_id).place == "in_flight"


def test_nothing_is_reclaimed_before_the_reclaimer_was_connected_for_a_whole_lease(
    worker: Worker, db: psycopg.Connection
) -> None:
    killed(db)
    worker.age()
    db.execute("UPDATE jtd.workers SET started_at = clock_timestamp() + interval '1 minute'")
    assert worker.tick()["reclaimed"] == 0
    worker.age()
    assert worker.tick()["reclaimed"] == 1


def test_nothing_is_reclaimed_before_the_database_was_up_for_a_whole_lease(
    worker: Worker, db: psycopg.Connection
) -> None:
    killed(db)
    worker.age()
    db.execute(
        "UPDATE jtd.workers SET lease_seconds ="
        " 10 + extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::integer"
    )
    assert worker.tick()["reclaimed"] == 0
    worker.age()
    assert worker.tick()["reclaimed"] == 1


def test_a_worker_whose_own_lease_is_over_judges_nobody(worker: Worker, db: psycopg.Connection) -> None:
    insert_jtd(db)
    worker.claim_one()
    killed(db)
    worker.age()
    worker.lapse()
    assert worker.tick()["reclaimed"] == 0


def test_a_worker_that_comes_back_counts_as_connected_anew(worker: Worker, db: psycopg.Connection) -> None:
    lately = "SELECT started_at > clock_timestamp() - interval '1 minute' FROM jtd.workers WHERE id = %s"
    worker.age()
    assert one(db, lately, worker.id) is False
    worker.lapse()
    assert one(db, "SELECT jtd.renew_v1(%s)", worker.id) is True
    assert one(db, lately, worker.id) is True
    worker.age()
    worker.register()
    assert one(db, lately, worker.id) is True


def test_a_renewal_in_time_breaks_no_connection(worker: Worker, db: psycopg.Connection) -> None:
    worker.age()
    since = "SELECT started_at FROM jtd.workers WHERE id = %s"
    before = one(db, since, worker.id)
    assert one(db, "SELECT jtd.renew_v1(%s)", worker.id) is True
    assert one(db, since, worker.id) == before


def test_a_worker_that_comes_back_first_settles_what_it_holds(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    back = Worker(db)
    job = back.claim_one()
    back.hand_off(job)
    back.lapse()
    assert back.settle(result(job, "sent")) == ["applied"]
    worker.age()
    assert worker.tick()["reclaimed"] == 0
    assert whereabouts(db, jtd_id).place == "sent"


def test_a_job_that_its_worker_is_settling_now_is_not_reclaimed(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    jtd_id = killed(db, rule="resend")
    worker.age()
    with locked(dsn, jtd_id):
        assert worker.tick()["reclaimed"] == 0
    assert worker.tick()["reclaimed"] == 1


def test_a_hand_off_that_is_being_recorded_is_not_overlooked(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    slow = Worker(db)
    job = slow.claim_one()
    with psycopg.connect(dsn) as sender:
        sender.execute(
            "SELECT jtd.hand_off_v1(%s, %s, %s, 'hold', 'smtp')", [slow.id, [job.id], [job.attempt]]
        ).fetchall()
        slow.lapse()
        worker.age()
        assert worker.tick()["reclaimed"] == 0
        sender.commit()
    assert worker.tick()["reclaimed"] == 1
    assert row(db, jtd_id)["error_code"] == "outcome_unknown"


def test_a_cancelled_job_leaves_nothing_with_its_dead_worker(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = killed(db)
    assert one(db, "SELECT jtd.cancel(%s)", jtd_id) == "cancelled"
    worker.age()
    worker.tick()
    assert (queue_content(db, "jtd_email"), one(db, "SELECT count(*) FROM jtd.inflight")) == ([], 0)


def test_a_deleted_job_leaves_nothing_with_its_dead_worker(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = killed(db)
    with no_triggers(db):
        db.execute("DELETE FROM public.n_jtd WHERE id = %s", [jtd_id])
    worker.age()
    worker.tick()
    assert (queue_content(db, "jtd_email"), one(db, "SELECT count(*) FROM jtd.inflight")) == ([], 0)


def test_dead_workers_and_their_sleepers_are_forgotten_once_they_hold_nothing(
    worker: Worker, db: psycopg.Connection
) -> None:
    killed(db)
    idle = Worker(db)
    idle.claim("jtd_sms")
    worker.claim("jtd_sms")
    db.execute(
        "UPDATE jtd.workers SET lease_until = clock_timestamp() - interval '2 minutes' WHERE id <> %s",
        [worker.id],
    )
    worker.age()
    worker.tick()
    assert db.execute("SELECT id FROM jtd.workers").fetchall() == [(worker.id,)]
    assert db.execute("SELECT worker_id FROM jtd.sleepers").fetchall() == [(worker.id,)]
    assert one(db, "SELECT jtd.renew_v1(%s)", idle.id) is False


def test_a_worker_that_leaves_is_gone_at_once_and_what_it_held_is_reclaimed(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    leaving, empty = Worker(db), Worker(db)
    leaving.claim_one()
    empty.claim("jtd_sms")
    for each in (leaving, empty):
        db.execute("SELECT jtd.leave_v1(%s)", [each.id])
    left = db.execute(
        "SELECT id, lease_until < now() FROM jtd.workers WHERE id <> %s", [worker.id]
    ).fetchall()
    assert left == [(leaving.id, True)]
    assert one(db, "SELECT count(*) FROM jtd.sleepers") == 0
    worker.age()
    assert worker.tick()["reclaimed"] == 1
    assert whereabouts(db, jtd_id).place == "queued"


def test_registering_again_takes_the_new_settings(worker: Worker, db: psycopg.Connection) -> None:
    db.execute("SELECT jtd.register_v1(%s, 'other', '{sms}', 5)", [worker.id])
    found = db.execute(
        "SELECT name, channels, lease_seconds, lease_until < clock_timestamp() + interval '5.1 s'"
        " FROM jtd.workers"
    ).fetchall()
    assert found == [("other", ["sms"], 5, True)]


# One at a time


def test_only_one_worker_at_a_time_does_the_work(worker: Worker, dsn: str, db: psycopg.Connection) -> None:
    make_ready(db, 3)
    with psycopg.connect(dsn) as other:
        leader = Worker(other)
        assert leader.tick()["leader"] is True
        follower = worker.tick("jtd_email")
        assert (follower["leader"], follower["admitted"]) == (False, 0)
        other.commit()
    assert worker.tick()["leader"] is True


def test_a_tick_names_the_callers_queues_that_can_be_read(worker: Worker, db: psycopg.Connection) -> None:
    insert_jtd(db)
    insert_jtd(db, channel_code="sms", recipient_contact="+15550100000")
    assert worker.tick("jtd_email", "jtd_push")["wake"] == ["jtd_email"]
    assert set(worker.tick("jtd_email", "jtd_sms", "jtd_pigeon")["wake"]) == {"jtd_email", "jtd_sms"}
    assert worker.tick()["wake"] == []
    worker.claim_one()
    assert worker.tick("jtd_email")["wake"] == []


def test_admission_notifies_a_sleeper(worker: Worker, dsn: str, db: psycopg.Connection) -> None:
    worker.claim()
    make_ready(db, 2)
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN jtd_wake")
        worker.tick()
        [told] = listener.notifies(timeout=DEADLINE, stop_after=1)
    assert told.payload == "jtd_email"


# Idle


def idle(db: psycopg.Connection, *queues: str) -> bool:
    found: bool = one(db, "SELECT jtd.idle_v1(%s)", list(queues or ("jtd_email", "jtd_email_urgent")))
    return found


def test_idle_is_when_nothing_can_be_done_now(worker: Worker, db: psycopg.Connection) -> None:
    assert idle(db)
    jtd_id = insert_jtd(db)
    assert not idle(db)
    assert idle(db, "jtd_sms")
    job = worker.claim_one()
    assert not idle(db)
    worker.settle(result(job, "retry", code="x"))
    assert idle(db)
    move(db, jtd_id, "next_retry_at = now() - interval '1 s'")
    assert not idle(db)
    worker.tick()
    worker.settle(result(worker.claim_one(), "sent"))
    assert idle(db)
    insert_jtd(db, scheduled_at="tomorrow")
    assert idle(db)
    let_time_pass(db)
    assert not idle(db)
    db.execute("SELECT jtd.pause('email')")
    worker.tick()
    assert idle(db)


def test_queues_are_named_urgent_lane_first(db: psycopg.Connection) -> None:
    found = db.execute("SELECT * FROM jtd.queues_v1('{sms,email}')").fetchall()
    assert found == [
        ("jtd_email_urgent", "email", "urgent"),
        ("jtd_sms_urgent", "sms", "urgent"),
        ("jtd_email", "email", "normal"),
        ("jtd_sms", "sms", "normal"),
    ]
    assert one(db, "SELECT count(*) FROM jtd.queues_v1(NULL)") == 10


# Partitions of the audit trail


def partitions(db: psycopg.Connection) -> list[str]:
    rows = db.execute(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'public.n_jtd_history'::regclass ORDER BY 1"
    )
    return [found[0] for found in rows.fetchall()]


def month(db: psycopg.Connection, ahead: int) -> str:
    found: str = one(
        db,
        "SELECT 'n_jtd_history_'"
        " || to_char((now() AT TIME ZONE 'UTC') + make_interval(months => %s), 'YYYY_MM')",
        ahead,
    )
    return found


@pytest.mark.parametrize("time_zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_a_tick_makes_the_partitions_that_are_missing(
    worker: Worker, db: psycopg.Connection, time_zone: str
) -> None:
    wanted = sorted([*(month(db, ahead) for ahead in range(4)), "n_jtd_history_default"])
    assert partitions(db) == wanted
    bounds = "SELECT string_agg(pg_get_expr(relpartbound, oid), ' ' ORDER BY relname) FROM pg_class"
    bounds += " WHERE relname LIKE 'n\\_jtd\\_history\\_2%'"
    before = one(db, bounds)
    for ahead in (1, 2, 3):
        db.execute(f"DROP TABLE public.{month(db, ahead)}".encode())
    db.execute(f"SET TimeZone = '{time_zone}'; SET DateStyle = 'SQL, DMY'".encode())
    assert worker.tick()["is_partitioned"] is True
    db.execute("RESET TimeZone; RESET DateStyle")
    assert partitions(db) == wanted
    assert one(db, bounds) == before


def test_a_month_that_has_rows_in_the_default_partition_stays_there_and_nobody_is_locked_out(
    worker: Worker, dsn: str, db: psycopg.Connection
) -> None:
    db.execute(f"DROP TABLE public.{month(db, 0)}".encode())
    db.execute(f"DROP TABLE public.{month(db, 1)}".encode())
    insert_jtd(db)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM public.n_jtd_history_default")
        # next month's cannot be made while somebody reads the default one; the tick goes on all the same
        make_ready(db, 1)
        done = worker.tick()
        assert (done["admitted"], done["is_partitioned"]) == (1, False)
    assert worker.tick()["is_partitioned"] is True
    assert month(db, 0) not in partitions(db)
    with psycopg.connect(dsn) as reader:  # and this month's is not tried again and again
        reader.execute("SELECT count(*) FROM public.n_jtd_history_default")
        db.execute("SET log_lock_waits = on; SET deadlock_timeout = '1ms'; SET client_min_messages = log")
        waits: list[str | None] = []
        db.add_notice_handler(lambda notice: waits.append(notice.message_primary))
        worker.tick()
        assert waits == []
