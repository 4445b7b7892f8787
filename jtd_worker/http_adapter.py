"""What every adapter of an HTTP API shares: it writes requests and reads answers, the rest is here."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated, Any, TypeAlias

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl

from jtd_worker.adapter import Capabilities, SingleSend, UnknownRule
from jtd_worker.errors import ConfigurationError, RecipientError, RenderError
from jtd_worker.http_exchange import Answer, Exchange, HttpRequest, Timeouts
from jtd_worker.masking import Mask, contact
from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent


def must_be_private(url: HttpUrl) -> HttpUrl:
    """Return `url` if nobody on the way can read what is sent to it; else ValueError says what to do."""
    if url.scheme != "https" and not is_loopback(url.host or ""):
        raise ValueError("use https: over http anyone on the way can read the messages (loopback excepted)")
    if url.username or url.password:
        raise ValueError("the URL holds a user or password, which is not sent")
    return url


ApiUrl: TypeAlias = Annotated[HttpUrl, AfterValidator(must_be_private)]
"""`https`, or `http` on a loopback host."""


class SendSettings(BaseModel):
    """What can be set for every provider that is asked over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    timeout_seconds: float = Field(default=60, ge=0.1, le=600)
    """For one request and its answer; after it nobody knows whether the message left."""
    unknown: UnknownRule | None = None
    """What follows when nobody knows that; by default as the adapter says."""


class HttpSettings(SendSettings):
    """The same with the URL of an API; an adapter adds its own settings, and a default for `base_url`."""

    base_url: ApiUrl = Field(repr=False)
    """Without the path of a call; only to be changed for a region, a proxy or a test."""

    def url(self, path: str, **query: str) -> httpx.URL:
        """Return the URL of a call; `path` begins with a slash and is quoted already."""
        return url_of_call(self.base_url, path, **query)


def url_of_call(base_url: HttpUrl, path: str, **query: str) -> httpx.URL:
    """Return the URL of a call; `path` begins with a slash and is quoted already."""
    base = httpx.URL(str(base_url))
    url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + path.encode())
    return url.copy_merge_params(query) if query else url


class HttpAdapter(SingleSend):
    """A provider that takes one message in one request."""

    def __init__(
        self,
        settings: SendSettings,
        capabilities: Capabilities,
        write: Callable[[Message], HttpRequest],
        read: Callable[[Answer], SendResult],
        *,
        secrets: Iterable[str] = (),
        writing_may_wait: bool = False,
    ) -> None:
        """`write` may raise RenderError, RecipientError or ValueError for a message that cannot be written.

        It may raise ConfigurationError where a credential cannot be had; if that may take time, say so by
        `writing_may_wait`.

        `read` judges an answer and leaves reasons unmasked; `secrets` never appear in one.
        """
        self.capabilities = replace(capabilities, unknown_rule=settings.unknown or capabilities.unknown_rule)
        self._write = write
        self._writing_may_wait = writing_may_wait
        self._read = read
        self._mask = Mask.of("<secret>", secrets)
        self._exchange = Exchange(Timeouts.within(settings.timeout_seconds))

    async def send_one(self, message: Message) -> SendResult:
        """Write, ask once and read; a message that cannot be written is refused before anything is."""
        mask = self._mask + contact(message.to)
        try:
            # encoding megabytes takes its time: not that of the event loop
            is_long = self._writing_may_wait or message.attachments
            write = asyncio.to_thread(self._write, message) if is_long else None
            request = await write if write else self._write(message)
        except ConfigurationError as error:
            return Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.CREDENTIAL,
                code="credential_missing",
                reason=mask.reason(str(error)),
            )
        except (RenderError, RecipientError, ValueError) as error:
            return _unwritable(error, mask)
        answer = await self._exchange.ask(request, mask)
        if not isinstance(answer, Answer):
            return answer
        result = self._read(answer)
        return result if isinstance(result, Sent) else replace(result, reason=mask.reason(result.reason))

    async def aclose(self) -> None:
        """Close the kept-alive connections."""
        await self._exchange.aclose()


def _unwritable(error: RenderError | RecipientError | ValueError, mask: Mask) -> Refused:
    match error:
        case RecipientError():
            scope, code = Scope.RECIPIENT, "recipient_invalid"
        case RenderError():
            scope, code = Scope.MESSAGE, error.code
        case _:
            scope, code = Scope.MESSAGE, "message_unfit"
    # what the codec says quotes the text that it cannot encode
    text = "a character that cannot be encoded" if isinstance(error, UnicodeError) else str(error)
    return Refused(retry=Retry.NEVER, scope=scope, code=code, reason=mask.reason(text))


def json_body(document: Mapping[str, Any]) -> bytes:
    """Write JSON without what is None, the same bytes each time; ValueError if JSON cannot hold it."""
    given = {name: value for name, value in document.items() if value is not None}
    try:
        return json.dumps(
            given, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        ).encode()
    except (ValueError, TypeError):
        # what it says may quote the message
        raise ValueError("it holds half a surrogate pair, or a number that JSON has not") from None


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
