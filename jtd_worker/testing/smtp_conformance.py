"""What every adapter that submits mail by SMTP must show: subclass `SmtpConformance` in a test module."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final
from uuid import UUID

import pytest

from jtd_worker.adapter import Adapter
from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Unknown
from jtd_worker.testing.http_cases import Expect
from jtd_worker.testing.logged import logged
from jtd_worker.testing.samples import sample
from jtd_worker.testing.smtp_cases import CASES, LOGIN, Case, Relay
from jtd_worker.testing.smtp_server import (
    DROP,
    EXTENSIONS,
    HANG,
    Accepted,
    Certificate,
    Phase,
    SmtpServer,
    on,
)

PATIENT_SECONDS: Final = 15.0
"""Of the timeouts where none is to be reached, on a machine that is busy."""
HURRIED_SECONDS: Final = 3.0
"""Of the timeouts where one is waited for: many cases do so side by side."""
CASES_AT_ONCE: Final = 8
CASE_SECONDS: Final = 25.0
"""After so long an adapter has hung."""
PHASES: Final[tuple[Phase, ...]] = ("banner", "ehlo", "mail", "rcpt", "data", "dot")


_SECRETS: Final = (LOGIN[1], "another-pass", "AGFjbWUtcmVsYXkAczNjcmV0LXBhc3M=")
_OF_PARAMETER: Final = {"SIZE": "SIZE", "SMTPUTF8": "SMTPUTF8", "BODY": "8BITMIME"}
"""Which extension a parameter of MAIL belongs to."""


_HUNG: Final = Unknown(code="kit_hung", reason="the adapter never came to an end")


class SmtpConformance:
    """The tests of one adapter; its cases run side by side on one loop, in a few seconds.

    Subclass it as `Test...` and fill in `make`.
    """

    expected: ClassVar[Mapping[str, Expect]] = {}
    """What holds for a case of the kit, by name, where this adapter means something else by it."""

    @classmethod
    def make(cls, relay: Relay) -> Adapter:
        """Return an adapter that submits to `relay`."""
        raise NotImplementedError

    @classmethod
    def message(cls, number: int = 0) -> Message:
        """Return the message looked at, or for numbers from 1 another one."""
        message = sample("email")
        if not number:
            return message
        other = UUID(int=message.jtd_id.int + number)
        return replace(
            message, jtd_id=other, idempotency_key=str(other), to=f"other-{number}@customer.example"
        )

    @classmethod
    def cases(cls) -> list[Case]:
        """Return all cases with what this adapter means by them."""
        unknown_names = set(cls.expected) - {case.name for case in CASES}
        assert not unknown_names, f"`expected` names cases that the kit does not have: {unknown_names}"
        return [replace(case, expect=cls.expected.get(case.name, case.expect)) for case in CASES]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each case."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases(), ids=lambda case: case.name)

    def test_the_outcome_says_what_is_known(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        result = smtp_conformance[case.name].result
        assert type(result) is case.expect.kind, result
        assert getattr(result, "retry", None) == case.expect.retry, result
        assert getattr(result, "scope", None) == case.expect.scope, result
        assert getattr(result, "code", None) == case.code, result

    def test_the_server_has_the_mail_once_if_at_all_and_not_where_we_say_so(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        seen = smtp_conformance[case.name]
        assert len(seen.mails) <= (1 if case.expect.may_have_left else 0)
        assert seen.mails or case.expect.kind is not Sent

    def test_a_result_is_short_and_shows_no_secret_and_no_contact(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        result = smtp_conformance[case.name].result
        if not isinstance(result, Sent):
            assert 0 < len(result.reason) <= 350
            assert result.reason.isprintable()
            assert 0 < len(result.code) <= 100
        shown = repr(result).lower()
        message = self.message()
        hidden = [*_SECRETS, message.to, message.to.partition("@")[0], "jürgen", "evil", message.text]
        assert not [word for word in hidden if word.lower() in shown]

    def test_only_what_was_offered_is_used(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        extensions = case.server.get("extensions", EXTENSIONS)
        offered = {word.partition(" ")[0].upper() for word in extensions}
        for mail in smtp_conformance[case.name].mails:
            named = {word.partition("=")[0] for word in mail.parameters.split()}
            assert {_OF_PARAMETER[word] for word in named} <= offered
            assert named & {"BODY", "SMTPUTF8"} or mail.content.isascii()
            assert max(map(len, mail.content.split(b"\r\n"))) <= 998
            assert len(mail.recipients) == 1

    def test_nothing_is_said_in_clear_text_where_tls_is_asked_for(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        if case.relay.get("tls") == "starttls":
            assert set(smtp_conformance[case.name].in_clear_text) <= {"EHLO", "STARTTLS", "QUIT"}

    def test_sessions_are_used_again_only_where_they_can_be(
        self, case: Case, smtp_conformance: Mapping[str, "SmtpSeen"]
    ) -> None:
        assert case.connections in (None, smtp_conformance[case.name].connections)

    def test_no_secret_is_in_a_log(self, smtp_conformance_log: str) -> None:
        for word in (*_SECRETS, self.message().to):
            assert word not in smtp_conformance_log

    async def test_a_second_attempt_hands_over_the_same_octets(self, smtp_authority: Path) -> None:
        async with (
            SmtpServer([on("dot", DROP, nth=1)]) as server,
            self._made(server, smtp_authority) as adapter,
        ):
            assert isinstance(await _send(adapter, self.message()), Unknown)
            assert isinstance(await _send(adapter, self.message()), Sent)
        first, second = server.messages
        assert first.content == second.content

    async def test_the_message_id_is_one_for_all_attempts_and_another_for_another_message(
        self, smtp_authority: Path
    ) -> None:
        script = [on("dot", "451 4.3.0 not now", nth=1), on("dot", HANG, nth=2)]
        async with SmtpServer(script) as server:
            for number in (0, 0, 0, 1):  # each by a worker of its own
                async with self._made(server, smtp_authority, seconds=1) as adapter:
                    await _send(adapter, self.message(number))
        *attempts, other = [mail.mail["Message-ID"] for mail in server.messages]
        assert len(attempts) == 2
        assert len(set(attempts)) == 1
        assert attempts[0] not in (None, "", other)

    async def test_each_mail_of_a_batch_goes_to_its_recipient_alone(self, smtp_authority: Path) -> None:
        messages = [self.message(number) for number in range(4)]
        script = [on("rcpt", "550 5.1.1 unknown", recipient=messages[2].to)]
        async with SmtpServer(script) as server, self._made(server, smtp_authority) as adapter:
            results = await adapter.send(messages)
        assert [type(result) for result in results] == [Sent, Sent, Refused, Sent]
        assert sorted(mail.recipients for mail in server.messages) == sorted(
            (message.to,) for message in messages if message is not messages[2]
        )
        for mail in server.messages:
            assert [address.addr_spec for address in mail.mail["To"].addresses] == list(mail.recipients)

    @pytest.mark.parametrize("phase", PHASES)
    async def test_a_send_that_is_cancelled_gives_up_its_session(
        self, phase: Phase, smtp_authority: Path
    ) -> None:
        script = [on(phase, HANG, nth=1)]
        async with SmtpServer(script) as server, self._made(server, smtp_authority) as adapter:
            sending = asyncio.create_task(_send(adapter, self.message()))
            await server.until_seen(phase)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await server.until_idle()
            assert isinstance(await _send(adapter, self.message()), Sent)
        assert server.messages[-1].connection == 2

    async def test_nobody_listens(self, smtp_authority: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            relay = Relay(port=taken.getsockname()[1], ca_file=str(smtp_authority), seconds=PATIENT_SECONDS)
            async with aclosing(self.make(relay)) as adapter:
                result = await _send(adapter, self.message())
        assert isinstance(result, Refused)
        assert (result.retry, result.scope) == (Retry.LATER, Scope.NETWORK)

    def test_no_secret_is_in_a_repr(self, smtp_authority: Path) -> None:
        adapter = self.make(Relay(port=9, ca_file=str(smtp_authority), login=LOGIN, seconds=1))
        assert not [word for word in _SECRETS if word in f"{adapter!r} {vars(adapter)!r}"]

    @classmethod
    def _made(
        cls, server: SmtpServer, authority: Path, *, seconds: float = PATIENT_SECONDS
    ) -> AbstractAsyncContextManager[Adapter]:
        return aclosing(cls.make(Relay(port=server.port, ca_file=str(authority), seconds=seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpSeen:
    """What came of a case."""

    result: SendResult
    mails: Sequence[Accepted]
    """What the server has of the message looked at."""
    in_clear_text: Sequence[str]
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpRun:
    """What came of all cases of an adapter, and what was logged meanwhile."""

    seen: Mapping[str, SmtpSeen]
    log: str = field(repr=False)


def run_smtp_cases(kit: type[SmtpConformance], certificates: Mapping[str, Certificate]) -> SmtpRun:
    """Run all cases of an adapter side by side on one loop; `certificates` by the name in them."""

    async def attempt(case: Case) -> SmtpSeen:
        script = [replace(rule) for rule in case.script]  # a rule counts what it has seen
        options = {"certificate": certificates[case.shows], **case.server}
        async with SmtpServer(script, **options) as server:
            relay = Relay(
                port=server.port,
                ca_file=str(certificates[case.trusts].certificate),
                seconds=HURRIED_SECONDS if case.waits_for_a_timeout else PATIENT_SECONDS,
            )
            async with aclosing(kit.make(replace(relay, **case.relay))) as adapter:
                result: SendResult = _HUNG
                with suppress(TimeoutError):
                    async with asyncio.timeout(CASE_SECONDS):
                        for number in range(1, case.earlier + 1):
                            await _send(adapter, kit.message(number))
                        result = await _send(adapter, replace(kit.message(), **case.change))
            others = {kit.message(number).to for number in range(1, case.earlier + 1)}
            return SmtpSeen(
                result=result,
                mails=[mail for mail in server.messages if not others.intersection(mail.recipients)],
                in_clear_text=list(server.in_clear_text),
                connections=server.connections,
            )

    async def attempt_all(cases: Sequence[Case]) -> Mapping[str, SmtpSeen]:
        few = asyncio.Semaphore(CASES_AT_ONCE)

        async def attempt_in_turn(case: Case) -> SmtpSeen:
            async with few:
                return await attempt(case)

        # What waits for a timeout takes no time of the processor; the others would make it wait too long for
        # the answers before that, and so would a mail of many megabytes.
        light = [case for case in cases if not case.is_big]
        seen = await asyncio.gather(
            *(attempt(case) if case.waits_for_a_timeout else attempt_in_turn(case) for case in light)
        )
        found = {case.name: one for case, one in zip(light, seen, strict=True)}
        return found | {case.name: await attempt(case) for case in cases if case.is_big}

    cases = kit.cases()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases have one name"
    with logged() as log:
        seen = asyncio.run(attempt_all(cases))
    return SmtpRun(seen=seen, log=log.getvalue())


async def _send(adapter: Adapter, message: Message) -> SendResult:
    (result,) = await adapter.send([message])
    return result
