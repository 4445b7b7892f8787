"""An invitation as a calendar object that mail programs act on (iTIP: RFC 5545, 5546)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import Address
from typing import Final
from urllib.parse import quote

from jtd_worker.message import Invitation, Message

_FOLD: Final = 75
"""Octets of a line, without its end (RFC 5545 3.1)."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def write(invitation: Invitation, message: Message, organizer: Address, attendee: Address) -> str:
    """Return the calendar object, the same on every attempt of the message, with CRLF."""
    lines = _lines(invitation, message, organizer, attendee)
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def media_type(invitation: Invitation) -> str:
    """Return the type that makes a mail program act on it (RFC 6047 2.4)."""
    return f"text/calendar; method={invitation.method}; charset=utf-8"


def _lines(invitation: Invitation, message: Message, organizer: Address, attendee: Address) -> Iterator[str]:
    is_cancelled = invitation.method == "CANCEL"
    yield "BEGIN:VCALENDAR"
    yield "PRODID:-//jtd-worker//EN"
    yield "VERSION:2.0"
    yield f"METHOD:{invitation.method}"
    yield "BEGIN:VEVENT"
    yield f"UID:{_text(invitation.uid or f'{message.jtd_id}@{organizer.domain}')}"
    yield f"DTSTAMP:{_time(message.created_at)}"
    yield f"DTSTART:{_time(invitation.start)}"
    yield f"DTEND:{_time(invitation.end)}"
    yield f"SUMMARY:{_text(invitation.summary or message.subject or '')}"
    if invitation.location:
        yield f"LOCATION:{_text(invitation.location)}"
    if invitation.description:
        yield f"DESCRIPTION:{_text(invitation.description)}"
    yield f"ORGANIZER{_name(organizer)}:{_uri(organizer)}"
    # It must not ask for an answer to a cancellation.
    asked = "" if is_cancelled else ";PARTSTAT=NEEDS-ACTION;RSVP=TRUE"
    yield f"ATTENDEE{_name(attendee)};ROLE=REQ-PARTICIPANT{asked}:{_uri(attendee)}"
    yield f"SEQUENCE:{invitation.sequence}"
    yield f"STATUS:{'CANCELLED' if is_cancelled else 'CONFIRMED'}"
    yield "END:VEVENT"
    yield "END:VCALENDAR"


def _folded(line: str) -> Iterator[str]:
    """Cut a line by octets, never inside a character."""
    part, size = "", 0
    for character in line:
        octets = len(character.encode())
        if size + octets > _FOLD:
            yield part
            part, size = " ", 1
        part, size = part + character, size + octets
    yield part


def _text(value: str) -> str:
    """Escape a text (RFC 5545 3.3.11)."""
    plain = _CONTROL.sub(" ", value.replace("\r\n", "\n").replace("\r", "\n"))
    return plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _name(address: Address) -> str:
    """Return the parameter with a person's name; no quotation mark can stand in one (RFC 5545 3.2)."""
    name = _CONTROL.sub(" ", address.display_name).replace('"', "'")
    return f';CN="{name}"' if name else ""


def _uri(address: Address) -> str:
    return "mailto:" + quote(address.addr_spec, safe="@!$&'*+/=?^_`{|}~.-")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
