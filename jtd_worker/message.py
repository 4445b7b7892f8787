"""A rendered message, neutral of any provider: what an adapter is given to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from jtd_worker.result import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that travels with a message; `content` is held in memory, at most a few MiB."""

    name: str
    media_type: str
    """`type/subtype`, e.g. `application/pdf`."""
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTemplate:
    """A template that was approved with a provider, and what goes into it."""

    id: str
    """As the provider knows it, at most 200 characters; empty where only DLT ids are known."""
    language: str | None
    """The language it was approved in, as the provider spells it; None: nothing names one."""
    format: Literal["positional", "named"]
    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    """Name and text, in declared order. `named`: the names are unique and of [a-z0-9_]."""
    dlt_entity_id: str | None = None
    dlt_template_id: str | None = None
    """India DLT: the text registered under it is the `text` of the message, with its variables filled in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device on which a user sees pushes, as he registered it."""

    id: UUID
    family: str
    """The kind of provider that reaches it: `fcm` or `webpush`."""
    token: str = field(repr=False)
    """The registration token, or the endpoint of the subscription."""
    keys: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """Of webpush `p256dh` and `auth`, base64url."""
    registered_at: datetime
    """Differs between any two registrations of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An appointment to be entered into, or taken out of, the recipient's calendar; `repr` shows no text."""

    method: Literal["REQUEST", "CANCEL"]
    start: datetime
    end: datetime
    """Both in UTC; `end` is after `start`."""
    summary: str | None = field(default=None, repr=False)
    """None: the subject of the message."""
    location: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    organizer: str | None = field(default=None, repr=False)
    """One mailbox; None: whom the message is from."""
    uid: str | None = field(default=None, repr=False)
    """The same for an appointment, its changes and its cancellation; None: made of the job's id."""
    sequence: int = 0
    """Rises with each change of the appointment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one recipient.

    The same JTD renders to the same message on every retry: `created_at`, `idempotency_key` and
    everything rendered come from the row, never from the moment of sending. `repr` shows no
    contact, text or variable, so that a message can stand in a log or a traceback.
    """

    jtd_id: UUID
    tenant_id: UUID
    channel: str
    event_type: str
    source_type: str
    idempotency_key: str
    """Stable over all attempts of the JTD; at most 64 characters of [0-9a-z-]."""
    created_at: datetime
    """When the row was created, with time zone; the message's own date."""
    to: str = field(repr=False)
    """The address on this channel: a mail address, a phone number, a device or user id."""
    name: str | None = field(default=None, repr=False)
    subject: str | None = field(default=None, repr=False)
    text: str = field(default="", repr=False)
    html: str | None = field(default=None, repr=False)
    variables: Mapping[str, Json] = field(default_factory=dict, repr=False)
    attachments: tuple[Attachment, ...] = ()
    reply_to: str | None = field(default=None, repr=False)
    locale: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """The row's metadata, e.g. `media_url`; never changed by the worker."""
    sender: str | None = field(default=None, repr=False)
    """Whom the tenant sends as: a mailbox, a number or a sender id; None for the provider's setting."""
    unsubscribe_url: str | None = field(default=None, repr=False)
    """Where the recipient unsubscribes with one click (RFC 8058), where the source type asks for it."""
    template: ProviderTemplate | None = None
    """What a provider of approved templates sends instead of `text`; None: nothing was approved."""
    expires_at: datetime | None = None
    """After it the message is worth nothing."""
    priority: int = 5
    """1 to 10, higher is more urgent; told to providers that reach devices, else 5."""
    devices: tuple[Device, ...] = ()
    """Where a provider with `Capabilities.devices` sends it: all that the user has of that family."""
    calendar: Invitation | None = None
    """What goes into the recipient's calendar; only mail can carry it."""
