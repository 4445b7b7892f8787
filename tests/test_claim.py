"""A claim takes what may be sent, and deals with every other message by what its row says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.jobs import (
    OTHER_TENANT,
    TENANT,
    USER,
    Step,
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
    discards,
    locked,
    move,
    no_triggers,
    queue_content,
    queues_of,
    result,
    send,
    send_id,
    wait_until,
    wait_until_blocked,
)


@pytest.fixture(params=["plain", "prepared"])
def either(request: pytest.FixtureRequest, dsn: str) -> Iterator[Worker]:
    """A worker, once with and once without prepared statements."""
    threshold = 0 if request.param == "prepared" else None
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=threshold) as conn:
        yield Worker(conn)


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture
def may_lose() -> None:
    """Asked for by a test that leaves a job nowhere, and says why."""


@pytest.fixture(autouse=True)
def nothing_is_lost(request: pytest.FixtureRequest, db: psycopg.Connection) -> Iterator[None]:
    yield
    if "may_lose" not in request.fixturenames:
        places(db)


class Effect(NamedTuple):
    """All that one claim did for one job."""

    claimed: bool
    status: str
    place: str
    queues: list[str]
    discards: dict[str, int]
    steps: list[tuple[str | None, str]]


def claim_effect(worker: Worker, jtd_id: UUID, queue: str = "jtd_email") -> Effect:
    """Claim once and tell what that did for the job."""
    before = len(history(worker.db, jtd_id))
    claimed = jtd_id in {job.id for job in worker.claim(queue)}
    now = whereabouts(worker.db, jtd_id)
    steps = history(worker.db, jtd_id)[before:]
    assert all(step.valid for step in steps), steps
    return Effect(
        claimed,
        now.status,
        now.place,
        queues_of(worker.db, jtd_id),
        discards(worker.db),
        [(step.from_status, step.to_status) for step in steps],
    )


def in_status(db: psycopg.Connection, status: str, **columns: Any) -> UUID:
    """Import a job that is in a status already, and send a message for it."""
    jtd_id = insert_jtd(db, status_code=status, **columns)
    send_id(db, "jtd_email", jtd_id)
    return jtd_id


# What a claim does with a message, by what its row says


def test_a_queued_job_is_claimed(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    assert claim_effect(either, jtd_id) == Effect(
        True, "executing", "in_flight", ["jtd_email"], {}, [("queued", "executing")]
    )
    found = row(db, jtd_id)
    assert found["attempt"] == 1
    assert found["previous_status_code"] == "queued"
    assert found["status_id"] == one(db, "SELECT jtd.status_id('notification', 'executing')")
    held = db.execute("SELECT attempt, worker_id, queue_name, handed_off_at, unknown_rule FROM jtd.inflight")
    assert held.fetchall() == [(1, either.id, "jtd_email", None, None)]
    [message] = queue_content(db, "jtd_email")
    assert 590 < message.hidden_for <= 600


def test_a_claim_returns_what_is_needed_to_send(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(
        db,
        priority=3,
        max_retries=7,
        template_variables={"a": 1},
        metadata={"reminder_key": "r"},
        expires_at="2099-01-01Z",
        locale="en-IE",
    )
    job = either.claim_one()
    stored = row(db, jtd_id)
    template = db.execute(
        "SELECT id, version FROM public.n_jtd_templates WHERE template_key = 'user_invite_email_v1'"
    ).fetchall()
    expected = {name: stored[name] for name in job._fields if name in stored} | {
        "recipient": "john@example.com",
        "is_diverted": False,
        "bound_to": None,
        "attempt": 1,
        "template_id": template[0][0],
        "template_version": template[0][1],
    }
    assert job._asdict() == expected
    assert (job.max_retries, job.retry_count, job.locale) == (7, 0, "en-IE")


def test_a_queued_job_that_the_gate_blocks_is_cancelled_with_the_reason(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db, source_type_code="payment_received")
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, channels_enabled) VALUES (%s, '{}')", [TENANT])
    assert claim_effect(worker, jtd_id) == Effect(
        False, "cancelled", "final", [], {}, [("queued", "cancelled")]
    )
    found = row(db, jtd_id)
    assert (found["error_code"], found["transition_note"]) == (
        "blocked_channel_disabled",
        "blocked_channel_disabled",
    )
    assert found["completed_at"] is not None
    assert (found["attempt"], found["retry_count"]) == (0, 0)


def test_a_queued_job_that_is_too_late_expires(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    move(db, jtd_id, "expires_at = now() - interval '1 s'")
    assert claim_effect(worker, jtd_id) == Effect(False, "expired", "final", [], {}, [("queued", "expired")])
    assert row(db, jtd_id)["error_code"] == "expired"


def test_a_created_job_gets_its_missing_steps_and_is_then_claimed(
    worker: Worker, db: psycopg.Connection
) -> None:
    with no_triggers(db):
        jtd_id = insert_jtd(db, status_code="created")
    send_id(db, "jtd_email", jtd_id)
    assert claim_effect(worker, jtd_id) == Effect(
        False,
        "queued",
        "queued",
        ["jtd_email"],
        {"early": 1},
        [("created", "pending"), ("pending", "queued")],
    )
    found = row(db, jtd_id)
    assert (found["priority"], found["max_retries"]) == (5, 3)
    job = worker.claim_one()
    assert (job.id, job.attempt, job.max_retries) == (jtd_id, 1, 3)


def test_a_created_job_for_later_goes_to_the_waiting_list(worker: Worker, db: psycopg.Connection) -> None:
    with no_triggers(db):
        jtd_id = insert_jtd(db, status_code="created", scheduled_at="tomorrow")
    send_id(db, "jtd_email", jtd_id)
    assert claim_effect(worker, jtd_id) == Effect(
        False, "pending", "waiting", [], {"early": 1}, [("created", "pending")]
    )


@pytest.mark.parametrize("status", ["pending", "scheduled"])
def test_a_job_on_no_list_is_put_on_one_before_its_message_goes(
    worker: Worker, db: psycopg.Connection, status: str
) -> None:
    jtd_id = in_status(
        db, status, event_type_code="reminder", source_type_code="payment_due", scheduled_at="tomorrow"
    )
    assert claim_effect(worker, jtd_id) == Effect(False, status, "waiting", [], {"early": 1}, [])


def test_a_pending_job_that_is_due_is_queued(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = in_status(db, "pending")
    assert claim_effect(worker, jtd_id) == Effect(
        False, "queued", "queued", ["jtd_email"], {"early": 1}, [("pending", "queued")]
    )
    assert worker.claim_one().id == jtd_id


def test_a_pending_job_that_is_due_stays_behind_a_closed_window(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = in_status(db, "pending")
    db.execute("INSERT INTO jtd.windows VALUES ('email', 'normal', %s)", [TENANT])
    assert claim_effect(worker, jtd_id) == Effect(False, "pending", "ready", [], {"early": 1}, [])


def test_a_pending_job_that_is_due_and_blocked_is_cancelled(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = in_status(db, "pending", source_type_code="payment_received")
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, channels_enabled) VALUES (%s, '{}')", [TENANT])
    assert claim_effect(worker, jtd_id) == Effect(
        False, "cancelled", "final", [], {"early": 1}, [("pending", "cancelled")]
    )


def test_a_pending_job_that_is_not_due_loses_its_message_and_keeps_its_time(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db, scheduled_at="tomorrow")
    send_id(db, "jtd_email", jtd_id)
    assert claim_effect(worker, jtd_id) == Effect(False, "pending", "waiting", [], {"early": 1}, [])


def test_a_job_that_a_live_worker_executes_keeps_its_message_past_the_lease(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    worker.claim_one()
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert claim_effect(Worker(db), jtd_id) == Effect(False, "executing", "in_flight", ["jtd_email"], {}, [])
    assert queue_content(db, "jtd_email")[0].hidden_for > 590


def test_a_worker_that_meets_its_own_message_again_leaves_it(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    worker.claim_one()
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert claim_effect(worker, jtd_id) == Effect(False, "executing", "in_flight", ["jtd_email"], {}, [])


def test_a_job_that_a_dead_worker_executes_is_left_to_the_tick(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    dead = Worker(db)
    dead.claim_one()
    dead.lapse()
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert claim_effect(worker, jtd_id) == Effect(False, "executing", "in_flight", ["jtd_email"], {}, [])
    worker.age()
    assert worker.tick()["reclaimed"] == 1
    assert worker.claim_one().id == jtd_id


def test_an_executing_job_that_nobody_holds_is_held_for_a_person(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = in_status(db, "executing")
    assert claim_effect(worker, jtd_id) == Effect(
        False, "failed", "final", ["jtd_email"], {"worker_lost": 1}, [("executing", "failed")]
    )
    assert row(db, jtd_id)["error_code"] == "outcome_unknown"


@pytest.mark.parametrize(
    ("status", "place"),
    [
        ("sent", "sent"),
        ("delivered", "sent"),
        ("read", "final"),
        ("bounced", "final"),
        ("cancelled", "final"),
        ("expired", "final"),
        ("failed", "final"),
    ],
)
def test_a_settled_job_loses_its_message(
    worker: Worker, db: psycopg.Connection, status: str, place: str
) -> None:
    jtd_id = in_status(db, status, completed_at="now")
    assert claim_effect(worker, jtd_id) == Effect(False, status, place, [], {"settled": 1}, [])


def test_a_message_for_no_job_at_all_is_deleted_and_counted(worker: Worker, db: psycopg.Connection) -> None:
    absent = uuid4()
    send_id(db, "jtd_email", absent)
    assert worker.claim() == []
    assert queue_content(db, "jtd_email") == []
    found = db.execute("SELECT queue_name, reason, count, last_jtd_id FROM jtd.discards").fetchall()
    assert found == [("jtd_email", "absent", 1, absent)]


def test_discards_add_up(worker: Worker, db: psycopg.Connection) -> None:
    for _ in range(3):
        send_id(db, "jtd_email", uuid4())
        worker.claim()
    send_id(db, "jtd_sms", uuid4())
    worker.claim("jtd_sms")
    rows = db.execute(
        "SELECT queue_name, count FROM jtd.discards WHERE reason = 'absent' ORDER BY 1"
    ).fetchall()
    assert rows == [("jtd_email", 3), ("jtd_sms", 1)]


@pytest.mark.parametrize("queue", ["jtd_sms", "jtd_email_urgent"])
def test_a_forged_message_in_a_foreign_queue_is_moved(
    worker: Worker, db: psycopg.Connection, queue: str
) -> None:
    jtd_id = insert_jtd(db)
    db.execute("DELETE FROM pgmq.q_jtd_email")
    send_id(db, queue, jtd_id)
    assert claim_effect(worker, jtd_id, queue) == Effect(
        False, "queued", "queued", ["jtd_email"], {"misplaced": 1}, []
    )
    assert worker.claim_one().id == jtd_id


def test_a_job_made_urgent_by_hand_moves_to_the_urgent_lane(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, source_type_code="payment_received")
    move(db, jtd_id, "priority = 9")
    assert claim_effect(worker, jtd_id) == Effect(
        False, "queued", "queued", ["jtd_email_urgent"], {"misplaced": 1}, []
    )


def test_a_queued_job_of_a_channel_that_is_gone_ends_with_a_reason(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    with no_triggers(db):
        move(db, jtd_id, "channel_code = 'pigeon'")
    assert claim_effect(worker, jtd_id) == Effect(
        False, "cancelled", "final", [], {}, [("queued", "cancelled")]
    )
    assert row(db, jtd_id)["error_code"] == "blocked_channel_inactive"


def test_work_is_never_sent_whatever_its_status_says(worker: Worker, db: psycopg.Connection) -> None:
    work = {"event_type_code": "task", "source_type_code": "manual", "channel_code": "email"}
    plain = insert_jtd(db, **work)
    forged = insert_jtd(db, status_code="queued", **work)
    for jtd_id in (plain, forged):
        send_id(db, "jtd_email", jtd_id)
    assert worker.claim() == []
    assert queue_content(db, "jtd_email") == []
    assert discards(db) == {"not_a_message": 2}
    assert [whereabouts(db, jtd_id).status for jtd_id in (plain, forged)] == ["created", "queued"]
    assert len(history(db, plain)) == len(history(db, forged)) == 1


UNUSABLE: list[Any] = [
    {},
    {"jtd_id": None},
    {"jtd_id": "no uuid"},
    {"jtd_id": ""},
    {"jtd_id": 17},
    {"jtd_id": ["10000000-0000-0000-0000-000000000001"]},
    {"jtd_id": {"id": 1}},
    {"jtd_id": "10000000-0000-0000-0000-000000000001 "},
    {"jtd_id": "'; DROP TABLE n_jtd; --"},
    {"jtd_id": "f" * 1_000_000},
    ["10000000-0000-0000-0000-000000000001"],
    [],
    "10000000-0000-0000-0000-000000000001",
    3.5,
    True,
    None,
]


def test_messages_without_a_usable_id_become_dead_letters_and_delay_nobody(
    either: Worker, db: psycopg.Connection
) -> None:
    for body in UNUSABLE:
        send(db, "jtd_email", body)
    db.execute("INSERT INTO pgmq.q_jtd_email (vt, message) VALUES (now(), NULL)")
    jtd_id = insert_jtd(db)
    assert [job.id for job in either.claim()] == [jtd_id]
    assert messages(db, "jtd_email") == [jtd_id]
    letters = db.execute(
        "SELECT message ->> 'queue', message ->> 'reason', (message -> 'msg_id')::bigint, message -> 'body'"
        " FROM pgmq.q_jtd_dlq ORDER BY 3"
    ).fetchall()
    reason = "no usable jtd_id in the message"
    assert letters == [("jtd_email", reason, n, body) for n, body in enumerate([*UNUSABLE, None], start=1)]
    assert discards(db) == {"unusable": len(UNUSABLE) + 1}


def test_an_id_in_capitals_names_the_job_all_the_same(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute("DELETE FROM pgmq.q_jtd_email")
    send(db, "jtd_email", {"jtd_id": str(jtd_id).upper(), "more": "ignored"})
    assert worker.claim_one().id == jtd_id


# Many at once


def test_two_messages_for_one_job_in_one_batch_are_one_claim(either: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    send_id(db, "jtd_email", jtd_id)
    send_id(db, "jtd_email", jtd_id)
    assert claim_effect(either, jtd_id) == Effect(
        True, "executing", "in_flight", ["jtd_email"], {"duplicate": 2}, [("queued", "executing")]
    )
    assert either.settle(result(one_claimed(db), "sent")) == ["applied"]
    assert queue_content(db, "jtd_email") == []


def one_claimed(db: psycopg.Connection) -> Any:
    """Return (id, attempt) of the only job in flight."""

    class InFlight(NamedTuple):
        id: UUID
        attempt: int

    [found] = db.execute("SELECT jtd_id, attempt FROM jtd.inflight").fetchall()
    return InFlight(*found)


def test_a_duplicate_in_a_later_batch_is_left_while_the_job_executes_and_deleted_after(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    job = worker.claim_one()
    send_id(db, "jtd_email", jtd_id)
    assert worker.claim() == []
    assert len(queue_content(db, "jtd_email")) == 2
    worker.settle(result(job, "sent"))
    db.execute("UPDATE pgmq.q_jtd_email SET vt = clock_timestamp()")
    assert worker.claim() == []
    assert queue_content(db, "jtd_email") == []
    assert discards(db) == {"settled": 1}


def test_one_claim_deals_with_every_kind_of_message(either: Worker, db: psycopg.Connection) -> None:
    good = insert_many(db, 5)
    early = insert_jtd(db, scheduled_at="tomorrow")
    gone, foreign = uuid4(), insert_jtd(db, channel_code="inapp", recipient_id=USER, template_key=None)
    sent = insert_jtd(db, status_code="sent")
    for jtd_id in (early, gone, foreign, sent, good[0]):
        send_id(db, "jtd_email", jtd_id)
    send(db, "jtd_email", "garbage")
    assert {job.id for job in either.claim()} == set(good)
    assert discards(db) == {
        "absent": 1, "duplicate": 1, "early": 1, "misplaced": 1, "settled": 1, "unusable": 1
    }  # fmt: skip
    assert sorted(messages(db, "jtd_email")) == good
    assert set(messages(db, "jtd_inapp")) == {foreign}


def test_a_claim_takes_no_more_than_its_limit(worker: Worker, db: psycopg.Connection) -> None:
    ids = insert_many(db, 7)
    assert [job.id for job in sorted(worker.claim(limit=3))] == ids[:3]
    assert len(worker.claim(limit=100)) == 4
    assert worker.claim() == []


def test_workers_that_claim_at_the_same_time_share_without_overlap(dsn: str, db: psycopg.Connection) -> None:
    ids = insert_many(db, 600)

    def drain() -> list[UUID]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            mine, worker = [], Worker(conn)
            while jobs := worker.claim(limit=20):
                mine += [job.id for job in jobs]
            return mine

    with ThreadPoolExecutor(3) as pool:
        shares = [pool.submit(drain) for _ in range(3)]
        claimed = [jtd_id for share in shares for jtd_id in share.result(DEADLINE)]
    assert sorted(claimed) == ids
    assert one(db, "SELECT count(*) FROM public.n_jtd WHERE attempt <> 1") == 0


# Rows that change under the claim


def test_a_job_that_somebody_holds_delays_only_itself(
    either: Worker, dsn: str, db: psycopg.Connection
) -> None:
    ids = insert_many(db, 3)
    with locked(dsn, ids[1]):
        assert {job.id for job in either.claim()} == {ids[0], ids[2]}
        assert discards(db) == {"locked": 1}
        hidden_for = {message.jtd_id: message.hidden_for for message in queue_content(db, "jtd_email")}
        assert 1 < hidden_for[ids[1]] <= 2
        assert whereabouts(db, ids[1]).place == "queued"
    db.execute(
        "UPDATE pgmq.q_jtd_email SET vt = clock_timestamp() WHERE vt < clock_timestamp() + interval '2 s'"
    )
    assert either.claim_one().id == ids[1]


def test_a_job_committed_between_the_read_and_the_look_is_claimed(
    either: Worker, dsn: str, db: psycopg.Connection
) -> None:
    jtd_id = uuid4()
    either.claim()  # so that the next claim meets its own entry among the sleepers, and waits for us there
    send_id(db, "jtd_email", jtd_id)
    with psycopg.connect(dsn) as producer, ThreadPoolExecutor(1) as pool:
        producer.execute("SELECT FROM jtd.sleepers FOR UPDATE")
        claim = pool.submit(either.claim)
        wait_until_blocked(db, either.db.info.backend_pid)
        insert_jtd(producer, id=jtd_id)
        producer.commit()
        assert [job.id for job in claim.result(DEADLINE)] == [jtd_id]
    assert "absent" not in discards(db)


def test_a_job_cancelled_between_the_read_and_the_look_is_not_claimed(
    either: Worker, dsn: str, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    db.execute("INSERT INTO jtd.sleepers VALUES ('jtd_email', %s)", [either.id])
    with psycopg.connect(dsn) as user, ThreadPoolExecutor(1) as pool:
        user.execute("SELECT FROM jtd.sleepers FOR UPDATE")
        claim = pool.submit(either.claim)
        wait_until_blocked(db, either.db.info.backend_pid)
        user.execute("UPDATE public.n_jtd SET status_code = 'cancelled' WHERE id = %s", [jtd_id])
        user.commit()
        assert claim.result(DEADLINE) == []
    assert whereabouts(db, jtd_id).status == "cancelled"
    assert discards(db) == {"settled": 1}


def test_an_attempt_that_ended_by_hand_does_not_stand_in_the_way_of_the_next(
    worker: Worker, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    first = worker.claim_one()
    worker.hand_off(first)
    move(db, jtd_id, "status_code = 'pending'")
    worker.tick()
    other = Worker(db)
    second = other.claim_one()
    assert (second.id, second.attempt) == (jtd_id, 2)
    held = db.execute("SELECT attempt, worker_id, handed_off_at, unknown_rule FROM jtd.inflight").fetchall()
    assert held == [(2, other.id, None, None)]
    assert worker.settle(result(first, "failed", code="x")) == ["late"]
    assert other.settle(result(second, "sent")) == ["applied"]


def test_a_job_that_takes_no_change_delays_only_itself_and_says_why(
    either: Worker, db: psycopg.Connection
) -> None:
    ids = insert_many(db, 20)
    poison = ids[13]
    move(db, poison, "recipient_name = 'poison'")
    db.execute(
        "ALTER TABLE public.n_jtd ADD CONSTRAINT no_poison CHECK (recipient_name <> 'poison') NOT VALID"
    )
    claimed: list[UUID] = []
    while jobs := either.claim():
        claimed += [job.id for job in jobs]
    assert sorted([*claimed, poison]) == ids
    assert discards(db) == {"refused": 1}
    last = db.execute(
        "SELECT action, reason FROM public.n_jtd_history WHERE jtd_id = %s ORDER BY id DESC LIMIT 1", [poison]
    ).fetchall()
    assert last[0][0] == "note"
    assert "no_poison" in last[0][1]
    hidden_for = {message.jtd_id: message.hidden_for for message in queue_content(db, "jtd_email")}
    assert hidden_for[poison] > 3500
    assert whereabouts(db, poison).place == "queued"


def test_a_job_whose_worker_was_lost_with_it_is_claimed_alone(worker: Worker, db: psycopg.Connection) -> None:
    [victim] = insert_many(db, 1)
    dead = Worker(db)
    dead.hand_off(dead.claim_one(), rule="resend")
    dead.lapse()
    worker.age()
    worker.tick()
    move(db, victim, "next_retry_at = now() - interval '1 s'")
    ids = insert_many(db, 5)
    worker.tick()
    assert len(queue_content(db, "jtd_email")) == 6
    batches = [{job.id for job in worker.claim()} for _ in range(2)]
    assert batches in ([{victim}, set(ids)], [set(ids), {victim}])


def test_a_job_is_claimed_alone_once_two_workers_were_lost_before_a_hand_off(
    worker: Worker, db: psycopg.Connection
) -> None:
    lost = insert_many(db, 3, max_retries=0)
    for _ in range(2):
        dead = Worker(db)
        worker.age()
        assert sorted(job.id for job in dead.claim()) == lost  # the first time they may have been unlucky
        dead.lapse()
        assert worker.tick()["reclaimed"] == 3
    fine = insert_many(db, 5)
    first = worker.claim_one()
    assert first.id in lost
    assert sorted(job.id for job in worker.claim()) == fine  # what is above suspicion goes beside it
    for _ in range(2):
        assert worker.claim() == []  # but no other suspect, whose attempt it could cost
        assert worker.settle(result(first, "sent")) == ["applied"]
        wait_until(db, "SELECT count(*) > 0 FROM pgmq.q_jtd_email WHERE vt <= clock_timestamp()")
        first = worker.claim_one()
        assert first.id in lost
    assert all(message.hidden_for > 5 for message in queue_content(db, "jtd_email"))


def test_a_job_that_takes_a_third_worker_with_it_ends(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, max_retries=0)
    for _ in range(3):
        dead = Worker(db)
        worker.age()
        dead.claim_one()
        dead.lapse()
        worker.tick()
    found = row(db, jtd_id)
    assert (found["status_code"], found["error_code"]) == ("failed", "worker_lost")
    assert found["completed_at"] is not None
    assert whereabouts(db, jtd_id).place == "final"


# When a claim is refused or idle


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_claim_refuses_any_isolation_but_read_committed(worker: Worker, level: str) -> None:
    worker.db.execute(f"SET default_transaction_isolation = '{level}'".encode())
    with pytest.raises(psycopg.Error, match=level) as caught:
        worker.claim()
    assert caught.value.sqlstate == "JT031"


def test_a_claim_is_refused_once_the_lease_is_over(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    worker.lapse()
    with pytest.raises(psycopg.Error, match="lease") as caught:
        worker.claim()
    assert caught.value.sqlstate == "JT030"
    assert whereabouts(db, jtd_id).place == "queued"
    assert queue_content(db, "jtd_email")[0].hidden_for == 0
    assert one(db, "SELECT jtd.renew_v1(%s)", worker.id) is True
    assert worker.claim_one().id == jtd_id


def test_a_worker_that_never_registered_claims_nothing(worker: Worker) -> None:
    worker.id = uuid4()
    with pytest.raises(psycopg.Error) as caught:
        worker.claim()
    assert caught.value.sqlstate == "JT030"


def test_nothing_is_claimed_from_a_paused_channel(worker: Worker, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute("UPDATE public.n_jtd_channels SET is_paused = true WHERE code = 'email'")
    assert worker.claim() == []
    assert queue_content(db, "jtd_email")[0].hidden_for == 0
    assert one(db, "SELECT count(*) FROM jtd.sleepers") == 0
    db.execute("UPDATE public.n_jtd_channels SET is_paused = false WHERE code = 'email'")
    assert worker.claim_one().id == jtd_id


def test_an_unknown_queue_gives_nothing(worker: Worker) -> None:
    assert worker.claim("jtd_pigeon") == []


def test_an_empty_queue_makes_a_sleeper_and_work_wakes_it(worker: Worker, db: psycopg.Connection) -> None:
    for _ in range(2):
        assert worker.claim() == []
        assert db.execute("SELECT queue_name, worker_id FROM jtd.sleepers").fetchall() == [
            ("jtd_email", worker.id)
        ]
    insert_jtd(db)
    worker.claim_one()
    assert one(db, "SELECT count(*) FROM jtd.sleepers") == 0


def test_only_a_sleeper_is_notified(worker: Worker, dsn: str, db: psycopg.Connection) -> None:
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN jtd_wake")
        insert_jtd(db, recipient_contact="first@example.com")  # nobody sleeps: nobody is told
        worker.claim_one()
        worker.claim()
        insert_jtd(db)
        [told] = listener.notifies(timeout=DEADLINE, stop_after=1)
        assert (told.channel, told.payload) == ("jtd_wake", "jtd_email")
        assert list(listener.notifies(timeout=0)) == []


# Test mode


@pytest.mark.parametrize("is_live", [True, False])
def test_a_test_row_is_diverted(either: Worker, db: psycopg.Connection, is_live: bool) -> None:
    insert_jtd(db, is_live=is_live)
    assert either.claim_one().is_diverted is not is_live


# Templates


def add_template(db: psycopg.Connection, **columns: Any) -> UUID:
    given = {
        "template_key": "k",
        "name": "k",
        "channel_code": "email",
        "subject": "s",
        "content": "c",
        "tenant_id": None,
        "source_type_code": None,
        "is_live": None,
        "locale": None,
        "version": 1,
    } | columns
    names, marks = ", ".join(given), ", ".join(["%s"] * len(given))
    found: UUID = one(
        db, f"INSERT INTO public.n_jtd_templates ({names}) VALUES ({marks}) RETURNING id", *given.values()
    )
    return found


def chosen_template(worker: Worker, **columns: Any) -> tuple[UUID | None, int | None]:
    """Claim a new job and return which template it got; the row must say the same."""
    insert_jtd(worker.db, **columns)
    job = worker.claim_one()
    stored = row(worker.db, job.id)
    assert stored["template_version"] == job.template_version
    worker.settle(result(job, "sent"))
    return job.template_id, job.template_version


def test_templates_are_chosen_in_a_total_order(worker: Worker, db: psycopg.Connection) -> None:
    candidates = [
        add_template(db, tenant_id=tenant, is_live=is_live, locale=locale, version=version)
        for tenant in (TENANT, None)
        for is_live in (True, None)
        for locale in ("de-AT", None)
        for version in (2, 1)
    ]
    for other in (
        {"tenant_id": OTHER_TENANT},
        {"is_live": False},
        {"locale": "fr"},
        {"channel_code": "sms"},
        {"template_key": "K"},
    ):
        add_template(db, **{"tenant_id": TENANT, "version": 9, **other})
    found = []
    for _ in candidates:
        template_id, _ = chosen_template(worker, template_key="k", locale="de-AT")
        assert template_id is not None
        found.append(template_id)
        db.execute("UPDATE public.n_jtd_templates SET is_active = false WHERE id = %s", [template_id])
    assert found == candidates
    assert chosen_template(worker, template_key="k", locale="de-AT") == (None, None)


def test_a_template_id_goes_before_a_key(worker: Worker, db: psycopg.Connection) -> None:
    named = add_template(db, template_key="other", version=4)
    add_template(db)
    assert chosen_template(worker, template_id=named, template_key="k") == (named, 4)


@pytest.mark.parametrize("columns", [{"tenant_id": OTHER_TENANT}, {"tenant_id": TENANT, "is_active": False}])
def test_a_template_id_of_somebody_else_or_out_of_use_is_refused(
    worker: Worker, db: psycopg.Connection, columns: dict[str, Any]
) -> None:
    refused = add_template(db, **columns)
    add_template(db)
    assert chosen_template(worker, template_id=refused, template_key="k") == (None, None)


def test_a_system_template_and_ones_own_may_be_named_by_id(worker: Worker, db: psycopg.Connection) -> None:
    for tenant in (None, TENANT):
        named = add_template(db, tenant_id=tenant)
        assert chosen_template(worker, template_id=named) == (named, 1)


def test_without_id_and_key_the_source_type_decides(worker: Worker, db: psycopg.Connection) -> None:
    mine = add_template(db, source_type_code="payment_received", tenant_id=TENANT)
    assert chosen_template(worker, source_type_code="payment_received", template_key=None) == (mine, 1)


def test_a_key_that_is_not_found_is_not_replaced_by_the_source_types_template(
    worker: Worker, db: psycopg.Connection
) -> None:
    assert chosen_template(worker, template_key="nowhere") == (None, None)


def test_the_tenants_locale_serves_rows_that_name_none(worker: Worker, db: psycopg.Connection) -> None:
    german = add_template(db, locale="de")
    plain = add_template(db)
    db.execute(
        "INSERT INTO n_jtd_tenant_config (tenant_id, locale, channels_enabled)"
        " VALUES (%s, 'de', '{\"email\": true}')",
        [TENANT],
    )
    assert chosen_template(worker, template_key="k") == (german, 1)
    assert chosen_template(worker, template_key="k", locale="en") == (plain, 1)
    assert one(db, "SELECT array_agg(locale ORDER BY id) FROM public.n_jtd") == ["de", "en"]


def test_a_retry_keeps_the_template_the_version_and_the_locale_of_its_first_attempt(
    worker: Worker, db: psycopg.Connection
) -> None:
    template = add_template(db)
    jtd_id = insert_jtd(db, template_key="k", locale="de")
    first = worker.claim_one()
    worker.settle(result(first, "retry", code="later"))
    db.execute(
        "UPDATE public.n_jtd_templates SET content = 'new', is_active = false WHERE id = %s", [template]
    )
    add_template(db, tenant_id=TENANT, locale="de", version=7)
    move(db, jtd_id, "next_retry_at = NULL")
    worker.tick()
    second = worker.claim_one()
    assert (second.attempt, second.template_id, second.template_version) == (2, template, 1)
    assert second.locale == "de"
    [text] = db.execute(
        "SELECT content FROM jtd.templates_v1(%s, %s)", [[template], [second.template_version]]
    ).fetchall()
    assert text == ("c",)


def test_templates_are_given_at_the_version_asked_for_and_none_that_is_nowhere(
    worker: Worker, db: psycopg.Connection
) -> None:
    template = add_template(db, variables=Jsonb(["a"]))
    db.execute("DELETE FROM public.n_jtd_templates WHERE template_key LIKE 'layout%'")
    layout = add_template(db, template_key="layout_base", content="L", content_html="<L>")
    db.execute("UPDATE public.n_jtd_templates SET content = 'c2' WHERE id = %s", [template])
    rows = db.execute(
        "SELECT id, version, template_key, channel_code, subject, content, variables, layouts"
        " FROM jtd.templates_v1(%s, %s) ORDER BY version",
        [[template, template, template, uuid4()], [1, 2, 3, 1]],
    ).fetchall()
    layouts = {"layout_base": {"content": "L", "content_html": "<L>"}}
    assert rows == [
        (template, version, "k", "email", "s", content, ["a"], layouts)
        for version, content in ((1, "c"), (2, "c2"))
    ]
    assert layout not in {found[0] for found in rows}


# One session, many claims


def test_the_seventh_claim_of_a_session_is_as_right_as_the_first(dsn: str, db: psycopg.Connection) -> None:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as conn:
        worker = Worker(conn)
        for _ in range(12):  # after five a plan that knows no parameter may be used
            ids = insert_many(db, 4)
            db.execute("ANALYZE public.n_jtd")
            jobs = worker.claim(limit=4)
            assert sorted(job.id for job in jobs) == ids
            assert worker.settle(*(result(job, "sent") for job in jobs)) == ["applied"] * 4
    steps = {tuple(history(db, jtd_id)) for jtd_id in ids}
    assert len(steps) == 1
    assert next(iter(steps))[-2:] == (
        Step("status_changed", "queued", "executing", True),
        Step("status_changed", "executing", "sent", True),
    )
