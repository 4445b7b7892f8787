"""What mail, SMS and WhatsApp by MSG91 share: one key, errors inside a 200, webhooks of one's own making."""

import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

from pydantic import Field, HttpUrl, SecretStr

from jtd_worker import webhook_proof
from jtd_worker.adapter import Adapter, Capabilities
from jtd_worker.errors import RecipientError, RenderError
from jtd_worker.http_adapter import ApiUrl, BatchHttpAdapter, HttpSettings, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.masking import contact, one_line
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import MalformedError, Receipt, ReceiptKind, ReceiptParser, WebhookRequest
from jtd_worker.result import SendResult
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import SecretUrlReceipts

INDIA: Final = timezone(timedelta(hours=5, minutes=30))
"""The zone of times that name none."""


class Settings(HttpSettings):
    """Whose account."""

    base_url: ApiUrl = Field(default=HttpUrl("https://control.msg91.com"), repr=False)
    authkey: SecretStr = Field(min_length=1)
    """Addresses from which it may be used are restricted in its panel, for a new key by default."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen."""
        return (self.authkey.get_secret_value(),)

    def request(self, path: str, document: Mapping[str, Any]) -> HttpRequest:
        """Write a call; ValueError if JSON cannot hold the document."""
        return HttpRequest(
            url=self.url(path),
            headers={
                "authkey": self.authkey.get_secret_value(),
                "content-type": "application/json",
                "accept": "application/json",
            },
            body=json_body(document),
        )


class BatchSettings(Settings):
    """Also how many messages go in one call."""

    batch_size: int = Field(default=1, ge=1, le=100)
    """At most; how many the provider takes is nowhere said, nor that it refuses a request as a whole: if it
    sent the others of a request that it refuses for one number, these would be sent again."""


def batching(
    settings: BatchSettings,
    capabilities: Capabilities,
    group: Callable[[Message], Hashable],
    write: Callable[[Sequence[Message]], HttpRequest],
    read: Callable[[Answer, Sequence[Message]], SendResult],
) -> Adapter:
    """Make the adapter of an API whose answer holds for all messages of its request."""
    return BatchHttpAdapter(
        settings,
        replace(capabilities, batch_size=settings.batch_size),
        group,
        write,
        lambda answer, messages: [read(answer, messages)] * len(messages),
        secrets=settings.secrets,
    )


def template_of(message: Message) -> ProviderTemplate:
    """Return the approved template that is sent; RenderError `template_missing` if there is none."""
    if message.template is None or not message.template.id:
        raise RenderError(
            "template_missing",
            "MSG91 sends only templates of its panel: enter the id as the template's provider_template_id",
        )
    return message.template


def variables(template: ProviderTemplate) -> dict[str, str]:
    """Return what goes into mail and SMS, by the names in the panel's templates: own, or VAR1, VAR2."""
    if template.format == "named":
        return dict(template.parameters)
    return {f"VAR{place}": text for place, (_, text) in enumerate(template.parameters, 1)}


def number(to: str) -> str:
    """Return a number as MSG91 takes it, without plus; RecipientError unless it is E.164."""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", to):
        raise RecipientError("the number is not of the form +<country code><number>")
    return to[1:]


# ---------------------------------------------------------------- answers


def read(
    answer: Answer,
    ids: Sequence[tuple[str, ...]],
    by_code: Mapping[str, Verdict],
) -> SendResult:
    """Judge an answer: an error first, which may stand in a 200; then the first of the paths `ids`."""
    if answer.is_success and not _is_error(answer):
        found = (answer.text_at(*path) for path in ids)
        # where an id may stand, a sentence stands sometimes
        return accepted(answer, next((one for one in found if one and " " not in one), None))
    code = answer.text_at("code")
    told = _told(answer)
    verdict = _BY_STATUS.get(answer.status)
    if _is_its_own(answer.status):
        verdict = by_code.get(code or "") or (_by_words(told) if told else None) or verdict
    return refusal(
        answer,
        verdict,
        code=f"msg91_{code[:40]}" if code else "msg91_error" if answer.is_success else None,
        text=told,
    )


def _is_its_own(status: int) -> bool:
    """Whether the words decide: a gateway knows nothing, and who has to wait has done nothing wrong."""
    return status < 300 or (400 <= status < 500 and status not in (408, 429))


def _is_error(answer: Answer) -> bool:
    """Whether it says so itself, whatever its status."""
    words = {(answer.text_at(name) or "").lower() for name in ("status", "type")}
    return answer.at("hasError") is True or not words.isdisjoint({"error", "fail", "failed"})


def _told(answer: Answer) -> str | None:
    """Return what an error says: `message`, or `errors`, a text or texts by field."""
    texts = [*_texts(answer.at("message")), *_texts(answer.at("errors"))]
    return "; ".join(texts)[:1000] or None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        yield json.dumps(value, ensure_ascii=False)


def _by_words(told: str) -> Verdict | None:
    return next((verdict for words, verdict in _BY_WORDS if words.search(told)), None)


_BY_STATUS: Final = {418: Verdict.CREDENTIAL}  # this address may not use the key
CODES: Final[Mapping[str, Verdict]] = {
    "207": Verdict.CREDENTIAL,  # no such key
    "208": Verdict.CREDENTIAL,
    "418": Verdict.CREDENTIAL,
    "301": Verdict.CREDENTIAL,  # no balance
    "302": Verdict.CREDENTIAL,
    "303": Verdict.CREDENTIAL,
}
"""Codes of the account. No list of them is published for mail and WhatsApp."""
_BY_WORDS: Final = tuple(
    (re.compile(words, re.IGNORECASE), verdict)
    for words, verdict in (
        (r"auth ?key|unauthori[sz]ed|whitelist|\bip\b", Verdict.CREDENTIAL),
        (r"not integrated|integrated.number", Verdict.CREDENTIAL),
        (r"\bcredits?\b|\bbalance\b|\bquota\b|\bplan\b", Verdict.CREDENTIAL),
        (r"\btemplate|\bflow\b|\bnamespace\b|\bdomain\b", Verdict.TEMPLATE),
        (r"invalid.*(mobile|number|recipient|e-?mail)|(mobile|number|recipient|e-?mail).*invalid",
         Verdict.RECIPIENT),
    )
)  # fmt: skip
"""For errors without a code; the first that fits."""


# ---------------------------------------------------------------- receipts

Event: TypeAlias = Mapping[str, Any]
"""One event, its names in lower case: they are typed into a panel."""

_ID_NAMES: Final = ("requestid", "crqid", "campaignrequestid", "uuid")


def receipts(settings: SecretUrlReceipts, read_event: Callable[[Event], Iterator[Receipt]]) -> ReceiptParser:
    """Make a parser: the URL proves a request, `read_event` reads each of its events."""
    return partial(_receipts, settings.each, read_event)


def _receipts(
    secrets: Sequence[str], read_event: Callable[[Event], Iterator[Receipt]], request: WebhookRequest
) -> Sequence[Receipt]:
    webhook_proof.must_name_a_secret(request, secrets)
    events = list(_events(_document(request)))
    if events and not any(name in event for event in events for name in _ID_NAMES):
        raise MalformedError("the body names no message: it is not the one that docs/channels/msg91.md shows")
    return [receipt for event in events for receipt in read_event(event)]


def _document(request: WebhookRequest) -> Any:
    """Return the JSON of the body, or of its field `data` where it is a form."""
    if "form-urlencoded" not in request.headers.get("content-type", "").lower():
        return webhook_proof.document(request)
    try:
        (data,) = parse_qs(request.body.decode())["data"]
        return json.loads(data)
    except (ValueError, KeyError, RecursionError):
        raise MalformedError("the form has no field `data` with JSON") from None


def _events(document: Any) -> Iterator[Event]:
    """Yield the events of one object or a list of them, and those under their `report`."""
    if not isinstance(document, dict | list):
        raise MalformedError("the body is no JSON object or list")
    for one in document if isinstance(document, list) else [document]:
        if not isinstance(one, dict):
            continue
        shared = {name.lower(): value for name, value in one.items()}
        report = shared.pop("report", None)
        for each in report if isinstance(report, list) else [{}]:
            if isinstance(each, dict):
                yield {**shared, **{name.lower(): value for name, value in each.items()}}


def field(event: Event, *names: str) -> str | None:
    """Return the first text under `names`; a placeholder that the provider did not know is none."""
    found = (webhook_proof.text(event.get(name)) for name in names)
    return next((one_line(text) for text in found if text and not text.startswith("{{")), None)


def receipt(
    event: Event,
    kind: ReceiptKind,
    *,
    name: str,
    to: tuple[str, ...],
    at: tuple[str, ...],
    code: str | None,
    reason: str | None,
) -> Iterator[Receipt]:
    """Yield the receipt of an event called `name`, unless it names no message.

    `to` and `at` are where recipient and time may stand. An event has no id of its own: it is what happened
    to one message of one request.
    """
    request_id = field(event, "requestid")
    reference = field(event, "crqid")
    jtd_id = webhook_proof.reference(reference)
    recipient = _contact(field(event, *to))
    if request_id is None and jtd_id is None:
        return
    identity = json.dumps([request_id, reference, recipient, name.lower()])
    yield Receipt(
        kind=kind,
        event_key=blake2b(identity.encode(), digest_size=20).hexdigest(),
        provider_message_id=request_id[:200] if request_id else None,
        reference=jtd_id,
        recipient=recipient,
        at=_moment(field(event, *at)),
        code=code[:100] if code else None,
        reason=(contact(recipient or "").reason(reason) or None) if reason else None,
    )


def _contact(written: str | None) -> str | None:
    """Return a contact in our form: numbers come without their plus."""
    if written is not None and re.fullmatch(r"[0-9]{7,15}", written):
        return f"+{written}"
    return written[:320] if written else None


def _moment(written: str | None) -> datetime | None:
    """Read Unix seconds or milliseconds, or a time that is India's where it names no zone."""
    if written is None:
        return None
    if re.fullmatch(r"[0-9]{13}", written):
        written = f"{written[:10]}.{written[10:]}"
    found = webhook_proof.moment(written)
    if found is None:
        try:
            found = datetime.fromisoformat(written).replace(tzinfo=INDIA)
        except ValueError:
            return None
    return found
