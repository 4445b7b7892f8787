"""Records how attempts ended, many in one call; nothing that was sent goes unrecorded."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import structlog

from jtd_worker.content import Content
from jtd_worker.foreign import clean, clean_json
from jtd_worker.jtd import Jtd
from jtd_worker.message import Device
from jtd_worker.metrics import Metrics
from jtd_worker.outcome import Failed, Outcome, Release, Retry, Sent, Snooze, Unknown, gone_devices
from jtd_worker.progress import Progress
from jtd_worker.queue import Queue
from jtd_worker.result import Json

log = structlog.get_logger()

BATCH: Final = 500
CHARACTERS: Final = 4_000_000
"""Texts of deliveries in one call; a single jsonb of the server holds at most 256 MB."""
LOCKED_PAUSE: Final = 0.25
"""Seconds before the result of a row that somebody holds is tried again."""


_EVENTS: Final[dict[type[Outcome], str]] = {
    Sent: "jtd.sent",
    Retry: "jtd.retried",
    Snooze: "jtd.snoozed",
    Failed: "jtd.failed",
    Unknown: "jtd.outcome_unknown",
    Release: "jtd.released",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of one attempt, on its way to the database."""

    jtd: Jtd
    outcome: Outcome
    provider: str | None
    """The provider that said so, e.g. `smtp`; None when it came to none."""
    content: Content | None = None
    """What became of its text; None when there was none."""
    devices: tuple[Device, ...] = ()
    """Where it was to go, as they were registered when it was claimed."""
    seconds: float
    """From the claim to the outcome."""
    settled: Callable[[], None]
    """Called once the database has it."""


class Settler:
    """The one writer of results in this process."""

    def __init__(self, queue: Queue, progress: Progress, metrics: Metrics) -> None:
        self._queue = queue
        self._progress = progress
        self._metrics = metrics
        self._pending: deque[Settlement] = deque()
        self._some_pending = asyncio.Event()
        self._closed = False

    def put(self, settlement: Settlement) -> None:
        """Take a result over; never waits, so that nothing can come between a send and its record."""
        self._pending.append(settlement)
        self._some_pending.set()
        self._report(settlement)

    def close(self) -> None:
        """Let `run` end once everything is recorded."""
        self._closed = True
        self._some_pending.set()

    async def run(self) -> None:
        """Record results until closed and empty; through outages of the database, however long."""
        while True:
            await self._some_pending.wait()
            if not self._pending:
                if self._closed:
                    return
                self._some_pending.clear()
                continue
            await self._settle(self._next_batch())

    def _next_batch(self) -> list[Settlement]:
        """Take what one call can carry: BATCH results, and about CHARACTERS of texts to be written."""
        batch: list[Settlement] = []
        characters = 0
        while self._pending and len(batch) < BATCH and characters < CHARACTERS:
            batch.append(self._pending.popleft())
            characters += _written(batch[-1].outcome)
        return batch

    async def _settle(self, batch: list[Settlement]) -> None:
        self._progress.settling()
        answers = {
            (jtd_id, attempt): answer
            for jtd_id, attempt, answer in await self._queue.settle([document(s) for s in batch])
        }
        self._progress.settled()
        for answer, number in Counter(answers.values()).items():
            self._metrics.answers.labels(answer).inc(number)
        locked = []
        for settlement in batch:
            answer = answers[settlement.jtd.id, settlement.jtd.attempt]
            if answer == "locked":
                locked.append(settlement)
                continue
            if answer != "applied":
                log.warning("settle.not_applied", jtd_id=settlement.jtd.id, answer=answer)
            settlement.settled()
        if locked:
            await asyncio.sleep(LOCKED_PAUSE if len(locked) == len(batch) else 0)
            self._pending.extend(locked)

    def _report(self, settlement: Settlement) -> None:
        outcome = settlement.outcome
        channel = settlement.jtd.channel_code
        name = type(outcome).__name__.lower()
        provider, at, _ = (settlement.provider or "").partition("@")  # tenants are too many for a label
        self._metrics.attempts.labels(channel, provider + at, name).inc()
        self._metrics.seconds.labels(channel).observe(settlement.seconds)
        content = _told(settlement)
        if "kept" in content:
            self._metrics.cut.labels(channel).inc()
        log.info(
            _EVENTS[type(outcome)],
            jtd_id=settlement.jtd.id,
            attempt=settlement.jtd.attempt,
            channel=channel,
            provider=settlement.provider,
            code=getattr(outcome, "code", None),
            ms=round(settlement.seconds * 1000, 1),
            **content,
        )


def document(settlement: Settlement) -> dict[str, Json]:
    """Return the result as jtd.settle_v1 reads it; texts from outside are cleaned and bounded."""
    fields: dict[str, Json] = {
        "id": str(settlement.jtd.id),
        "attempt": settlement.jtd.attempt,
        "outcome": type(settlement.outcome).__name__.lower(),
        "provider": settlement.provider,
        **_told(settlement),
    }
    match settlement.outcome:
        case Sent(result=result):
            fields["provider_message_id"] = (
                clean(result.provider_message_id) if result.provider_message_id else None
            )
            fields["response"] = clean_json(dict(result.response))
            if result.delivery is not None:
                fields["delivery"] = {"kind": result.delivery.kind, "row": dict(result.delivery.row)}
        case Retry(code=code, reason=reason, delay=delay, response=response):
            fields |= {"code": clean(code), "reason": clean(reason), "response": clean_json(dict(response))}
            fields["delay"] = delay.total_seconds() if delay else None
        case Snooze(code=code, reason=reason, delay=delay):
            fields |= {"code": clean(code), "reason": clean(reason), "delay": delay.total_seconds()}
        case Failed(code=code, reason=reason, response=response):
            fields |= {"code": clean(code), "reason": clean(reason), "response": clean_json(dict(response))}
        case Unknown(code=code, reason=reason, rule=rule, response=response):
            fields |= {"code": clean(code), "reason": clean(reason), "response": clean_json(dict(response))}
            fields["rule"] = rule.value
        case Release():
            pass
        case _:
            assert_never(settlement.outcome)
    gone = frozenset(gone_devices(settlement.outcome))
    if told := [device for device in settlement.devices if device.id in gone]:
        fields["gone_devices"] = [
            {"id": str(device.id), "registered_at": device.registered_at.isoformat()} for device in told
        ]
    return fields


def _told(settlement: Settlement) -> dict[str, int]:
    """Return what counts of a message that may have left: `units`; `kept` of `characters` if it was cut."""
    content = settlement.content
    if content is None or not isinstance(settlement.outcome, Sent | Unknown):
        return {}
    told = {"units": content.units, "kept": content.kept, "characters": content.characters}
    return {name: number for name, number in told.items() if number is not None}


def _written(outcome: Outcome) -> int:
    """Return how many characters of text a settle writes for this outcome."""
    if not isinstance(outcome, Sent) or outcome.result.delivery is None:
        return 0
    return sum(len(text) for text in outcome.result.delivery.row.values() if isinstance(text, str))


def stopwatch() -> Callable[[], float]:
    """Return a function that tells the seconds since now."""
    begun = time.monotonic()
    return lambda: time.monotonic() - begun
