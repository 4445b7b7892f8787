"""Carries claimed JTDs through render, hand-off and send to their outcome."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from jtd_worker.breaker import Breakers, Provider
from jtd_worker.contacts import Region, address
from jtd_worker.content import NO_LIMIT, Content, ContentLimit, fit
from jtd_worker.errors import RecipientError, RefusedReferenceError, RenderError
from jtd_worker.fan_out import Joint
from jtd_worker.jtd import Jtd
from jtd_worker.lease import Lease
from jtd_worker.message import Device, Message
from jtd_worker.outcome import AFTER_OPERATOR_PAUSE, Failed, Outcome, Release, Snooze, outcome
from jtd_worker.outlet import Outlet, Outlets, Own, Route
from jtd_worker.queue import Queue
from jtd_worker.rate import Permit, Rates, count, cut
from jtd_worker.render import render
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.settler import Settlement, Settler, stopwatch
from jtd_worker.slots import Slots
from jtd_worker.templates import TemplateCache
from jtd_worker.unsubscribe import UnsubscribeLinks

log = structlog.get_logger()

RENDERS_AT_ONCE: Final = 50
"""Messages rendered before other tasks get their turn: a few milliseconds."""

AT_RATE: Final = "provider_at_rate"
"""Why a message waits that only a provider may have that has reached its limit."""
AT_WORK: Final = "credential_at_work"
"""Why a message waits whose tenant's own credential sends as many as it may."""
LONGEST_PAUSE: Final = 3600.0
"""Seconds that a breaker is open at most (jtd.trip_v1); what is shut for longer an operator has paused."""
OPENED_WITHIN: Final = 5.0
"""Seconds that a batch waits for a tenant's own credential to be read; then its messages wait alone."""
OWN_PATIENCE: Final = 1.0
"""Seconds for which a message keeps a slot that others need, to wait for a turn with its own credential."""

_OTHERS_MAY_TAKE_IT: Final = frozenset({Scope.CREDENTIAL, Scope.PROVIDER, Scope.NETWORK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One claimed JTD on its way."""

    jtd: Jtd
    message: Message
    content: Content
    settle: Callable[[Outcome, str | None], None]
    """Of the whole message, or of this part of it."""
    refusal: tuple[Outcome, str] | None = None
    """How it ends if no other provider takes it, and who refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """By what one JTD goes: the outlets of its route, opened, in order; or how it ends without any."""

    route: Route
    outlets: tuple[Outlet, ...] = ()
    ended: Outcome | None = None


class Executor:
    """Sends what consumers have claimed; results go to the settler, never back to the consumer."""

    def __init__(
        self,
        queue: Queue,
        settler: Settler,
        lease: Lease,
        outlets: Outlets,
        breakers: Breakers,
        rates: Rates,
        content_limits: Mapping[str, ContentLimit],
        default_region: Region,
        stopping: asyncio.Event,
        unsubscribe: UnsubscribeLinks | None = None,
    ) -> None:
        """`content_limits` is what each channel takes at present; whoever passed it keeps it up to date.

        Without `unsubscribe` no message carries such a link.
        """
        self._queue = queue
        self._settler = settler
        self._lease = lease
        self._outlets = outlets
        self._breakers = breakers
        self._rates = rates
        self._content_limits = content_limits
        self._default_region = default_region
        self._stopping = stopping
        self._unsubscribe = unsubscribe
        self._templates = TemplateCache()
        self._sends: set[asyncio.Task[Sequence[SendResult]]] = set()

    async def execute(self, jtds: Sequence[Jtd], permit: Permit, settled: Callable[[], None]) -> None:
        """Carry `jtds` to their outcomes; `settled` is called once for each that the database has.

        `permit` has the tokens that were taken for them; what they do not need goes back.
        Every JTD ends in exactly one outcome, also when this is cancelled while it sends.
        """
        clock = stopwatch()

        def settle_as(
            jtd: Jtd, content: Content | None, devices: tuple[Device, ...] = ()
        ) -> Callable[[Outcome, str | None], None]:
            return lambda ended, provider: self._settler.put(
                Settlement(
                    jtd=jtd,
                    outcome=ended,
                    provider=provider,
                    content=content,
                    devices=devices,
                    seconds=clock(),
                    settled=settled,
                )
            )

        await self._load_templates(jtds)
        async with AsyncExitStack() as in_use:
            ways = await self._ways(jtds, in_use)
            devices_of = await self._load_devices(ways)
            by_outlets: dict[tuple[Outlet, ...], list[Item]] = {}
            for number, jtd in enumerate(jtds, start=1):
                rendered, way = self._render(jtd), ways[jtd.id]
                if isinstance(rendered, Failed):
                    settle_as(jtd, None)(rendered, None)
                elif way.ended is not None:
                    settle_as(jtd, rendered[1])(way.ended, None)
                else:
                    message, content = rendered
                    priority, devices = devices_of.get(jtd.id, (message.priority, ()))
                    settle = settle_as(jtd, content, devices)
                    parts = _parts(way.outlets, devices)
                    if not parts:
                        settle(_no_device(jtd), None)
                    joint = Joint(len(parts), len(devices), settle)
                    if way.route.sender or way.route.reply_to:
                        message = replace(
                            message,
                            sender=way.route.sender,
                            reply_to=message.reply_to or way.route.reply_to,
                        )
                    for takers, theirs in parts:
                        part = replace(message, priority=priority, devices=theirs) if theirs else message
                        item = Item(jtd=jtd, message=part, content=content, settle=joint.settle)
                        by_outlets.setdefault(takers, []).append(item)
                if number % RENDERS_AT_ONCE == 0 or (
                    not isinstance(rendered, Failed) and rendered[0].attachments
                ):
                    await asyncio.sleep(0)
            permit.keep(sum(_needs_house(outlets) * len(items) for outlets, items in by_outlets.items()))
            await asyncio.gather(
                *(self._dispatch(outlets, items, permit) for outlets, items in by_outlets.items())
            )
        permit.give_back()

    def cancel_sends(self) -> int:
        """End the sends that still run; each becomes Unknown by its adapter's rule. Returns how many."""
        for task in self._sends:
            task.cancel()
        return len(self._sends)

    async def _ways(self, jtds: Sequence[Jtd], in_use: AsyncExitStack) -> Mapping[UUID, Way]:
        """Return by what each of `jtds` goes; its tenant's own credential is not closed before `in_use`."""
        routes = {jtd.id: self._route(jtd) for jtd in jtds}
        own = {route.own for route in routes.values() if isinstance(route, Route) and route.own is not None}
        opened = dict(zip(own, await asyncio.gather(*(self._open(one, in_use) for one in own)), strict=True))
        return {jtd.id: _way(jtd, routes[jtd.id], opened) for jtd in jtds}

    def _route(self, jtd: Jtd) -> Route | RefusedReferenceError:
        try:
            return self._outlets.route(jtd)
        except RefusedReferenceError as error:
            return error

    async def _open(self, own: Own, in_use: AsyncExitStack) -> Outlet | RefusedReferenceError:
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                return await in_use.enter_async_context(self._outlets.opened(own))
        except TimeoutError:
            error = RefusedReferenceError(
                "credential_refused", f"credential {own.credential} could not be had in {OPENED_WITHIN:g} s"
            )
        except RefusedReferenceError as refused:
            error = refused
        log.warning("credential.refused", channel=own.channel, provider=own.code, code=error.code)
        return error

    async def _load_templates(self, jtds: Sequence[Jtd]) -> None:
        wanted = {
            (jtd.template_id, jtd.template_version)
            for jtd in jtds
            if jtd.template_id is not None and jtd.template_version is not None
        }
        missing = [key for key in wanted if key not in self._templates]
        if missing:
            for row in await self._queue.templates(missing):
                self._templates.add_row(row)

    async def _load_devices(self, ways: Mapping[UUID, Way]) -> Mapping[UUID, tuple[int, tuple[Device, ...]]]:
        wanted = [
            jtd_id
            for jtd_id, way in ways.items()
            if any(outlet.adapter.capabilities.devices for outlet in way.outlets)
        ]
        return await self._queue.devices(wanted) if wanted else {}

    def _render(self, jtd: Jtd) -> tuple[Message, Content] | Failed:
        if jtd.template_id is None or jtd.template_version is None:
            sought = f"key {jtd.template_key}" if jtd.template_key else f"source type {jtd.source_type_code}"
            return Failed(
                code="template_missing",
                reason=f"no active template for {sought} on channel {jtd.channel_code}, "
                f"locale {jtd.locale or 'any'}",
            )
        key = (jtd.template_id, jtd.template_version)
        if key not in self._templates:
            return Failed(code="template_missing", reason=f"template {key[0]} has no version {key[1]}")
        try:
            limit = self._content_limits.get(jtd.channel_code, NO_LIMIT)
            message = render(jtd, self._templates[key])
            if jtd.wants_unsubscribe and self._unsubscribe:
                message = replace(message, unsubscribe_url=self._unsubscribe.link(jtd.id))
            to = address(jtd.to, limit.recipient_key, jtd.country, self._default_region)
            return fit(message if to == message.to else replace(message, to=to), limit, jtd.kept)
        except RenderError as error:
            return Failed(code=error.code, reason=str(error))
        except RecipientError as error:
            return Failed(code="recipient_invalid", reason=str(error))
        except Exception as error:  # noqa: BLE001 - the one place: a row that breaks us must not stop the others
            # no traceback: its text may quote the row
            log.error("render.broken", jtd_id=jtd.id, error=type(error).__name__)  # noqa: TRY400
            return Failed(code="render_failed", reason=f"rendering raised {type(error).__name__}")

    async def _dispatch(self, outlets: Sequence[Outlet], items: Sequence[Item], permit: Permit) -> None:
        outlet = outlets[0]
        if outlet.turns is None:
            await self._go(outlets, items, permit)
            return
        size = outlet.adapter.capabilities.batch_size
        async with asyncio.TaskGroup() as group:
            while items and (turns := await self._take_turns(outlet, outlet.turns, -(-len(items) // size))):
                group.create_task(self._go(outlets, items[: turns * size], permit, turns))
                items = items[turns * size :]
            for item in items:
                if self._stopping.is_set():
                    item.settle(Release(), None)
                else:
                    item.settle(_at_work(outlet), outlet.code)

    async def _take_turns(self, outlet: Outlet, turns: Slots, wanted: int) -> int:
        """Wait for a turn, and take up to `wanted`; none when the worker stops, or others need the slots."""
        taking = asyncio.ensure_future(turns.take(wanted))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {taking, stopping},
                timeout=OWN_PATIENCE if outlet.is_own else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            return taking.result() if taking.done() else 0
        finally:
            taking.cancel()
            stopping.cancel()

    async def _go(
        self, outlets: Sequence[Outlet], items: Sequence[Item], permit: Permit, turns: int = 0
    ) -> None:
        """Hand `items` over by the first of `outlets`, by `turns` that were taken for it."""
        outlet, *others = outlets
        is_probe = self._breakers.is_open((items[0].jtd.channel_code, outlet.code))
        answers = await self._ask(outlet, items, permit)
        shut = [item for item in items if answers.get(item.jtd.id) in ("open", "full")]
        going = [item for item in items if answers.get(item.jtd.id) == "go"]
        for item in items:
            if item.jtd.id not in answers:
                item.settle(Release(), None)
        size = outlet.adapter.capabilities.batch_size
        if outlet.turns is not None:
            outlet.turns.give(turns - -(-len(going) // size))
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(going), size):
                batch = going[start : start + size]
                group.create_task(self._send(outlets, batch, permit, is_probe=is_probe))
            if shut and others:
                group.create_task(self._dispatch(others, shut, permit))
            elif shut:
                self._put_off(outlet, shut, permit.lane)

    async def _ask(self, outlet: Outlet, items: Sequence[Item], permit: Permit) -> Mapping[UUID, str]:
        """Ask for each item whether it may `go` to `outlet`, or finds it `open` or `full`; else not at all.

        Tokens for those that do not go are given back.
        """
        if self._stopping.is_set() or not self._lease.allows_start:
            return {}
        capabilities = outlet.adapter.capabilities
        if not capabilities.needs_hand_off:
            return {item.jtd.id: "go" for item in items}
        provider = items[0].jtd.channel_code, outlet.code
        if self._breakers.pause(provider) > 0:
            return {item.jtd.id: "open" for item in items}
        term = self._lease.term
        tokens = await permit.take(provider, len(items))
        able, others = items[: count(tokens)], items[count(tokens) :]
        answers = {item.jtd.id: "full" for item in others}
        if able:
            answers |= await self._queue.hand_off(
                [(item.jtd, item.content) for item in able], capabilities.unknown_rule, outlet.code
            )
        if "open" in answers.values():
            self._breakers.refused(provider)
        if self._stopping.is_set() or not self._lease.allows_start or self._lease.term != term:
            answers = {}  # the hand-off itself may have waited out an outage, and others have sent meanwhile
        if any(some.is_void for some in tokens):
            answers = {}  # the minute for which they count may end before that of the sends
        _, unused = cut(tokens, sum(answer == "go" for answer in answers.values()))
        self._rates.give_back(unused)
        return answers

    def _put_off(self, outlet: Outlet, items: Sequence[Item], lane: str) -> None:
        """Give back what no provider takes at present; the reader of its channel stands still meanwhile."""
        channel = items[0].jtd.channel_code
        snooze = self._snooze((channel, outlet.code), lane)
        for item in items:
            if item.refusal is not None and not (_is_final(item.refusal) and snooze.code == AT_RATE):
                item.settle(*item.refusal)
            elif item.refusal is None and self._rates.room(channel, lane, len(items)) < len(items):
                item.settle(Release(), None)
            else:  # the channel goes on with another provider, which must not have this one or has refused it
                item.settle(snooze, outlet.code)

    def _snooze(self, provider: Provider, lane: str) -> Snooze:
        """Say why, and for how long, `provider` takes nothing of `lane` at present."""
        _, code = provider
        is_open, is_full = self._breakers.pause(provider), self._rates.pause(provider, lane)
        if is_full and not is_open:
            reason = f"provider {code} has been handed as many messages as its limit lets it"
            return Snooze(code=AT_RATE, reason=reason, delay=timedelta(seconds=max(1.0, is_full)))
        reason = f"provider {code} takes nothing now"
        # a pause of an operator ends when he ends it
        delay = AFTER_OPERATOR_PAUSE if is_open > LONGEST_PAUSE else timedelta(seconds=max(1.0, is_open))
        return Snooze(code="provider_open", reason=reason, delay=delay)

    async def _send(
        self, outlets: Sequence[Outlet], items: Sequence[Item], permit: Permit, *, is_probe: bool
    ) -> None:
        outlet, *others = outlets
        answer, is_cut_off = await self._answer(outlet, items)
        if outlet.turns is not None:
            outlet.turns.give(1)
        results = _results(answer, len(items))
        elsewhere = []
        for item, result in zip(items, results, strict=True):
            if not is_cut_off and not _may_be_the_tenants(outlet, item, result):
                self._breakers.saw((item.jtd.channel_code, outlet.code), result, is_probe=is_probe)
            ended = outcome(result, outlet.adapter.capabilities.unknown_rule)
            if others and isinstance(result, Refused) and _another_may_take(result):
                elsewhere.append(replace(item, refusal=(ended, outlet.code)))
            else:
                item.settle(ended, outlet.code)
        if elsewhere:
            await self._dispatch(others, elsewhere, permit)

    async def _answer(
        self, outlet: Outlet, items: Sequence[Item]
    ) -> tuple[Sequence[SendResult] | BaseException, bool]:
        """Return what an adapter said or raised, and whether it was cut off; who is cancelled waits for it.

        Only the call of the adapter may be cut off, never what is done about its answer.
        """
        messages = [_as_sent_by(outlet, item.message) for item in items]
        send = asyncio.create_task(_send(outlet, messages))
        self._sends.add(send)
        while not send.done():
            try:
                await asyncio.wait({send})
            except asyncio.CancelledError:  # the result is recorded all the same
                send.cancel()
        self._sends.discard(send)
        is_cut_off = send.cancelling() > 0
        if send.cancelled():
            return asyncio.CancelledError(), is_cut_off
        return send.exception() or send.result(), is_cut_off


def _parts(
    outlets: tuple[Outlet, ...], devices: tuple[Device, ...]
) -> list[tuple[tuple[Outlet, ...], tuple[Device, ...]]]:
    """Part a message by families of devices: to each its devices, and the outlets that reach them, in order.

    Outlets that need no devices stand in for those of the first part, and serve users who have none.
    No part at all: nobody reaches the user.
    """
    families = dict.fromkeys(outlet.adapter.capabilities.devices for outlet in outlets)
    takers = {
        family: tuple(outlet for outlet in outlets if outlet.adapter.capabilities.devices == family)
        for family in families
    }
    others = takers.pop(None, ())
    parts = [
        (taker, theirs)
        for family, taker in takers.items()
        if (theirs := tuple(device for device in devices if device.family == family))
    ]
    if others:
        (first, theirs), *rest = parts or [((), ())]
        parts = [((*first, *others), theirs), *rest]
    return parts


def _way(
    jtd: Jtd,
    route: Route | RefusedReferenceError,
    opened: Mapping[Own, Outlet | RefusedReferenceError],
) -> Way:
    if isinstance(route, RefusedReferenceError):
        return Way(route=Route(outlets=()), ended=_refused(route))
    if route.own is None:
        return Way(route=route, outlets=route.outlets, ended=None if route.outlets else _gone(jtd))
    own = opened[route.own]
    if isinstance(own, Outlet):
        return Way(route=route, outlets=(own, *route.outlets))
    if route.outlets:
        return Way(route=route, outlets=route.outlets)
    is_gone = own.is_gone and route.own.is_bound
    return Way(route=route, ended=_gone(jtd, str(own)) if is_gone else _refused(own))


def _needs_house(outlets: Sequence[Outlet]) -> bool:
    """Whether what goes to `outlets` needs a token of a provider of the house."""
    return not outlets[0].is_own and not outlets[0].adapter.capabilities.transactional


def _as_sent_by(outlet: Outlet, message: Message) -> Message:
    """Return `message` as it goes by `outlet`: where a tenant may not say as whom, as the house."""
    return message if message.sender is None or outlet.takes_senders else replace(message, sender=None)


def _may_be_the_tenants(outlet: Outlet, item: Item, result: SendResult) -> bool:
    """Whether the sender that a tenant named may be why a credential of all was refused."""
    return (
        isinstance(result, Refused)
        and result.scope is Scope.CREDENTIAL
        and item.message.sender is not None
        and outlet.takes_senders
        and outlet.is_shared
    )


def _is_final(refusal: tuple[Outcome, str]) -> bool:
    """Whether a message that was refused so would fail for good."""
    return isinstance(refusal[0], Failed)


def _another_may_take(refusal: Refused) -> bool:
    return refusal.retry is Retry.ELSEWHERE or refusal.scope in _OTHERS_MAY_TAKE_IT


async def _send(outlet: Outlet, messages: Sequence[Message]) -> Sequence[SendResult]:
    return await outlet.adapter.send(messages)


def _results(answer: Sequence[SendResult] | BaseException, number: int) -> Sequence[SendResult]:
    """Return one result per message, whatever an adapter did."""
    if isinstance(answer, asyncio.CancelledError):
        unknown = Unknown(code="send_cut_off", reason="the worker was stopped while the send was running")
    elif isinstance(answer, BaseException):
        unknown = Unknown(code="adapter_error", reason=f"the adapter raised {type(answer).__name__}")
    elif isinstance(answer, Sequence) and len(answer) == number and all(map(_is_result, answer)):
        return answer
    else:
        unknown = Unknown(
            code="adapter_error", reason=f"the adapter did not give a result for each of {number}"
        )
    return [unknown] * number


def _is_result(answer: object) -> bool:
    return isinstance(answer, Sent | Refused | Throttled | Unknown)


def _no_device(jtd: Jtd) -> Failed:
    try:
        UUID(jtd.to)
    except ValueError:
        return Failed(
            code="recipient_invalid",
            reason="a push goes to a user id, a uuid; a bare token is not taken: "
            "register it for its user with jtd.register_device",
        )
    return Failed(
        code="no_device", reason="the user has registered no device that a provider of this channel reaches"
    )


def _at_work(outlet: Outlet) -> Snooze:
    reason = f"{outlet.code} is sending as many messages as it may at one time"
    return Snooze(code=AT_WORK, reason=reason, delay=timedelta(seconds=OWN_PATIENCE))


def _refused(error: RefusedReferenceError) -> Snooze:
    return Snooze(code=error.code, reason=str(error), delay=AFTER_OPERATOR_PAUSE)


def _gone(jtd: Jtd, why: str = "") -> Failed:
    missing = f"{why}: put it back" if why else "JTD_PROVIDERS does not name it any more: name it again"
    return Failed(
        code="provider_gone",
        reason=f"provider {jtd.bound_to} may have it already, and {missing} and retry, "
        "or retry with --resend to let another provider send it",
    )
