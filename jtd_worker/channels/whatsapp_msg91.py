"""WhatsApp templates by MSG91, bulk API v5 (the vendor's msg91-whatsapp-sdk-python; its page on webhooks)."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from pydantic import Field, field_validator

from jtd_worker import msg91, whatsapp_template
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_adapter import HttpAdapter
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import Receipt, ReceiptKind, ReceiptParser
from jtd_worker.result import SendResult
from jtd_worker.webhook_proof import SecretUrlReceipts

# Our id comes back in each receipt, as crqid.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.WAIT_FOR_RECEIPT,
    echoes_reference=True,
    sureness=Sureness.THIRD_PARTY,
    has_receipts=True,
)


class Settings(msg91.Settings):
    """Whose account, and from which number messages are."""

    sender: str = Field(alias="from")
    """The integrated number, `+<country code><number>`."""
    language: str = Field(default="en", min_length=1)
    """Of templates that name none, as it was approved: `en`, `en_US`."""
    namespace: str | None = None
    """Of the WhatsApp Business account."""

    @field_validator("sender")
    @classmethod
    def _is_number(cls, sender: str) -> str:
        _number_of_ours(sender)
        return sender


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    # one message a request: the provider gives one id to a request, and our own for its receipts to each
    return HttpAdapter(settings, CAPABILITIES, partial(_write, settings), _read, secrets=settings.secrets)


def _write(settings: Settings, message: Message) -> HttpRequest:
    template = msg91.template_of(message)
    content = {
        "name": template.id,
        "language": {"code": template.language or settings.language, "policy": "deterministic"},
        **({"namespace": settings.namespace} if settings.namespace else {}),
        "to_and_components": [
            {"to": [msg91.number(message.to)], "components": _components(message, template)}
        ],
    }
    return settings.request(
        "/api/v5/whatsapp/whatsapp-outbound-message/bulk/",
        {
            "integrated_number": _number_of_ours(message.sender or settings.sender),
            "content_type": "template",
            "CRQID": str(message.jtd_id),
            "payload": {"messaging_product": "whatsapp", "type": "template", "template": content},
        },
    )


def _number_of_ours(sender: str) -> str:
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", sender):
        raise ValueError("the sender is a number: +<country code><number>")
    return sender[1:]


def _components(message: Message, template: ProviderTemplate) -> Mapping[str, Any]:
    """Write header, body and button, by name and place; the kinds of parameters are never mixed."""
    whatsapp_template.check_parameters(template.parameters)
    components: dict[str, Any] = {}
    url = message.metadata.get("media_url")
    if url is not None:
        media = whatsapp_template.media(url)
        named = {"filename": media.file_name} if media.kind == "document" else {}
        components["header_1"] = {"type": media.kind, "value": media.url, **named}
    for place, (name, text) in enumerate(template.parameters, 1):
        if template.format == "named":
            components[f"body_{name}"] = {"type": "text", "value": text, "parameter_name": name}
        else:
            components[f"body_{place}"] = {"type": "text", "value": text}
    suffix = message.metadata.get("button_suffix")
    if suffix is not None:
        text = suffix if isinstance(suffix, str) else ""
        whatsapp_template.check_parameters([("metadata.button_suffix", text)])
        components["button_1"] = {"subtype": "url", "type": "text", "value": text}
    return components


def _read(answer: Answer) -> SendResult:
    # what stands in `data` is a sentence
    return msg91.read(answer, (("request_id",),), msg91.CODES)


PANEL_BODY: Final[Mapping[str, str]] = {
    "crqid": "{{crqid}}",
    "requestId": "{{requestId}}",
    "customerNumber": "{{customerNumber}}",
    "direction": "{{direction}}",
    "eventName": "{{eventName}}",
    "statusUpdatedAt": "{{statusUpdatedAt}}",
    "statusCode": "{{statusCode}}",
    "reason": "{{reason}}",
}
"""What is to be typed into the panel as the webhook's body."""

_EVENTS: Final = {
    **dict.fromkeys(("sent", "submitted", "pending"), ReceiptKind.SENT),
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.READ,
    "failed": ReceiptKind.FAILED,
}
_INBOUND: Final = {"inbound", "in", "0"}
_META_CODE: Final = re.compile(r"\b13[0-9]{4}\b")
_STOPPED: Final = "131050"
"""Meta's code for a recipient who wants no marketing of this sender."""


class ReceiptSettings(SecretUrlReceipts):
    """`secrets` are the last part of the webhook's URL, or its parameter `key`."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of "Webhook (New)", with its newer names and its older ones."""
    return msg91.receipts(settings, _receipts)


def _receipts(event: msg91.Event) -> Iterator[Receipt]:
    name = msg91.field(event, "eventname", "status") or ""
    kind = _EVENTS.get(name.lower())
    if kind is None or (msg91.field(event, "direction") or "").lower() in _INBOUND:
        return
    reason = msg91.field(event, "reason", "failurereason") if kind is ReceiptKind.FAILED else None
    meta_code = _META_CODE.search(reason or "")
    code = meta_code[0] if meta_code else msg91.field(event, "statuscode")
    kinds = (kind, ReceiptKind.UNSUBSCRIBED) if code == _STOPPED else (kind,)
    for each in kinds:
        yield from msg91.receipt(
            event,
            each,
            name=name if each is kind else each,
            to=("customernumber", "mobile", "recipient"),
            at=("statusupdatedat", "ts"),
            code=code if kind is ReceiptKind.FAILED else None,
            reason=reason,
        )
