"""WhatsApp by Meta: the kit, templates as its API wants them, and its signed webhook."""

import hmac
import json
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.channels.whatsapp_meta import CAPABILITIES, ReceiptSettings, Settings, build, build_receipts
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import ForgedError, Handshake, MalformedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.result import Refused, Retry, Scope
from jtd_worker.testing import (
    Accepts,
    Expect,
    Golden,
    HttpConformance,
    Refuses,
    refused,
    sample,
    throttled,
    unknown,
)

TOKEN = "EAAplanted-token-that-nobody-may-see"
TARGET = "/v25.0/106540352242922/messages"
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
TEMPLATE = ProviderTemplate(
    id="order_update",
    language="en_US",
    format="positional",
    parameters=(("name", "Asha"), ("order", "A-42")),
)
WHATSAPP = sample("whatsapp", template=TEMPLATE)
ID = "wamid.HBgLMTQxNTU1NTAxMjMVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
FRAME = {
    "messaging_product": "whatsapp",
    "recipient_type": "individual",
    "to": "14155550123",
    "biz_opaque_callback_data": "01890000-0000-7000-8000-000000000001",
}
BODY = {
    "type": "body",
    "parameters": [{"type": "text", "text": "Asha"}, {"type": "text", "text": "A-42"}],
}


def sent_as(*components: Any, language: str = "en_US") -> dict[str, Any]:
    template = {"name": "order_update", "language": {"code": language, "policy": "deterministic"}}
    return {
        **FRAME,
        "type": "template",
        "template": {**template, "components": list(components)} if components else template,
    }


CREDENTIAL = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
RECIPIENT = refused(Retry.NEVER, Scope.RECIPIENT)
MESSAGE = refused(Retry.NEVER, Scope.MESSAGE)
TEMPLATE_UNFIT = refused(Retry.NEVER, Scope.TEMPLATE)
ELSEWHERE = refused(Retry.ELSEWHERE, Scope.RECIPIENT)
BUSY = refused(Retry.LATER, Scope.PROVIDER)


def refuses(code: int, expect: Expect, status: int = 400, **error: Any) -> Refuses:
    body = {
        "error": {
            "message": f"(#{code}) a title",
            "type": "OAuthException",
            "code": code,
            "error_data": {"messaging_product": "whatsapp", "details": "to 14155550123: no"},
            "fbtrace_id": "Az8or2yhqkZfEZ",
            **error,
        }
    }
    name = " ".join([f"{code}", f"{status}", *error])
    return Refuses(name=name, status=status, body=body, expect=expect, code=f"meta_{code}")


class TestMeta(HttpConformance):
    provider = "whatsapp:meta"
    settings = {"phone_number_id": "106540352242922", "token": TOKEN}
    secrets = (TOKEN,)
    accepts = (
        Accepts(
            name="accepted",
            body={
                "messaging_product": "whatsapp",
                "contacts": [{"input": "14155550123", "wa_id": "14155550123"}],
                "messages": [{"id": ID, "message_status": "accepted"}],
            },
            id=ID,
        ),
        Accepts(
            name="held",
            body={"messages": [{"id": "wamid.1", "message_status": "held_for_quality_assessment"}]},
            id="wamid.1",
        ),
        Accepts(name="free text", body={"messages": [{"id": "wamid.2"}]}, id="wamid.2"),
    )
    refuses = (
        *(
            refuses(code, CREDENTIAL)
            for code in (0, 3, 10, 190, 200, 299, 368, 131005, 131031, 131037, 131042, 131045, 131048, 131063,
                         133010)
        ),
        *(
            refuses(code, TEMPLATE_UNFIT)
            for code in (132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018, 132068,
                         132069)
        ),
        *(refuses(code, ELSEWHERE) for code in (130497, 131026, 131047)),
        # the law: who has stopped marketing must not be reached by another provider
        *(refuses(code, RECIPIENT) for code in (131021, 131030, 131050, 131062, 137000)),
        *(refuses(code, MESSAGE) for code in (100, 131008, 131009, 131051, 131052, 131053)),
        *(refuses(code, MESSAGE) for code in (130472, 131049, 131064)),
        *(refuses(code, throttled(30)) for code in (4, 613, 80007, 133016)),
        refuses(130429, throttled(4)),
        refuses(130429, throttled(4), 429),
        refuses(131056, refused(Retry.LATER, Scope.MESSAGE, throttled(6).wait)),
        *(refuses(code, BUSY, 500) for code in (1, 2, 131016, 135000)),
        refuses(131057, refused(Retry.LATER, Scope.PROVIDER, throttled(300).wait)),
        refuses(131000, unknown(), 500),
        refuses(100, CREDENTIAL, error_subcode=33),
        refuses(999999, MESSAGE),
        refuses(999999, BUSY, is_transient=True),
        refuses(190, CREDENTIAL, 401),
    )  # fmt: skip
    golden = (
        Golden(name="positional", message=WHATSAPP, target=TARGET, headers=HEADERS, json=sent_as(BODY)),
        Golden(
            name="named",
            message=replace(WHATSAPP, template=replace(TEMPLATE, format="named", language="en-GB")),
            target=TARGET,
            json=sent_as(
                {
                    "type": "body",
                    "parameters": [
                        {"type": "text", "parameter_name": "name", "text": "Asha"},
                        {"type": "text", "parameter_name": "order", "text": "A-42"},
                    ],
                },
                language="en_GB",
            ),
        ),
        Golden(
            name="without parameters",
            message=replace(WHATSAPP, template=replace(TEMPLATE, parameters=())),
            target=TARGET,
            json=sent_as(),
        ),
        Golden(
            name="a picture and a button",
            message=replace(
                WHATSAPP,
                metadata={"media_url": "https://cdn.example/a/b.JPG?x=1", "button_suffix": "orders/42"},
            ),
            target=TARGET,
            json=sent_as(
                {
                    "type": "header",
                    "parameters": [{"type": "image", "image": {"link": "https://cdn.example/a/b.JPG?x=1"}}],
                },
                BODY,
                {
                    "type": "button",
                    "sub_type": "url",
                    "index": "0",
                    "parameters": [{"type": "text", "text": "orders/42"}],
                },
            ),
        ),
        Golden(
            name="a document keeps its name",
            message=replace(
                WHATSAPP,
                template=replace(TEMPLATE, parameters=()),
                metadata={"media_url": "https://cdn.example/bill%20no.%201.pdf"},
            ),
            target=TARGET,
            json=sent_as(
                {
                    "type": "header",
                    "parameters": [
                        {
                            "type": "document",
                            "document": {
                                "link": "https://cdn.example/bill%20no.%201.pdf",
                                "filename": "bill no. 1.pdf",
                            },
                        }
                    ],
                }
            ),
        ),
        Golden(
            name="free text, another number, another version",
            message=replace(WHATSAPP, template=None, sender="42"),
            target="/v26.0/42/messages",
            settings={"allow_text": "true", "version": "v26.0"},
            json={
                **FRAME,
                "type": "text",
                "text": {"body": "Your payment of 5 € arrived.", "preview_url": False},
            },
        ),
    )

    @classmethod
    def message(cls) -> Message:
        return WHATSAPP


async def refusal(message: Message, **settings: Any) -> Refused:
    """Return what is said of a message before anybody is asked: nobody listens."""
    given = {"phone_number_id": "1", "token": TOKEN, "base_url": "http://127.0.0.1:9", **settings}
    async with aclosing(build(Settings.model_validate(given), "whatsapp")) as adapter:
        (result,) = await adapter.send([message])
    assert isinstance(result, Refused)
    return result


async def test_free_text_is_refused_where_it_is_not_allowed() -> None:
    result = await refusal(replace(WHATSAPP, template=None))
    assert (result.retry, result.scope, result.code) == (Retry.NEVER, Scope.TEMPLATE, "template_missing")


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\tb", "a\rb", "a\u2028b", "a     b"])
async def test_a_parameter_that_would_not_arrive_is_refused_by_its_name(value: str) -> None:
    parameters = (("name", "Asha"), ("order", value))
    message = replace(WHATSAPP, template=replace(TEMPLATE, parameters=parameters))
    result = await refusal(message)
    assert (result.retry, result.scope, result.code) == (Retry.NEVER, Scope.MESSAGE, "parameter_unsafe")
    assert "order" in result.reason
    button = await refusal(replace(WHATSAPP, metadata={"button_suffix": value}))
    assert button.code == "parameter_unsafe"


@pytest.mark.parametrize("names", [("name", "name"), ("1", "2"), ("", "x"), ("Name", "y")])
async def test_named_parameters_are_not_mixed_with_positional_ones(names: tuple[str, str]) -> None:
    parameters = tuple((name, "x") for name in names)
    message = replace(WHATSAPP, template=replace(TEMPLATE, format="named", parameters=parameters))
    assert (await refusal(message)).code == "parameter_unsafe"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metadata": {"media_url": "http://cdn.example/a.jpg"}}, "media_invalid"),
        ({"metadata": {"media_url": "https://cdn.example/a.exe"}}, "media_invalid"),
        ({"metadata": {"media_url": "https://[cdn/a.jpg"}}, "media_invalid"),
        ({"metadata": {"media_url": 5}}, "media_invalid"),
        ({"metadata": {"button_suffix": 5}}, "parameter_unsafe"),
        ({"template": replace(TEMPLATE, language=None)}, "language_missing"),
        ({"sender": "+14155550100"}, "message_unfit"),
        ({"sender": "../1"}, "message_unfit"),
    ],
)
async def test_what_cannot_be_written_is_refused(changes: dict[str, Any], code: str) -> None:
    result = await refusal(replace(WHATSAPP, **changes))
    assert (result.retry, result.code) == (Retry.NEVER, code)


async def test_four_blanks_arrive() -> None:
    template = replace(TEMPLATE, parameters=(("name", "a    b"),))
    assert (await refusal(replace(WHATSAPP, template=template))).code == "connect_failed"


def test_a_rule_that_needs_a_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="no idempotency key"):
        Settings.model_validate({"phone_number_id": "1", "token": "t", "unknown": "idempotent_retry"})
    assert CAPABILITIES.unknown_rule == "wait_for_receipt"


# Receipts. An example that Meta has signed, from the tests of the library pywa; the secret was reset since.

SECRET = "1222e786b144d0e85b9f365372d93676"
SIGNATURE = "sha256=54edfa1d7259e0eb13c677cc7d73d1b5c86cfa12433d19156e058ab9251bc441"
INBOUND = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"264937493375603","changes":[{"value":'
    b'{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550953877","phone_number_id":'
    b'"277321005464405"},"contacts":[{"profile":{"name":"PyWa Tests"},"wa_id":"972544401243"}],"messages":'
    b'[{"from":"972544401243","id":"wamid.HBgMOTcyNTQ0NDAxMjQzFQIAEhggM0RFQTNCMEEwRTY3QzUwODYzMDc4NjQ4QzM4'
    b'ODAxM0YA","timestamp":"1730231903","text":{"body":"Hey there! I am using PyWa."},"type":"text"}]},'
    b'"field":"messages"}]}]}'
)
REFERENCE = UUID("01890000-0000-7000-8000-000000000001")
AT = datetime.fromtimestamp(1730231903, UTC)


def request(body: bytes = INBOUND, signature: str = SIGNATURE) -> WebhookRequest:
    return WebhookRequest(
        method="POST",
        url="https://jtd.example/webhooks/meta",
        headers={"x-hub-signature-256": signature},
        body=body,
        received_at=AT,
    )


def parse(given: WebhookRequest, secrets: str = SECRET, **settings: str) -> Any:
    return build_receipts(ReceiptSettings.model_validate({"secrets": secrets, **settings}))(given)


def told(document: Any) -> list[Receipt]:
    body = json.dumps(document).encode()
    found = parse(request(body, "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()))
    assert isinstance(found, list)
    return found


def of(**value: Any) -> list[Receipt]:
    return told({"entry": [{"changes": [{"value": value, "field": "messages"}]}]})


def status(name: str, *codes: int, **changes: Any) -> list[Receipt]:
    told = {
        "id": ID,
        "status": name,
        "timestamp": "1730231903",
        "recipient_id": "14155550123",
        "biz_opaque_callback_data": str(REFERENCE),
        "errors": [
            {"code": code, "title": "t", "error_data": {"details": "to 14155550123: no"}} for code in codes
        ],
        **changes,
    }
    return of(statuses=[told])


def test_the_signed_example_is_proved_and_an_inbound_message_is_no_receipt() -> None:
    assert parse(request()) == []
    assert parse(request(), f"old {SECRET}") == []


@pytest.mark.parametrize(
    "forged",
    [
        request(INBOUND + b"\n"),
        request(json.dumps(json.loads(INBOUND)).encode()),
        request(signature=SIGNATURE[:-1] + "2"),
        request(signature=SIGNATURE.removeprefix("sha256=")),
        request(signature="sha1=" + SIGNATURE.removeprefix("sha256=")),
        request(signature="é"),
        replace(request(), headers={}),
    ],
    ids=["longer", "written anew", "other signature", "no prefix", "other hash", "not ASCII", "unsigned"],
)
def test_what_is_not_signed_byte_for_byte_is_forged(forged: WebhookRequest) -> None:
    with pytest.raises(ForgedError):
        parse(forged)


def test_another_secret_does_not_fit() -> None:
    with pytest.raises(ForgedError):
        parse(request(), "other")


@pytest.mark.parametrize(
    ("name", "codes", "kind"),
    [
        ("sent", [], ReceiptKind.SENT),
        ("delivered", [], ReceiptKind.DELIVERED),
        ("read", [], ReceiptKind.READ),
        ("played", [], ReceiptKind.READ),
        ("failed", [], ReceiptKind.FAILED),
        ("failed", [131047], ReceiptKind.FAILED),
        ("failed", [131026], ReceiptKind.SOFT_BOUNCED),
        ("failed", [131049], ReceiptKind.SOFT_BOUNCED),
        ("failed", [130472], ReceiptKind.SOFT_BOUNCED),
        ("failed", [131050], ReceiptKind.UNSUBSCRIBED),
        ("deleted", [], None),
        ("warning", [], None),
        ("something_new", [], None),
    ],
)
def test_each_status_has_its_kind(name: str, codes: list[int], kind: ReceiptKind | None) -> None:
    assert [receipt.kind for receipt in status(name, *codes)] == ([kind] if kind else [])


def test_a_receipt_has_our_reference_and_shows_no_contact() -> None:
    (receipt,) = status("failed", 131026)
    assert receipt == Receipt(
        kind=ReceiptKind.SOFT_BOUNCED,
        event_key=receipt.event_key,
        provider_message_id=ID,
        reference=REFERENCE,
        recipient="+14155550123",
        at=AT,
        code="meta_131026",
        reason="to <recipient>: no",
    )
    assert "4155550123" not in repr(receipt)


def test_all_that_one_request_tells_is_read() -> None:
    one = {"id": "a", "status": "sent", "timestamp": "1"}
    other = {"id": "b", "status": "read", "timestamp": "2"}
    document = {
        "entry": [
            {"changes": [{"value": {"statuses": [one, other]}}, {"value": {"statuses": [one]}}]},
            {"changes": [{"value": {"statuses": [other]}}]},
        ]
    }
    assert [receipt.provider_message_id for receipt in told(document)] == ["a", "b", "a", "b"]


def test_who_stops_marketing_is_unsubscribed_and_who_resumes_is_not() -> None:
    wish = {"wa_id": "14155550123", "category": "marketing_messages", "timestamp": 1730231903}
    stop, resume = {**wish, "value": "stop"}, {**wish, "value": "resume"}
    (receipt,) = of(user_preferences=[stop, resume])
    assert (receipt.kind, receipt.recipient, receipt.at) == (ReceiptKind.UNSUBSCRIBED, "+14155550123", AT)
    assert receipt.details == {"category": "marketing_messages"}


EVENT = st.tuples(
    st.text("0Az+/=", min_size=1, max_size=150),
    st.sampled_from(["sent", "delivered", "read", "failed"]),
    st.integers(1, 10),
)


@given(EVENT, EVENT)
def test_a_copy_has_the_same_key_and_another_event_another(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    keys = [
        status(name, id=message_id, timestamp=str(at), pricing=extra)[0].event_key
        for (message_id, name, at), extra in ((one, 1), (one, 2), (other, 1))
    ]
    assert keys[0] == keys[1]
    assert (keys[0] == keys[2]) == (one == other)
    assert all(len(key) <= 200 for key in keys)


NAMES = st.sampled_from(
    ["entry", "changes", "value", "statuses", "errors", "error_data", "id", "status", "timestamp",
     "recipient_id", "code", "details", "user_preferences", "wa_id"]
)  # fmt: skip
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["failed", "stop"]),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@given(
    st.binary()
    | ANY_JSON.map(lambda told: json.dumps(told).encode())
    | st.lists(st.dictionaries(NAMES, ANY_JSON)).map(
        lambda several: json.dumps(
            {"entry": [{"changes": [{"value": {"statuses": several, "user_preferences": several}}]}]}
        ).encode()
    )
)
def test_garbage_that_is_signed_never_breaks_the_parser(body: bytes) -> None:
    with suppress(MalformedError):
        parse(request(body, "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()))


# The handshake


def asked(**query: str) -> WebhookRequest:
    names = {f"hub.{name}": value for name, value in query.items()}
    return WebhookRequest(
        method="GET",
        url=f"https://jtd.example/webhooks/meta?{urlencode(names)}",
        headers={},
        body=b"",
        received_at=AT,
    )


def test_the_handshake_is_answered_with_its_challenge() -> None:
    given = asked(mode="subscribe", verify_token="made-up é", challenge="1158201444")
    assert parse(given, verify_token="made-up é") == Handshake(text="1158201444")


@pytest.mark.parametrize(
    "forged",
    [
        asked(mode="subscribe", verify_token="other", challenge="1"),
        asked(mode="subscribe", challenge="1"),
        replace(asked(), url="https://[?hub.verify_token=made-up"),
    ],
)
def test_a_handshake_with_another_token_is_forged(forged: WebhookRequest) -> None:
    with pytest.raises(ForgedError):
        parse(forged, verify_token="made-up")


def test_a_handshake_is_forged_where_no_token_is_set() -> None:
    with pytest.raises(ForgedError):
        parse(asked(mode="subscribe", verify_token="", challenge="1"))


@pytest.mark.parametrize(
    "odd",
    [
        asked(mode="other", verify_token="made-up", challenge="1"),
        asked(mode="subscribe", verify_token="made-up"),
        asked(mode="subscribe", verify_token="made-up", challenge="1" * 201),
    ],
)
def test_a_handshake_that_asks_for_something_else_is_malformed(odd: WebhookRequest) -> None:
    with pytest.raises(MalformedError):
        parse(odd, verify_token="made-up")
