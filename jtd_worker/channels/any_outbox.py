"""Keeps each message in `n_jtd_outbox` instead of sending it: for test mode and a run without provider."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from jtd_worker.adapter import Adapter, Capabilities, UnknownRule
from jtd_worker.message import Message
from jtd_worker.result import Delivery, SendResult, Sent

# The row and the status are one transaction, so a message whose status was lost was not kept either.
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
    return Outbox()


class Outbox:
    """Answers every message with the row that settling writes; does no I/O."""

    capabilities = CAPABILITIES

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Return one row of `n_jtd_outbox` per message."""
        return [_kept(message) for message in batch]

    async def aclose(self) -> None:
        """Nothing is open."""


def _kept(message: Message) -> Sent:
    return Sent(
        delivery=Delivery(
            kind="outbox",
            row={
                "jtd_id": str(message.jtd_id),
                "tenant_id": str(message.tenant_id),
                "channel_code": message.channel,
                "recipient": message.to,
                "recipient_name": message.name,
                "subject": message.subject,
                "content": message.text,
                "content_html": message.html,
                "metadata": {
                    "reply_to": message.reply_to,
                    "locale": message.locale,
                    # Without the content: it can be rendered again, and the outbox is read as a list.
                    "attachments": [
                        {"name": a.name, "media_type": a.media_type, "bytes": len(a.content)}
                        for a in message.attachments
                    ],
                },
            },
        )
    )
