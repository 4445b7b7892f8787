"""The seam between the worker and a provider: what every file in `channels/` provides.

The file `channels/<channel>_<provider>.py` (or `any_<provider>.py`, for every channel) holds
`Settings`, a pydantic model; `CAPABILITIES`; and `build(settings, channel) -> Adapter`. Its name is its
registration.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from jtd_worker.message import Message
from jtd_worker.result import SendResult, Unknown

T = TypeVar("T")


class UnknownRule(StrEnum):
    """What follows when nobody knows whether a message left."""

    IDEMPOTENT_RETRY = "idempotent_retry"
    """Send again: the provider drops the second one by its idempotency key."""
    WAIT_FOR_RECEIPT = "wait_for_receipt"
    """Wait 15 minutes for a receipt that names the job, then hold; only with `echoes_reference`."""
    HOLD = "hold"
    """Stop and let a person decide; `error_code = outcome_unknown`."""
    RESEND = "resend"
    """Send again and record the possible duplicate."""


class Sureness(StrEnum):
    """How well the facts are known that an adapter was written from."""

    OWN = "own"
    """Both sides are ours, or an open standard is."""
    VECTORS = "vectors"
    """The vendor's models or libraries, and its published examples, which the tests run."""
    DOCUMENTED = "documented"
    """The vendor's pages; nothing of theirs that a test could run."""
    THIRD_PARTY = "third_party"
    """Partly only what others who use it have written down."""
    CONFIGURED = "configured"
    """What whoever runs the worker has set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the worker must know of a provider before it hands messages over."""

    unknown_rule: UnknownRule
    transactional: bool = False
    """Sending is a row that settling writes in our own transaction; nothing leaves the database."""
    batch_size: int = 1
    """The most messages that one call of `send` takes; from 1."""
    sureness: Sureness = Sureness.OWN
    devices: str | None = None
    """The family of devices that it sends to, e.g. `fcm`; None if it goes by the recipient alone."""
    concurrency: int | None = None
    """The most calls of `send` at one time, of one process; from 1, None for as many as there are slots."""
    has_receipts: bool = False
    """Whether the provider reports what became of a message; the module then has `build_receipts`."""
    echoes_reference: bool = False
    """Whether its receipts name our JTD id, also of a message whose send was never answered."""

    def __post_init__(self) -> None:
        """Raise ValueError for a rule that would wait for what can never come."""
        if self.unknown_rule is UnknownRule.WAIT_FOR_RECEIPT and not self.echoes_reference:
            raise ValueError(
                "wait_for_receipt needs a provider whose receipts name our id (echoes_reference)"
            )

    @property
    def needs_hand_off(self) -> bool:
        """Whether the hand-off must be on record before the first byte with effect.

        Also where a second copy is dropped by its key: only so a cancel knows that it comes too late,
        and a message that kills its worker each time uses up its attempts.
        """
        return not self.transactional


class Adapter(Protocol):
    """A provider that messages can be handed to."""

    @property
    def capabilities(self) -> Capabilities:
        """What holds for this instance, settings included; constant for its life."""
        ...

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Send each message and return one result per message, in the same order.

        Every network step has its own timeout. A result that can be known is returned, not
        raised; any exception means Unknown for the messages of this call that were not answered.
        When cancelled, connections in use are closed, not returned to a pool; where some of the
        messages were answered already, it returns their results, with Unknown for the others.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; nothing is being sent any more."""
        ...


class SingleSend(ABC):
    """Base of adapters whose provider takes one message a call."""

    @abstractmethod
    async def send_one(self, message: Message) -> SendResult:
        """Send one message; an exception means Unknown."""

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Send the messages of a batch side by side; one that raises does not harm the others."""
        if len(batch) == 1:
            return [await self.send_one(batch[0])]
        answers = await side_by_side(map(self.send_one, batch))
        return [unanswered(answer) if isinstance(answer, BaseException) else answer for answer in answers]

    async def aclose(self) -> None:  # noqa: B027 - most adapters keep nothing open
        """Nothing to close unless the adapter keeps connections."""


async def side_by_side(calls: Iterable[Coroutine[None, None, T]]) -> list[T | BaseException]:
    """Run `calls`, at least one, and return what each returned or raised, in their order.

    When cancelled, those that still run are cut off and count as cancelled; only if that is all of them
    the cancellation goes on. What a provider has answered already must not be sent again.
    """
    tasks = [asyncio.create_task(call) for call in calls]
    was_cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            was_cancelled = True
            for task in tasks:
                task.cancel()
    ended: list[T | BaseException] = []
    for task in tasks:
        ended.append(asyncio.CancelledError() if task.cancelled() else task.exception() or task.result())
    if was_cancelled and all(isinstance(one, asyncio.CancelledError) for one in ended):
        raise asyncio.CancelledError
    return ended


def unanswered(error: BaseException) -> Unknown:
    """Say what is known of a send that raised: nothing."""
    if isinstance(error, asyncio.CancelledError):
        return Unknown(code="send_cut_off", reason="the worker was stopped while the send was running")
    return Unknown(code="adapter_error", reason=f"the adapter raised {type(error).__name__}")
