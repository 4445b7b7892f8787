"""What an adapter says happened to one message it was asked to send.

A closed set: `Sent | Refused | Throttled | Unknown`. *Refused* is only ever said when the message
certainly did not leave; whatever leaves that open is *Unknown*, and the adapter's rule for it
decides what follows. The worker turns a result into an outcome (see `outcome.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Literal, TypeAlias
from uuid import UUID

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class Retry(StrEnum):
    """When a refused message may be tried again."""

    NEVER = "never"
    LATER = "later"
    ELSEWHERE = "elsewhere"
    """Another provider may take it; this one will not."""
    AFTER_OPERATOR = "after_operator"
    """Only a person can mend the cause, e.g. a wrong password; the message is kept unharmed."""


class Scope(StrEnum):
    """How far the cause of a refusal reaches."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    TEMPLATE = "template"
    CREDENTIAL = "credential"
    PROVIDER = "provider"
    TENANT = "tenant"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A row that settling writes in the same transaction as the status.

    `kind` names where it goes: `inapp` for `n_inapp_notifications`, `outbox` for `n_jtd_outbox`.
    """

    kind: Literal["inapp", "outbox"]
    row: Mapping[str, Json] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The provider took the message over; it must never be sent again."""

    provider_message_id: str | None = None
    response: Mapping[str, Json] = field(default_factory=dict)
    """What the provider answered, for `n_jtd.provider_response`; no secrets, no message body."""
    delivery: Delivery | None = None
    gone_devices: tuple[UUID, ...] = ()
    """Devices of the message that are no more, by the provider's definite word; they are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The message certainly did not leave.

    `code` is short and stable (`smtp_550`, `http_422`), `reason` one line for a person.
    """

    retry: Retry
    scope: Scope
    code: str
    reason: str
    retry_after: timedelta | None = None
    response: Mapping[str, Json] = field(default_factory=dict)
    gone_devices: tuple[UUID, ...] = ()
    """As of `Sent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """Not taken because too much was sent; waiting costs no attempt."""

    retry_after: timedelta
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The message may or may not have left, e.g. the answer was lost after the hand-off."""

    code: str
    reason: str
    response: Mapping[str, Json] = field(default_factory=dict)


SendResult: TypeAlias = Sent | Refused | Throttled | Unknown
