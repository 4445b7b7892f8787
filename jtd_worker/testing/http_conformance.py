"""What every adapter of an HTTP API must show: subclass `HttpConformance` in a test module."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

import pytest
import trustme
from pydantic import ValidationError

from jtd_worker.adapter import Adapter
from jtd_worker.message import Message
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import Refused, Retry, SendResult, Sent
from jtd_worker.testing.http_cases import STATUSES, TRANSPORT, Case, Expect, after_success, sent
from jtd_worker.testing.http_server import HttpServer, Request, Step, Steps, answer
from jtd_worker.testing.logged import logged
from jtd_worker.testing.samples import sample

TIMEOUT_SECONDS: Final = 5.0
"""Of an adapter in the kit: long enough for a slow machine, and short, since many cases run into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepts:
    """An answer by which the provider takes a message over."""

    name: str
    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str | None
    """The provider's message id that it shows."""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuses:
    """An answer of the provider's own that is no success, with what must be said of it."""

    name: str
    status: int
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: Expect
    code: str | None = None
    """The code that must be told; None is not looked at."""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A message, and the request that must be written for it."""

    name: str
    message: Message
    target: str
    """Path and query."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; others may be there besides."""
    json: Any = None
    form: Mapping[str, str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings besides those of the class."""


class HttpConformance:
    """The tests of one adapter; its cases run side by side on one loop, in a few seconds.

    Subclass it as `Test...` and fill in what is declared here.
    """

    provider: ClassVar[str]
    """As in JTD_PROVIDERS, e.g. `sms:acme`."""
    settings: ClassVar[Mapping[str, str]]
    """As from the environment, without prefix; `base_url` and `timeout_seconds` are added."""
    secrets: ClassVar[Sequence[str]]
    """The texts among them that must never be seen."""
    accepts: ClassVar[Sequence[Accepts]]
    """Every shape of success; the first is also sent whole, cut and garbled."""
    id_is_in_body: ClassVar[bool] = True
    """Whether an answer that says yes needs its body to be believed."""
    refuses: ClassVar[Sequence[Refuses]] = ()
    golden: ClassVar[Sequence[Golden]]
    expected: ClassVar[Mapping[str, Expect]] = {}
    """What holds for a case of the kit, by name, where this provider means something else by it."""

    @classmethod
    def message(cls) -> Message:
        """Return the message of all cases; override it where the channel's sample will not do."""
        return sample(cls.provider.partition(":")[0])

    @classmethod
    def make(cls, url: str, **settings: str) -> Adapter:
        """Return an adapter that asks the server at `url`; override it where that is no `base_url`."""
        return cls.made(url, **settings).build()

    @classmethod
    def made(cls, url: str, **settings: str) -> Provider:
        """Return the provider with its settings validated, as the worker does it."""
        given = {"base_url": url, "timeout_seconds": str(TIMEOUT_SECONDS), **cls.settings, **settings}
        return Provider.make(ProviderName.parse(cls.provider), given)

    @classmethod
    def cases(cls) -> list[Case]:
        """Return all cases with what this provider means by them."""
        first = cls.accepts[0]
        common = [
            *STATUSES,
            *TRANSPORT,
            *after_success(first.status, first.content, first.headers, is_in_body=cls.id_is_in_body),
        ]
        unknown_names = set(cls.expected) - {case.name for case in common}
        assert not unknown_names, f"`expected` names cases that the kit does not have: {unknown_names}"
        return [
            *(replace(case, expect=cls.expected.get(case.name, case.expect)) for case in common),
            *(
                Case(
                    name=f"accepts: {told.name}",
                    expect=sent(),
                    server={"script": answer(told.status, told.content, told.headers)},
                )
                for told in cls.accepts
            ),
            *(
                Case(
                    name=f"refuses: {told.name}",
                    expect=told.expect,
                    server={"script": answer(told.status, told.content, told.headers)},
                )
                for told in cls.refuses
            ),
        ]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each case, golden request and answer."""
        cls = type(self)
        sources: Mapping[str, Sequence[Any]] = {
            "case": cls.cases(),
            "golden_request": cls.golden,
            "taken": cls.accepts,
            "turned_down": cls.refuses,
        }
        for name in sources.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, sources[name], ids=lambda one: one.name)

    def test_the_outcome_says_what_is_known(self, case: Case, conformance: Mapping[str, "Seen"]) -> None:
        result = conformance[case.name].result
        assert type(result) is case.expect.kind, result
        assert getattr(result, "retry", None) == case.expect.retry, result
        assert getattr(result, "scope", None) == case.expect.scope, result
        if case.expect.wait is not None:
            assert getattr(result, "retry_after", None) == case.expect.wait

    def test_it_is_asked_at_most_once_and_not_at_all_where_we_say_so(
        self, case: Case, conformance: Mapping[str, "Seen"]
    ) -> None:
        seen = conformance[case.name]
        assert len(seen.requests) <= (1 if case.arrives else 0)
        assert seen.requests or case.expect.kind is not Sent

    def test_a_reason_is_one_short_line_that_shows_no_secret_and_no_contact(
        self, case: Case, conformance: Mapping[str, "Seen"]
    ) -> None:
        result = conformance[case.name].result
        if not isinstance(result, Sent):
            assert 0 < len(result.reason) <= 300
            assert result.reason.isprintable()
            assert 0 < len(result.code) <= 100
        for word in self._hidden():
            assert word not in repr(result)

    def test_the_id_is_read(self, taken: Accepts, conformance: Mapping[str, "Seen"]) -> None:
        result = conformance[f"accepts: {taken.name}"].result
        assert isinstance(result, Sent)
        assert result.provider_message_id == taken.id

    def test_the_code_is_told(self, turned_down: Refuses, conformance: Mapping[str, "Seen"]) -> None:
        result = conformance[f"refuses: {turned_down.name}"].result
        assert turned_down.code in (None, getattr(result, "code", None))

    async def test_the_request_is_as_written_down(self, golden_request: Golden) -> None:
        (request,) = await self._requests(golden_request.message, **golden_request.settings)
        assert (request.method, request.target) == (golden_request.method, golden_request.target)
        assert golden_request.headers.items() <= request.headers.items()
        if golden_request.json is not None:
            assert request.headers["content-type"] == "application/json"
            assert request.json == golden_request.json
        if golden_request.form is not None:
            assert request.headers["content-type"] == "application/x-www-form-urlencoded"
            assert dict(parse_qsl(request.body.decode(), keep_blank_values=True)) == golden_request.form

    async def test_a_retry_writes_the_same_bytes(self) -> None:
        first, second = await self._requests(self.message(), self.message())
        assert first.body == second.body
        assert first.target == second.target

    async def test_text_that_no_wire_can_hold_is_refused_before_anything_is_written(self) -> None:
        async with HttpServer(self._yes()) as server, aclosing(self.make(_base(server))) as adapter:
            (result,) = await adapter.send([self._unfit()])
        assert isinstance(result, Refused), result
        assert result.retry is Retry.NEVER
        assert server.requests == []

    async def test_a_send_that_is_cancelled_gives_up_its_connection(self) -> None:
        async with HttpServer([Step.HANG]) as server, aclosing(self.make(_base(server))) as adapter:
            sending = asyncio.create_task(_send(adapter, self.message()))
            await server.wait_until(lambda server: bool(server.requests))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await server.wait_until(lambda server: server.hung_up == 1)

    async def test_a_connection_is_used_again(self) -> None:
        requests = await self._requests(self.message(), self.message())
        assert {request.connection for request in requests} == {1}

    def test_no_secret_is_in_a_log(self, conformance_log: str) -> None:
        for word in self._hidden():
            assert word not in conformance_log

    def test_no_secret_is_in_a_repr_or_in_what_is_said_of_wrong_settings(self) -> None:
        provider = self.made("http://127.0.0.1:9")
        with pytest.raises(ValidationError) as raised:
            self.made("http://not-private.example", no_such_setting="1")
        adapter = self.make("http://127.0.0.1:9")
        seen = f"{provider!r} {provider.settings!s} {adapter!r} {raised.value}"
        assert not [word for word in self.secrets if word in seen]

    @classmethod
    def _yes(cls) -> Steps:
        first = cls.accepts[0]
        return answer(first.status, first.content, first.headers)

    @classmethod
    def _unfit(cls) -> Message:
        message = cls.message()
        # where the text itself is not sent, the parameters or the name may be
        return replace(message, text="\ud800", html="\ud800", subject="\ud800", to=message.to + "\ud800")

    async def _requests(self, *messages: Message, **settings: str) -> list[Request]:
        async with (
            HttpServer(self._yes()) as server,
            aclosing(self.make(_base(server), **settings)) as adapter,
        ):
            for message in messages:
                result = await _send(adapter, message)
                assert isinstance(result, Sent), result
        return server.requests

    def _hidden(self) -> list[str]:
        return [*self.secrets, self.message().to]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a case."""

    result: SendResult
    requests: Sequence[Request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of all cases of an adapter, and what was logged meanwhile."""

    seen: Mapping[str, Seen]
    log: str = field(repr=False)


def run_cases(kit: type[HttpConformance], certificates: Mapping[str | None, ssl.SSLContext | None]) -> Run:
    """Run all cases of an adapter side by side on one loop."""

    async def attempt(case: Case) -> Seen:
        async with (
            HttpServer(**{"tls": certificates[case.certificate], **case.server}) as server,
            aclosing(kit.make(case.url(_base(server)))) as adapter,
        ):
            # what others take to be made is not to be taken from the time of those that are under way
            await made.wait()
            result = await _send(adapter, case.change(kit.message()))
            return Seen(result=result, requests=list(server.requests))

    async def attempt_all(cases: Sequence[Case]) -> list[Seen]:
        return await asyncio.gather(*map(attempt, cases))

    cases = kit.cases()
    made = asyncio.Barrier(len(cases))
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases have one name"
    with logged() as log:
        seen = asyncio.run(attempt_all(cases))
    return Run(seen=dict(zip(names, seen, strict=True)), log=log.getvalue())


def certificates(authority: trustme.CA) -> Mapping[str | None, ssl.SSLContext | None]:
    """Return what the servers of the cases show, by `Case.certificate`; `authority` is the one trusted."""
    return {
        None: None,
        "trusted": _certified(authority, "localhost"),
        "untrusted": _certified(trustme.CA(), "localhost"),
        "other_host": _certified(authority, "other.example"),
    }


def _certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


async def _send(adapter: Adapter, message: Message) -> SendResult:
    (result,) = await adapter.send([message])
    return result


def _base(server: HttpServer) -> str:
    return server.url.removesuffix("/hook")
