"""A message as mail: the MIME document and the envelope it travels in (RFC 5322, 2045-2047, 2231, 6532)."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import blake2s
from itertools import count

import idna

from jtd_worker import calendar
from jtd_worker.errors import RecipientError, RenderError
from jtd_worker.mail_header import MAIL_POLICY, Encoded, file_name_parameter, mailbox_header, text_header
from jtd_worker.message import Attachment, Invitation, Message

_ATOM = r"[^\s()<>\[\]:;@\\,.\"]+"
_LOCAL_PART = re.compile(rf'{_ATOM}(\.{_ATOM})*|"([^"\\]|\\.)*"')
_ASCII_DOMAIN = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_MAILBOX = re.compile(r'(?P<name>[^<>"]*|"([^"\\]|\\.)*"\s*)<(?P<named>[^<>]+)>|(?P<bare>[^<>]+)')
_MEDIA_TYPE = re.compile(
    r"(?!multipart/|message/)[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail, ready for one SMTP transaction with one recipient."""

    sender: str
    """Envelope sender: an address with its domain as A-labels."""
    recipient: str = field(repr=False)
    """Envelope recipient, likewise; only its local part may be other than ASCII."""
    message_id: str
    """With its angle brackets; the same on every attempt."""
    content: bytes = field(repr=False)
    """The whole document with CRLF, 7-bit but for an address that needs SMTPUTF8; not dot-stuffed."""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it: such a local part has no 7-bit form (RFC 6531)."""
        return not self.recipient.isascii()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """From whom a mail is and to whom it goes, for APIs that write the mail themselves."""

    sender: Address
    recipient: Address
    reply_to: Address | None


def envelope(message: Message, sender: str) -> Envelope:
    """Read the addresses of a message, `sender` where it names none itself; raises as `build` does."""
    _refuse_controls(message)
    return Envelope(
        sender=mailbox(message.sender or sender),
        recipient=_recipient(message),
        reply_to=_reply_to(message.reply_to) if message.reply_to else None,
    )


def own_headers(message: Message) -> dict[str, str]:
    """Return the headers that every mail of ours has besides the usual ones, whoever writes it."""
    # RFC 3834: a responder must not answer this mail.
    headers = {"Auto-Submitted": "auto-generated"}
    if message.unsubscribe_url:
        # RFC 8058, 3.1: an https URL, and the other header word for word.
        headers["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def files(message: Message, ends: Envelope) -> tuple[Attachment, ...]:
    """Return the attachments, for APIs that write the mail themselves, with the invitation as one of them."""
    if message.calendar is None:
        return message.attachments
    invitation = Attachment(
        name="invite.ics",
        media_type=calendar.media_type(message.calendar),
        content=_invitation(message.calendar, message, ends).encode(),
    )
    return (*message.attachments, invitation)


def build(message: Message, sender: str) -> Mail:
    """Make the mail; the same message and sender give the same bytes every time.

    Raises RenderError (`header_unsafe`, `reply_to_invalid`, `attachment_invalid`, `calendar_invalid`) and
    RecipientError; their text shows no address.
    """
    ends = envelope(message, sender)
    from_, to = ends.sender, ends.recipient
    message_id = _message_id(message, from_.domain)
    document = EmailMessage(policy=MAIL_POLICY)
    document["From"] = mailbox_header("From", from_)
    document["To"] = mailbox_header("To", to)
    if ends.reply_to:
        document["Reply-To"] = mailbox_header("Reply-To", ends.reply_to)
    if message.subject:
        document["Subject"] = text_header("Subject", _clean(message.subject))
    document["Date"] = format_datetime(message.created_at.astimezone(UTC))
    document["Message-ID"] = Encoded(message_id)
    for name, value in own_headers(message).items():
        document[name] = Encoded(value)
    _add_bodies(document, message)
    attachments = message.attachments
    if message.calendar is not None:
        invitation = _invitation(message.calendar, message, ends)
        document.add_alternative(
            invitation, subtype="calendar", cte="base64", params={"method": message.calendar.method}
        )
        # Some programs act on the alternative, some only on a file, under a type that no one shows twice.
        file = Attachment(name="invite.ics", media_type="application/ics", content=invitation.encode())
        attachments = (*attachments, file)
    for attachment in attachments:
        _attach(document, attachment)
    _fix_boundaries(document, message)
    return Mail(
        sender=from_.addr_spec,
        recipient=to.addr_spec,
        message_id=message_id,
        content=document.as_bytes(policy=MAIL_POLICY),
    )


def display(address: Address) -> str:
    """Write one mailbox as a JSON field wants it: the name quoted, not encoded."""
    name = address.display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{address.addr_spec}>' if name else address.addr_spec


def mailbox(text: str) -> Address:
    """Read one mailbox such as `Acme <no-reply@acme.example>`, its domain as A-labels.

    Raises ValueError when it is none, or more than one, or when its local part is not ASCII.
    """
    found = _MAILBOX.fullmatch(text.strip())
    if not found or _has_controls(text):
        raise ValueError("not one mailbox such as 'Acme <no-reply@acme.example>'")
    name = _unquoted(found["name"].strip()) if found["name"] else ""
    address = _address(_clean(name), found["named"] or found["bare"])
    if not address.username.isascii():
        raise ValueError("the part before the @ must be ASCII")
    return address


def _recipient(message: Message) -> Address:
    try:
        return _address(_clean(message.name or ""), message.to)
    except ValueError:
        raise RecipientError("the recipient's contact is not a mail address") from None


def _reply_to(text: str) -> Address:
    try:
        return mailbox(text)
    except ValueError:
        raise RenderError("reply_to_invalid", "the reply-to is not one mail address; correct it") from None


def _address(name: str, addr_spec: str) -> Address:
    local, at, domain = addr_spec.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or _clean(local) != local:
        raise ValueError("not a mail address such as no-reply@acme.example")
    return Address(display_name=name, username=_unquoted(local), domain=_ascii_domain(domain))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _ascii_domain(domain: str) -> str:
    """Give the domain as A-labels by IDNA 2008 with the mapping of UTS 46, non-transitional (ß stays ß).

    A domain that is ASCII already is left to the DNS: names with `_` or `--` exist that IDNA would refuse.
    """
    if domain.isascii():
        if not _ASCII_DOMAIN.fullmatch(domain):
            raise ValueError("not a domain")
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise ValueError("not a domain") from None


def _message_id(message: Message, domain: str) -> str:
    """One id for all attempts (RFC 5322 3.6.4); the key is hashed because it may be any producer's text."""
    key = blake2s(message.idempotency_key.encode(), digest_size=8).hexdigest()
    return f"<{message.jtd_id}.{key}@{domain}>"


def _add_bodies(document: EmailMessage, message: Message) -> None:
    """Text first, HTML last: a reader shows the last alternative it knows (RFC 2046 5.1.4)."""
    if not message.html:
        document.set_content(_clean(message.text))
    elif not message.text:
        document.set_content(_clean(message.html), subtype="html")
    else:
        document.set_content(_clean(message.text))
        document.add_alternative(_clean(message.html), subtype="html")


def _invitation(invitation: Invitation, message: Message, ends: Envelope) -> str:
    organizer = ends.sender
    if invitation.organizer is not None:
        try:
            organizer = mailbox(invitation.organizer)
        except ValueError:
            raise RenderError("calendar_invalid", "the organizer must be one mail address") from None
    return calendar.write(invitation, message, organizer, ends.recipient)


def _attach(document: EmailMessage, attachment: Attachment) -> None:
    if not _MEDIA_TYPE.fullmatch(attachment.media_type):
        raise RenderError("attachment_invalid", "an attachment's media type must read like application/pdf")
    maintype, subtype = attachment.media_type.lower().split("/")
    part = EmailMessage(policy=MAIL_POLICY)
    part.set_content(attachment.content, maintype=maintype, subtype=subtype)
    part["Content-Disposition"] = Encoded(f"attachment;\r\n {file_name_parameter(_clean(attachment.name))}")
    if document.get_content_type() != "multipart/mixed":
        document.make_mixed()
    document.attach(part)


def _fix_boundaries(document: EmailMessage, message: Message) -> None:
    """Set boundaries that are the same on every attempt, and that no body can contain.

    The bodies are hashed in with the id: who knows the id of a job still cannot write a variable that
    ends a part, since a text cannot hold its own digest.
    """
    digest = blake2s(message.jtd_id.bytes, digest_size=16)
    for body in (message.text, message.html or ""):
        digest.update(_clean(body).encode())
    number = count(1)
    for part in document.walk():
        if part.is_multipart():
            part.set_boundary(f"=_{next(number)}_{digest.hexdigest()}")


def _refuse_controls(message: Message) -> None:
    """Stop header injection before anything is built, whatever the library would do with it."""
    names = (attachment.name for attachment in message.attachments)
    types = (attachment.media_type for attachment in message.attachments)
    for source in (message.to, message.name, message.subject, message.reply_to, *names, *types):
        if source is not None and _has_controls(source):
            raise RenderError(
                "header_unsafe",
                "a control character (such as a line break) stands in the subject, a name or an address",
            )


def _has_controls(text: str) -> bool:
    """Whether a C0 or C1 control or a Unicode line separator stands in it (all end a line somewhere)."""
    return any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)


def _clean(text: str) -> str:
    """Put U+FFFD for what no mail can carry: a lone surrogate and NUL (RFC 5322 2.2, 3.5)."""
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", "\N{REPLACEMENT CHARACTER}")
