"""What an operator looks at first, told from the document of `jtd.status_v1`."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from rich.console import RenderableType

from jtd_worker.console import moment, span, table

_MOST: Final = 100_000
"""Where jtd.status_v1 stops counting."""
_LONG: Final = 300
"""Seconds a transaction may be open before a person should know."""


def tell(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the queues, what waits and runs, the workers, and what stands in the way of work."""
    yield table(
        ("queue", "channel", "lane", "queued", "ready", "oldest", "state"),
        [
            (
                q["queue"],
                q["channel"],
                q["lane"],
                _count(q["messages"]),
                _count(q["ready"]),
                _age(q),
                _state(q),
            )
            for q in status["queues"]
        ],
    )
    yield table(("", ""), list(_counts(status)))
    if status["workers"]:
        yield table(
            ("worker", "state", "started (UTC)", "channels"),
            [
                (w["name"], _alive(w), moment(w["started_at"]), ", ".join(w["channels"]))
                for w in status["workers"]
            ],
        )
    else:
        yield "No worker is running: start one with jtd-worker run."
    yield from _warnings(status)


def _counts(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for reason, number in sorted(status["waiting"].items()):
        yield f"waiting: {reason}", _count(number)
    if not status["waiting"]:
        yield "waiting", "0"
    yield "in flight", _count(status["in_flight"])
    for reason, number in sorted(status["attention"].items()):
        yield f"needs attention: {reason}", _count(number)
    yield "dead letters", _count(status["dead_letters"])
    for rate in status["rates"]:
        yield f"rate {rate['channel']}:{rate['provider']}", f"{rate['used']} of {rate['per_minute']} a minute"


def _warnings(status: Mapping[str, Any]) -> Iterator[str]:
    if not status["is_adopted"]:
        yield (
            "This database is a restored backup or a copy: what is due may have been sent elsewhere, and "
            "nothing of it is sent here. jtd-worker adopt --since TIME lets it be sent."
        )
    if status["unserved"]:
        yield (
            f"Channels with work that no running worker serves: {', '.join(status['unserved'])}. "
            "Add them to JTD_PROVIDERS of a worker."
        )
    if paused := sorted({q["channel"] for q in status["queues"] if q["is_paused"]}):
        yield f"Paused channels: {', '.join(paused)}. jtd-worker resume CHANNEL lets them go on."
    for pause in status["pauses"]:
        why = f": {pause['reason']}" if pause["reason"] else ""
        yield (
            f"The {pause['scope'].replace('_', ' ')} {pause['code']} is paused since "
            f"{moment(pause['since'])} by {pause['paused_by']}{why}. jtd-worker resume lets it go on."
        )
    for reason, tenants in sorted(status["holds"].items()):
        yield f"Tenants with a limit used up ({reason}): {tenants}; their messages wait or are cancelled."
    for breaker in status["breakers"]:
        if breaker["is_paused"]:
            why = f": {breaker['pause_reason']}" if breaker["pause_reason"] else ""
            yield (
                f"Provider {breaker['provider']} of channel {breaker['channel']} is paused{why}. "
                "jtd-worker resume --provider lets it go on."
            )
            continue
        yield (
            f"Provider {breaker['provider']} of channel {breaker['channel']} takes nothing since "
            f"{moment(breaker['opened_at'])} ({breaker['code']}); it is tried again at "
            f"{moment(breaker['retry_at'])}. Its messages wait and use no attempt."
        )
    if status["oldest_snapshot_seconds"] > _LONG:
        age = span(timedelta(seconds=status["oldest_snapshot_seconds"]))
        yield (
            f"A transaction has been open for {age}, and vacuum cannot clean up behind it: queues get slower."
            " pg_stat_activity tells whose, by xact_start."
        )
    for rate in status["rates"]:
        if rate["free_at"]:
            urgent = "" if rate["urgent_free_at"] else ", urgent ones at once"
            yield (
                f"Provider {rate['provider']} of channel {rate['channel']} is at its rate of "
                f"{rate['per_minute']} a minute; more goes at {moment(rate['free_at'])}{urgent}. "
                "Its messages wait and use no attempt."
            )
    if status["dead_letters"]:
        yield "There are dead letters: jtd-worker dlq list tells which and why."


def _count(number: int) -> str:
    return f"{number}" if number < _MOST else f"{_MOST} or more"


def _age(queue: Mapping[str, Any]) -> str:
    return span(timedelta(seconds=queue["oldest_seconds"])) if queue["oldest_seconds"] else ""


def _state(queue: Mapping[str, Any]) -> str:
    if not queue["is_paused"]:
        return ""
    return f"paused: {queue['pause_reason']}" if queue["pause_reason"] else "paused"


def _alive(worker: Mapping[str, Any]) -> str:
    return "alive" if worker["is_alive"] else "dead: its lease is over"
