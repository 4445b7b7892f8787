"""Whatever workers, producers, operators and chance do, the SQL functions do what a plain model says.

A state machine takes random steps on a real database and compares it with tests/model.py after each one. To
search longer, with new seeds, until a failure is found or the time is over:

    python -m tests.test_model MINUTES [FIRST_SEED]
"""

import itertools
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from jtd_worker.migrate import migrate
from tests import model
from tests.jobs import OTHER_TENANT, TENANT, USER, history, insert_jtd, one, row, whereabouts
from tests.model import PROVIDERS, Attempt, Job, Result
from tests.postgres import Databases, server
from tests.worker_calls import DEADLINE, Worker, move, no_triggers, result, send, send_id, wait_until

QUEUES = ["jtd_email", "jtd_email_urgent", "jtd_inapp", "jtd_inapp_urgent"]
SOON, NEVER = "2100-01-01Z", "2200-01-01Z"
LEASE = 3600
ROOMY = 1000
"""The target depth at which a queue takes whatever the machine makes."""
OPEN = "UPDATE jtd.queues SET closes_at = 1000000"
"""Queues that producers may fill between ticks: what closes them for everybody is not the model's."""
MANY_JOBS = 3
ROUNDS = 10
"""Days in which a worker that always sends must have ended every job."""
RARELY: st.SearchStrategy[bool] = st.sampled_from([False, False, False, True])
SETTINGS = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    # an example is half a hundred steps in a database, by design
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TABLES = (
    "public.n_jtd, public.n_jtd_history, public.n_inapp_notifications, public.n_jtd_outbox, jtd.waiting,"
    " jtd.ready, jtd.inflight, jtd.workers, jtd.windows, jtd.sleepers, jtd.attention, jtd.discards,"
    " jtd.counts, jtd.arrivals"
)
STATE = """
    SELECT j.id, j.status_code AS status, j.attempt, j.retry_count, j.error_code AS error,
        j.completed_at IS NOT NULL AS is_final, j.execution_result ->> 'bound_to' AS bound_to,
        f.attempt AS held, f.worker_id AS holder, f.provider, f.handed_off_at IS NOT NULL AS is_handed_off,
        f.unknown_rule, a.jtd_id IS NOT NULL AS needs_attention,
        CASE WHEN p.place IN ('waiting', 'ready') THEN 'listed' ELSE p.place END AS place,
        num_nonnulls(w.jtd_id, r.jtd_id) AS lists,
        (SELECT count(*) FROM jtd.inflight) - count(f.jtd_id) OVER () AS strays,
        (SELECT count(*) FROM public.n_inapp_notifications AS n WHERE n.source_jtd_id = j.id)
            + (SELECT count(*) FROM public.n_jtd_outbox AS o WHERE o.jtd_id = j.id) AS written
    FROM public.n_jtd AS j
    JOIN jtd.whereabouts() AS p ON p.id = j.id
    LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id
    LEFT JOIN jtd.waiting AS w ON w.jtd_id = j.id
    LEFT JOIN jtd.ready AS r ON r.jtd_id = j.id
    LEFT JOIN jtd.attention AS a ON a.jtd_id = j.id
"""
COUNTS = """
    SELECT coalesce(jsonb_object_agg(c.status_code, c.jobs), '{}') FROM (
        SELECT status_code, sum(jobs) AS jobs FROM jtd.counts
        WHERE status_code <> 'created'  -- what was made while triggers were off was not counted as such
        GROUP BY status_code HAVING sum(jobs) <> 0) AS c
"""
PLACES = {
    "pending": "listed",
    "scheduled": "listed",
    "queued": "queued",
    "executing": "in_flight",
    "sent": "sent",
    **dict.fromkeys(model.FINAL, "final"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a producer wants; times in days from now."""

    max_retries: int
    priority: int | None
    scheduled: float | None
    expires: float | None
    channel: str
    is_live: bool
    is_reminder: bool
    is_other_tenant: bool
    has_triggers: bool
    """Whether the triggers are on."""


PLANS = st.builds(
    Plan,
    max_retries=st.sampled_from([2, 1, 0, 2]),
    priority=st.sampled_from([None, None, 9, 1]),
    scheduled=st.sampled_from([None] * 6 + [0.5, 1.5]),
    expires=st.sampled_from([None] * 6 + [0.5, 1.5]),
    channel=st.sampled_from(["email"] * 5 + ["inapp"]),
    is_live=st.sampled_from([True] * 7 + [False]),
    is_reminder=st.booleans(),
    is_other_tenant=st.booleans(),
    has_triggers=st.sampled_from([True] * 6 + [False]),
)


class Machine(RuleBasedStateMachine):
    """Random lives of a few jobs under three workers."""

    def __init__(self, db: psycopg.Connection) -> None:
        super().__init__()
        self.db = db
        self.now = 0.0
        self.jobs: list[Job] = []
        self.attempts: list[Attempt] = []
        self.workers: list[Worker] = []
        self.alive: set[UUID] = set()
        self.long_connected: set[UUID] = set()
        self.read_to = 0
        self.trail: dict[UUID, str] = {}
        self.said: dict[UUID, Counter[str]] = {}

    @initialize(plans=st.lists(PLANS, min_size=1, max_size=2))
    def begin(self, plans: list[Plan]) -> None:
        for table in TABLES.split(", "):
            self.db.execute(f"DELETE FROM {table}".encode())
        for queue in [*QUEUES, "jtd_dlq"]:
            self.db.execute(f"DELETE FROM pgmq.q_{queue}".encode())
        self.db.execute(
            OPEN + ", depth = 0, last_msg_id = jtd.last_msg_id(queue_name), measured_at = '-infinity'"
        )
        # no statistics, no change of plan: an example takes the same way again
        for table in ("public.n_jtd", "jtd.waiting", "jtd.ready"):
            self.db.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        self.read_to = one(self.db, "SELECT coalesce(max(id), 0) FROM public.n_jtd_history")
        for _ in range(3):
            self.workers.append(worker := Worker(self.db, lease=LEASE))
            self.revive(worker)
            self.long_connected.add(worker.id)
        self.let_all_be_long_connected()
        wait_until(self.db, "SELECT clock_timestamp() - pg_postmaster_start_time() > interval '1 s'")
        for plan in plans:
            self.insert(plan)

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        getattr(self, data.draw(weighted(self.possible()), label="what"))(data)

    def possible(self) -> dict[str, int]:
        """Return what can be done, with weights: what workers do in the usual order is the likeliest.

        Not one rule for each, of which an example would take part in a random half: it takes most of these to
        bring about a late result.
        """
        unfinished = self.unfinished()
        states = {job.status for job in self.jobs}
        return {
            "claim": (16 if "queued" in states else 1) if self.alive else 0,
            "carry": 8 if "queued" in states and self.alive else 0,
            "hand_off": 16 if self.sendable() else 0,
            "settle": 10 if self.open() else 0,
            "settle_late_or_again": 4 if self.settled() else 0,
            "forget": 3 if any(not attempt.is_known for attempt in self.held()) else 0,
            "tick": 10,
            "pass_a_day": 10 if states & {"pending", "scheduled"} else 2,
            "lose_a_worker": (10 if self.held() else 1) if self.alive else 0,
            "come_back": 6 if len(self.alive) < len(self.workers) else 0,
            "enqueue": 0 if len(unfinished) >= MANY_JOBS else 2 if unfinished else 20,
            "cancel": 4 if "executing" in states else 1,
            "retry": 8 if "failed" in states else 0,
            "resolve": 6 if "failed" in states else 0,
            "meddle": 4,
        }

    # What producers do

    def enqueue(self, data: st.DataObject) -> None:
        self.insert(data.draw(PLANS))

    def insert(self, plan: Plan) -> None:
        columns = {
            "id": UUID(int=len(self.jobs) + 1),  # in order, as the true ones
            "tenant_id": OTHER_TENANT if plan.is_other_tenant else TENANT,
            "channel_code": plan.channel,
            "recipient_id": USER,
            "max_retries": plan.max_retries,
            "priority": plan.priority,
            "is_live": plan.is_live,
            "scheduled_at": self.moment(plan.scheduled),
            "expires_at": self.moment(plan.expires),
        }
        if plan.is_reminder:
            columns |= {"event_type_code": "reminder", "source_type_code": "payment_due"}
        with nullcontext() if plan.has_triggers else no_triggers(self.db):
            jtd_id = insert_jtd(self.db, **columns)
        job = Job(
            name=f"job {len(self.jobs) + 1}",
            id=jtd_id,
            channel=plan.channel,
            priority=plan.priority,
            default_priority=6 if plan.is_reminder else 5,
            max_retries=plan.max_retries,
            is_live=plan.is_live,
            scheduled=None if plan.scheduled is None else self.now + plan.scheduled,
            expires=None if plan.expires is None else self.now + plan.expires,
        )
        if plan.has_triggers:
            is_closed = self.is_closed(job)
            job.enter(self.now, is_closed=is_closed, supports_scheduling=plan.is_reminder)
        self.jobs.append(job)
        self.trail[job.id] = ""
        self.said[job.id] = Counter()

    def change_the_plan(self, data: st.DataObject) -> None:
        """Move its time, or its priority and so its lane."""
        job = data.draw(st.sampled_from(self.jobs))
        before = (job.scheduled, job.priority)
        waits = job.status in ("created", "pending", "scheduled")
        if waits and data.draw(st.booleans(), label="move its time"):
            scheduled = data.draw(st.sampled_from([None, 0.6]))
            move(self.db, job.id, f"scheduled_at = {'NULL' if scheduled is None else at(scheduled)}")
            job.scheduled = None if scheduled is None else self.now + scheduled
        else:
            job.priority = data.draw(st.sampled_from([9, 5]))
            move(self.db, job.id, f"priority = {job.priority}")
        if job.status == "created" and (job.scheduled, job.priority) != before:
            job.hasten(self.now, is_closed=self.is_closed(job))

    def delete(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.db.execute("DELETE FROM public.n_jtd WHERE id = %s", [job.id])
        job.status, job.held = "deleted", None

    # What workers do

    def claim(self, data: st.DataObject) -> None:
        worker = self.draw_worker(data, alive=True)
        queue, limit = self.draw_queue(data), data.draw(st.integers(1, 4), label="limit")
        begun = self.claim_from(worker, queue, limit)
        is_lost = bool(begun) and data.draw(RARELY, label="its answer is lost")
        for attempt in begun:
            attempt.is_known = not is_lost

    def claim_from(self, worker: Worker, queue: str, limit: int) -> list[Attempt]:
        rows = self.db.execute(
            f"SELECT jtd.message_id(message) FROM pgmq.q_{queue} WHERE vt <= clock_timestamp()"
            f" ORDER BY msg_id LIMIT {limit}".encode()
        ).fetchall()
        named = {jtd_id for (jtd_id,) in rows}
        batch = [job for job in self.jobs if job.id in named and job.status != "deleted"]
        closed = {job for job in batch if self.is_closed(job)}
        claimed = worker.claim(queue, limit)
        begun = model.claim(batch, queue, worker.id, self.held(), closed, self.now)
        note(f"claimed {begun} of {batch}")
        found = sorted((job.id, job.attempt, job.bound_to, job.is_diverted) for job in claimed)
        expected = sorted((a.id, a.number, a.bound_to, not a.job.is_live) for a in begun)
        assert found == expected, "the claim takes what it should"
        self.attempts += begun
        # what was put back for a moment is there again, however fast this goes
        soon = "vt < clock_timestamp() + interval '1 s'"
        self.db.execute(f"UPDATE pgmq.q_{queue} SET vt = clock_timestamp() WHERE {soon}".encode())
        return begun

    def carry(self, data: st.DataObject) -> None:
        """Carry jobs through, as a worker does to which nothing happens."""
        begun = self.claim_from(self.draw_worker(data, alive=True), self.draw_queue(data), 2)
        for attempt in begun:
            if not attempt.job.is_written_here:
                self.draw_hand_off(data, attempt)
        if begun:
            self.report([self.draw_result(data, attempt) for attempt in begun])

    def hand_off(self, data: st.DataObject) -> None:
        self.draw_hand_off(data, data.draw(st.sampled_from(self.sendable())))

    def draw_hand_off(self, data: st.DataObject, attempt: Attempt) -> None:
        provider = attempt.bound_to or data.draw(st.sampled_from(list(PROVIDERS)), label="provider")
        self.hand_over(attempt, provider, left=data.draw(st.booleans(), label="it takes it"))

    def hand_over(self, attempt: Attempt, provider: str, *, left: bool) -> bool:
        job, worker = attempt.job, self.worker(attempt.worker)
        may = job.may_be_handed_off(attempt, self.now) and worker.id in self.alive
        went = worker.hand_off(attempt, rule=PROVIDERS[provider], provider=provider)
        note(f"{attempt} to {provider}: {'goes' if may else 'stays'}")
        assert went == ({attempt.id} if may else set()), "what may go is handed off"
        if may:
            attempt.provider = provider
            if left:
                attempt.left = True
                job.copies.append(provider)
        return may

    def settle(self, data: st.DataObject) -> None:
        self.report(self.draw_results(data, self.open()))

    def settle_late_or_again(self, data: st.DataObject) -> None:
        """Results that come back after an outage, in any order, of any attempt, some twice."""
        results = self.draw_results(data, self.settled() + self.open())
        if data.draw(st.booleans(), label="the first one twice"):
            results.append(results[0])
        self.report(results)

    def draw_results(self, data: st.DataObject, attempts: Sequence[Attempt]) -> list[Result]:
        """Return results that one worker reports in one call."""
        some = data.draw(st.lists(st.sampled_from(attempts), min_size=1, max_size=3, unique=True))
        return [self.draw_result(data, attempt) for attempt in some if attempt.worker == some[0].worker]

    def draw_result(self, data: st.DataObject, attempt: Attempt) -> Result:
        """Return a result that tells the truth, or admits that nobody knows."""
        provider = attempt.provider
        if attempt.left:
            outcomes = ["unknown", "sent"]
        elif provider is not None:
            outcomes = ["unknown", "retry", "snooze", "failed", "release"]
        else:
            outcomes = ["release", "snooze", "failed", "blocked"]
            outcomes += ["sent"] * 4 if attempt.job.is_written_here else ["retry", "unknown"]
            provider = attempt.bound_to or data.draw(st.sampled_from(list(PROVIDERS)), label="provider")
        outcome = data.draw(st.sampled_from(outcomes), label=f"outcome of {attempt}")
        delay = data.draw(st.sampled_from([0, 0.001, 1.3])) if outcome in ("snooze", "retry") else 0
        is_written = outcome == "sent" and attempt.job.is_written_here
        return Result(of=attempt, outcome=outcome, provider=provider, delay=delay, is_written=is_written)

    def report(self, results: Sequence[Result]) -> None:
        note(f"{[(result.of, result.outcome) for result in results]}")
        rows = self.db.execute(
            "SELECT id, attempt, answer FROM jtd.settle_v1(%s, %s)",
            [results[0].of.worker, Jsonb([document(result) for result in results])],
        ).fetchall()
        answers = model.settle(results, self.now)
        expected = [
            (result.of.id, result.of.number, answer) for result, answer in zip(results, answers, strict=True)
        ]
        assert sorted(rows) == sorted(expected), "each result has its answer"
        for reported in results:
            reported.of.is_settled = True

    def tick(self, data: st.DataObject) -> None:
        is_alive = bool(self.alive) and not data.draw(RARELY, label="by one whose lease is over")
        old = [n for n, worker in enumerate(self.workers) if worker.id in self.long_connected]
        everybody = len(self.alive) == len(self.workers)
        worker = self.draw_worker(data, alive=is_alive or everybody, rather=old)
        depth = data.draw(st.sampled_from([ROOMY, ROOMY, ROOMY, 1]), label="target depth")
        self.tick_by(worker, depth, sweeps=data.draw(RARELY, label="a sweep is due"))

    def tick_by(self, worker: Worker, depth: int = ROOMY, *, sweeps: bool = True) -> None:
        self.db.execute("UPDATE jtd.queues SET target_depth = %s, depth = 0", [depth])
        self.db.execute(
            "UPDATE jtd.sweeps SET began_at = %s, ended_at = %s, compared_at = %s",
            [NEVER, None if sweeps else NEVER, NEVER],
        )
        # a claim hides messages by the lease; nobody is judged dead before the server has been up for one
        self.db.execute("UPDATE jtd.workers SET lease_seconds = 1")
        said = worker.tick(*QUEUES)
        self.db.execute(OPEN)
        self.db.execute("UPDATE jtd.workers SET lease_seconds = %s", [LEASE])
        reclaimed = 0
        if worker.id in self.alive & self.long_connected:
            for job in self.jobs:
                if job.held is not None and job.held.worker not in self.alive:
                    reclaimed += job.reclaim(self.now)
        assert said["reclaimed"] == reclaimed
        rows = self.db.execute("SELECT id FROM public.n_jtd WHERE status_code IN ('queued', 'expired')")
        admitted = {jtd_id for (jtd_id,) in rows}
        for job in self.jobs:
            if sweeps and job.is_lost:
                job.mend(self.now, is_closed=self.is_closed(job))
            job.tick(self.now, is_admitted=depth == ROOMY or job.id in admitted)

    def lose_a_worker(self, data: st.DataObject) -> None:
        busy = [n for n, worker in enumerate(self.workers) if any(a.worker == worker.id for a in self.held())]
        worker = self.draw_worker(data, alive=True, rather=busy)
        how = data.draw(st.sampled_from(["1 s", "2 minutes", "leaves"]), label="how")
        if how == "leaves":
            self.db.execute("SELECT jtd.leave_v1(%s)", [worker.id])
        else:
            self.db.execute(
                "UPDATE jtd.workers SET lease_until = clock_timestamp() - %s::interval WHERE id = %s",
                [how, worker.id],
            )
        self.alive.discard(worker.id)

    def come_back(self, data: st.DataObject) -> None:
        worker = self.draw_worker(data, alive=False)
        if not one(self.db, "SELECT jtd.renew_v1(%s)", worker.id):
            worker.register()
        self.long_connected.discard(worker.id)
        self.revive(worker)

    def forget(self, data: st.DataObject) -> None:
        """A worker gives back what it holds without knowing it."""
        worker = self.workers[data.draw(st.sampled_from(range(len(self.workers))), label="worker")]
        knows = [a for a in self.open() if a.worker == worker.id]
        given_back = one(
            self.db,
            "SELECT jtd.forget_v1(%s, %s, %s)",
            worker.id,
            [a.id for a in knows],
            [a.number for a in knows],
        )
        expected = 0
        for job in self.jobs:
            if job.held is not None and job.held.worker == worker.id and job.held not in knows:
                expected += job.reclaim(self.now)
        assert given_back == expected

    # What operators do

    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(self.mostly("executing"))
        assert one(self.db, "SELECT jtd.cancel(%s)", job.id) == job.cancel()

    def retry(self, data: st.DataObject) -> None:
        job, resend = data.draw(self.mostly("failed")), data.draw(st.booleans(), label="resend")
        assert one(self.db, "SELECT jtd.retry(%s, %s)", job.id, resend) == job.retry(resend=resend)

    def resolve(self, data: st.DataObject) -> None:
        job = data.draw(self.mostly("failed"))
        # who says that it was sent has looked
        verdicts = ["resend", "fail", "sent"] if job.copies else ["resend", "fail"]
        verdict = data.draw(st.sampled_from(verdicts), label="verdict")
        assert one(self.db, "SELECT jtd.resolve(%s, %s)", job.id, verdict) == job.resolve(verdict)

    # What nobody does

    def pass_a_day(self, data: st.DataObject | None = None) -> None:
        day = days(1)
        with no_triggers(self.db):
            self.db.execute(
                f"UPDATE public.n_jtd SET scheduled_at = scheduled_at - {day},"
                f" expires_at = expires_at - {day}, next_retry_at = next_retry_at - {day}".encode()
            )
        self.db.execute(f"UPDATE jtd.waiting SET due = due - {day}".encode())
        for queue in QUEUES:
            self.db.execute(f"UPDATE pgmq.q_{queue} SET vt = vt - {day}".encode())
        self.let_all_be_long_connected()
        self.now += 1

    def meddle(self, data: st.DataObject) -> None:
        does = {
            "send_a_message": 4,
            "send_nonsense": 1,
            "purge": 2,
            "change_the_plan": 3,
            "delete": 1,
        }
        getattr(self, data.draw(weighted(does), label="how"))(data)

    def send_a_message(self, data: st.DataObject) -> None:
        """A duplicate, stale or forged one: that is, any."""
        job = data.draw(st.sampled_from(self.jobs))
        send_id(self.db, data.draw(st.sampled_from([job.queue, job.queue, *QUEUES]), label="queue"), job.id)
        job.has_message = True

    def send_nonsense(self, data: st.DataObject) -> None:
        queue = data.draw(st.sampled_from(QUEUES), label="queue")
        body: Any = data.draw(st.sampled_from([None, [], {"jtd_id": "x"}, {"jtd_id": str(UUID(int=99))}]))
        send(self.db, queue, body)

    def purge(self, data: st.DataObject) -> None:
        queue = data.draw(
            st.sampled_from(sorted({*QUEUES[:2], *(job.queue for job in self.jobs)})), label="queue"
        )
        self.db.execute("SELECT pgmq.purge_queue(%s)", [queue])
        rows = self.db.execute("SELECT jtd_id FROM jtd.queue_messages()")
        named = {jtd_id for (jtd_id,) in rows}
        for job in self.jobs:
            job.has_message = job.id in named

    # What holds at each moment

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self.each_job_is_as_the_model_says()
        self.the_audit_trail_is_unbroken()
        self.nothing_is_sent_twice_in_silence()

    def each_job_is_as_the_model_says(self) -> None:
        with self.db.cursor(row_factory=dict_row) as cursor:
            found = {row.pop("id"): row for row in cursor.execute(STATE)}
        there = [job for job in self.jobs if job.status != "deleted"]
        assert set(found) == {job.id for job in there}
        for job in there:
            row = found[job.id]
            assert row.pop("strays") == 0, "what is in flight is a job"
            assert row == state(job), f"{job}: {differences(row, state(job))}"

    def the_audit_trail_is_unbroken(self) -> None:
        rows = self.db.execute(
            "SELECT id, jtd_id, action, from_status_code, to_status_code, is_valid_transition"
            " FROM public.n_jtd_history WHERE id > %s ORDER BY id",
            [self.read_to],
        ).fetchall()
        for self.read_to, jtd_id, action, before, after, is_valid in rows:
            assert is_valid, (action, before, after)
            last = self.trail[jtd_id]
            # what was made while triggers were off may have no beginning
            assert before in ((last,) if last else (None, "created")), (action, last, before, after)
            self.trail[jtd_id] = after
            self.said[jtd_id][action] += 1
        for job in self.jobs:
            assert self.trail[job.id] == job.status or job.status in ("created", "deleted"), job
            said = self.said[job.id]
            for action in ("possible_duplicate", "resolved"):
                assert said[action] == job.remarks[action], (job, action)
            assert said["late_result"] + said["duplicate_known"] >= job.remarks["late"], job

    def nothing_is_sent_twice_in_silence(self) -> None:
        for job in self.jobs:
            said = self.said[job.id]
            assert job.copies_received <= 1 + said["possible_duplicate"], (job, job.copies)
            assert len(job.copies) <= 1 + (job.max_retries or 0) + job.manual, (job, job.copies)
            assert job.retry_count <= (job.max_retries or 0), job
            assert len(job.proofs) < 2 or said["duplicate_known"], (job, job.proofs)

    # The end

    def teardown(self) -> None:
        """Let days pass under a worker that always sends: every job must end."""
        if sys.exception() is not None or not self.workers:
            return
        note("the end")
        for worker in self.workers:
            worker.lapse()
        self.alive = set()
        self.workers.append(worker := Worker(self.db, lease=LEASE))
        self.revive(worker)
        for _ in range(ROUNDS):
            self.let_all_be_long_connected()
            self.tick_by(worker)
            for _ in range(10 * len(self.jobs)):
                readable: list[str] = one(self.db, "SELECT jtd.readable_queues(%s)", QUEUES)
                if not readable:
                    break
                for attempt in self.claim_from(worker, readable[0], 10):
                    self.send(attempt)
            self.all_is_as_it_must_be()
            if not self.unfinished():
                break
            self.pass_a_day()
        assert not self.unfinished(), "every job ends"
        self.the_counts_come_right(worker)

    def the_counts_come_right(self, worker: Worker) -> None:
        expected = Counter(job.status for job in self.jobs if job.status != "deleted")
        give_up = time.monotonic() + DEADLINE  # they wait for every older transaction of the server
        while (counted := one(self.db, COUNTS)) != expected:
            assert time.monotonic() < give_up, (counted, expected)
            self.tick_by(worker)

    def unfinished(self) -> list[Job]:
        """Return the jobs that something is still to be done for."""
        return [
            job for job in self.jobs if job.held or not (job.is_final or job.status in ("sent", "deleted"))
        ]

    def send(self, attempt: Attempt) -> None:
        if attempt.job.is_written_here:
            self.report([Result(of=attempt, outcome="sent", is_written=True)])
        elif self.hand_over(attempt, attempt.bound_to or "resend", left=True):
            self.report([Result(of=attempt, outcome="sent", provider=attempt.provider)])
        else:
            self.report([Result(of=attempt, outcome="release")])

    # What the rules draw from

    def worker(self, worker_id: UUID) -> Worker:
        [worker] = [worker for worker in self.workers if worker.id == worker_id]
        return worker

    def draw_worker(self, data: st.DataObject, *, alive: bool, rather: Sequence[int] = ()) -> Worker:
        numbers = [n for n, worker in enumerate(self.workers) if (worker.id in self.alive) is alive]
        liked = [n for n in numbers if n in rather]
        return self.workers[data.draw(st.sampled_from(liked * 4 + numbers), label="worker")]

    def draw_queue(self, data: st.DataObject) -> str:
        queues = [job.queue for job in self.jobs if job.status == "queued"] * 4
        return data.draw(st.sampled_from(QUEUES + queues), label="queue")

    def mostly(self, status: str) -> st.SearchStrategy[Job]:
        """Return jobs in this state, and now and then any."""
        there = [job for job in self.jobs if job.status == status]
        return st.sampled_from(there * 4 + self.jobs)

    def held(self) -> list[Attempt]:
        """Return the attempts in flight."""
        return [job.held for job in self.jobs if job.held is not None]

    def open(self) -> list[Attempt]:
        """Return the attempts that a worker has not settled, as far as it knows."""
        return [attempt for attempt in self.attempts if attempt.is_known and not attempt.is_settled]

    def settled(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.is_settled]

    def sendable(self) -> list[Attempt]:
        """Return the attempts that a worker may hand to a provider, or to another after a refusal."""
        return [a for a in self.open() if not a.left and not a.job.is_written_here]

    # Small change

    def moment(self, when: float | None) -> Any:
        """Return the moment `when` days from now."""
        return None if when is None else one(self.db, f"SELECT {at(when)}")

    def is_closed(self, job: Job) -> bool:
        closed: bool = one(
            self.db,
            "SELECT jtd.window_closed(j.tenant_id, j.channel_code, %s)"
            " FROM public.n_jtd AS j WHERE j.id = %s",
            job.lane,
            job.id,
        )
        return closed

    def revive(self, worker: Worker) -> None:
        """Let a lease last; a connection that is new stays so until a day has passed."""
        self.db.execute(
            "UPDATE jtd.workers SET lease_until = 'infinity', started_at = CASE"
            " WHEN started_at > clock_timestamp() - interval '1 hour' THEN %s ELSE started_at END"
            " WHERE id = %s",
            [SOON, worker.id],
        )
        self.alive.add(worker.id)

    def let_all_be_long_connected(self) -> None:
        self.db.execute("UPDATE jtd.workers SET started_at = clock_timestamp() - interval '1 day'")
        self.long_connected = {worker.id for worker in self.workers}


def weighted(names: Mapping[str, int]) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, weight in names.items() for _ in range(weight)])


def days(number: float) -> str:
    return f"interval '{round(number * 86400)} s'"


def at(when: float) -> str:
    return f"now() + {days(when)}"


def document(result: Result) -> dict[str, Any]:
    """Return a result as jtd.settle_v1 reads it."""
    job = result.of.job
    delivery = None
    if result.is_written and job.is_live:
        delivery = {"kind": "inapp", "row": {"user_id": str(USER), "title": "t"}}
    elif result.is_written:
        delivery = {"kind": "outbox", "row": {"recipient": "r", "content": "c"}}
    return {
        "id": str(job.id),
        "attempt": result.of.number,
        "outcome": result.outcome,
        "code": "blocked_test" if result.outcome == "blocked" else "code",
        "reason": "reason",
        "delay": result.delay * 86400,
        "rule": result.rule,
        "provider": result.provider,
        "delivery": delivery,
    }


def state(job: Job) -> dict[str, Any]:
    """Return the columns of STATE for a job."""
    held = job.held
    provider = held.provider if held else None
    return {
        "status": job.status,
        "attempt": job.attempt,
        "retry_count": job.retry_count,
        "error": job.error,
        "is_final": job.is_final,
        "bound_to": job.bound_to,
        "held": held.number if held else None,
        "holder": held.worker if held else None,
        "provider": provider,
        "is_handed_off": provider is not None,
        "unknown_rule": PROVIDERS[provider] if provider else None,
        "needs_attention": (job.status, job.error) == ("cancelled", "blocked_test")
        or (job.status == "failed" and job.error != "written_off"),
        "place": "lost" if job.is_lost else PLACES[job.status],
        "lists": int(job.status in ("pending", "scheduled")),
        "written": int(job.status == "sent" and job.is_written_here),
    }


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"found": found[name], "expected": expected[name]}
        for name in found
        if found[name] != expected[name]
    }


def test_the_functions_do_what_the_model_says(db: psycopg.Connection) -> None:
    run_state_machine_as_test(partial(Machine, db), settings=SETTINGS)


# What it found, in a few steps each


def test_a_reminder_that_expires_and_has_its_time_taken_away_is_due_at_once(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(
        db,
        event_type_code="reminder",
        source_type_code="payment_due",
        scheduled_at="2099-01-01Z",
        expires_at="2099-01-02Z",
    )
    move(db, jtd_id, "scheduled_at = NULL")
    Worker(db).tick()
    assert whereabouts(db, jtd_id).place == "queued"


def test_a_late_proof_is_not_mixed_up_with_an_older_result_of_the_same_call(db: psycopg.Connection) -> None:
    db.execute("SET enable_hashjoin = off")  # which result meets the job first is the plan's choice
    worker, jtd_id = Worker(db), insert_jtd(db)
    first = worker.claim_one()
    worker.settle(result(first, "release"))
    second = worker.claim_one()
    worker.settle(result(second, "unknown", rule="hold"))
    worker.settle(
        result(second, "sent", provider="smtp", provider_message_id="<2>"),
        result(first, "failed", code="x", provider="other"),
    )
    found = row(db, jtd_id)
    assert (found["status_code"], found["attempt"]) == ("sent", 2)
    assert (found["provider_code"], found["provider_message_id"]) == ("smtp", "<2>")


def test_late_proofs_of_two_attempts_are_a_known_duplicate(db: psycopg.Connection) -> None:
    worker, jtd_id = Worker(db), insert_jtd(db)
    first = worker.claim_one()
    worker.settle(result(first, "unknown", rule="resend"))
    move(db, jtd_id, "next_retry_at = now() - interval '1 s'")
    worker.tick()
    second = worker.claim_one()
    worker.settle(result(first, "sent"))
    worker.settle(result(second, "unknown", rule="hold"))
    worker.settle(result(second, "sent"))
    assert "duplicate_known" in [step.action for step in history(db, jtd_id)]


def test_a_job_retried_after_lost_workers_is_given_back_unharmed(db: psycopg.Connection) -> None:
    worker, jtd_id = Worker(db), insert_jtd(db, max_retries=0)
    for _ in range(3):
        worker.claim_one()
        db.execute("SELECT jtd.forget_v1(%s, '{}', '{}')", [worker.id])
    assert row(db, jtd_id)["error_code"] == "worker_lost"
    assert one(db, "SELECT jtd.retry(%s)", jtd_id) == "pending"
    worker.tick()
    worker.settle(result(worker.claim_one(), "release"))
    assert whereabouts(db, jtd_id).place == "queued"


def search(minutes: float, first_seed: int) -> None:
    """Try new seeds until one fails or the time is over."""
    with server() as admin, Databases(admin=admin).database() as dsn:
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as db:
            began = time.monotonic()
            for number in itertools.count(first_seed):
                if time.monotonic() - began > minutes * 60:
                    return
                print(f"seed {number}", flush=True)
                machine = seed(number)(partial(Machine, db))
                run_state_machine_as_test(
                    machine, settings=settings(SETTINGS, derandomize=False, database=None)
                )


if __name__ == "__main__":
    search(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000)
