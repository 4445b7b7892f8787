"""One request and its answer: whatever goes wrong on the way is told apart here, once for all adapters."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import httpx

from jtd_worker.masking import Mask, one_line
from jtd_worker.result import Refused, Retry, Scope, Unknown

ANSWER_BYTES: Final = 64 * 1024
"""Of an answer no more is read."""
EXCERPT_BYTES: Final = 4 * 1024
PROVIDER_ID_LENGTH: Final = 200
LONGEST_WAIT: Final = timedelta(hours=6)
KEEPALIVE_SECONDS: Final = 5.0
"""Shorter than the idle timeout of common servers: a request written just as the server closes an idle
connection ends as Unknown, because nobody can tell whether the server took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that a step of one request may take."""

    connect: float = 5.0
    """For TCP with the name look-up, and again for TLS."""
    write: float = 10.0
    read: float = 30.0
    """Between two pieces of the answer."""
    total: float = 60.0
    """For everything; longer than both connects, so it only runs out after the first byte was written."""

    @classmethod
    def within(cls, total: float) -> Self:
        """Divide `total` seconds, from 0.1: connecting twice must leave time for the rest."""
        return cls(
            connect=min(5.0, total * 0.4),
            write=min(10.0, total / 2),
            read=min(30.0, total / 2),
            total=total,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What is written; `repr` shows nothing of it: each part may hold a secret or a contact."""

    url: httpx.URL = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose headers are complete; the body may have been cut short."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    is_whole: bool
    """Whether the body ended as announced, and within the 64 KiB that are read."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def document(self) -> Any:
        """The body as JSON; None if it is none or was cut short."""
        if not self.is_whole:
            return None
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def at(self, *path: str | int) -> Any:
        """Return what stands under `path` in the JSON, e.g. `at("errors", 0, "code")`, else None."""
        found = self.document
        for step in path:
            match found, step:
                case dict(), str():
                    found = found.get(step)
                case list(), int() if -len(found) <= step < len(found):
                    found = found[step]
                case _:
                    return None
        return found

    def text_at(self, *path: str | int) -> str | None:
        """Return the text or whole number under `path` as one line of at most 200 characters, else None."""
        found = self.at(*path)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        return (one_line(found)[:PROVIDER_ID_LENGTH] or None) if isinstance(found, str) else None

    @property
    def excerpt(self) -> str:
        """The beginning of the body, for a person; to be masked before it is shown."""
        return self.content[:EXCERPT_BYTES].decode("utf-8", "replace")

    @property
    def retry_after(self) -> timedelta | None:
        """Seconds or a date (RFC 9110, 10.2.3), bounded to 0..6 h; None if absent or unreadable."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return bounded_wait(float(value))
        until = _http_date(value)
        if until is None:
            return None
        # Against the sender's own clock where it tells it: ours may differ.
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return bounded_wait((until - now).total_seconds())


class Exchange:
    """Kept-alive HTTP/1.1 connections; as many as requests are under way."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        # The bare transport: httpx's client would log the whole URL, keep the receiver's cookies, follow
        # redirects, and read proxies and .netrc from the environment. Only SSL_CERT_FILE and SSL_CERT_DIR are
        # honoured. Without a limit of connections nothing waits for one: the worker's slots are the limit.
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS))

    async def ask(self, request: HttpRequest, mask: Mask) -> Answer | Refused | Unknown:
        """Write the request once; once an answer's headers are complete, they stand whatever follows them.

        Refused: the request was certainly not written. Unknown: it may have been. Reasons are masked.
        """
        response: httpx.Response | None = None
        content = bytearray()
        is_whole = False
        try:
            async with asyncio.timeout(self._timeouts.total):
                response = await self._transport.handle_async_request(self._written(request))
                async with aclosing(response):
                    async for chunk in response.aiter_raw():
                        content += chunk
                        if len(content) > ANSWER_BYTES:
                            break
                    else:
                        is_whole = True
        except (httpx.LocalProtocolError, UnicodeEncodeError):
            # said of the headers before the first byte is written; what it quotes is a key, most often
            return Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.CREDENTIAL,
                code="credential_unfit",
                reason="a header of the request cannot be written: a key or token that was set holds a line "
                "break, a blank at its end, or a letter outside ASCII",
            )
        except (OSError, httpx.HTTPError) as error:
            if response is None:
                return _unanswered(error, request, mask)
        return Answer(
            status=response.status_code, headers=response.headers, content=bytes(content), is_whole=is_whole
        )

    async def aclose(self) -> None:
        """Close the kept-alive connections."""
        await self._transport.aclose()

    def _written(self, request: HttpRequest) -> httpx.Request:
        return httpx.Request(
            request.method,
            request.url,
            content=request.body,
            headers={
                "user-agent": "jtd-worker",
                # What is never unpacked cannot be a decompression bomb.
                "accept-encoding": "identity",
                **request.headers,
            },
            extensions={
                "timeout": {
                    "connect": self._timeouts.connect,
                    "write": self._timeouts.write,
                    "read": self._timeouts.read,
                }
            },
        )


def bounded_wait(seconds: float) -> timedelta:
    """Return a wait of `seconds`, at least none and at most 6 h."""
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_WAIT.total_seconds()))


def _unanswered(error: OSError | httpx.HTTPError, request: HttpRequest, mask: Mask) -> Refused | Unknown:
    certificate = _certificate_error(error)
    if certificate is not None:
        return Refused(
            retry=Retry.AFTER_OPERATOR,
            scope=Scope.PROVIDER,
            code="certificate_invalid",
            reason=mask.reason(f"the receiver's certificate: {certificate.verify_message}"),
        )
    detail = f"{type(error).__name__} {error}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Refused(
            retry=Retry.LATER,
            scope=Scope.NETWORK,
            code="connect_failed",
            reason=mask.reason(f"no connection to {request.url.host}: {detail}"),
        )
    return Unknown(
        code="answer_lost",
        reason=mask.reason(f"no readable answer after the request was begun: {detail}"),
    )


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
