"""Web Push: the kit, requests that the browser can read, and whom an endpoint makes us ask."""

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import ValidationError

from jtd_worker.adapter import Adapter
from jtd_worker.channels.push_webpush import Proofs, Settings
from jtd_worker.message import Device, Message
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample
from jtd_worker.testing.http_server import HttpServer, answer
from jtd_worker.web_push import private_key
from tests.subscription import Subscription
from tests.test_web_push import AS_PRIVATE, verify

BROWSER = Subscription()
ENDPOINT = "/wpush/v2/planted-endpoint"
KEY = "01890000-0000-7000-8000-000000000001"
DEVICE = Device(
    id=UUID(int=1),
    family="webpush",
    token=f"https://push.example{ENDPOINT}",
    keys=BROWSER.keys,
    registered_at=datetime(2030, 1, 1, tzinfo=UTC),
)
PUSH = sample("push", devices=(DEVICE,))
GONE = refused(Retry.NEVER, Scope.RECIPIENT)


class AtServer:
    """The adapter, and devices whose push service is the server of the test."""

    def __init__(self, adapter: Adapter, url: str) -> None:
        self.capabilities = adapter.capabilities
        self.aclose = adapter.aclose
        self._adapter = adapter
        self._url = url

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        here = tuple(replace(device, token=self._url + ENDPOINT) for device in (DEVICE,))
        return await self._adapter.send([replace(message, devices=here) for message in batch])


class TestWebPush(HttpConformance):
    provider = "push:webpush"
    settings = {"private_key": AS_PRIVATE, "subject": "mailto:ops@acme.example"}
    secrets = (AS_PRIVATE, "planted-endpoint", BROWSER.keys["auth"])
    id_is_in_body = False
    accepts = (
        Accepts(name="201", status=201, headers={"location": "https://push.example/m/gAAAA-1"}, id="gAAAA-1"),
        Accepts(name="200", id=None),
        Accepts(name="202", status=202, headers={"location": "/m/1/"}, id="1"),
    )
    refuses = (
        Refuses(name="404", status=404, expect=GONE, code="all_devices_gone"),
        Refuses(name="410", status=410, expect=GONE, code="all_devices_gone"),
        Refuses(
            name="another key than at the subscription",
            status=403,
            body=b"the VAPID credentials do not correspond",
            expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL),
            code="http_403",
        ),
    )
    expected = {"404": GONE}
    golden = (
        Golden(
            name="a notification",
            message=PUSH,
            target=ENDPOINT,
            headers={
                "content-encoding": "aes128gcm",
                "content-type": "application/octet-stream",
                "ttl": "86400",
                "urgency": "normal",
                "topic": "6d9TFl8zwT9UsmWUeRviw4b2pG6Xh4t7",
            },
        ),
    )

    @classmethod
    def message(cls) -> Message:
        return PUSH

    @classmethod
    def made(cls, url: str, **settings: str) -> Provider:
        host = httpx.URL(url).host
        given = {"timeout_seconds": "3", "hosts": f"push.example {host}", **cls.settings, **settings}
        return Provider.make(ProviderName.parse(cls.provider), given)

    @classmethod
    def make(cls, url: str, **settings: str) -> Adapter:
        return AtServer(super().make(url, **settings), url)

    async def test_a_retry_writes_the_same_bytes(self) -> None:
        """What is encrypted anew never looks the same; what the browser reads is."""
        first, second = await self._requests(self.message(), self.message())
        assert first.body != second.body
        assert BROWSER.read(first.body) == BROWSER.read(second.body)
        assert first.headers["topic"] == second.headers["topic"]


async def shown(message: Message, **settings: str) -> tuple[Any, dict[str, str]]:
    """Return what the browser is shown, and the headers."""
    async with (
        HttpServer(answer(201)) as server,
        aclosing(TestWebPush.make(server.url.removesuffix("/hook"), **settings)) as adapter,
    ):
        (result,) = await adapter.send([message])
        assert isinstance(result, Sent), result
        (request,) = server.requests
    return json.loads(BROWSER.read(request.body)), dict(request.headers)


async def test_the_browser_reads_what_to_show() -> None:
    document, _ = await shown(replace(PUSH, metadata={"action_url": "/orders/7", "data": {"order": 7}}))
    assert document == {
        "title": "Paid",
        "body": "Your payment of 5 € arrived.",
        "url": "/orders/7",
        "tag": KEY,
        "data": {"jtd_id": KEY, "order": "7"},
    }


@pytest.mark.parametrize(
    ("priority", "urgency"),
    [(1, "very-low"), (3, "low"), (5, "normal"), (7, "normal"), (8, "high"), (10, "high")],
)
async def test_a_device_is_woken_by_priority(priority: int, urgency: str) -> None:
    _, headers = await shown(replace(PUSH, priority=priority))
    assert headers["urgency"] == urgency


async def test_a_push_service_keeps_no_message_that_has_expired() -> None:
    _, headers = await shown(replace(PUSH, expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert headers["ttl"] == "0"
    _, headers = await shown(replace(PUSH, expires_at=datetime(2200, 1, 1, tzinfo=UTC)), ttl_seconds="60")
    assert headers["ttl"] == "60"


async def test_the_push_service_can_verify_who_sends() -> None:
    _, headers = await shown(PUSH)
    token, _, key = headers["authorization"].removeprefix("vapid t=").partition(", k=")
    claims = verify(token, key)
    assert str(claims["aud"]).startswith("http://localhost:")
    assert claims["sub"] == "mailto:ops@acme.example"
    now = datetime.now(UTC).timestamp()
    assert now < int(str(claims["exp"])) <= now + 86_400


def test_a_proof_serves_many_requests_to_one_origin_and_no_other() -> None:
    proofs = Proofs(private_key(AS_PRIVATE), "mailto:ops@acme.example")
    first = proofs.of("https://a.example")
    assert proofs.of("https://a.example") == first
    assert proofs.of("https://b.example") != first


BAD_ENDPOINTS = [
    "http://push.example/x",
    "https://elsewhere.example/x",
    "https://push.example.evil.test/x",
    "https://notify.windows.com/x",
    "https://evilnotify.windows.com/x",
    "https://push.example:8443/x",
    "https://user:word@push.example/x",
    "https://169.254.169.254/latest/meta-data",
    "http://[::1]/x",
    "http://localhost:9/x",
    "file:///etc/passwd",
    "ftp://push.example/x",
    "push.example",
    "https://push.example@elsewhere.example/x",
    "https://push.example\\@elsewhere.example/x",
    "http://push.example:99999999/x",
    "",
]


@pytest.mark.parametrize("endpoint", BAD_ENDPOINTS)
async def test_an_endpoint_makes_us_ask_nobody_but_the_push_services(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({**TestWebPush.settings, "hosts": "push.example *.notify.windows.com"})
    adapter = TestWebPush.made("http://push.example").module.build(settings, "push")
    asked: list[object] = []

    async def ask(*arguments: object) -> None:
        asked.append(arguments)

    monkeypatch.setattr("jtd_worker.http_exchange.Exchange.ask", ask)
    async with aclosing(adapter):
        (result,) = await adapter.send([replace(PUSH, devices=(replace(DEVICE, token=endpoint),))])
    assert isinstance(result, Refused), result
    assert (result.retry, result.scope, asked) == (Retry.NEVER, Scope.MESSAGE, [])
    assert result.gone_devices == ()


@pytest.mark.parametrize("host", ["a.notify.windows.com", "a.b.notify.windows.com", "push.example"])
def test_a_star_stands_for_what_comes_before(host: str) -> None:
    settings = Settings.model_validate({**TestWebPush.settings, "hosts": "push.example *.notify.windows.com"})
    assert settings.serves(host)


@pytest.mark.parametrize(
    "keys",
    [{}, {"p256dh": 5, "auth": None}, {**BROWSER.keys, "p256dh": "AAAA"}, {**BROWSER.keys, "p256dh": "é"}],
)
async def test_a_subscription_without_usable_keys_is_refused_and_kept(keys: dict[str, Any]) -> None:
    adapter = TestWebPush.made("http://push.example").build()
    async with aclosing(adapter):
        (result,) = await adapter.send([replace(PUSH, devices=(replace(DEVICE, keys=keys),))])
    assert isinstance(result, Refused), result
    assert (result.retry, result.scope, result.gone_devices) == (Retry.NEVER, Scope.MESSAGE, ())


async def test_a_message_too_long_for_a_push_is_refused() -> None:
    adapter = TestWebPush.made("http://push.example").build()
    async with aclosing(adapter):
        (result,) = await adapter.send([replace(PUSH, text="x" * 4000)])
    assert isinstance(result, Refused)
    assert "3993 bytes" in result.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"private_key": "abc"},
        {"subject": "ops@acme.example"},
        {"subject": "http://acme.example"},
        {"hosts": ""},
        {"hosts": "*"},
        {"hosts": "https://push.example"},
        {"hosts": "push.example/x"},
        {"hosts": "*.Push.example"},
        {"base_url": "https://push.example"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_explained(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({**TestWebPush.settings, **wrong})
