"""Mail by MSG91, API v5: templates of its panel, by what others who send with it have written down."""

from base64 import b64encode
from collections.abc import Hashable, Iterator, Mapping, Sequence
from email.headerregistry import Address
from functools import partial
from typing import Any, Final

from pydantic import Field, field_validator

from jtd_worker import mime, msg91
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message
from jtd_worker.receipt import Receipt, ReceiptKind, ReceiptParser
from jtd_worker.result import SendResult
from jtd_worker.webhook_proof import SecretUrlReceipts

# There is no key against duplicates; a mail sent twice shows twice, one that is missing shows never.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.RESEND, sureness=Sureness.THIRD_PARTY, has_receipts=True, echoes_reference=True
)


class Settings(msg91.BatchSettings):
    """Whose account, and from whom mail is."""

    sender: str = Field(alias="from")
    """One mailbox, such as `Acme <no-reply@acme.example>`."""
    domain: str | None = None
    """As the panel has it; by default that of the sender."""

    @field_validator("sender")
    @classmethod
    def _is_mailbox(cls, sender: str) -> str:
        mime.mailbox(sender)
        return sender


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    return msg91.batching(settings, CAPABILITIES, partial(_group, settings), partial(_write, settings), _read)


def _group(settings: Settings, message: Message) -> Hashable:
    return msg91.template_of(message).id, message.sender or settings.sender, message.reply_to


def _write(settings: Settings, messages: Sequence[Message]) -> HttpRequest:
    first = messages[0]
    ends = mime.envelope(first, settings.sender)
    return settings.request(
        "/api/v5/email/send",
        {
            "recipients": [_recipient(message, settings) for message in messages],
            "from": _mailbox(ends.sender),
            "domain": settings.domain or ends.sender.domain,
            "template_id": msg91.template_of(first).id,
            "reply_to": [_mailbox(ends.reply_to)] if ends.reply_to else None,
            "attachments": [
                {
                    "fileName": a.name,
                    "file": f"data:{a.media_type};base64,{b64encode(a.content).decode()}",
                }
                for a in first.attachments
            ]
            or None,
        },
    )


def _recipient(message: Message, settings: Settings) -> Mapping[str, Any]:
    return {
        "to": [_mailbox(mime.envelope(message, settings.sender).recipient)],
        "variables": msg91.variables(msg91.template_of(message)),
        "crqid": str(message.jtd_id),
    }


def _mailbox(address: Address) -> Mapping[str, str]:
    named = {"name": address.display_name} if address.display_name else {}
    return {"email": address.addr_spec, **named}


_IDS: Final = (("data", "unique_id"), ("request_id",), ("data", "request_id"), ("message_id",), ("message",))


def _read(answer: Answer, messages: Sequence[Message]) -> SendResult:
    return msg91.read(answer, _IDS, msg91.CODES)


PANEL_BODY: Final[Mapping[str, str]] = {
    "crqid": "{{crqid}}",
    "requestId": "{{requestId}}",
    "recipient": "{{recipient}}",
    "eventName": "{{eventName}}",
    "ts": "{{ts}}",
    "statusCode": "{{statusCode}}",
    "enhancedStatusCode": "{{enhancedStatusCode}}",
    "failureCategory": "{{failureCategory}}",
    "reason": "{{reason}}",
}
"""What is to be typed into the panel as the webhook's body."""

_EVENTS: Final = {
    "queued": ReceiptKind.SENT,
    "accepted": ReceiptKind.SENT,
    "delivered": ReceiptKind.DELIVERED,
    "opened": ReceiptKind.READ,
    "clicked": ReceiptKind.READ,
    "bounced": ReceiptKind.BOUNCED,
    "failed": ReceiptKind.FAILED,
    "rejected": ReceiptKind.FAILED,
    "unsubscribed": ReceiptKind.UNSUBSCRIBED,
    "complaints": ReceiptKind.COMPLAINED,
    "complaint": ReceiptKind.COMPLAINED,
    "spam": ReceiptKind.COMPLAINED,
}


class ReceiptSettings(SecretUrlReceipts):
    """`secrets` are the last part of the webhooks' URL, or its parameter `key`."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of "Webhook (New)"."""
    return msg91.receipts(settings, _receipt)


def _receipt(event: msg91.Event) -> Iterator[Receipt]:
    name = msg91.field(event, "eventname", "event") or ""
    kind = _EVENTS.get(name.lower())
    if kind is None:
        return
    enhanced = msg91.field(event, "enhancedstatuscode") or ""
    category = (msg91.field(event, "failurecategory") or "").lower()
    if name.lower() == "failed" and (enhanced.startswith("5.1.") or "hard" in category):
        kind = ReceiptKind.BOUNCED
    yield from msg91.receipt(
        event,
        kind,
        name=name,
        to=("recipient", "email"),
        at=("ts",),
        code=enhanced or msg91.field(event, "statuscode"),
        reason=msg91.field(event, "reason", "failurereason"),
    )
