"""What a tenant sets for one channel: by whose account, and as whom, his messages go."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jtd_worker import mime
from jtd_worker.errors import RefusedReferenceError

_SENDER_ID: Final = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+ ._:-]{0,62}[A-Za-z0-9]", re.ASCII)
_ABOUT_SENDERS: Final = frozenset({"from", "sender_id", "reply_to"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The entry of a channel in `n_jtd_tenant_config.provider_config_refs`, read."""

    provider: str | None
    """Which of JTD_PROVIDERS, without its channel; with a credential, what it is for."""
    credential: str | None
    """`env:NAME`, `file:PATH` or `pg:NAME`, as it was written; None for a provider of the house."""
    sender: str | None = field(repr=False)
    """From whom messages are: one mailbox on email, a number or sender id elsewhere."""
    reply_to: str | None = field(repr=False)
    falls_back: bool
    """Whether another provider of the house may stand in, and so send as the house."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    provider: str | None = Field(None, pattern=r"^[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)?$")
    credential: str | None = None
    sender: str | None = Field(None, alias="from")
    sender_id: str | None = None
    reply_to: str | None = None
    fallback: bool = False

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("fallback", mode="before")
    @classmethod
    def _none_is_no(cls, value: object) -> object:
        return False if value is None or value == "" else value

    @field_validator("reply_to")
    @classmethod
    def _is_mailbox(cls, text: str | None) -> str | None:
        if text is not None:
            mime.mailbox(text)
        return text


@lru_cache(maxsize=1000)  # a batch has many of one tenant
def read(text: str, channel: str) -> Reference:
    """Read the JSON that a tenant has set for `channel`; RefusedReferenceError where it cannot be meant.

    What that says quotes nothing of it: anybody with the tenant's rights may have written it.
    """
    try:
        entry = _Entry.model_validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else ""
        raise _refused(
            "sender_refused" if name in _ABOUT_SENDERS else "credential_refused",
            channel,
            name if name in {*_ABOUT_SENDERS, "provider", "credential", "fallback"} else "its keys",
        ) from None
    return Reference(
        provider=entry.provider,
        credential=entry.credential,
        sender=_sender(entry, channel),
        reply_to=entry.reply_to,
        falls_back=entry.fallback,
    )


def _sender(entry: _Entry, channel: str) -> str | None:
    """Return from whom messages of `channel` are; on email a mailbox, elsewhere what stands in no header."""
    if channel != "email":
        sender = entry.sender_id or entry.sender
        if sender is not None and not _SENDER_ID.fullmatch(sender):
            raise _refused("sender_refused", channel, "sender_id")
        return sender
    if entry.sender is not None:
        try:
            mime.mailbox(entry.sender)
        except ValueError:
            raise _refused("sender_refused", channel, "from") from None
    return entry.sender


def _refused(code: str, channel: str, what: str) -> RefusedReferenceError:
    return RefusedReferenceError(
        code,
        f"provider_config_refs of its tenant for channel {channel} cannot be used: correct {what}",
    )
