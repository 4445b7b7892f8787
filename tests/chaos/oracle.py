"""Holds what the providers saw against what the rows say: every promise, and the jobs that break it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from tests.chaos.ledger import Ledger

RULES: Mapping[str, str] = {
    "email": "resend",
    "sms": "hold",
    "whatsapp": "resend",
    "push": "idempotent_retry",
}
"""What each channel's provider is told to do after an unknown outcome; inapp has none."""
LOST_AT_HAND_OFF = "the worker stopped between the hand-off and the result"
FOUND = "it was on no list, and was put back"
SHOWN = 5
"""Jobs named for each broken promise."""

ROWS = """
SELECT j.id, j.channel_code, j.status_code, j.attempt, j.retry_count, j.max_retries, j.error_code,
    coalesce(j.error_code, j.transition_note) AS reason, j.execution_result ->> 'bound_to' AS bound_to,
    (j.execution_result ->> 'attempt')::integer AS settled_attempt, w.place, e.sentence,
    (SELECT count(*) FROM n_inapp_notifications AS n WHERE n.source_jtd_id = j.id) AS notifications
FROM n_jtd AS j
LEFT JOIN jtd.whereabouts() AS w ON w.id = j.id
LEFT JOIN LATERAL jtd.explain(CASE WHEN w.place IN ('final', 'sent') THEN NULL ELSE j.id END) AS e ON true
"""
STEPS = """
SELECT jtd_id, action, to_status_code, is_valid_transition, reason, details ->> 'error_code' AS error_code,
    details ->> 'error_message' AS error_message, (details ->> 'attempt')::integer AS attempt
FROM n_jtd_history ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that there is to judge by, when the daemons have done what they could."""

    jobs: Mapping[UUID, str]
    """Every committed job with its channel."""
    ghosts: set[UUID]
    ledgers: Mapping[str, Ledger]
    rows: Mapping[UUID, Any]
    steps: Mapping[UUID, Sequence[Any]]
    """The audit trail of each."""
    unsound: Sequence[str]
    """Places of jtd.conservation() that are not sound."""
    dead_letters: int
    poisons: Mapping[UUID, int]
    """How many daemons each job killed that was made for it."""
    allowance: int
    """Jobs that may have become unknown with their daemons: slots x daemons silenced."""

    def sent_by(self, jtd: UUID) -> int:
        """How often the job arrived outside; in-app ones arrive inside, as rows."""
        channel = self.jobs[jtd]
        if channel == "inapp":
            return int(self.rows[jtd].notifications)
        times = self.ledgers[channel].accepted[jtd]
        return min(times, 1) if RULES[channel] == "idempotent_retry" else times

    def found(self) -> int:
        """How many jobs the sweep found on no list."""
        return sum(step.reason == FOUND for steps in self.steps.values() for step in steps)

    def remarks(self, jtd: UUID, *actions: str) -> int:
        return sum(step.action in actions for step in self.steps[jtd])

    def lost_with_daemon(self, rule: str | None = None) -> int:
        """How many attempts ended unknown because their daemon did."""
        return sum(
            step.to_status_code == "failed" and step.error_message == LOST_AT_HAND_OFF
            for jtd, steps in self.steps.items()
            if rule is None or RULES.get(self.jobs.get(jtd, "")) == rule
            for step in steps
        )


def gather(
    db: psycopg.Connection[Any],
    jobs: Mapping[UUID, str],
    ghosts: set[UUID],
    ledgers: Mapping[str, Ledger],
    poisons: Mapping[UUID, int],
    allowance: int,
) -> Evidence:
    """Read everything there is to know."""
    steps: dict[UUID, list[Any]] = {}
    with db.cursor(row_factory=namedtuple_row) as cursor:
        rows = {row.id: row for row in cursor.execute(ROWS)}
        for step in cursor.execute(STEPS):
            steps.setdefault(step.jtd_id, []).append(step)
    unsound = db.execute("SELECT place, status_code, jobs FROM jtd.conservation() WHERE NOT sound").fetchall()
    (dead,) = db.execute("SELECT count(*) FROM pgmq.q_jtd_dlq").fetchone() or (0,)
    return Evidence(
        jobs=jobs,
        ghosts=ghosts,
        ledgers=ledgers,
        rows=rows,
        steps={jtd: steps.get(jtd, []) for jtd in jobs.keys() | steps.keys()},
        unsound=[f"{count} {status} jobs are {place}" for place, status, count in unsound],
        dead_letters=dead,
        poisons=poisons,
        allowance=allowance,
    )


def judge(evidence: Evidence) -> Iterator[str]:
    """Yield one sentence for each promise that does not hold."""
    yield from evidence.unsound
    missing = [jtd for jtd in evidence.jobs if jtd not in evidence.rows]
    yield from _told("were committed and have no row", missing, evidence)
    strange = [jtd for jtd in evidence.rows if jtd not in evidence.jobs]
    yield from _told("have a row and were never committed", strange, evidence)
    if missing or strange:
        return
    for what, jobs in _broken(evidence).items():
        yield from _told(what, jobs, evidence)
    for channel, ledger in evidence.ledgers.items():
        yield from (f"{channel}: {mistake}" for mistake in ledger.mistakes[:SHOWN])
        ghosts = set(ledger.calls) & evidence.ghosts
        if ghosts:
            yield f"{channel}: {len(ghosts)} jobs were sent whose transaction was rolled back"
        if unknown := set(ledger.calls) - evidence.jobs.keys() - ghosts:
            yield f"{channel}: {len(unknown)} messages of no job"
    if evidence.dead_letters:
        yield f"{evidence.dead_letters} messages are in jtd_dlq, and none was ever unusable"
    if evidence.lost_with_daemon() > evidence.allowance:
        yield (
            f"{evidence.lost_with_daemon()} attempts became unknown with their daemons, "
            f"more than slots x silenced daemons = {evidence.allowance}"
        )


def _broken(evidence: Evidence) -> dict[str, list[UUID]]:
    """Return the jobs that break each promise."""
    rows = evidence.rows
    found: dict[str, list[UUID]] = {}

    def must(what: str, holds: bool) -> None:
        if not holds:
            found.setdefault(what, []).append(jtd)

    for jtd, channel in evidence.jobs.items():
        row, steps = rows[jtd], evidence.steps[jtd]
        times, rule = evidence.sent_by(jtd), RULES.get(channel)
        must("are neither final nor sent", row.place in {"final", "sent"})
        must("are sent, and never arrived", row.place != "sent" or times >= 1)
        must("did not arrive, and no reason is given", times > 0 or row.reason is not None)
        must(
            "arrived as in-app rows without being sent", channel != "inapp" or times == (row.place == "sent")
        )
        if rule == "resend":
            told = evidence.remarks(jtd, "possible_duplicate", "duplicate_known")
            must("(resend) arrived more often than their history admits", times - 1 <= told)
        else:
            must(f"({rule or 'in-app'}) arrived twice", times <= 1)
        if times and row.place != "sent":
            must("arrived, and their row knows nothing of it", _is_doubted(row, steps))
        if rule == "hold":
            doubts = any(step.error_code == "outcome_unknown" for step in steps)
            settled = row.place == "sent" or row.error_code == "outcome_unknown"
            must("(hold) went on after an unknown outcome", settled or not doubts)
        must("took a step that is not of their flow", all(step.is_valid_transition for step in steps))
        attempts = [step.attempt for step in steps if step.to_status_code == "executing"
                    and step.action == "status_changed"]  # fmt: skip
        must("began an attempt that does not rise", attempts == sorted(set(attempts)))
        must(
            "are sent by another attempt than their last",
            row.place != "sent" or row.settled_attempt == row.attempt,
        )
        must("used more attempts than they have", row.retry_count <= (row.max_retries or 0))
        if channel in evidence.ledgers:
            must("came in different words", len(evidence.ledgers[channel].digests[jtd]) <= 1)
        kills = evidence.poisons.get(jtd, 0)
        must("killed more daemons than they had attempts", kills <= (row.max_retries or 0) + 2)
    return found


def _is_doubted(row: Any, steps: Sequence[Any]) -> bool:
    """Whether the record tells that a job which is not `sent` may have arrived all the same."""
    return (
        row.error_code == "outcome_unknown"
        or row.bound_to is not None
        or any(step.error_code == "outcome_unknown" for step in steps)
        or any(step.action in {"possible_duplicate", "duplicate_known", "late_result"} for step in steps)
    )


def _told(what: str, jobs: Sequence[UUID], evidence: Evidence) -> Iterator[str]:
    if not jobs:
        return
    yield f"{len(jobs)} jobs {what}:" + "".join(f"\n    {_life(jtd, evidence)}" for jtd in jobs[:SHOWN])


def _life(jtd: UUID, evidence: Evidence) -> str:
    row, channel = evidence.rows.get(jtd), evidence.jobs.get(jtd, "")
    if row is None:
        return f"{jtd} {channel}"
    trail = " > ".join(
        step.to_status_code if step.action in {"created", "status_changed"} else f"[{step.action}]"
        for step in evidence.steps[jtd]
    )
    told = f"{jtd} {channel} is {row.status_code} ({row.reason}), {row.place}; {trail}"
    if row.sentence:
        told += f"; {row.sentence}"
    if channel in evidence.ledgers:
        told += f"; provider: {evidence.ledgers[channel].story(jtd)}"
    return told


def states(evidence: Evidence) -> Counter[tuple[str, str, str]]:
    """Count jobs by channel, status and error code."""
    return Counter(
        (row.channel_code, row.status_code, row.error_code or "") for row in evidence.rows.values()
    )
