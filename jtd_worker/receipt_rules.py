"""Proves and reads receipts by rules of a configuration."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, field_validator, model_validator

from jtd_worker.http_rules import Place, as_text
from jtd_worker.receipt import (
    ForgedError,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.webhook_proof import ReceiptSecrets, document, header, moment, must_be_one_of, reference, text


class Fields(BaseModel):
    """Where the parts of an event stand in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Place
    """What `kinds` translates."""
    id: Place | None = None
    reference: Place | None = None
    """Our JTD id, where the request sent it and the provider echoes it."""
    event_key: Place | None = None
    """Unlike for each event, the same for each copy; by default a digest of the whole event."""
    recipient: Place | None = None
    at: Place | None = None
    """Unix seconds, or ISO 8601 with a zone."""
    code: Place | None = None
    reason: Place | None = None

    @model_validator(mode="after")
    def _leads_to_a_job(self) -> Self:
        if self.id is None and self.reference is None:
            raise ValueError("needs `id` or `reference`, which tell the message")
        return self


class ReceiptRules(ReceiptSecrets):
    """How a receipt is proved, and where in it stands what."""

    proof: Literal["hmac-sha256", "header", "query"] = "hmac-sha256"
    """The HMAC of the raw body in a header, as hex or base64; or the secret itself in a header or the URL."""
    proof_name: str = Field(min_length=1)
    """Of that header, or of the parameter of the URL."""
    body_format: Literal["json", "form", "query"] = "json"
    """`query`: everything stands in the URL."""
    events: Place | None = None
    """Of the list of events, or of a single one; the body itself if not given."""
    fields: Json[Fields]
    kinds: Json[dict[str, ReceiptKind]]
    """The provider's words and ours; an event with another word is passed over."""

    @field_validator("secrets")
    @classmethod
    def _are_some(cls, secrets: SecretStr) -> SecretStr:
        words = secrets.get_secret_value().split()
        if not words or min(map(len, words)) < 16:
            raise ValueError("a secret has at least 16 characters")
        return secrets


def parser(rules: ReceiptRules) -> ReceiptParser:
    """Make the parser of receipts that are as `rules` say."""
    return partial(_receipts, rules)


def _receipts(rules: ReceiptRules, request: WebhookRequest) -> list[Receipt]:
    _prove(rules, request)
    found = _document(rules, request)
    if rules.events is not None:
        found = rules.events.in_document(found)
    if not isinstance(found, dict | list):
        raise MalformedError("there is no event, and no list of events")
    events = found if isinstance(found, list) else [found]
    return [receipt for event in events if isinstance(event, dict) for receipt in _receipt(rules, event)]


def _prove(rules: ReceiptRules, request: WebhookRequest) -> None:
    secrets = rules.each
    match rules.proof:
        case "hmac-sha256":
            given = header(request, rules.proof_name.lower()).strip().removeprefix("sha256=")
            digests = [hmac.digest(secret.encode(), request.body, hashlib.sha256) for secret in secrets]
            expected = [*(digest.hex() for digest in digests), *(b64encode(one).decode() for one in digests)]
            must_be_one_of([given, given.lower()], expected)
        case "header":
            must_be_one_of([header(request, rules.proof_name.lower())], secrets)
        case "query":
            parameter = _parameters(urlsplit(request.url).query).get(rules.proof_name)
            if parameter is None:
                raise ForgedError(f"the parameter {rules.proof_name} is missing")
            must_be_one_of([parameter], secrets)


def _document(rules: ReceiptRules, request: WebhookRequest) -> Any:
    match rules.body_format:
        case "json":
            return document(request)
        case "form":
            return _parameters(request.body.decode("utf-8", "replace"))
        case "query":
            given = _parameters(urlsplit(request.url).query)
            return {name: value for name, value in given.items() if name != rules.proof_name}


def _parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise MalformedError("the form has too many fields") from None


def _receipt(rules: ReceiptRules, event: Mapping[str, Any]) -> Iterator[Receipt]:
    def at(place: Place | None) -> Any:
        return None if place is None else place.in_document(event)

    fields = rules.fields
    kind = rules.kinds.get(as_text(at(fields.kind)) or "")
    message_id, ours = text(at(fields.id), 200), reference(at(fields.reference))
    if kind is None or (message_id is None and ours is None):
        return
    yield Receipt(
        kind=kind,
        event_key=text(at(fields.event_key), 200) or _digest(event),
        provider_message_id=message_id,
        reference=ours,
        recipient=text(at(fields.recipient), 320),
        at=moment(at(fields.at)),
        code=text(at(fields.code), 100),
        reason=text(at(fields.reason)),
    )


def _digest(event: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
