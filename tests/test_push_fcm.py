"""FCM: the kit, the requests as its API wants them, and which of its refusals end a device."""

import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from httpx import Headers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.channels.push_fcm import Settings, _read
from jtd_worker.google_token import AccessTokens, service_account
from jtd_worker.http_exchange import Answer
from jtd_worker.message import Device
from jtd_worker.registry import Provider
from jtd_worker.result import Refused, Retry, Scope, Sent
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, throttled
from jtd_worker.testing.http_server import HttpServer, Request, Steps, ThreadedHttpServer, answer
from tests.service_account import TOKEN, account, grant, pem

DEVICE = Device(
    id=UUID(int=1),
    family="fcm",
    token="planted:APA91b-registration-token",
    registered_at=datetime(2030, 1, 1, tzinfo=UTC),
)
KEY = "01890000-0000-7000-8000-000000000001"
PUSH = sample("push", devices=(DEVICE,))
SECRETS = (TOKEN, pem().splitlines()[1], DEVICE.token)
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
TOKENS = ThreadedHttpServer(grant())
TARGET = "/v1/projects/acme-app/messages:send"


@pytest.fixture(autouse=True, scope="module")
def token_server() -> Iterator[None]:
    with TOKENS:
        yield


def error(status: str, own: str | None = None, *, field: str | None = None) -> dict[str, Any]:
    """Return a refusal as FCM writes it, quoting what must not be seen."""
    details: list[Any] = [None, {"@type": 5}]
    if own:
        details.append({"@type": FCM_ERROR, "errorCode": own})
    if field:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field}]}
        )
    said = f"not for {DEVICE.token} with {TOKEN}"
    return {"error": {"code": 400, "message": said, "status": status, "details": details}}


GONE = refused(Retry.NEVER, Scope.RECIPIENT)
BAD = refused(Retry.NEVER, Scope.MESSAGE)
NOTE: dict[str, Any] = {
    "token": DEVICE.token,
    "notification": {"title": "Paid", "body": "Your payment of 5 € arrived."},
    "data": {"jtd_id": KEY},
    "android": {
        "collapse_key": KEY,
        "priority": "normal",
        "ttl": "86400s",
        "notification": {"tag": KEY},
    },
    "apns": {"headers": {"apns-collapse-id": KEY, "apns-priority": "5"}},
    "webpush": {"headers": {"TTL": "86400"}, "notification": {"tag": KEY}},
}


class TestFcm(HttpConformance):
    provider = "push:fcm"
    settings = {}
    secrets = SECRETS
    accepts = (
        Accepts(
            name="200",
            body={"name": "projects/acme-app/messages/0:1500415314455276%31bd1c9631bd1c96"},
            id="projects/acme-app/messages/0:1500415314455276%31bd1c9631bd1c96",
        ),
    )
    refuses = (
        Refuses(name="a device that is gone", status=404, body=error("NOT_FOUND", "UNREGISTERED"),
                expect=GONE, code="all_devices_gone"),
        Refuses(name="a token that is none", status=400, expect=GONE, code="all_devices_gone",
                body=error("INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token")),
        Refuses(name="a payload", status=400, expect=BAD, code="INVALID_ARGUMENT",
                body=error("INVALID_ARGUMENT", field="message.data[0].value")),
        Refuses(name="a payload, by FCM", status=400, expect=BAD, code="INVALID_ARGUMENT",
                body=error("INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.android.ttl")),
        Refuses(name="something", status=400, expect=BAD,
                body=error("INVALID_ARGUMENT", "INVALID_ARGUMENT")),
        Refuses(name="a device of another project", status=403, expect=BAD, code="SENDER_ID_MISMATCH",
                body=error("PERMISSION_DENIED", "SENDER_ID_MISMATCH")),
        Refuses(name="the key for Apple", status=401, body=error("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
                expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL), code="THIRD_PARTY_AUTH_ERROR"),
        Refuses(name="the token", status=401, body=error("UNAUTHENTICATED"),
                expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL), code="UNAUTHENTICATED"),
        Refuses(name="the project", status=404, body=error("NOT_FOUND"),
                expect=refused(Retry.AFTER_OPERATOR, Scope.PROVIDER), code="NOT_FOUND"),
        Refuses(name="the quota", status=429, body=error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
                headers={"retry-after": "60"}, expect=throttled(60), code="QUOTA_EXCEEDED"),
        Refuses(name="overload", status=503, body=error("UNAVAILABLE", "UNAVAILABLE"),
                expect=refused(Retry.LATER, Scope.PROVIDER), code="UNAVAILABLE"),
    )  # fmt: skip
    golden = (
        Golden(
            name="a notification",
            message=PUSH,
            target=TARGET,
            headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
            json={"message": NOTE},
        ),
        Golden(
            name="everything",
            message=replace(
                PUSH,
                subject=None,
                priority=8,
                expires_at=datetime(2200, 1, 1, tzinfo=UTC),
                metadata={"data": {"order": 7, "ref": "A-7"}, "action_url": "https://acme.example/o/7"},
            ),
            target=TARGET,
            settings={"ttl_seconds": "600"},
            json={
                "message": {
                    **NOTE,
                    "notification": {"body": "Your payment of 5 € arrived."},
                    "data": {"jtd_id": KEY, "order": "7", "ref": "A-7", "url": "https://acme.example/o/7"},
                    "android": {**NOTE["android"], "priority": "high", "ttl": "600s"},
                    "apns": {
                        "headers": {
                            "apns-collapse-id": KEY,
                            "apns-priority": "10",
                            "apns-expiration": "7258118400",
                        }
                    },
                    "webpush": {**NOTE["webpush"], "headers": {"TTL": "600"}},
                }
            },
        ),
        Golden(
            name="one that has expired on the way",
            message=replace(PUSH, expires_at=datetime(2020, 1, 1, tzinfo=UTC)),
            target=TARGET,
            json={
                "message": {
                    **NOTE,
                    "android": {**NOTE["android"], "ttl": "0s"},
                    "apns": {"headers": {**NOTE["apns"]["headers"], "apns-expiration": "1577836800"}},
                    "webpush": {**NOTE["webpush"], "headers": {"TTL": "0"}},
                }
            },
        ),
    )

    @classmethod
    def message(cls) -> Any:
        return PUSH

    @classmethod
    def made(cls, url: str, **settings: str) -> Provider:
        return super().made(url, service_account=account(TOKENS.url), **settings)


def devices(*tokens: str) -> tuple[Device, ...]:
    return tuple(
        replace(DEVICE, id=UUID(int=number), token=token) for number, token in enumerate(tokens, start=1)
    )


def by_token(request: Request) -> Steps:
    """Answer as the token says."""
    match request.json["message"]["token"].partition("-")[0]:
        case "well":
            return answer(200, b'{"name": "projects/acme-app/messages/1"}')
        case "gone":
            return answer(404, json.dumps(error("NOT_FOUND", "UNREGISTERED")).encode())
        case status:
            return answer(int(status))


async def ask(*tokens: str) -> Any:
    async with (
        HttpServer(by_token) as server,
        aclosing(TestFcm.make(server.url.removesuffix("/hook"))) as adapter,
    ):
        (result,) = await adapter.send([replace(PUSH, devices=devices(*tokens))])
        assert len(server.requests) == len(tokens)
    return result


@pytest.mark.parametrize("others", [("gone-1",), ("500",), ("401",), ("502",), ("429", "gone-1", "400")])
async def test_what_one_device_has_is_sent_whatever_the_others_say(others: tuple[str, ...]) -> None:
    result = await ask(*others, "well")
    assert isinstance(result, Sent), result
    gone = sum(token.startswith("gone") for token in others)
    assert result.response["devices"] == {"sent": 1, "gone": gone, "failed": len(others) - gone}
    assert result.provider_message_id == "projects/acme-app/messages/1"
    assert result.gone_devices == tuple(
        UUID(int=number) for number, token in enumerate(others, start=1) if token.startswith("gone")
    )


@pytest.mark.parametrize(
    ("tokens", "kind", "retry"),
    [
        (("gone-1", "502", "429", "400"), "Unknown", None),
        (("gone-1", "429", "500"), "Throttled", None),
        (("gone-1", "401", "500"), "Refused", Retry.LATER),
        (("400", "401"), "Refused", Retry.AFTER_OPERATOR),
        (("gone-1", "400"), "Refused", Retry.NEVER),
        (("gone-1", "gone-2"), "Refused", Retry.NEVER),
    ],
)
async def test_the_best_of_all_devices_is_what_becomes_of_the_message(
    tokens: tuple[str, ...], kind: str, retry: Retry | None
) -> None:
    result = await ask(*tokens)
    assert type(result).__name__ == kind
    assert getattr(result, "retry", None) == retry


async def test_only_when_all_are_gone_the_recipient_is_at_fault() -> None:
    all_gone, one_gone = await ask("gone-1", "gone-2"), await ask("gone-1", "400")
    assert (all_gone.scope, all_gone.code) == (Scope.RECIPIENT, "all_devices_gone")
    assert all_gone.gone_devices == (UUID(int=1), UUID(int=2))
    assert (one_gone.scope, one_gone.code) == (Scope.MESSAGE, "http_400")
    assert one_gone.gone_devices == (UUID(int=1),)


async def test_without_a_device_nothing_is_sent() -> None:
    result = await ask()
    assert (result.retry, result.scope, result.code) == (Retry.NEVER, Scope.RECIPIENT, "no_device")


async def test_without_a_token_nothing_is_sent() -> None:
    async with (
        HttpServer(answer(400, b'{"error": "invalid_grant"}')) as tokens,
        HttpServer(by_token) as server,
    ):
        values = {"base_url": server.url, "service_account": account(tokens.url)}
        provider = TestFcm.made("http://127.0.0.1:9")
        adapter = provider.module.build(Settings.model_validate(values), "push")
        async with aclosing(adapter):
            (result,) = await adapter.send([PUSH])
    assert isinstance(result, Refused)
    assert (result.retry, result.scope, result.code) == (
        Retry.AFTER_OPERATOR,
        Scope.CREDENTIAL,
        "token_refused",
    )
    assert server.requests == []


async def test_a_token_that_was_not_taken_is_not_used_again() -> None:
    before = len(TOKENS.server.requests)
    async with (
        HttpServer(answer(401)) as server,
        aclosing(TestFcm.make(server.url.removesuffix("/hook"))) as adapter,
    ):
        await adapter.send([PUSH])
        await adapter.send([PUSH])
    assert len(TOKENS.server.requests) - before == 2


@pytest.mark.parametrize("url", ["javascript:alert(1)", "acme://open", "data:text/html,x"])
async def test_a_tap_opens_a_page_or_nothing_is_sent(url: str) -> None:
    async with (
        HttpServer(by_token) as server,
        aclosing(TestFcm.make(server.url.removesuffix("/hook"))) as adapter,
    ):
        (result,) = await adapter.send([replace(PUSH, metadata={"action_url": url})])
    assert isinstance(result, Refused)
    assert (result.retry, result.scope) == (Retry.NEVER, Scope.MESSAGE)
    assert server.requests == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "details", "@type", "errorCode", "status", "fieldViolations", "field", "name"]
            ),
            inner | st.sampled_from([FCM_ERROR, "UNREGISTERED", "message.token"]),
            max_size=4,
        )
    ),
)


@given(status=st.sampled_from([200, 400, 401, 403, 404, 410, 429, 500, 502]), document=JSON)
def test_an_answer_of_any_shape_is_read_and_seldom_ends_a_device(status: int, document: Any) -> None:
    account_tokens = AccessTokens(service_account(account("https://oauth2.example/token")), "scope")
    content = json.dumps(document).encode()
    result = _read(account_tokens, Answer(status=status, headers=Headers(), content=content, is_whole=True))
    if isinstance(result, Refused) and result.scope is Scope.RECIPIENT:
        assert (status, result.code) in {(404, "UNREGISTERED"), (400, "INVALID_ARGUMENT")}
        assert FCM_ERROR.encode() in content


def test_an_account_that_is_none_is_explained() -> None:
    with pytest.raises(ValidationError, match="service account"):
        Settings.model_validate({"service_account": "{}"})
