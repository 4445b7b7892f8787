"""Turns a claimed JTD and its template into the message that is sent."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Final

from jtd_worker.errors import RenderError
from jtd_worker.invitation import read_invitation
from jtd_worker.jtd import Jtd
from jtd_worker.message import Attachment, Message
from jtd_worker.provider_template import fill_in
from jtd_worker.result import Json
from jtd_worker.templates import CompiledTemplate

MAX_ATTACHMENTS: Final = 10 << 20
"""Bytes of all attachments of one message."""

_NOT_VARIABLES: Final = frozenset({"recipient_data", "template_data", "attachments"})
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def render(jtd: Jtd, template: CompiledTemplate) -> Message:
    """Make the message of a JTD; the same row and template always give the same message.

    Raises `RenderError`, which no retry can mend: those of `CompiledTemplate.render`, and
    `payload_invalid`, `header_unsafe`, `attachment_invalid`, `attachment_too_large`, `calendar_invalid`, and
    those of `provider_template.fill_in`.
    """
    for name in ("payload", "template_variables", "metadata"):
        if not isinstance(getattr(jtd, name), Mapping):
            raise RenderError("payload_invalid", f"{name} is no JSON object that can be read")
    variables = template.complete(_variables(jtd))
    rendered = template.render(variables, jtd.created_at)
    return Message(
        jtd_id=jtd.id,
        tenant_id=jtd.tenant_id,
        channel=jtd.channel_code,
        event_type=jtd.event_type_code,
        source_type=jtd.source_type_code,
        idempotency_key=str(jtd.id),
        created_at=jtd.created_at,
        to=jtd.to,
        name=_one_line(jtd.recipient_name),
        subject=_subject(rendered.subject),
        text=_clean(rendered.text),
        html=_clean(rendered.html) if rendered.html is not None else None,
        variables=variables,
        attachments=tuple(_attachments(jtd.payload.get("attachments"))),
        reply_to=_reply_to(jtd),
        locale=jtd.locale,
        metadata=jtd.metadata,
        calendar=read_invitation(jtd.payload.get("calendar")) if jtd.channel_code == "email" else None,
        template=fill_in(jtd, template.template, variables),
        expires_at=jtd.expires_at,
    )


def _variables(jtd: Jtd) -> dict[str, Json]:
    """Merge what producers give in three places; the later wins, key by key."""
    nested = jtd.payload.get("template_data")
    if nested is None:
        nested = {}
    if not isinstance(nested, Mapping):
        raise RenderError("payload_invalid", "payload.template_data is not a mapping of variables")
    flat = {name: value for name, value in jtd.payload.items() if name not in _NOT_VARIABLES}
    merged = {**flat, **nested, **jtd.template_variables}
    if merged.get("recipient_name") is None and jtd.recipient_name is not None:
        merged["recipient_name"] = jtd.recipient_name
    return merged


def _subject(rendered: str | None) -> str | None:
    if rendered is None:
        return None
    subject = rendered.strip()
    if "\r" in subject or "\n" in subject:
        raise RenderError("header_unsafe", "the subject has more than one line")
    return _one_line(subject)


def _one_line(text: str | None) -> str | None:
    """Make of a name or subject one line without control characters, which are no text of anyone's."""
    return None if text is None else _clean(_CONTROL.sub(" ", text)).strip()


def _reply_to(jtd: Jtd) -> str | None:
    for given in (jtd.payload.get("reply_to"), jtd.metadata.get("reply_to")):
        if isinstance(given, str) and given:
            if _CONTROL.search(given):
                raise RenderError("header_unsafe", "reply_to has a line break or control character")
            return given
    return None


def _clean(text: str) -> str:
    """Drop what neither Postgres nor a wire can hold: NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _attachments(given: Json) -> Iterator[Attachment]:
    if given is None:
        return
    if not isinstance(given, list):
        raise _invalid_attachment(None)
    room = MAX_ATTACHMENTS
    for number, entry in enumerate(given, start=1):
        match entry:
            case {"name": str(name), "type": str(media_type), "content_base64": str(encoded)}:
                if not name or _CONTROL.search(name) or not _MEDIA_TYPE.fullmatch(media_type):
                    raise _invalid_attachment(number)
            case _:
                raise _invalid_attachment(number)
        try:
            content = b64decode("".join(encoded.split()), validate=True)
        except (Base64Error, ValueError):
            raise _invalid_attachment(number) from None
        room -= len(content)
        if room < 0:
            raise RenderError("attachment_too_large", f"the attachments exceed {MAX_ATTACHMENTS} bytes")
        yield Attachment(name=_clean(name), media_type=media_type, content=content)


def _invalid_attachment(number: int | None) -> RenderError:
    which = "payload.attachments" if number is None else f"attachment {number}"
    return RenderError("attachment_invalid", f"{which}: needs name, type and content_base64")
