"""What a provider reports of a message later, in one vocabulary for all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from jtd_worker.result import Json


class ReceiptKind(StrEnum):
    """What happened to a message, as far as its provider knows."""

    SENT = "sent"
    """Passed on by the provider; says no more than its answer to the send did."""
    DELIVERED = "delivered"
    READ = "read"
    BOUNCED = "bounced"
    """Refused for good because of the recipient: nothing more is sent there."""
    SOFT_BOUNCED = "soft_bounced"
    """Refused for now, or because of the message: the recipient is not to blame."""
    FAILED = "failed"
    """Given up by the provider, for any other cause."""
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    DEFERRED = "deferred"
    """The provider goes on trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One event of one message to one recipient; `repr` shows no contact."""

    kind: ReceiptKind
    event_key: str
    """The same for each copy of the event, and for no other of this provider; at most 200 characters."""
    provider_message_id: str | None = None
    """As `Sent.provider_message_id` gave it."""
    reference: UUID | None = None
    """Our JTD id, where the provider echoes it."""
    recipient: str | None = field(default=None, repr=False)
    at: datetime | None = None
    """When it happened by the provider's clock, with time zone; None if not told."""
    code: str | None = None
    reason: str | None = None
    """One line for a person, without the recipient's contact."""
    details: Mapping[str, Json] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A request as it came in, with its body byte for byte: signatures are over these bytes."""

    method: str
    url: str = field(repr=False)
    """As the provider called it, scheme, host, query and all: some sign it."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    received_at: datetime
    """By our clock, with time zone: a signed timestamp must be near it."""


class ForgedError(Exception):
    """The request is not proved to come from the provider; answered 401, and nothing is kept."""


class MalformedError(Exception):
    """The request is the provider's and cannot be read; answered 400, which providers try again or report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a provider wants to read back before it sends anything; answered 200 with exactly this text."""

    text: str


ReceiptParser: TypeAlias = "Callable[[WebhookRequest], Sequence[Receipt] | Handshake]"
"""Proves a request and reads it; does no I/O. Raises ForgedError or MalformedError."""
