"""The conformance kit itself: it has the cases that it promises, and careless adapters do not pass it."""

import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import trustme

import jtd_worker.channels
from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.http_adapter import HttpAdapter
from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent
from jtd_worker.testing import Accepts, HttpConformance
from jtd_worker.testing.http_conformance import Seen, certificates, run_cases

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
