"""Keeps each message in a list of this process: for tests that ask what was sent."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from jtd_worker.adapter import Capabilities, UnknownRule
from jtd_worker.message import Message
from jtd_worker.result import SendResult, Sent

# A provider without idempotency, so that a second send shows and the hand-off is exercised.
CAPABILITIES = Capabilities(unknown_rule=UnknownRule.RESEND, batch_size=100)


class Settings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def build(settings: Settings, channel: str) -> "Memory":
    """Make an adapter with an empty list of its own."""
    return Memory()


class Memory:
    """Keeps what it is given, in the order of sending, duplicates included."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Keep the messages; their provider ids count up from `memory-1`."""
        first = len(self.messages) + 1
        self.messages += batch
        return [Sent(provider_message_id=f"memory-{first + n}") for n in range(len(batch))]

    async def aclose(self) -> None:
        """The messages stay, so that a test can read them after the worker has stopped."""
