"""What every adapter of an HTTP API shares: it writes requests and reads answers, the rest is here."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated, Any, Final, TypeAlias

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl

from jtd_worker.adapter import Capabilities, SingleSend, UnknownRule, side_by_side, unanswered
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


def must_need_no_key(rule: UnknownRule | None) -> UnknownRule | None:
    """Return `rule` unless it trusts that the provider drops a second copy; then ValueError."""
    if rule is UnknownRule.IDEMPOTENT_RETRY:
        raise ValueError("this provider knows no idempotency key; choose another rule")
    return rule


KeylessRule: TypeAlias = Annotated[UnknownRule | None, AfterValidator(must_need_no_key)]
"""The rule for a provider that would send a second copy."""


class SendSettings(BaseModel):
    """What can be set for every provider that is asked over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    timeout_seconds: float = Field(default=60, ge=0.1, le=600)
    """For one request and its answer; after it nobody knows whether the message left."""
    unknown: UnknownRule | None = None
    """What follows when nobody knows that; by default as the adapter says."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """The most sends at one time, of one process; by default as many as there are slots."""


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
    before, mark, after = base.raw_path.partition(b"?")
    url = base.copy_with(raw_path=before.rstrip(b"/") + path.encode() + mark + after)
    return url.copy_merge_params(query) if query else url


class _Asking:
    """What adapters of HTTP APIs hold: capabilities by their settings, secrets to hide, connections."""

    def __init__(self, settings: SendSettings, capabilities: Capabilities, secrets: Iterable[str]) -> None:
        try:
            self.capabilities = replace(
                capabilities,
                unknown_rule=settings.unknown or capabilities.unknown_rule,
                concurrency=settings.concurrency or capabilities.concurrency,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._mask = Mask.of("<secret>", secrets)
        self._exchange = Exchange(Timeouts.within(settings.timeout_seconds))

    async def aclose(self) -> None:
        """Close the kept-alive connections."""
        await self._exchange.aclose()


class HttpAdapter(_Asking, SingleSend):
    """A provider that takes one message in one request."""

    def __init__(
        self,
        settings: SendSettings,
        capabilities: Capabilities,
        write: Callable[[Message], HttpRequest | Refused],
        read: Callable[[Answer], SendResult],
        *,
        secrets: Iterable[str] = (),
        writing_may_wait: bool = False,
    ) -> None:
        """`write` may raise RenderError, RecipientError or ValueError for a message that cannot be written.

        It may raise ConfigurationError where a credential cannot be had; if that may take time, say so by
        `writing_may_wait`. What these cannot say it returns as Refused.

        `read` judges an answer and leaves reasons unmasked; `secrets` never appear in one.
        """
        super().__init__(settings, capabilities, secrets)
        self._write = write
        self._writing_may_wait = writing_may_wait
        self._read = read

    async def send_one(self, message: Message) -> SendResult:
        """Write, ask once and read; a message that cannot be written is refused before anything is."""
        mask = self._mask + contact(message.to)
        mask += Mask.of("<device>", (device.token for device in message.devices))
        try:
            # encoding megabytes takes its time: not that of the event loop
            is_long = self._writing_may_wait or message.attachments
            write = asyncio.to_thread(self._write, message) if is_long else None
            request = await write if write else self._write(message)
        except _UNWRITABLE as error:
            return _unwritable(error, mask)
        if isinstance(request, Refused):
            return request
        answer = await self._exchange.ask(request, mask)
        return _masked(self._read(answer), mask) if isinstance(answer, Answer) else answer


class BatchHttpAdapter(_Asking):
    """A provider that takes several messages in one request, where they share a template, say.

    No request names a recipient twice: where the provider gives one id to all its messages, that and the
    recipient still tell whose receipt it is. A request that is refused because of one message is parted
    in halves until that one is alone.
    """

    def __init__(
        self,
        settings: SendSettings,
        capabilities: Capabilities,
        group: Callable[[Message], Hashable],
        write: Callable[[Sequence[Message]], HttpRequest],
        read: Callable[[Answer, Sequence[Message]], Sequence[SendResult]],
        *,
        secrets: Iterable[str] = (),
    ) -> None:
        """At most `capabilities.batch_size` messages of equal `group` go together; attachments go alone.

        `group` and `write` may raise what `write` of HttpAdapter may; a message with which they do is
        refused, and no other. `read` gives a result per message in their order, with reasons unmasked:
        that all are refused for good, with the scope of a message or recipient, must mean that none was
        taken; and what is uncertain is Unknown for all.
        """
        super().__init__(settings, capabilities, secrets)
        self._group = group
        self._write = write
        self._read = read

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Send the messages in as few requests as can be, side by side."""
        calls = list(self._calls(batch))
        answers = await side_by_side(self._call([batch[place] for place in places]) for places in calls)
        results: dict[int, SendResult] = {}
        for places, answer in zip(calls, answers, strict=True):
            told = [unanswered(answer)] * len(places) if isinstance(answer, BaseException) else answer
            results.update(zip(places, told, strict=True))
        return [results[place] for place in range(len(batch))]

    def _calls(self, batch: Sequence[Message]) -> Iterator[Sequence[int]]:
        """Part a batch into requests; a message is meant by its place."""
        together: dict[Hashable, list[int]] = {}
        times: Counter[Hashable] = Counter()
        for place, message in enumerate(batch):
            group = None if len(batch) == 1 else self._group_of(message)
            if group is None:
                yield [place]
                continue
            times[group, message.to] += 1
            together.setdefault((group, times[group, message.to]), []).append(place)
        size = self.capabilities.batch_size
        for places in together.values():
            yield from (places[start : start + size] for start in range(0, len(places), size))

    def _group_of(self, message: Message) -> Hashable:
        """Return what messages of one request share; None if this one goes by itself."""
        if message.attachments:
            return None
        try:
            self._write([message])
            return self._group(message)
        except _UNWRITABLE:
            return None

    async def _call(self, messages: Sequence[Message]) -> Sequence[SendResult]:
        mask = sum((contact(message.to) for message in messages), self._mask)
        try:
            has_files = any(message.attachments for message in messages)
            write = asyncio.to_thread(self._write, messages) if has_files else None
            request = await write if write else self._write(messages)
        except _UNWRITABLE as error:
            return [_unwritable(error, mask)] * len(messages)
        answer = await self._exchange.ask(request, mask)
        if not isinstance(answer, Answer):
            return [answer] * len(messages)
        results = self._read(answer, messages)
        if len(messages) > 1 and all(map(_is_of_one, results)):
            half = len(messages) // 2
            return [*await self._call(messages[:half]), *await self._call(messages[half:])]
        return [_masked(result, mask) for result in results]


_OF_TEMPLATE: Final = {"template_missing", "template_invalid"}
_UNWRITABLE: Final = (ConfigurationError, RenderError, RecipientError, ValueError)


def _is_of_one(result: SendResult) -> bool:
    """Whether one message is to blame, though it may have been said of all of a request."""
    return (
        isinstance(result, Refused)
        and result.retry in (Retry.NEVER, Retry.ELSEWHERE)
        and result.scope in (Scope.RECIPIENT, Scope.MESSAGE)
    )


def _masked(result: SendResult, mask: Mask) -> SendResult:
    return result if isinstance(result, Sent) else replace(result, reason=mask.reason(result.reason))


def _unwritable(error: ConfigurationError | RenderError | RecipientError | ValueError, mask: Mask) -> Refused:
    retry = Retry.NEVER
    match error:
        case ConfigurationError():
            retry, scope, code = Retry.AFTER_OPERATOR, Scope.CREDENTIAL, "credential_missing"
        case RecipientError():
            scope, code = Scope.RECIPIENT, "recipient_invalid"
        case RenderError():
            scope = Scope.TEMPLATE if error.code in _OF_TEMPLATE else Scope.MESSAGE
            code = error.code
        case _:
            scope, code = Scope.MESSAGE, "message_unfit"
    # what the codec says quotes the text that it cannot encode
    text = "a character that cannot be encoded" if isinstance(error, UnicodeError) else str(error)
    return Refused(retry=retry, scope=scope, code=code, reason=mask.reason(text))


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
