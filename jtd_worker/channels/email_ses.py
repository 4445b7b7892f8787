"""Mail by Amazon SES, API v2 (the service model `sesv2/2019-09-27`); events through SNS."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from jtd_worker import mime
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.aws_signature import AwsSigner
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, SendSettings, json_body, url_of_call
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message
from jtd_worker.receipt import MalformedError, Receipt, ReceiptKind, ReceiptParser, WebhookRequest
from jtd_worker.result import SendResult
from jtd_worker.sns import Sns, fetch
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import moment, reference, text

# There is no token against duplicates in the service model.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.RESEND, sureness=Sureness.VECTORS, has_receipts=True
)

_REFERENCE: Final = "jtd_id"
"""The tag that comes back in the events of a configuration set."""

_BY_NAME: Final[Mapping[str, Verdict]] = {
    "TooManyRequestsException": Verdict.THROTTLED,
    "Throttling": Verdict.THROTTLED,
    "ThrottlingException": Verdict.THROTTLED,
    # of a day, or of a resource: a pause of the channel, and an operator who sees why
    "LimitExceededException": Verdict.CREDENTIAL,
    "AccountSuspendedException": Verdict.CREDENTIAL,
    "SendingPausedException": Verdict.CREDENTIAL,
    "MailFromDomainNotVerifiedException": Verdict.CREDENTIAL,
    # a configuration set that is not there
    "NotFoundException": Verdict.PROVIDER,
    "BadRequestException": Verdict.MESSAGE,
}


class Settings(SendSettings):
    """Which region, as whom, and from whom mail is."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    base_url: ApiUrl = Field(
        default_factory=lambda fields: HttpUrl(f"https://email.{fields['region']}.amazonaws.com"), repr=False
    )
    access_key_id: str | None = Field(default=None, min_length=1)
    """With the secret, or neither: then as the machine's role or the AWS variables say."""
    secret_access_key: SecretStr | None = Field(default=None, min_length=1)
    configuration_set: str | None = Field(default=None, min_length=1)
    """Its event destinations report what becomes of mails."""
    sender: str = Field(alias="from")
    """One mailbox of a verified identity, such as `Acme <no-reply@acme.example>`."""

    @field_validator("sender")
    @classmethod
    def _is_mailbox(cls, sender: str) -> str:
        mime.mailbox(sender)
        return sender

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together: set both or neither")
        return self


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; looks for credentials where none are set. ConfigurationError if there are none."""
    key = None
    if settings.access_key_id and settings.secret_access_key:
        key = (settings.access_key_id, settings.secret_access_key.get_secret_value())
    signer = AwsSigner("ses", settings.region, key)
    return HttpAdapter(
        settings,
        # without one its notifications do not have our tag
        replace(CAPABILITIES, echoes_reference=settings.configuration_set is not None),
        partial(_write, settings, signer),
        _read,
        secrets=key[1:] if key else (),
        writing_may_wait=key is None,
    )


def _write(settings: Settings, signer: AwsSigner, message: Message) -> HttpRequest:
    mail = mime.build(message, settings.sender)
    url = url_of_call(settings.base_url, "/v2/email/outbound-emails")
    body = json_body(
        {
            # with raw content the recipient must be named too
            "Destination": {"ToAddresses": [mail.recipient]},
            "FromEmailAddress": mail.sender,
            "Content": {"Raw": {"Data": b64encode(mail.content).decode()}},
            "ConfigurationSetName": settings.configuration_set,
            "EmailTags": [{"Name": _REFERENCE, "Value": str(message.jtd_id)}],
        }
    )
    headers = signer.headers("POST", str(url), body, {"content-type": "application/json"})
    return HttpRequest(url=url, body=body, headers=headers)


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        return accepted(answer, answer.text_at("MessageId"))
    name = answer.headers.get("x-amzn-errortype", "").partition(":")[0][:100]
    said = answer.text_at("message") or answer.text_at("Message") or ""
    if name == "MessageRejected":
        # the text alone tells an identity that is not verified from content that is not taken
        verdict: Verdict | None = Verdict.CREDENTIAL if "not verified" in said else Verdict.MESSAGE
    else:
        verdict = _BY_NAME.get(name)
    return refusal(answer, verdict, code=name or None, text=said or None)


class ReceiptSettings(BaseModel):
    """Whose events are believed: a signature only shows that some account of AWS sent them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    topic_arns: str = Field(min_length=1)
    """ARNs of the SNS topics, separated by blanks."""
    max_age_seconds: int = Field(default=90_000, ge=1)
    """How old a signed message may be; SNS goes on trying for about a day."""


def build_receipts(settings: ReceiptSettings, get: Callable[[str], bytes] = fetch) -> ReceiptParser:
    """Make the parser of the topics; `get` reads certificates of SNS and confirms subscriptions."""
    sns = Sns(frozenset(settings.topic_arns.split()), settings.max_age_seconds, get)
    return partial(_receipts, sns)


def _receipts(sns: Sns, request: WebhookRequest) -> Sequence[Receipt]:
    notification = sns.notification(request)
    if notification is None:
        return []
    try:
        event = json.loads(notification.message)
    except (ValueError, RecursionError):
        # after the subscription one message comes that is a sentence
        return []
    if not isinstance(event, dict):
        raise MalformedError("the message is no event of SES")
    return list(_events(event, notification.id))


def _events(event: Mapping[str, Any], event_key: str) -> Iterator[Receipt]:
    kind = _kind(event)
    mail = event.get("mail")
    if kind is None or not isinstance(mail, dict):
        return
    name, told = _details(event)
    affected = _affected(told) or [{}]
    for number, one in enumerate(affected):
        yield Receipt(
            kind=kind,
            event_key=event_key if len(affected) == 1 else f"{event_key}-{number}",
            provider_message_id=text(mail.get("messageId"), 200),
            reference=reference(_tag(mail)),
            recipient=text(one.get("emailAddress"), 320),
            at=moment(told.get("timestamp")) or moment(mail.get("timestamp")),
            code=text(one.get("status"), 100) or text(told.get(f"{name}SubType"), 100),
            reason=text(one.get("diagnosticCode"))
            or text(told.get("reason"))
            or text(told.get("errorMessage")),
        )


def _kind(event: Mapping[str, Any]) -> ReceiptKind | None:
    match event.get("eventType") or event.get("notificationType"):
        case "Send":
            return ReceiptKind.SENT
        case "DeliveryDelay":
            return ReceiptKind.DEFERRED
        case "Delivery":
            return ReceiptKind.DELIVERED
        case "Open" | "Click":
            return ReceiptKind.READ
        case "Bounce":
            return _BOUNCES.get(str(_details(event)[1].get("bounceType")), ReceiptKind.FAILED)
        case "Complaint":
            is_one = _details(event)[1].get("complaintFeedbackType") != "not-spam"
            return ReceiptKind.COMPLAINED if is_one else None
        case "Reject" | "Rendering Failure":
            return ReceiptKind.FAILED
        case "Subscription":
            return ReceiptKind.UNSUBSCRIBED
        case _:
            return None


_BOUNCES: Final = {"Permanent": ReceiptKind.BOUNCED, "Transient": ReceiptKind.SOFT_BOUNCED}
_OBJECTS: Final = ("bounce", "complaint", "delivery", "reject", "failure", "deliveryDelay", "open", "click")


def _details(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the object that tells of the event, with its name; an empty one if there is none."""
    for name in _OBJECTS:
        if isinstance(found := event.get(name), dict):
            return name, found
    return "", {}


def _affected(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for name in ("bouncedRecipients", "complainedRecipients", "delayedRecipients"):
        if isinstance(found := told.get(name), list):
            return [one for one in found if isinstance(one, dict)]
    recipients = told.get("recipients")
    return [{"emailAddress": one} for one in recipients] if isinstance(recipients, list) else []


def _tag(mail: Mapping[str, Any]) -> Any:
    tags = mail.get("tags")
    values = tags.get(_REFERENCE) if isinstance(tags, dict) else None
    return values[0] if isinstance(values, list) and values else None
