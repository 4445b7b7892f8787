"""What the proofs of all webhooks have in common: constant time, an age, and clear words."""

import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from jtd_worker.receipt import ForgedError, MalformedError, WebhookRequest


class ReceiptSecrets(BaseModel):
    """Settings of a webhook whose requests are proved by a secret; `repr` and errors do not show it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets: SecretStr = Field(min_length=1)
    """As the provider's panel shows it; several, separated by blanks, while one is being replaced."""

    @property
    def each(self) -> tuple[str, ...]:
        """The secrets, one by one."""
        return tuple(self.secrets.get_secret_value().split())


class SignedReceipts(ReceiptSecrets):
    """The same where the time of a request is signed too."""

    max_age_seconds: int = Field(default=300, ge=1)
    """How old it may be, in seconds; it may be as far in the future."""


class SecretUrlReceipts(ReceiptSecrets):
    """Settings of a webhook without a signature: who calls it must know its URL."""

    @field_validator("secrets")
    @classmethod
    def _are_long(cls, secrets: SecretStr) -> SecretStr:
        words = secrets.get_secret_value().split()
        if not words or min(map(len, words)) < SECRET_LENGTH:
            raise ValueError(f"each secret of a URL needs {SECRET_LENGTH} characters: openssl rand -hex 24")
        return secrets


SECRET_LENGTH: Final = 24
"""Characters that a secret has which stands in a URL: nothing else keeps forgers out."""


def must_name_a_secret(request: WebhookRequest, secrets: Iterable[str]) -> None:
    """Raise ForgedError unless the URL ends in one of `secrets`, or has it as its parameter `key`."""
    parts = urlsplit(request.url)
    given = [unquote(parts.path.rpartition("/")[2]), *parse_qs(parts.query).get("key", [])]
    must_be_one_of(given, secrets, what="key of the URL")


def header(request: WebhookRequest, name: str) -> str:
    """Return the header `name`, in lower case; ForgedError where it is missing."""
    try:
        return request.headers[name]
    except KeyError:
        raise ForgedError(f"the header {name} is missing") from None


def must_be_near(unix_seconds: str, request: WebhookRequest, max_age_seconds: int) -> None:
    """Raise ForgedError unless a signed time, as text, is near the time of receipt."""
    seconds = unix_seconds.strip()
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 12):
        raise ForgedError("the signed time is no time")
    if abs(int(seconds) - request.received_at.timestamp()) > max_age_seconds:
        raise ForgedError("the signed time is too far from ours: an old copy, or a clock that is wrong")


def must_be_one_of(given: Iterable[str], expected: Iterable[str], *, what: str = "signature") -> None:
    """Raise ForgedError unless a signature that was given is one that was expected; in constant time."""
    wanted = [one.encode() for one in expected]
    found = False
    for signature in given:
        raw = signature.encode("utf-8", "replace")
        for one in wanted:
            found |= hmac.compare_digest(raw, one)
    if not found:
        raise ForgedError(f"the {what} does not fit")


def document(request: WebhookRequest) -> Any:
    """Return the body as JSON; MalformedError if it is none."""
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        raise MalformedError("the body is no JSON") from None


def moment(value: Any) -> datetime | None:
    """Read Unix seconds, as number or text, or an ISO 8601 time with a zone; None for anything else."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            found = datetime.fromisoformat(value)
            return found if found.tzinfo else None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def reference(value: Any) -> UUID | None:
    """Return the JTD id that a provider echoes; None for what is none of ours."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def text(value: Any, limit: int = 300) -> str | None:
    """Return a text or whole number bounded to `limit` characters, None for anything else or nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value.strip()[:limit] or None if isinstance(value, str) else None


def key_of(*parts: str) -> str:
    """Return the event key of an event that has no id of its own: equal parts, equal key."""
    return sha256(json.dumps(parts).encode()).hexdigest()
