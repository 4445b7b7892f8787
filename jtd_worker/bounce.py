"""What a mail that came to a bounce address reports (RFC 3464, 5965, 6533; Exim's and qmail's own forms).

The job is found by the signed token in an address and by nothing else: anyone who has seen a mail knows its
Message-ID and its recipient, and could make up a report about it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.message import Message as Mail
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import blake2s
from itertools import islice
from typing import Final
from uuid import UUID

from jtd_worker.receipt import Receipt, ReceiptKind
from jtd_worker.result import Json
from jtd_worker.smtp_reply import Mask
from jtd_worker.verp import Verp

LIMIT: Final = 1 << 19
"""Bytes of a mail that are read; a report stands at its beginning."""
_LINES: Final = 5000
"""The standard library takes half a minute for a million empty lines in the right place."""

_PARTS: Final = 50
_GROUPS: Final = 20
"""Parts, and recipients, that are looked at."""
_FIELD: Final = 2000

_ADDRESSED: Final = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To", "Cc")
"""Headers that may hold the address which a report was sent to."""

_NO_SUCH_ADDRESS: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""No mailbox, no such domain, no address, moved, a domain without mail (RFC 7505), mailbox disabled."""
_FOR_NOW: Final = frozenset({"5.2.2", "4.2.2", "4.2.1"})
"""Mailbox full, or not taking mail at the moment."""
_TOO_FAST: Final = re.compile(r"\brate\b|too (many|quickly|fast)|temporar", re.IGNORECASE)
"""Said by some with a code that means something else."""

_STATUS: Final = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_COMPLAINTS: Final = frozenset({"abuse", "fraud", "other"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """One thing that a report says."""

    kind: ReceiptKind
    action: str
    status: str | None
    diagnostic: str
    recipient: str
    """As the report names it; for the mask and the key, never for whom it is about."""
    details: Mapping[str, str]


def read_bounce(raw: bytes, verp: Verp, *, to: str = "") -> Sequence[Receipt]:
    """Return what a mail reports of a job of ours; nothing for a mail that is no such report.

    `to` is the address that it came to, where the mail server says so. Never raises for what stands in it.
    """
    try:
        mail = message_from_bytes(b"\n".join(raw[:LIMIT].split(b"\n", _LINES)[:_LINES]))
        parts = list(islice(mail.walk(), _PARTS))
        jtd_id = _job(mail, parts, verp, to)
        if jtd_id is None:
            return []
        events = list(islice(_events(mail, parts), _GROUPS))
        return [_receipt(jtd_id, mail, event) for event in events]
    except (RecursionError, ValueError, LookupError, AttributeError, TypeError):
        # the standard library raises these for mails that are broken on purpose
        return []


def _job(mail: Mail, parts: Sequence[Mail], verp: Verp, to: str) -> UUID | None:
    """Find the job by where the report was sent, else by where the mail that it is about came from."""
    places = [to, *(text for name in _ADDRESSED for text in _all(mail, name))]
    for part in parts:
        if part.get_content_type() == "message/feedback-report":
            places += [text for block in _blocks(part) for text in _all(block, "Original-Mail-From")]
        if returned := _returned(part):
            places += _all(returned, "Return-Path")
    return next((found for place in places if (found := verp.jtd_id(place))), None)


def _events(mail: Mail, parts: Sequence[Mail]) -> Iterator[_Event]:
    for part in parts:
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status":
                yield from _delivery(part, _first_recipient(parts))
                return
            case "message/feedback-report":
                yield from _feedback(part)
                return
    if failed := _one(mail, "X-Failed-Recipients"):
        yield _plain(_text(parts), failed.partition(",")[0].strip())
    elif (text := _text(parts)).startswith("Hi. This is the"):  # QSBMF, which qmail writes
        found = re.search(r"^<(.*)>:$", text, re.MULTILINE)
        yield _plain(text, found[1] if found else "")


def _delivery(part: Mail, sent_to: str) -> Iterator[_Event]:
    reporter: dict[str, str] = {}
    for block in _blocks(part):
        action = _one(block, "Action").lower()
        if not action:
            reporter |= {"reporting_mta": _value(_one(block, "Reporting-MTA"))}
            reporter |= {"arrived": _one(block, "Arrival-Date")}
            continue
        action = re.split(r"[\s(;]", action, maxsplit=1)[0]
        diagnostic = _value(_one(block, "Diagnostic-Code"))
        recipient = _value(_one(block, "Final-Recipient") or _one(block, "Original-Recipient"))
        status = _status(_one(block, "Status"), diagnostic)
        kind = _kind(action, status, diagnostic)
        if kind is ReceiptKind.BOUNCED and sent_to and recipient and recipient.lower() != sent_to.lower():
            kind = ReceiptKind.FAILED  # another address, to which ours is forwarded, does not exist
        if kind is not None:
            yield _Event(
                kind=kind,
                action=action,
                status=status,
                diagnostic=diagnostic,
                recipient=recipient,
                details={
                    **reporter,
                    "remote_mta": _value(_one(block, "Remote-MTA")),
                    "last_attempt": _one(block, "Last-Attempt-Date"),
                },
            )


def _kind(action: str, status: str | None, diagnostic: str) -> ReceiptKind | None:
    match action:
        case "failed":
            return _failure(status, diagnostic)
        case "delayed":
            return ReceiptKind.DEFERRED
        case "delivered" | "expanded":
            return ReceiptKind.DELIVERED
        case "relayed":  # to a server that reports nothing
            return ReceiptKind.SENT
        case _:
            return None


def _failure(status: str | None, diagnostic: str) -> ReceiptKind:
    """Tell an address that is wrong for good from all else: only the former is never written to again.

    What is wrong with the message (5.2.3, 5.3.4, 5.6.x), a policy (5.7.x), a time that ran out (4.4.7) and
    whatever is only said in words is `failed`.
    """
    said = [".".join(found.groups()) for found in _STATUS.finditer(diagnostic)]
    if status in _FOR_NOW or any(code in _FOR_NOW for code in said):
        return ReceiptKind.SOFT_BOUNCED
    if status in _NO_SUCH_ADDRESS and all(code in _NO_SUCH_ADDRESS for code in said):
        if status == "5.2.1" and _TOO_FAST.search(diagnostic):
            return ReceiptKind.SOFT_BOUNCED
        return ReceiptKind.BOUNCED
    return ReceiptKind.FAILED


def _status(field: str, diagnostic: str) -> str | None:
    """Return the status; the server's own where the reporter only says that it is permanent."""
    own = _STATUS.match(field)
    told = _STATUS.search(diagnostic)
    found = told if told and (own is None or own[0].endswith(".0.0")) else own
    return ".".join(str(int(number)) for number in found.groups()) if found else None


def _feedback(part: Mail) -> Iterator[_Event]:
    for block in islice(_blocks(part), 1):
        kind = _one(block, "Feedback-Type").lower()
        if kind in _COMPLAINTS or kind == "opt-out":
            complained = ReceiptKind.UNSUBSCRIBED if kind == "opt-out" else ReceiptKind.COMPLAINED
            yield _Event(
                kind=complained,
                action=kind,
                status=None,
                diagnostic="",
                recipient=_value(_one(block, "Original-Rcpt-To")).strip("<>"),
                details={
                    "arrived": _one(block, "Arrival-Date"),
                    "user_agent": _one(block, "User-Agent"),
                },
            )


def _plain(text: str, recipient: str) -> _Event:
    """Read a bounce that is only for people; the code is what the server wrote, if it has one."""
    report = text.partition("This is a copy of")[0].partition("--- Below this line is a copy")[0]
    status = _status("", report)
    return _Event(
        kind=_failure(status, report),
        action="failed",
        status=status,
        diagnostic=next((line.strip() for line in report.splitlines() if _STATUS.search(line)), ""),
        recipient=recipient,
        details={},
    )


def _receipt(jtd_id: UUID, mail: Mail, event: _Event) -> Receipt:
    details: dict[str, Json] = {"action": event.action}
    details |= {name: _MASK(value, 200) for name, value in event.details.items() if value}
    # The Message-ID is the report's own: a copy has the same, the next report of the same server has not.
    identity = (_one(mail, "Message-ID"), _one(mail, "Date"), event.kind, event.status or "", event.recipient)
    distinct = "\0".join([jtd_id.hex, *identity, *event.details.values()])
    mask = _MASK.for_mail([event.recipient], []) if event.recipient else _MASK
    return Receipt(
        kind=event.kind,
        event_key=blake2s(distinct.encode("utf-8", "replace"), digest_size=16).hexdigest(),
        reference=jtd_id,
        at=_moment(event.details.get("last_attempt", "")) or _moment(_one(mail, "Date")),
        code=event.status,
        reason=mask(event.diagnostic) or None,
        details=details,
    )


_MASK: Final = Mask({})


def _returned(part: Mail) -> Mail | None:
    """Return the headers of the mail that a report is about."""
    match part.get_content_type():
        case "message/rfc822" | "message/global":
            inner = part.get_payload()
            return inner[0] if isinstance(inner, list) and isinstance(inner[0], Mail) else None
        case "text/rfc822-headers" | "message/global-headers" | "message/rfc822-headers":
            return message_from_string(_decoded(part))
        case _:
            return None


def _first_recipient(parts: Sequence[Mail]) -> str:
    """Return whom our mail was sent to, by its own header; empty if it did not come back."""
    for part in parts:
        if (returned := _returned(part)) is not None and (to := _one(returned, "To")):
            addresses = getaddresses([to])
            return addresses[0][1] if len(addresses) == 1 else ""
    return ""


def _blocks(part: Mail) -> Iterator[Mail]:
    """Yield the groups of fields in a report, however the library took it apart."""
    payload = part.get_payload()
    for inner in payload if isinstance(payload, list) else [message_from_string(_decoded(part))]:
        if isinstance(inner, Mail):
            yield inner
            rest = inner.get_payload()
            if isinstance(rest, str):
                for group in re.split(r"\r?\n[ \t]*\r?\n", rest):
                    if group.strip():
                        yield message_from_string(group.lstrip("\r\n"))


def _text(parts: Sequence[Mail]) -> str:
    return next((_decoded(part) for part in parts if part.get_content_type() == "text/plain"), "")


def _decoded(part: Mail) -> str:
    content = part.get_payload(decode=True)
    if isinstance(content, bytes):
        return content.decode("utf-8", "replace").replace("\r\n", "\n")
    return str(part.get_payload())


def _all(mail: Mail, name: str) -> list[str]:
    return [str(value)[:_FIELD] for value in mail.get_all(name, [])]


def _one(mail: Mail, name: str) -> str:
    """Return a field as one line, empty if it is not there."""
    return " ".join(next(iter(_all(mail, name)), "").split())


def _value(field: str) -> str:
    """Take the type off: `rfc822; jane@example.com`, `smtp; 550 ...`, `dns; mx.example`."""
    kind, semicolon, value = field.partition(";")
    return (value if semicolon and re.fullmatch(r"[\w.-]+", kind.strip()) else field).strip()


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else None
