"""The conformance kit itself: it has the cases that it promises, and careless adapters do not pass it."""

import asyncio
import json
import pkgutil
import smtplib
from collections.abc import Mapping
from email.utils import make_msgid
from pathlib import Path

import httpx
import pytest
import trustme

import jtd_worker.channels
from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.http_adapter import HttpAdapter
from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent
from jtd_worker.testing import Accepts, HttpConformance, Relay, SmtpConformance
from jtd_worker.testing.http_conformance import Seen, certificates, run_cases
from jtd_worker.testing.smtp_cases import Case
from jtd_worker.testing.smtp_conformance import SmtpSeen, run_smtp_cases
from jtd_worker.testing.smtp_server import Certificate

TESTS = Path(__file__).parent


class Careless(SingleSend):
    """As many a first draft is: whatever is no error is a success, and whatever raises is a refusal."""

    capabilities = Capabilities(unknown_rule=UnknownRule.RESEND)

    def __init__(self, url: str) -> None:
        self._url = url

    async def send_one(self, message: Message) -> SendResult:
        try:
            async with httpx.AsyncClient(timeout=3.0, follow_redirects=True) as client:
                answer = await client.post(f"{self._url}/messages", json={"to": message.to})
                answer.raise_for_status()
            return Sent(provider_message_id=answer.json().get("id"))
        except Exception as error:  # noqa: BLE001 - it is careless
            return Refused(
                retry=Retry.LATER,
                scope=Scope.PROVIDER,
                code="failed",
                reason=f"{error} for {message.to} with the key planted-key",
            )


class Kit(HttpConformance):
    provider = "sms:careless"
    settings: Mapping[str, str] = {}
    secrets = ("planted-key",)
    accepts = (Accepts(name="200", body={"id": "m-1"}, id="m-1"),)
    golden = ()

    @classmethod
    def make(cls, url: str, **settings: str) -> Adapter:
        return Careless(url)


@pytest.fixture(scope="module")
def careless() -> Mapping[str, Seen]:
    return run_cases(Kit, certificates(trustme.CA())).seen


def misjudged(seen: Mapping[str, Seen]) -> set[str]:
    return {
        case.name
        for case in Kit.cases()
        if type(seen[case.name].result) is not case.expect.kind
        or getattr(seen[case.name].result, "retry", None) != case.expect.retry
    }


def test_there_are_sixty_cases_and_each_states_what_is_expected() -> None:
    cases = Kit.cases()
    assert len(cases) >= 60
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert case.expect.may_have_left is (case.expect.kind.__name__ in ("Sent", "Unknown"))
        assert (case.expect.retry is None) is (case.expect.scope is None)


@pytest.mark.parametrize(
    "name",
    [
        "no answer in time",
        "reset without an answer",
        "headers cut",
        "502",
        "504",
        "401",
        "400",
        "429 with seconds",
        "success, then the body is cut",
        "success, but an HTML page",
        "success, but an empty object",
    ],
)
def test_a_careless_adapter_is_caught(name: str, careless: Mapping[str, Seen]) -> None:
    assert name in misjudged(careless)


def test_what_a_careless_adapter_gives_away_is_seen(careless: Mapping[str, Seen]) -> None:
    result = careless["401"].result
    with pytest.raises(AssertionError):
        Kit().test_a_reason_is_one_short_line_that_shows_no_secret_and_no_contact(
            next(case for case in Kit.cases() if case.name == "401"), {"401": careless["401"]}
        )
    assert "planted-key" in repr(result)


def test_every_adapter_of_an_http_api_has_a_test_of_the_kit() -> None:
    """A new file in `channels/` that asks an HTTP API is tested by a subclass of the kit."""
    without = []
    for module in pkgutil.iter_modules(jtd_worker.channels.__path__):
        source = Path(jtd_worker.channels.__path__[0], f"{module.name}.py").read_text()
        if HttpAdapter.__name__ in source:
            test = TESTS / f"test_{module.name}.py"
            if not test.exists() or "(HttpConformance)" not in test.read_text():
                without.append(module.name)
    assert without == []


def test_a_message_for_the_kit_can_be_shown() -> None:
    """A failing case prints the message: its `repr` has no contact, which the kit looks for in results."""
    assert json.dumps(Kit.message().to)[1:-1] not in repr(Kit.message())


class CarelessMailer(SingleSend):
    """Hands mail over as examples do: whatever raises is a refusal."""

    capabilities = Capabilities(unknown_rule=UnknownRule.RESEND)

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    async def send_one(self, message: Message) -> SendResult:
        return await asyncio.to_thread(self._send, message)

    def _send(self, message: Message) -> SendResult:
        mail = f"Message-ID: {make_msgid()}\r\nTo: {message.to}\r\nSubject: {message.subject}\r\n\r\nHello"
        try:
            with smtplib.SMTP(self._relay.host, self._relay.port, timeout=self._relay.seconds) as client:
                if client.has_extn("starttls"):
                    client.starttls()
                if self._relay.login:
                    client.login(*self._relay.login)
                client.sendmail("no-reply@acme.example", [message.to], mail.encode())
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Refused(retry=Retry.LATER, scope=Scope.PROVIDER, code="failed", reason=str(error))
        return Sent()


class SmtpKit(SmtpConformance):
    @classmethod
    def make(cls, relay: Relay) -> Adapter:
        return CarelessMailer(relay)

    @classmethod
    def cases(cls) -> list[Case]:
        return [case for case in super().cases() if case.name in CARELESS_IN]


OUTCOME = "test_the_outcome_says_what_is_known"
CARELESS_IN = {
    "dot: drop": OUTCOME,
    "dot: hang": OUTCOME,
    "AUTH, a wrong password": OUTCOME,
    "mail: 552 too big": OUTCOME,
    "STARTTLS is not offered": "test_nothing_is_said_in_clear_text_where_tls_is_asked_for",
    "rcpt: relay access denied": "test_a_result_is_short_and_shows_no_secret_and_no_contact",
    "a session is used again": "test_sessions_are_used_again_only_where_they_can_be",
}


@pytest.fixture(scope="module")
def careless_mailer(smtp_certificates: Mapping[str, Certificate]) -> Mapping[str, SmtpSeen]:
    return run_smtp_cases(SmtpKit, smtp_certificates).seen


@pytest.mark.parametrize("name", CARELESS_IN)
def test_a_careless_mail_adapter_is_caught(name: str, careless_mailer: Mapping[str, SmtpSeen]) -> None:
    case = next(case for case in SmtpKit.cases() if case.name == name)
    with pytest.raises(AssertionError):
        getattr(SmtpKit(), CARELESS_IN[name])(case, careless_mailer)


async def test_a_new_message_id_on_each_attempt_is_caught(smtp_authority: Path) -> None:
    with pytest.raises(AssertionError):
        await SmtpKit().test_a_second_attempt_hands_over_the_same_octets(smtp_authority)


def test_there_are_many_cases_of_mail_servers_and_each_states_what_is_expected() -> None:
    cases = SmtpConformance.cases()
    assert len(cases) >= 140
    for case in cases:
        assert (case.expect.retry is None) is (case.expect.scope is None)
        assert (case.code is None) is (case.expect.kind is Sent)
