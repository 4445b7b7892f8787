"""Circuit breakers: a provider that fails is left alone by all workers until a probe arrives."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeAlias, assert_never

import structlog

from jtd_worker.lease import elapsed
from jtd_worker.queue import Queue
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown

log = structlog.get_logger()

FAILURES: Final = 5
"""Failures in a row, of whichever messages, after which a provider is taken to be out of order."""
FIRST_PAUSE: Final = 5.0
"""Seconds until a probe, where the provider asked for none; the database doubles it with each that fails."""

UNTIL_TOLD: Final = 2.0
"""Seconds until the next tick has certainly told how long a provider is left alone."""

Provider: TypeAlias = tuple[str, str]
"""Channel and provider code, e.g. `("email", "smtp.backup")`: one credential."""


class Breakers:
    """What this worker knows of the breakers that all workers share, and what it adds to them."""

    def __init__(self, queue: Queue, pools: Mapping[str, Sequence[str]]) -> None:
        """`pools` are the providers of each channel that can fail; others are always open for business."""
        self._queue = queue
        self._pools = pools
        self._open_until: dict[Provider, float] = {}
        self._failures: dict[Provider, int] = {}
        self._calls: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()

    async def run(self) -> None:
        """Tell the database what `saw` found, until cancelled."""
        while True:
            call = await self._calls.get()
            await call()

    def learn(self, pauses: Mapping[Provider, float]) -> None:
        """Take over the breakers that the database has open, each with the seconds until a probe may go."""
        now = elapsed()
        for provider in self._open_until.keys() - pauses.keys():
            log.info("provider.mended", channel=provider[0], provider=provider[1])
            self._failures.pop(provider, None)
        self._open_until = {provider: now + seconds for provider, seconds in pauses.items()}

    def refused(self, provider: Provider) -> None:
        """The database handed nothing to `provider`: another worker found it out of order."""
        self._open_until[provider] = max(self._open_until.get(provider, 0.0), elapsed() + UNTIL_TOLD)

    def pause(self, provider: Provider) -> float:
        """Return the seconds until something may be handed to `provider`; 0 for one that works."""
        return max(0.0, self._open_until.get(provider, 0.0) - elapsed())

    def room(self, channel: str, most: int, *, without: Collection[str] = ()) -> int:
        """Return how many messages of `channel` may be claimed: `most`, 1 for a probe, or none.

        The providers `without` take nothing for another reason.
        """
        if channel not in self._pools:
            return most
        pool = [code for code in self._pools[channel] if code not in without]
        if any((channel, code) not in self._open_until for code in pool):
            return most
        return 1 if any(self.pause((channel, code)) == 0 for code in pool) else 0

    def is_open(self, provider: Provider) -> bool:
        """Whether what is handed to `provider` now is a probe."""
        return provider in self._open_until

    def saw(self, provider: Provider, result: SendResult, *, is_probe: bool = False) -> None:
        """Judge `provider` by the result of one message; never waits.

        Only a probe closes a breaker: other sends may have begun before it opened.
        """
        code, pause = _failure(result)
        if code is None:
            self._failures.pop(provider, None)
            if is_probe and self._open_until.pop(provider, None) is not None:
                self._calls.put_nowait(lambda: self._queue.mended(*provider))
            return
        failures = self._failures[provider] = self._failures.get(provider, 0) + 1
        if failures >= FAILURES or _is_certain(result) or provider in self._open_until:
            if provider not in self._open_until:
                log.warning("provider.failing", channel=provider[0], provider=provider[1], code=code)
            seconds = pause.total_seconds() if pause else None
            self._open_until[provider] = max(
                self._open_until.get(provider, 0.0), elapsed() + (seconds or FIRST_PAUSE)
            )
            self._calls.put_nowait(lambda: self._queue.trip(*provider, code, seconds))


def _failure(result: SendResult) -> tuple[str | None, timedelta | None]:
    """Return the code, and the pause asked for, if `result` is the provider's fault and not the message's."""
    match result:
        case Sent():
            return None, None
        case Throttled():
            return result.code, result.retry_after
        case Unknown():
            return result.code, None
        case Refused(scope=Scope.CREDENTIAL | Scope.PROVIDER | Scope.NETWORK):
            return result.code, None
        case Refused():
            return None, None
        case _:
            assert_never(result)


def _is_certain(result: SendResult) -> bool:
    """Whether the next message would fare no better: nothing is to be learned by asking again."""
    return isinstance(result, Throttled) or (
        isinstance(result, Refused)
        and result.scope in {Scope.CREDENTIAL, Scope.PROVIDER}
        and result.retry is Retry.AFTER_OPERATOR
    )
