"""SMS by MSG91, flow API v5: templates of its panel (its pages on flows, webhooks and error codes)."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

from pydantic import Field

from jtd_worker import msg91
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.errors import RenderError
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message
from jtd_worker.receipt import Receipt, ReceiptKind, ReceiptParser
from jtd_worker.result import Refused, SendResult, Sent, Unknown
from jtd_worker.verdict import Verdict
from jtd_worker.webhook_proof import SecretUrlReceipts

# Our id comes back in each receipt, as CRQID.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.WAIT_FOR_RECEIPT,
    sureness=Sureness.THIRD_PARTY,
    has_receipts=True,
    echoes_reference=True,
)


class Settings(msg91.BatchSettings):
    """Whose account, and from whom messages are."""

    sender: str | None = Field(default=None, min_length=1, alias="from")
    """The sender id (DLT header), for flows that do not have one of their own."""


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    return msg91.batching(settings, CAPABILITIES, partial(_group, settings), partial(_write, settings), _read)


def _group(settings: Settings, message: Message) -> Hashable:
    return msg91.template_of(message).id, message.sender or settings.sender


def _write(settings: Settings, messages: Sequence[Message]) -> HttpRequest:
    first = messages[0]
    return settings.request(
        "/api/v5/flow",
        {
            "template_id": msg91.template_of(first).id,
            "sender": first.sender or settings.sender,
            # a link with a one-time token must reach its reader as it is
            "short_url": "0",
            "recipients": [_recipient(message) for message in messages],
        },
    )


def _recipient(message: Message) -> Mapping[str, str]:
    values = msg91.variables(msg91.template_of(message))
    own = {"mobiles": msg91.number(message.to), "CRQID": str(message.jtd_id)}
    # values stand beside what is ours
    taken = sorted(own.keys() & values.keys())
    if taken:
        raise RenderError("template_invalid", f"a parameter of a flow cannot be called {', '.join(taken)}")
    return {**values, **own}


_DUPLICATE: Final = "311"
_CLOSED: Final = "306"
_CODES: Final = {
    **msg91.CODES,
    **dict.fromkeys(("101", "102", "103", "105", "106", "107"), Verdict.MESSAGE),  # something is missing
    "202": Verdict.RECIPIENT,
    "203": Verdict.CREDENTIAL,  # the sender id, or its DLT entity
    _CLOSED: Verdict.AGAIN,
    **dict.fromkeys(("307", "308", "309", "310"), Verdict.MESSAGE),
}


def _read(answer: Answer, messages: Sequence[Message]) -> SendResult:
    result = msg91.read(answer, (("message",), ("request_id",)), _CODES)
    if not isinstance(result, Refused):
        return result
    match answer.text_at("code"):
        case str(code) if code == _DUPLICATE and len(messages) == 1:
            # the same text went to the same number within the last 10 s
            return Sent(response={"status": answer.status, "code": code, "is_duplicate": True})
        case str(code) if code == _DUPLICATE:
            return Unknown(
                code=result.code,
                reason="MSG91 knows a message of the request already, and does not say which",
                response=result.response,
            )
        case str(code) if code == _CLOSED:
            return replace(result, retry_after=_until_nine(answer))
        case _:
            return result


def _until_nine(answer: Answer) -> timedelta:
    """Return how long it is until 9:00 in India, when the route for promotion opens; by its clock if told."""
    try:
        now = parsedate_to_datetime(answer.headers["date"]).astimezone(msg91.INDIA)
    except (KeyError, ValueError, OverflowError):
        now = datetime.now(UTC).astimezone(msg91.INDIA)
    nine = now.replace(hour=9, minute=0, second=0, microsecond=0)
    return (nine if nine > now else nine + timedelta(days=1)) - now


PANEL_BODY: Final[Mapping[str, str]] = {
    "CRQID": "{{CRQID}}",
    "requestId": "{{requestId}}",
    "telNum": "{{telNum}}",
    "status": "{{status}}",
    "deliveryTime": "{{deliveryTime}}",
    "failureReason": "{{failureReason}}",
}
"""What is to be typed into the panel as the webhook's body."""

_STATUSES: Final = {
    **dict.fromkeys(("0", "5", "8", "26"), ReceiptKind.SENT),
    "1": ReceiptKind.DELIVERED,
    # failed, do-not-disturb, rejected (25 too), blocked, a country that is closed
    **dict.fromkeys(("2", "9", "16", "17", "20", "25"), ReceiptKind.FAILED),
    **dict.fromkeys(("sent", "pending", "submitted"), ReceiptKind.SENT),
    "delivered": ReceiptKind.DELIVERED,
    **dict.fromkeys(("failed", "ndnc", "rejected", "blocked"), ReceiptKind.FAILED),
    # words of SMPP
    **dict.fromkeys(("accepted", "acceptd", "enroute"), ReceiptKind.SENT),
    "delivrd": ReceiptKind.DELIVERED,
    **dict.fromkeys(("undeliv", "rejectd", "expired", "deleted"), ReceiptKind.FAILED),
}
_DLT: Final = re.compile(r"\b(?:TEMPLATE|HEADER|SENDER)[-_ ][A-Z _-]{2,60}")
"""What operators in India say of a text, header or sender that is not registered."""


class ReceiptSettings(SecretUrlReceipts):
    """`secrets` are the last part of the webhook's URL, or its parameter `key`."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of "Webhook (New)" and of webhooks v2 and v3."""
    return msg91.receipts(settings, _receipt)


def _receipt(event: msg91.Event) -> Iterator[Receipt]:
    status = msg91.field(event, "status") or ""
    description = msg91.field(event, "desc") or ""
    name = status or description
    kind = _STATUSES.get(status.lower()) or _STATUSES.get(description.lower())
    if kind is None:
        return
    reason = msg91.field(event, "failurereason", "failedreason")
    has_failed = kind is ReceiptKind.FAILED
    yield from msg91.receipt(
        event,
        kind,
        name=name,
        to=("telnum", "number", "mobile"),
        at=("deliverytime", "date"),
        code=_code(status, f"{reason or ''} {description}") if has_failed else None,
        reason=(reason or description or None) if has_failed else None,
    )


def _code(status: str, told: str) -> str | None:
    dlt = _DLT.search(told)
    if dlt:
        return re.sub(r"[ _-]+", "-", dlt[0].strip(" _-"))
    return f"msg91_{status.lower()}" if status else None
