"""The seam between the worker and a provider: what every file in `channels/` provides.

The file `channels/<channel>_<provider>.py` (or `any_<provider>.py`, for every channel) holds
`Settings`, a pydantic model; `CAPABILITIES`; and `build(settings, channel) -> Adapter`. Its name is its
registration.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from jtd_worker.message import Message
from jtd_worker.result import SendResult, Unknown


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
        When cancelled, connections in use are closed, not returned to a pool.
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
        answers = await asyncio.gather(*map(self.send_one, batch), return_exceptions=True)
        return [unanswered(answer) if isinstance(answer, BaseException) else answer for answer in answers]

    async def aclose(self) -> None:  # noqa: B027 - most adapters keep nothing open
        """Nothing to close unless the adapter keeps connections."""


def unanswered(error: BaseException) -> Unknown:
    """Say what is known of a send that raised: nothing; a cancellation goes on."""
    if isinstance(error, asyncio.CancelledError):
        raise error
    return Unknown(code="adapter_error", reason=f"the adapter raised {type(error).__name__}")
