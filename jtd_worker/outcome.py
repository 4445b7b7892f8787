"""How an attempt ends, and how a provider's result becomes that end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias, assert_never
from uuid import UUID

from jtd_worker import result as results
from jtd_worker.adapter import UnknownRule

AFTER_OPERATOR_PAUSE = timedelta(seconds=60)
"""How long a message waits that only an operator's action can help; it costs no attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The provider took it over, or it was written where it belongs."""

    result: results.Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Refused for now; an attempt is used. The delay grows with the attempts unless `delay` is longer."""

    code: str
    reason: str
    delay: timedelta | None = None
    response: Mapping[str, results.Json] = field(default_factory=dict)
    gone_devices: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """Not possible now for a cause outside the message; costs no attempt."""

    code: str
    reason: str
    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It will never succeed; a person may mend the cause and retry."""

    code: str
    reason: str
    response: Mapping[str, results.Json] = field(default_factory=dict)
    gone_devices: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may have left; `rule` decides what follows."""

    code: str
    reason: str
    rule: UnknownRule
    response: Mapping[str, results.Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Not begun: given back unharmed, for any worker to claim at once."""


Outcome: TypeAlias = Sent | Retry | Snooze | Failed | Unknown | Release


def outcome(result: results.SendResult, rule: UnknownRule) -> Outcome:
    """Turn what a provider said into how the attempt ends; `rule` is that of its adapter."""
    match result:
        case results.Sent():
            return Sent(result=result)
        case results.Refused(retry=results.Retry.LATER):
            return Retry(
                code=result.code,
                reason=result.reason,
                delay=result.retry_after,
                response=result.response,
                gone_devices=result.gone_devices,
            )
        case results.Refused(retry=results.Retry.AFTER_OPERATOR):
            return Snooze(code=result.code, reason=result.reason, delay=AFTER_OPERATOR_PAUSE)
        case results.Refused(retry=results.Retry.NEVER | results.Retry.ELSEWHERE):
            return Failed(
                code=result.code,
                reason=result.reason,
                response=result.response,
                gone_devices=result.gone_devices,
            )
        case results.Throttled():
            return Snooze(code=result.code, reason=result.reason, delay=result.retry_after)
        case results.Unknown():
            return Unknown(code=result.code, reason=result.reason, rule=rule, response=result.response)
        case results.Refused():  # the enum above is complete, which mypy cannot see through a pattern
            raise AssertionError(result.retry)
        case _:
            assert_never(result)


def gone_devices(ended: Outcome) -> tuple[UUID, ...]:
    """Return the devices to delete with this end; what is not told now comes up at the next attempt."""
    match ended:
        case Sent(result=result):
            return result.gone_devices
        case Retry() | Failed():
            return ended.gone_devices
        case Snooze() | Unknown() | Release():
            return ()
        case _:
            assert_never(ended)
