"""Hands each message as signed JSON to a URL, by the Standard Webhooks scheme (standardwebhooks.com)."""

import asyncio
import base64
import json
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator

from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.standard_webhooks import parse_secrets, sign

# `webhook-id` is the scheme's own key against duplicates, so a receiver that follows the scheme drops the
# second copy. Whoever runs one that does not sets `unknown` to `hold`.
CAPABILITIES = Capabilities(unknown_rule=UnknownRule.IDEMPOTENT_RETRY)

_ANSWER_BYTES = 64 * 1024
_EXCERPT_BYTES = 4 * 1024
_REASON_LENGTH = 300
_PROVIDER_ID_LENGTH = 200
_THROTTLED = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=6)
# Shorter than the idle timeout of common servers: a request written just as the server closes an idle
# connection ends as Unknown, because nobody can tell whether the server took it.
_KEEPALIVE_SECONDS = 5.0

_BY_STATUS: Mapping[int, tuple[Retry, Scope]] = {
    401: (Retry.AFTER_OPERATOR, Scope.CREDENTIAL),
    403: (Retry.AFTER_OPERATOR, Scope.CREDENTIAL),
    404: (Retry.AFTER_OPERATOR, Scope.PROVIDER),
    405: (Retry.AFTER_OPERATOR, Scope.PROVIDER),
    407: (Retry.AFTER_OPERATOR, Scope.CREDENTIAL),
    408: (Retry.LATER, Scope.NETWORK),
    # An earlier attempt under the same key is still being worked on (draft-ietf-httpapi-idempotency-key).
    409: (Retry.LATER, Scope.MESSAGE),
    # The scheme asks a sender to stop at 410 until its owner has changed the URL.
    410: (Retry.AFTER_OPERATOR, Scope.PROVIDER),
    425: (Retry.LATER, Scope.PROVIDER),
}
_BY_CLASS: Mapping[int, tuple[Retry, Scope]] = {
    # The scheme forbids following redirects: the configured URL is wrong.
    3: (Retry.AFTER_OPERATOR, Scope.PROVIDER),
    4: (Retry.NEVER, Scope.MESSAGE),
    # The application itself says that it failed, and every sender of webhooks tries again after a 500, so a
    # receiver is built for that. Gateways speak only for themselves: see `_is_unsure`.
    5: (Retry.LATER, Scope.PROVIDER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that a step of one request may take."""

    connect: float = 5.0
    """For TCP with the name look-up, and again for TLS."""
    write: float = 10.0
    read: float = 30.0
    """Between two pieces of the answer; the scheme recommends 15 to 30."""
    total: float = 60.0
    """For everything; longer than both connects, so it only runs out after the first byte was written."""


class Settings(BaseModel):
    """Where messages go and how they are signed; `repr` and errors show neither URL nor secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: HttpUrl = Field(repr=False)
    """Often a secret itself, in its path or query. `http` only for a loopback host."""
    secret: SecretStr
    """`whsec_<base64>`; several, separated by blanks, while a secret is being replaced."""
    unknown: UnknownRule = CAPABILITIES.unknown_rule

    @field_validator("url")
    @classmethod
    def _must_be_private(cls, url: HttpUrl) -> HttpUrl:
        if url.scheme != "https" and not _is_loopback(url.host or ""):
            raise ValueError(
                "use https: over http anyone on the way can read the messages (loopback excepted)"
            )
        if url.username or url.password:
            raise ValueError(
                "the URL holds a user or password, which is not sent: the signature authenticates"
            )
        return url

    @field_validator("secret")
    @classmethod
    def _must_sign(cls, secret: SecretStr) -> SecretStr:
        parse_secrets(secret.get_secret_value())
        return secret


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message. The channel only shows in the messages."""
    return Webhook(settings)


class Webhook(SingleSend):
    """One receiver, reached over kept-alive HTTP/1.1 connections; as many as messages are under way."""

    def __init__(self, settings: Settings, timeouts: Timeouts | None = None) -> None:
        self.capabilities = replace(CAPABILITIES, unknown_rule=settings.unknown)
        self._url = httpx.URL(str(settings.url))
        self._secrets = parse_secrets(settings.secret.get_secret_value())
        self._timeouts = timeouts or Timeouts()
        # The bare transport: httpx's client would log the whole URL, keep the receiver's cookies, and read
        # proxies and .netrc from the environment. Only SSL_CERT_FILE and SSL_CERT_DIR are honoured.
        # Without a limit of connections nothing waits for one: the worker's slots are the limit.
        self._transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
        )

    async def send_one(self, message: Message) -> SendResult:
        """Post one message; once the answer's headers are complete, they decide whatever follows them."""
        try:
            body = _body(message)
        except ValueError:
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.MESSAGE,
                code="not_json",
                reason="the message cannot be written as JSON: it holds half a surrogate pair, or no number",
            )
        response: httpx.Response | None = None
        content = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.total):
                response = await self._transport.handle_async_request(self._request(message, body))
                async with aclosing(response):
                    async for chunk in response.aiter_raw():
                        content += chunk
                        if len(content) > _ANSWER_BYTES:
                            break
        except (OSError, httpx.HTTPError) as error:
            if response is None:
                return self._unanswered(error, message)
        return self._answered(response, bytes(content), message)

    async def aclose(self) -> None:
        """Close the kept-alive connections."""
        await self._transport.aclose()

    def _request(self, message: Message, body: bytes) -> httpx.Request:
        # The receiver compares the time of the attempt with its own clock, so it must be the wall clock.
        timestamp = int(time.time())
        key = message.idempotency_key
        return httpx.Request(
            "POST",
            self._url,
            content=body,
            headers={
                "webhook-id": key,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(sign(secret, key, timestamp, body) for secret in self._secrets),
                "idempotency-key": key,
                "content-type": "application/json",
                "user-agent": "jtd-worker",
                # What is never unpacked cannot be a decompression bomb.
                "accept-encoding": "identity",
            },
            extensions={
                "timeout": {
                    "connect": self._timeouts.connect,
                    "write": self._timeouts.write,
                    "read": self._timeouts.read,
                }
            },
        )

    def _unanswered(self, error: OSError | httpx.HTTPError, message: Message) -> SendResult:
        certificate = _certificate_error(error)
        if certificate is not None:
            return Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.PROVIDER,
                code="certificate_invalid",
                reason=self._reason(f"the receiver's certificate: {certificate.verify_message}", message),
            )
        detail = f"{type(error).__name__} {error}"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Refused(
                retry=Retry.LATER,
                scope=Scope.NETWORK,
                code="connect_failed",
                reason=self._reason(f"no connection to {self._url.host}: {detail}", message),
            )
        return Unknown(
            code="answer_lost",
            reason=self._reason(f"no readable answer after the request was begun: {detail}", message),
        )

    def _answered(self, response: httpx.Response, content: bytes, message: Message) -> SendResult:
        status = response.status_code
        if 200 <= status < 300:
            return Sent(provider_message_id=_provider_id(content), response={"status": status})
        code = f"http_{status}"
        excerpt = content[:_EXCERPT_BYTES].decode("utf-8", "replace")
        hint = " (redirects are not followed, set the final URL)" if status < 400 else ""
        reason = self._reason(f"the receiver answered {status}{hint}: {excerpt}", message)
        wait = _retry_after(response.headers)
        if status == 429:
            return Throttled(retry_after=_THROTTLED if wait is None else wait, code=code, reason=reason)
        if _is_unsure(status):
            return Unknown(code=code, reason=reason, response={"status": status})
        retry, scope = _BY_STATUS.get(status) or _BY_CLASS[status // 100]
        return Refused(
            retry=retry,
            scope=scope,
            code=code,
            reason=reason,
            retry_after=wait if retry is Retry.LATER else None,
            response={"status": status},
        )

    def _reason(self, text: str, message: Message) -> str:
        """Put foreign text on one bounded line, without the recipient and the URL's path and query."""
        line = _one_line(text)
        path, _, query = self._url.raw_path.decode("ascii").partition("?")
        line = _masked(line, "<url>", query, "" if path == "/" else path)
        to = _one_line(message.to)
        line = _masked(line, "<recipient>", to, to.lstrip("+"), quote(to, safe=""))
        # Cut last: a cut recipient would not be recognised.
        return line[:_REASON_LENGTH].rstrip(": ")


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
        },
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_unsure(status: int) -> bool:
    """Whether a gateway speaks, behind which the receiver may have acted.

    Above 511 nothing is registered with IANA: those are codes of gateways, e.g. 520 and 524.
    """
    return status in (502, 504) or status > 511


def _provider_id(content: bytes) -> str | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    found = answer.get("id") if isinstance(answer, dict) else None
    return (_one_line(found)[:_PROVIDER_ID_LENGTH] or None) if isinstance(found, str) else None


def _retry_after(headers: httpx.Headers) -> timedelta | None:
    """Read seconds or a date (RFC 9110, 10.2.3), bounded to 0..6 h; None if absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        until = _http_date(value)
        if until is None:
            return None
        # Against the receiver's own clock where it tells it: ours may differ.
        seconds = (until - (_http_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), _LONGEST_WAIT.total_seconds()))


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _one_line(text: str) -> str:
    """Replace whatever does not print, line ends and zero-width characters among it, by single blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _masked(line: str, mask: str, *words: str) -> str:
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word)
    return re.sub(pattern, mask, line, flags=re.IGNORECASE) if pattern else line
