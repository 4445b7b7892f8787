"""Sends nothing and says that it did: for benchmarks, which measure the worker alone."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from jtd_worker.adapter import Adapter, Capabilities, UnknownRule
from jtd_worker.message import Message
from jtd_worker.result import SendResult, Sent

CAPABILITIES = Capabilities(
    unknown_rule=UnknownRule.IDEMPOTENT_RETRY,
    transactional=True,
    batch_size=1000,
)


class Settings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter, the same for every channel."""
    return Noop()


class Noop:
    """Drops every message and answers Sent. Never use it where somebody waits for a message."""

    capabilities = CAPABILITIES

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Return Sent for each message."""
        return [Sent()] * len(batch)

    async def aclose(self) -> None:
        """Nothing is open."""
