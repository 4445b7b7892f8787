"""Mail by Resend (its OpenAPI file of 2026-08; its pages on errors and idempotency)."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic import Field, HttpUrl, SecretStr, field_validator

from jtd_worker import mime
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, HttpSettings, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message
from jtd_worker.receipt import (
    ForgedError,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.result import SendResult
from jtd_worker.standard_webhooks import parse_secrets, verify
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import ReceiptSecrets, document, header, moment, reference, text

# The key is remembered for 24 hours, longer than the longest wait between two attempts; the bytes of a retry
# are the same, as it asks.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.IDEMPOTENT_RETRY,
    sureness=Sureness.VECTORS,
    has_receipts=True,
    echoes_reference=True,
)

_REFERENCE: Final = "jtd_id"
"""The tag that comes back in each event."""

_BY_NAME: Final[Mapping[str, Verdict]] = {
    "invalid_from_address": Verdict.CREDENTIAL,
    # the first request under this key is still being worked on
    "concurrent_idempotent_requests": Verdict.AGAIN,
    # the key was used with other bytes: what they said may have left
    "invalid_idempotent_request": Verdict.UNSURE,
    "daily_quota_exceeded": Verdict.CREDENTIAL,
    "monthly_quota_exceeded": Verdict.CREDENTIAL,
}


class Settings(HttpSettings):
    """Whose account, and from whom mail is."""

    base_url: ApiUrl = Field(default=HttpUrl("https://api.resend.com"), repr=False)
    api_key: SecretStr = Field(min_length=1)
    sender: str = Field(alias="from")
    """One mailbox of a verified domain, such as `Acme <no-reply@acme.example>`."""

    @field_validator("sender")
    @classmethod
    def _is_mailbox(cls, sender: str) -> str:
        mime.mailbox(sender)
        return sender


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    key = settings.api_key.get_secret_value()
    return HttpAdapter(settings, CAPABILITIES, partial(_write, settings, key), _read, secrets=[key])


def _write(settings: Settings, key: str, message: Message) -> HttpRequest:
    ends = mime.envelope(message, settings.sender)
    return HttpRequest(
        url=settings.url("/emails"),
        headers={
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "idempotency-key": message.idempotency_key,
        },
        body=json_body(
            {
                "from": mime.display(ends.sender),
                "to": [mime.display(ends.recipient)],
                "reply_to": mime.display(ends.reply_to) if ends.reply_to else None,
                "subject": message.subject or "",
                "text": message.text or None,
                "html": message.html,
                "headers": mime.own_headers(message),
                "attachments": [
                    {
                        "content": b64encode(a.content).decode(),
                        "filename": a.name,
                        "content_type": a.media_type,
                    }
                    for a in mime.files(message, ends)
                ]
                or None,
                "tags": [{"name": _REFERENCE, "value": str(message.jtd_id)}],
            }
        ),
    )


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        return accepted(answer, answer.text_at("id"))
    name = answer.text_at("name")
    return refusal(answer, _BY_NAME.get(name or ""), code=name, text=answer.text_at("message"))


class ReceiptSettings(ReceiptSecrets):
    """`secrets` are the signing secrets of the webhook, `whsec_<base64>`."""

    @field_validator("secrets")
    @classmethod
    def _are_secrets(cls, secrets: SecretStr) -> SecretStr:
        parse_secrets(secrets.get_secret_value())
        return secrets


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of the webhook."""
    return partial(_receipts, parse_secrets(settings.secrets.get_secret_value()))


def _receipts(secrets: Sequence[bytes], request: WebhookRequest) -> Sequence[Receipt]:
    event_key, timestamp, signatures = (
        header(request, f"svix-{name}") for name in ("id", "timestamp", "signature")
    )
    if not verify(secrets, event_key, timestamp, signatures, request.body, request.received_at):
        raise ForgedError("the signature does not fit, or its time is too far from ours")
    event = document(request)
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict):
        raise MalformedError("the body is no event")
    kind = _kind(str(event.get("type")), data)
    if kind is None:
        return []
    told = _told(data)
    tags, to = data.get("tags"), data.get("to")
    return [
        Receipt(
            kind=kind,
            # the same for each copy, and for no other event
            event_key=event_key[:200],
            provider_message_id=text(data.get("email_id"), 200),
            reference=reference(tags.get(_REFERENCE) if isinstance(tags, dict) else None),
            recipient=text(to[0], 320) if isinstance(to, list) and to else None,
            at=moment(event.get("created_at")),
            code=text(told.get("subType"), 100) or text(told.get("type"), 100),
            reason=text(told.get("message")) or text(told.get("reason")),
        )
    ]


def _told(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that says why."""
    for name in ("bounce", "failed", "suppressed"):
        if isinstance(found := data.get(name), dict):
            return found
    return {}


def _kind(event: str, data: Mapping[str, Any]) -> ReceiptKind | None:
    if event == "email.bounced":
        bounce = data.get("bounce")
        kind = bounce.get("type") if isinstance(bounce, dict) else None
        return ReceiptKind.SOFT_BOUNCED if kind in ("Temporary", "Transient") else ReceiptKind.BOUNCED
    return _KINDS.get(event)


_KINDS: Final[Mapping[str, ReceiptKind]] = {
    "email.sent": ReceiptKind.SENT,
    "email.delivery_delayed": ReceiptKind.DEFERRED,
    "email.delivered": ReceiptKind.DELIVERED,
    "email.opened": ReceiptKind.READ,
    "email.clicked": ReceiptKind.READ,
    "email.failed": ReceiptKind.FAILED,
    "email.suppressed": ReceiptKind.FAILED,
    "email.complained": ReceiptKind.COMPLAINED,
}
