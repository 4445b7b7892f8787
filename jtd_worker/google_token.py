"""Access tokens of a Google service account: fetched aside, once for all sends that wait for one."""

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import httpx
from google.auth.crypt import RSASigner
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport import Request
from google.oauth2.service_account import Credentials
from pydantic import HttpUrl, TypeAdapter

from jtd_worker.http_adapter import ApiUrl
from jtd_worker.masking import Mask
from jtd_worker.result import Refused, Retry, Scope

TIMEOUT: Final = 15.0
"""Seconds until a token must be there; longer than two requests that are answered slowly."""
_READS: Final = 5.0

_URL: Final[TypeAdapter[HttpUrl]] = TypeAdapter(ApiUrl)


def service_account(given: str) -> dict[str, str]:
    """Return the key of a service account, given as JSON or as the path of its file; else ValueError."""
    try:
        document = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text("utf-8"))
    except (OSError, ValueError):
        raise ValueError("neither the JSON key of a service account nor the path of its file") from None
    names = ("project_id", "client_email", "private_key", "token_uri")
    if not isinstance(document, dict) or any(not isinstance(document.get(name), str) for name in names):
        raise ValueError(f"a key of a service account has {', '.join(names)}")
    try:
        _URL.validate_python(document["token_uri"])
    except ValueError:
        raise ValueError("token_uri is https, or http on loopback") from None
    _signer(document["private_key"], document.get("private_key_id"))
    return document


@lru_cache(
    maxsize=16
)  # reading a key takes a tenth of a second, and settings are validated before they are used
def _signer(private_key: str, key_id: str | None = None) -> RSASigner:
    try:
        return RSASigner.from_string(private_key, key_id)  # type: ignore[no-untyped-call, no-any-return]
    except ValueError:
        raise ValueError("the private key of the service account cannot be read") from None


class AccessTokens:
    """The token of one service account; on one event loop."""

    def __init__(self, account: Mapping[str, str], scope: str, *, timeout: float = TIMEOUT) -> None:
        """`account` is one of `service_account`; `timeout` in seconds."""
        self._credentials: Any = Credentials(  # type: ignore[no-untyped-call]
            _signer(account["private_key"], account.get("private_key_id")),
            account["client_email"],
            account["token_uri"],
            scopes=[scope],
        )
        self._timeout = timeout
        self._mask = Mask.of("<secret>", [account["private_key"]])
        self._fetching: asyncio.Task[Refused | None] | None = None
        self.latest = ""
        """What `get` has returned last."""

    async def get(self) -> str | Refused:
        """Return a token that is good for some minutes, or why there is none: then nothing was sent."""
        if not self._credentials.valid:
            if self._fetching is None or self._fetching.done():
                # signing and the library's way to ask both block
                self._fetching = asyncio.create_task(asyncio.to_thread(self._fetch))
            try:
                async with asyncio.timeout(self._timeout):
                    refused = await asyncio.shield(self._fetching)
            except TimeoutError:
                return _unreachable("no answer in time")
            if refused:
                return refused
        self.latest = self._credentials.token
        return self.latest

    def forget(self) -> None:
        """Fetch a new one next time, since the API did not take this one."""
        self._credentials.token = None

    def _fetch(self) -> Refused | None:
        try:
            self._credentials.refresh(_Ask(time.monotonic() + self._timeout))
        except TransportError as error:
            return _unreachable(self._mask.reason(str(error)))
        except (GoogleAuthError, ValueError, TypeError, AttributeError) as error:
            # the library reads the answer without looking at its types
            if getattr(error, "retryable", False):
                return _unreachable(self._mask.reason(str(error)))
            return Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.CREDENTIAL,
                code="token_refused",
                reason=self._mask.reason(f"no access token for the service account: {error}"),
            )
        return None


@cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _unreachable(detail: str) -> Refused:
    return Refused(
        retry=Retry.LATER,
        scope=Scope.NETWORK,
        code="token_unreachable",
        reason=f"the token server of the service account: {detail}",
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the library reads of an answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: bytes = field(repr=False)


class _Ask(Request):
    """Asks as the library wants it asked, in a thread; not after `until`, by the monotonic clock."""

    def __init__(self, until: float) -> None:
        self._until = until

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Answer:
        left = min(_READS, self._until - time.monotonic())
        if left <= 0:
            raise _transport_error("no answer in time")
        request = httpx.Request(
            method,
            url,
            content=body,
            headers=headers,
            extensions={"timeout": {"connect": left, "write": left, "read": left}},
        )
        # the bare transport, as in http_exchange: no proxy, no .netrc, no redirect
        with httpx.HTTPTransport(verify=_trusted()) as transport:
            try:
                answer = transport.handle_request(request)
                return _Answer(answer.status_code, answer.headers, answer.read())
            except (OSError, httpx.HTTPError) as error:
                raise _transport_error(f"{type(error).__name__} {error}") from error


def _transport_error(detail: str) -> TransportError:
    return TransportError(detail)  # type: ignore[no-untyped-call]
