"""Mail by Twilio SendGrid, Web API v3 (the vendor's OpenAPI file `tsg_mail_v3`; its page on errors)."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from email.headerregistry import Address
from functools import partial
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
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
from jtd_worker.result import SendResult, Sent
from jtd_worker.verdict import Verdict, refusal
from jtd_worker.webhook_proof import SignedReceipts, document, header, moment, must_be_near, reference, text

# There is no key against duplicates; a mail sent twice shows twice, one that is missing shows never.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.RESEND, sureness=Sureness.VECTORS, has_receipts=True, echoes_reference=True
)

_REFERENCE: Final = "jtd_id"
"""The custom argument that comes back, flat, in each event."""


class Settings(HttpSettings):
    """Whose account, and from whom mail is."""

    base_url: ApiUrl = Field(default=HttpUrl("https://api.sendgrid.com"), repr=False)
    """`https://api.eu.sendgrid.com` for accounts of the EU region."""
    api_key: SecretStr = Field(min_length=1)
    sender: str = Field(alias="from")
    """One mailbox, such as `Acme <no-reply@acme.example>`."""

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
    # the vendor wants text before HTML
    bodies = {"text/plain": message.text, "text/html": message.html}
    return HttpRequest(
        url=settings.url("/v3/mail/send"),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        body=json_body(
            {
                "personalizations": [
                    {"to": [_mailbox(ends.recipient)], "custom_args": {_REFERENCE: str(message.jtd_id)}}
                ],
                "from": _mailbox(ends.sender),
                "reply_to": _mailbox(ends.reply_to) if ends.reply_to else None,
                "subject": message.subject or " ",  # an empty one is refused
                "content": [{"type": kind, "value": body} for kind, body in bodies.items() if body],
                "headers": mime.own_headers(message),
                "attachments": [
                    {
                        "content": b64encode(a.content).decode(),
                        "type": a.media_type,
                        "filename": a.name,
                        "disposition": "attachment",
                    }
                    for a in mime.files(message, ends)
                ]
                or None,
                # a link with a one-time token must reach its reader as it is
                "tracking_settings": {"click_tracking": {"enable": False}},
            }
        ),
    )


def _mailbox(address: Address) -> Mapping[str, str]:
    named = {"name": address.display_name} if address.display_name else {}
    return {"email": address.addr_spec, **named}


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        # 202 has no body; what stands in one cannot take back that it was accepted
        return Sent(
            provider_message_id=answer.headers.get("x-message-id", "")[:200] or None,
            response={"status": answer.status},
        )
    field = answer.text_at("errors", 0, "field") or ""
    is_recipient = answer.status == 400 and field.startswith("personalizations.0.to")
    return refusal(answer, Verdict.RECIPIENT if is_recipient else _BY_STATUS.get(answer.status))


_BY_STATUS: Final = {451: Verdict.CREDENTIAL}  # the account's data must stay in another region


class ReceiptSettings(SignedReceipts):
    """`secrets` are the verification keys of the signed event webhook, as its panel shows them."""

    # What was not answered comes again for a day; whether with a new time is nowhere said.
    max_age_seconds: int = Field(default=90_000, ge=1)

    @field_validator("secrets")
    @classmethod
    def _are_keys(cls, secrets: SecretStr) -> SecretStr:
        for word in secrets.get_secret_value().split():
            _key(word)
        return secrets


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of the event webhook."""
    keys = [_key(word) for word in settings.each]
    return partial(_receipts, keys, settings.max_age_seconds)


def _key(word: str) -> EllipticCurvePublicKey:
    try:
        key = load_der_public_key(b64decode(word, validate=True))
    except (ValueError, Base64Error):
        raise ValueError("a verification key is the base64 of a public key, one line") from None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("a verification key of SendGrid is one for ECDSA")  # noqa: TRY004 - a setting, not a bug
    return key


def _receipts(
    keys: Sequence[EllipticCurvePublicKey], max_age_seconds: int, request: WebhookRequest
) -> Sequence[Receipt]:
    timestamp = header(request, "x-twilio-email-event-webhook-timestamp")
    signature = header(request, "x-twilio-email-event-webhook-signature")
    if not any(_is_signed(key, signature, timestamp.encode() + request.body) for key in keys):
        raise ForgedError("the signature does not fit")
    must_be_near(timestamp, request, max_age_seconds)
    events = document(request)
    if not isinstance(events, list):
        raise MalformedError("the body is no JSON list of events")
    return [receipt for event in events if isinstance(event, dict) for receipt in _receipt(event)]


def _is_signed(key: EllipticCurvePublicKey, signature: str, signed: bytes) -> bool:
    try:
        key.verify(b64decode(signature, validate=True), signed, ECDSA(SHA256()))
    except (InvalidSignature, ValueError, Base64Error):
        return False
    return True


def _receipt(event: Mapping[str, Any]) -> Iterator[Receipt]:
    kind = _kind(event)
    event_key = text(event.get("sg_event_id"), 200)
    if kind is None or event_key is None:
        return
    message_id = text(event.get("sg_message_id"), 200)
    yield Receipt(
        kind=kind,
        event_key=event_key,
        # what stands before the first full stop is what the send was answered with
        provider_message_id=message_id.partition(".")[0] if message_id else None,
        reference=reference(event.get(_REFERENCE)),
        recipient=text(event.get("email"), 320),
        at=moment(event.get("timestamp")),
        code=text(event.get("status"), 100) or text(event.get("type"), 100),
        reason=text(event.get("reason")) or text(event.get("response")),
    )


def _kind(event: Mapping[str, Any]) -> ReceiptKind | None:
    match event.get("event"):
        case "processed":
            return ReceiptKind.SENT
        case "deferred":
            return ReceiptKind.DEFERRED
        case "delivered":
            return ReceiptKind.DELIVERED
        case "open" | "click":
            # a privacy proxy opens every mail
            return None if event.get("sg_machine_open") is True else ReceiptKind.READ
        case "bounce":
            return ReceiptKind.SOFT_BOUNCED if event.get("type") == "blocked" else ReceiptKind.BOUNCED
        case "dropped":
            return _DROPPED.get(str(event.get("reason")), ReceiptKind.FAILED)
        case "spamreport":
            return ReceiptKind.COMPLAINED
        case "unsubscribe" | "group_unsubscribe":
            return ReceiptKind.UNSUBSCRIBED
        case _:
            return None


_DROPPED: Final = {
    "Bounced Address": ReceiptKind.BOUNCED,
    "Unsubscribed Address": ReceiptKind.UNSUBSCRIBED,
    "Spam Reporting Address": ReceiptKind.COMPLAINED,
}
