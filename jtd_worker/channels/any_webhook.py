"""Hands each message as signed JSON to a URL, by the Standard Webhooks scheme (standardwebhooks.com).

The receiver reports what became of a message by the same scheme.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Literal
from uuid import UUID

import httpx
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.http_adapter import ApiUrl
from jtd_worker.http_exchange import Answer, Exchange, HttpRequest, Timeouts
from jtd_worker.masking import Mask, contact
from jtd_worker.message import Message
from jtd_worker.receipt import (
    ForgedError,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent
from jtd_worker.standard_webhooks import parse_secrets, sign, verify
from jtd_worker.verdict import Verdict, refusal
from jtd_worker.webhook_proof import SignedReceipts, header

# `webhook-id` is the scheme's own key against duplicates, so a receiver that follows the scheme drops the
# second copy. Whoever runs one that does not sets `unknown` to `hold`.
CAPABILITIES = Capabilities(
    unknown_rule=UnknownRule.IDEMPOTENT_RETRY,
    has_receipts=True,
    echoes_reference=True,  # the receiver knows the message by no other id
)

# The scheme's own rules; for the rest see `verdict.py`.
_BY_STATUS: Mapping[int, Verdict] = {
    402: Verdict.MESSAGE,
    406: Verdict.MESSAGE,
    # An earlier attempt under the same key is still being worked on (draft-ietf-httpapi-idempotency-key).
    409: Verdict.AGAIN,
}


class Settings(BaseModel):
    """Where messages go and how they are signed; `repr` and errors show neither URL nor secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: ApiUrl = Field(repr=False)
    """Often a secret itself, in its path or query. `http` only for a loopback host."""
    secret: SecretStr
    """`whsec_<base64>`; several, separated by blanks, while a secret is being replaced."""
    unknown: UnknownRule = CAPABILITIES.unknown_rule

    @field_validator("secret")
    @classmethod
    def _must_sign(cls, secret: SecretStr) -> SecretStr:
        parse_secrets(secret.get_secret_value())
        return secret


class ReceiptSettings(SignedReceipts):
    """Who may report: `secrets` are as `secret` of the messages, `whsec_<base64>`."""

    @field_validator("secrets")
    @classmethod
    def _must_sign(cls, secrets: SecretStr) -> SecretStr:
        parse_secrets(secrets.get_secret_value())
        return secrets


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Return the parser of what the receiver reports, one event a request.

    `{"type": "jtd.receipt", "data": {"id": <id of the JTD>, "kind": "delivered", "at": ..., "code": ...,
    "reason": ...}}`; `webhook-id` tells copies of one event.
    """
    secrets = parse_secrets(settings.secrets.get_secret_value())

    def parse(request: WebhookRequest) -> Sequence[Receipt]:
        message_id = header(request, "webhook-id")
        timestamp, signatures = header(request, "webhook-timestamp"), header(request, "webhook-signature")
        now, most = request.received_at, settings.max_age_seconds
        if not verify(secrets, message_id, timestamp, signatures, request.body, now, most):
            raise ForgedError
        try:
            event = _Report.model_validate_json(request.body).data
        except ValidationError:
            raise MalformedError from None
        # hashed, since it may be longer than what is kept of it, and stands for nothing else here
        key = hashlib.sha256(message_id.encode()).hexdigest()
        return [
            Receipt(
                kind=event.kind,
                event_key=key,
                reference=event.id,
                at=event.at,
                code=event.code,
                reason=event.reason,
            )
        ]

    return parse


class _Event(BaseModel):
    id: UUID
    kind: ReceiptKind
    at: AwareDatetime | None = None
    code: str | None = Field(None, max_length=100)
    reason: str | None = Field(None, max_length=500)


class _Report(BaseModel):
    type: Literal["jtd.receipt"]
    data: _Event


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message. The channel only shows in the messages."""
    return Webhook(settings)


class Webhook(SingleSend):
    """One receiver, reached over kept-alive HTTP/1.1 connections; as many as messages are under way."""

    def __init__(self, settings: Settings, timeouts: Timeouts | None = None) -> None:
        self.capabilities = replace(CAPABILITIES, unknown_rule=settings.unknown)
        self._url = httpx.URL(str(settings.url))
        self._secrets = parse_secrets(settings.secret.get_secret_value())
        path, _, query = self._url.raw_path.decode("ascii").partition("?")
        self._mask = Mask.of("<url>", (query, "" if path == "/" else path))
        self._exchange = Exchange(timeouts or Timeouts())

    async def send_one(self, message: Message) -> SendResult:
        """Post one message; once the answer's headers are complete, they decide whatever follows them."""
        mask = self._mask + contact(message.to)
        try:
            body = _body(message)
        except ValueError:
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.MESSAGE,
                code="not_json",
                reason="the message cannot be written as JSON: it holds half a surrogate pair, or no number",
            )
        answer = await self._exchange.ask(self._request(message, body), mask)
        if not isinstance(answer, Answer):
            return answer
        if answer.is_success:
            return Sent(provider_message_id=answer.text_at("id"), response={"status": answer.status})
        refused = refusal(answer, _BY_STATUS.get(answer.status))
        return refused if isinstance(refused, Sent) else replace(refused, reason=mask.reason(refused.reason))

    async def aclose(self) -> None:
        """Close the kept-alive connections."""
        await self._exchange.aclose()

    def _request(self, message: Message, body: bytes) -> HttpRequest:
        # The receiver compares the time of the attempt with its own clock, so it must be the wall clock.
        timestamp = int(time.time())
        key = message.idempotency_key
        return HttpRequest(
            url=self._url,
            body=body,
            headers={
                "webhook-id": key,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(sign(secret, key, timestamp, body) for secret in self._secrets),
                "idempotency-key": key,
                "content-type": "application/json",
            },
        )


def _body(message: Message) -> bytes:
    """Write the message as JSON, the same bytes on every attempt; ValueError if JSON cannot hold it."""
    document = {
        "type": "jtd.message",
        # In UTC, because the zone of a timestamp read from Postgres is the session's.
        "timestamp": message.created_at.astimezone(UTC).isoformat(),
        "data": {
            "id": str(message.jtd_id),
            "tenant_id": str(message.tenant_id),
            "channel": message.channel,
            "event_type": message.event_type,
            "source_type": message.source_type,
            "to": message.to,
            "name": message.name,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "variables": dict(message.variables),
            "attachments": [
                {"name": a.name, "media_type": a.media_type, "content": base64.b64encode(a.content).decode()}
                for a in message.attachments
            ],
            "reply_to": message.reply_to,
            "metadata": dict(message.metadata),
            "locale": message.locale,
            # only where a tenant names one: a receiver need not know the key
            **({"sender": message.sender} if message.sender is not None else {}),
        },
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()
