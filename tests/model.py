"""What must become of jobs, written the slow and plain way: the model of the SQL functions.

Times are days since the first step. Nothing here reads the database; only where the choice is the
database's own (which of the ready jobs are admitted to a queue that is almost full) is it told.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

# The unknown rule of each provider; two know a second copy by its key, and drop it.
PROVIDERS = {
    "hold": "hold",
    "resend": "resend",
    "keyed": "idempotent_retry",
    "keyed.backup": "idempotent_retry",
}
KEYED = frozenset(name for name, rule in PROVIDERS.items() if rule == "idempotent_retry")
FINAL = frozenset({"failed", "cancelled", "expired"})
UNKNOWN = frozenset({"outcome_unknown", "written_off"})
BACKOFF = 0.2
"""Days; less than a day passes before a retry, whatever its number."""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Attempt:
    """One claim of a job, and what happened outside of the database."""

    job: "Job"
    number: int
    worker: UUID
    bound_to: str | None
    """The only provider that may be asked, as the claim said."""
    is_known: bool = True
    """Whether the worker got the answer to its claim."""
    provider: str | None = None
    """Whom it was handed to, on record."""
    left: bool = False
    """Whether that provider took it."""
    is_settled: bool = False
    """Whether the worker reported an outcome."""

    @property
    def id(self) -> UUID:
        return self.job.id

    @property
    def attempt(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"{self.job} attempt {self.number}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(slots=True, kw_only=True)
class Result:
    """How a worker says that an attempt ended."""

    of: Attempt
    outcome: str
    provider: str | None = None
    delay: float = 0
    """Days."""
    is_written: bool = False
    """Whether the delivery is a row that settling writes."""

    @property
    def rule(self) -> str | None:
        return PROVIDERS[self.provider] if self.outcome == "unknown" and self.provider else None


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Job:
    """One job: what its row, its lists and its audit trail must say."""

    name: str
    id: UUID
    channel: str
    priority: int | None
    default_priority: int
    max_retries: int | None
    is_live: bool
    scheduled: float | None
    expires: float | None
    status: str = "created"
    retry_at: float | None = None
    attempt: int = 0
    retry_count: int = 0
    error: str | None = None
    bound_to: str | None = None
    ended: tuple[str, str | None] | None = None
    """Outcome and code of the last attempt that ended."""
    lost: int = 0
    """Workers lost with it before a hand-off, since an attempt ended otherwise."""
    held: Attempt | None = None
    """The attempt in jtd.inflight: the running one, or one whose job was cancelled under it."""
    manual: int = 0
    """Retries that a person asked for."""
    remarks: Counter[str] = field(default_factory=Counter)
    proofs: set[int] = field(default_factory=set)
    """Attempts that were reported as sent."""
    copies: list[str] = field(default_factory=list)
    """The providers that took it, one entry for each time."""
    has_message: bool = False
    """Whether one is in a queue; it matters while the job is queued."""

    def __repr__(self) -> str:
        return self.name

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    @property
    def lane(self) -> str:
        return "urgent" if (self.priority or 0) >= 9 else "normal"

    @property
    def queue(self) -> str:
        return f"jtd_{self.channel}" + ("_urgent" if self.lane == "urgent" else "")

    @property
    def is_written_here(self) -> bool:
        """Whether sending it is writing a row: the feed, or the outbox of test mode."""
        return self.channel == "inapp" or not self.is_live

    @property
    def is_lost(self) -> bool:
        """Whether it is on no list: triggers were off when it was made, or its queue was purged."""
        return self.status == "created" or (self.status == "queued" and not self.has_message)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ends its workers, and so is claimed alone."""
        return self.ended is not None and self.ended[1] == "worker_lost" and (
            self.ended[0] == "unknown" or self.lost >= 2
        )  # fmt: skip

    @property
    def copies_received(self) -> int:
        """How many copies the recipient got."""
        taken = Counter(self.copies)
        return sum(1 if provider in KEYED else count for provider, count in taken.items())

    def is_due(self, now: float) -> bool:
        return max(self.scheduled or 0, self.retry_at or 0) <= now

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def queue_up(self, now: float) -> None:
        """Pass the gate, or end there."""
        if self.has_expired(now):
            self.status = self.error = "expired"
        else:
            self.put_into_queue()

    def put_into_queue(self) -> None:
        self.status, self.has_message = "queued", True

    def mend(self, now: float, *, is_closed: bool) -> None:
        """Be found by the sweep."""
        if self.status == "created":
            self.hasten(now, is_closed=is_closed)
        else:
            self.put_into_queue()

    def enter(self, now: float, *, is_closed: bool, supports_scheduling: bool) -> None:
        """Be enqueued by the triggers."""
        self.priority = self.default_priority if self.priority is None else self.priority
        if self.is_due(now):
            self.status = "pending" if is_closed else "queued"
            self.has_message = not is_closed
        else:
            self.status = "scheduled" if supports_scheduling else "pending"

    def tick(self, now: float, *, is_admitted: bool) -> None:
        """Go on if its time has come; admission takes it only if there is room."""
        if self.status in ("pending", "scheduled") and (self.is_due(now) or self.has_expired(now)):
            self.status = "pending"
            if is_admitted:
                self.queue_up(now)

    def hasten(self, now: float, *, is_closed: bool) -> None:
        """Go as far as it may, since somebody asked for it."""
        self.priority = self.default_priority if self.priority is None else self.priority
        self.max_retries = 3 if self.max_retries is None else self.max_retries
        if self.status == "created" or (self.status == "scheduled" and self.is_due(now)):
            self.status = "pending"
        if self.status == "pending" and self.is_due(now) and not is_closed:
            self.queue_up(now)

    def claim(self, worker: UUID) -> Attempt:
        self.status = "executing"
        self.attempt += 1
        self.held = Attempt(job=self, number=self.attempt, worker=worker, bound_to=self.bound_to)
        return self.held

    def may_be_handed_off(self, attempt: Attempt, now: float) -> bool:
        return self.status == "executing" and self.held is attempt and not self.has_expired(now)

    def reclaim(self, now: float) -> bool:
        """Take it back from a worker that is lost; says whether it was executing."""
        held, self.held = self.held, None
        assert held is not None
        if self.status != "executing":
            return False
        if held.provider is None:
            self.lost += 1
            self.ended = (self.ended[0] if self.ended else "", "worker_lost")
            if self.lost > max(2, (self.max_retries or 0) + 1):
                self.status, self.error = "failed", "worker_lost"
            else:
                self.put_into_queue()
        else:
            self.end(Result(of=held, outcome="unknown", provider=held.provider), now, code="worker_lost")
        return True

    def end(self, result: Result, now: float, *, code: str = "code") -> None:
        """End the running attempt."""
        if result.outcome == "release":
            self.put_into_queue()
            return
        self.lost = 0
        self.ended = (result.outcome, code)
        self.error = {"sent": None, "unknown": "outcome_unknown", "blocked": "blocked_test"}.get(
            result.outcome, code
        )
        if result.outcome == "sent":
            self.status, self.bound_to, self.retry_at = "sent", None, None
        elif result.outcome == "snooze":
            self.status, self.retry_at = "pending", now + result.delay
        elif result.outcome == "blocked":
            self.status = "cancelled"
        else:
            if result.rule == "idempotent_retry":
                self.bound_to = result.provider
            if (
                result.outcome == "retry" or result.rule in ("idempotent_retry", "resend")
            ) and self.retry_count < (self.max_retries or 0):
                self.status, self.retry_at = "pending", now + max(BACKOFF, result.delay)
                self.retry_count += 1
                self.remarks["possible_duplicate"] += result.rule == "resend"
            else:
                self.status = "failed"

    def settle(self, result: Result, answer: str, now: float) -> None:
        """Take a result to which the answer was `answer`."""
        if result.outcome == "sent" and not result.is_written:
            self.proofs.add(result.of.number)
        if answer == "applied":
            self.end(result, now, code="blocked_test" if result.outcome == "blocked" else "code")
        elif answer == "late":
            self.remarks["late"] += result.outcome != "release"
            if (
                result.outcome == "sent"
                and not result.is_written
                and result.of.number == self.attempt
                and (
                    self.status in ("pending", "queued")
                    or (self.status == "failed" and self.error in UNKNOWN)
                )
            ):
                self.end(result, now)
        if self.held is result.of:
            self.held = None

    def answer(self, result: Result, place: int) -> str:
        """What a settle must answer to a result; `place` counts those of the same attempt in one call."""
        if self.status == "deleted":
            return "gone"
        if result.of.number == self.attempt:
            if self.status == "executing" and place == 0:
                return "applied"
            if result.outcome != "sent" or self.status == "sent":
                return "already"
        return "late"

    def cancel(self) -> str:
        if self.status == "deleted":
            return "absent"
        if self.status in ("cancelled", "expired"):
            return "final"
        if (
            self.status == "sent"
            or (self.held is not None and self.held.provider is not None)
            or (self.status == "failed" and self.error in UNKNOWN)
        ):
            return "too_late"
        self.status = "cancelled"
        return "cancelled"

    def retry(self, *, resend: bool) -> str:
        if self.status == "deleted":
            return "absent"
        if self.status != "failed":
            return "not_failed"
        if self.error in UNKNOWN and not resend:
            return "unknown"
        self.manual += 1
        self.remarks["possible_duplicate"] += self.error in UNKNOWN or (resend and self.bound_to is not None)
        self.status, self.retry_at = "pending", None
        if resend:
            self.bound_to = None
        return "pending"

    def resolve(self, verdict: str) -> str:
        if self.status == "deleted":
            return "absent"
        if (self.status, self.error) != ("failed", "outcome_unknown"):
            return "not_unknown"
        self.remarks["resolved"] += 1
        if verdict == "resend":
            return self.retry(resend=True)
        if verdict == "fail":
            self.error = "written_off"
            return "failed"
        self.status, self.error, self.bound_to, self.retry_at = "sent", None, None, None
        self.ended, self.lost = ("sent", None), 0
        return "sent"


def settle(results: Sequence[Result], now: float) -> list[str]:
    """Take the results of one call, and return the answer to each: all are judged before one is applied."""
    seen: Counter[tuple[UUID, int]] = Counter()
    answers = []
    for result in results:
        key = (result.of.id, result.of.number)
        answers.append(result.of.job.answer(result, seen[key]))
        seen[key] += 1
    for applied in (True, False):
        for result, answer in zip(results, answers, strict=True):
            if answer != "gone" and (answer == "applied") is applied:
                result.of.job.settle(result, answer, now)
    return answers


def claim(
    batch: Sequence[Job], queue: str, worker: UUID, in_flight: Sequence[Attempt], closed: set[Job], now: float
) -> list[Attempt]:
    """Take the jobs that the messages of one read name, and return the attempts that begin.

    `closed` are those whose tenant's window is closed.
    """
    held = [job for job in batch if job.status == "queued" and job.queue == queue]
    suspects = sorted((job for job in held if job.is_suspect), key=lambda job: job.id)
    if any(attempt.worker == worker and attempt.job.is_suspect for attempt in in_flight):
        taken = [job for job in held if job not in suspects]
    else:
        taken = suspects[:1] or held
    begun = []
    for job in batch:
        if job in taken:
            if job.has_expired(now):
                job.status = job.error = "expired"
            else:
                begun.append(job.claim(worker))
        elif job.status in ("created", "pending", "scheduled"):
            job.hasten(now, is_closed=job in closed)
    return begun
