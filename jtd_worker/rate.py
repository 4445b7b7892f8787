"""Rates: what each credential may be handed in a minute, taken before anything is claimed."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from jtd_worker.breaker import Breakers, Provider
from jtd_worker.lease import elapsed
from jtd_worker.queue import Queue

log = structlog.get_logger()

GOOD_FOR: Final = 1.0
"""Seconds for which tokens may be used: jtd.rate_taken counts on it."""
LEFT_FOR_HAND_OFF: Final = 0.5
"""Seconds that must be left of these when a claim or a hand-off begins."""
BETWEEN_REFUSALS: Final = 2.0
"""Least seconds from a refusal until it is asked again, unless a tick says that something is free."""
TO_GIVE_BACK: Final = 5.0
"""Seconds that a worker that ends spends at most on giving back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Leave to hand `count` messages to a credential, as jtd.reserve_v1 gave it."""

    provider: Provider
    count: int
    second: int | None
    """For which the database counts them; None where there is no limit."""
    asked_at: float
    """By `elapsed`, before the database was asked: it gave them later than that."""

    @property
    def may_begin(self) -> bool:
        """Whether there is time for a claim or a hand-off by them."""
        return self.second is None or elapsed() < self.asked_at + GOOD_FOR - LEFT_FOR_HAND_OFF

    @property
    def is_void(self) -> bool:
        """Whether nothing may be sent by them any more."""
        return self.second is not None and elapsed() >= self.asked_at + GOOD_FOR


def cut(tokens: Iterable[Tokens], number: int) -> tuple[list[Tokens], list[Tokens]]:
    """Part `tokens` into those for the first `number` messages, or fewer, and the rest."""
    first: list[Tokens] = []
    rest: list[Tokens] = []
    for some in tokens:
        taken = min(number, some.count)
        number -= taken
        if taken:
            first.append(replace(some, count=taken))
        if some.count > taken:
            rest.append(replace(some, count=some.count - taken))
    return first, rest


def count(tokens: Iterable[Tokens]) -> int:
    """Return for how many messages `tokens` are."""
    return sum(some.count for some in tokens)


class Permit:
    """What one claim may bring, with the tokens for it; those that are left when they are void go back."""

    def __init__(self, rates: "Rates", lane: str, room: int, tokens: list[Tokens]) -> None:
        """`room` messages may be claimed; without tokens those that need some ask for them later."""
        self.lane = lane
        self.room = room
        self._rates = rates
        self._tokens = tokens
        if tokens:
            asyncio.get_running_loop().call_later(GOOD_FOR, self.give_back)

    @property
    def may_begin(self) -> bool:
        """Whether there is something to claim by it, and time to do so."""
        return self.room > 0 and bool(self._tokens) and all(some.may_begin for some in self._tokens)

    def serves(self, provider: Provider) -> bool:
        """Whether there are tokens of `provider` by which a claim may begin."""
        return self.may_begin and any(some.provider == provider for some in self._tokens)

    def split(self, number: int) -> "Permit":
        """Return the permit for `number` of the messages; this one is for the others."""
        self.room -= number
        first, self._tokens = cut(self._tokens, number)
        return Permit(self._rates, self.lane, number, first)

    def keep(self, number: int) -> None:
        """Give back all but the tokens for `number` messages."""
        self._tokens, rest = cut(self._tokens, number)
        self._rates.give_back(rest)

    async def take(self, provider: Provider, number: int) -> list[Tokens]:
        """Return tokens for up to `number` hand-offs to `provider`; what is missing is asked for now."""
        mine = [some for some in self._tokens if some.provider == provider]
        self._tokens = [some for some in self._tokens if some.provider != provider]
        self._rates.give_back(some for some in mine if not some.may_begin)
        taken, rest = cut((some for some in mine if some.may_begin), number)
        self._tokens += rest
        if count(taken) < number:
            taken += await self._rates.take(provider, self.lane, number - count(taken))
        return taken

    def give_back(self) -> None:
        """Return all tokens that are left; nothing may be claimed by it any more."""
        self.room = 0
        self.keep(0)


class Rates:
    """What this worker knows of the limits of its credentials, which all workers share."""

    def __init__(
        self,
        queue: Queue,
        breakers: Breakers,
        pools: Mapping[str, Sequence[str]],
        unbounded: Collection[str],
    ) -> None:
        """`pools` are the providers of each channel that leave the house, in order of preference.

        `unbounded` are the channels with a provider besides that does not: it takes what those cannot.
        """
        self._queue = queue
        self._breakers = breakers
        self._pools = pools
        self._unbounded = unbounded
        self._limits: Mapping[tuple[str, str | None], int | None] | None = None
        self._full_until: dict[tuple[Provider, str], float] = {}
        self._ask_again_at: dict[tuple[Provider, str], float] = {}
        self._unused: asyncio.Queue[tuple[Provider, int, int]] = asyncio.Queue()

    async def run(self) -> None:
        """Give back to the database what was not used, until cancelled."""
        while True:
            provider, second, number = await self._unused.get()
            await self._queue.give_back(*provider, second, number)
            self._unused.task_done()

    async def end(self) -> None:
        """Let `run` give back what is still to be given back; what it cannot counts as used."""
        try:
            async with asyncio.timeout(TO_GIVE_BACK):
                await self._unused.join()
        except TimeoutError:
            log.warning("rate.not_given_back", count=self._unused.qsize())

    def learn(
        self,
        limits: Mapping[tuple[str, str | None], int | None],
        full: Mapping[tuple[str, str], Mapping[str, float]],
    ) -> None:
        """Take over what the database says, see `Tick`."""
        now = elapsed()
        self._limits = limits
        self._full_until = {
            (provider, lane): now + seconds
            for provider, lanes in full.items()
            for lane, seconds in lanes.items()
            if seconds > 0
        }
        self._ask_again_at = {key: at for key, at in self._ask_again_at.items() if key in self._full_until}

    def room(self, channel: str, lane: str, most: int, *, spare: Permit | None = None) -> int:
        """Return how many messages of `channel` may be claimed, by its breakers and limits.

        A provider that is full takes as many as there are tokens in `spare`.
        """
        full = [
            code
            for code in self._pools.get(channel, ())
            if self.pause((channel, code), lane) and not (spare and spare.serves((channel, code)))
        ]
        return self._breakers.room(channel, most, without=full)

    def pause(self, provider: Provider, lane: str) -> float:
        """Return the seconds until `provider` may be handed more messages of `lane`; 0 for now."""
        key = provider, lane
        until = max(self._full_until.get(key, 0.0), self._ask_again_at.get(key, 0.0))
        return max(0.0, until - elapsed())

    def wait(self, channel: str, lane: str) -> float | None:
        """Return the seconds until one more provider of `channel` has room; None when none is full."""
        pauses = [self.pause((channel, code), lane) for code in self._pools.get(channel, ())]
        return min((pause for pause in pauses if pause), default=None)

    async def permit(self, channel: str, lane: str, most: int) -> Permit:
        """Take what a claim of up to `most` messages needs; where nothing is limited no call is made."""
        tokens: list[Tokens] = []
        is_bounded = channel not in self._unbounded
        for code in self._pools.get(channel, ()):
            provider = channel, code
            if self._breakers.pause(provider):
                continue
            if not self._is_limited(provider):
                is_bounded = False
                break
            missing = most - count(tokens)
            tokens += await self.take(
                provider, lane, min(missing, 1) if self._breakers.is_open(provider) else missing
            )
        return Permit(self, lane, count(tokens) if is_bounded else most, tokens)

    async def take(self, provider: Provider, lane: str, number: int) -> list[Tokens]:
        """Return tokens for up to `number` messages; no call while `provider` is full or left alone."""
        asked_at = elapsed()
        if not self._is_limited(provider):
            return [Tokens(provider=provider, count=number, second=None, asked_at=asked_at)]
        if number == 0 or self.pause(provider, lane) or self._breakers.pause(provider):
            return []
        answer = await self._queue.reserve(*provider, lane, number)
        if answer is None:
            self._ask_again_at[provider, lane] = elapsed() + BETWEEN_REFUSALS
            return []
        granted, second, pause = answer
        if pause > 0:
            if (provider, lane) not in self._full_until:
                log.info("provider.rate_reached", channel=provider[0], provider=provider[1])
            self._full_until[provider, lane] = elapsed() + pause
        if granted == 0:  # others were faster, and may be so again
            self._ask_again_at[provider, lane] = elapsed() + BETWEEN_REFUSALS
            return []
        return [Tokens(provider=provider, count=granted, second=second, asked_at=asked_at)]

    def give_back(self, tokens: Iterable[Tokens]) -> None:
        """Return what was certainly not used; never waits."""
        for some in tokens:
            if some.second is not None:
                self._unused.put_nowait((some.provider, some.second, some.count))

    def _is_limited(self, provider: Provider) -> bool:
        """Whether there is a limit, as of the last tick; before the first there may be one."""
        channel, _ = provider
        if self._limits is None:
            return True
        return self._limits.get(provider, self._limits.get((channel, None))) is not None
