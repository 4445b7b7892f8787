"""MSG91's WhatsApp: the kit, the requests as its bulk API wants them, and its reports."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from jtd_worker.channels.whatsapp_msg91 import ReceiptSettings, build_receipts
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import Receipt, ReceiptKind
from jtd_worker.result import Refused, Retry, Scope, SendResult
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, throttled, unknown
from jtd_worker.testing.http_server import HttpServer, answer
from tests.msg91 import SECRET, read, request

KEY = "planted-authkey-that-nobody-may-see"
TEMPLATE = ProviderTemplate(
    id="order_update",
    language="en_US",
    format="positional",
    parameters=(("member_name", "Asha"), ("order", "A-42")),
)
MESSAGE = sample("whatsapp", template=TEMPLATE)
YES = {
    "status": "success",
    "hasError": False,
    "data": "Your request is in process, check delivery reports for status",
    "errors": None,
    "request_id": "7dc9157ab37f4ab683e73d4f0a7c111a",
}
"""The vendor's example."""
OPERATOR = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
TARGET = "/api/v5/whatsapp/whatsapp-outbound-message/bulk/"


def no(errors: object) -> dict[str, object]:
    return {"status": "fail", "hasError": True, "errors": errors}


def written(components: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "integrated_number": "14155550100",
        "content_type": "template",
        "CRQID": "01890000-0000-7000-8000-000000000001",
        "payload": {
            "messaging_product": "whatsapp",
            "type": "template",
            "template": {
                "name": "order_update",
                "language": {"code": "en_US", "policy": "deterministic"},
                "to_and_components": [{"to": ["14155550123"], "components": components}],
                **changes,
            },
        },
    }


POSITIONAL = {
    "body_1": {"type": "text", "value": "Asha"},
    "body_2": {"type": "text", "value": "A-42"},
}
NAMED = {
    "body_member_name": {"type": "text", "value": "Asha", "parameter_name": "member_name"},
    "body_order": {"type": "text", "value": "A-42", "parameter_name": "order"},
}


class TestWhatsApp(HttpConformance):
    provider = "whatsapp:msg91"
    settings = {"authkey": KEY, "from": "+14155550100"}
    secrets = (KEY,)
    accepts = (Accepts(name="the vendor's example", body=YES, id="7dc9157ab37f4ab683e73d4f0a7c111a"),)
    refuses = (
        Refuses(name="no id", status=200, body={**YES, "request_id": None}, expect=unknown()),
        Refuses(name="hasError in a 200", status=200, body={**YES, "hasError": True},
                expect=refused(Retry.NEVER, Scope.MESSAGE), code="msg91_error"),
        Refuses(name="unauthorized", status=200, body=no("unauthorized"), expect=OPERATOR),
        Refuses(name="an address", status=418, body=no("IP not allowed"), expect=OPERATOR),
        Refuses(name="no number", status=200, body=no("This number is not integrated"), expect=OPERATOR),
        Refuses(name="balance", status=200, body=no("Low balance"), expect=OPERATOR),
        Refuses(name="a template", status=400, body=no("template is not approved"),
                expect=refused(Retry.NEVER, Scope.TEMPLATE)),
        Refuses(name="a namespace", status=200, body=no({"namespace": "wrong namespace"}),
                expect=refused(Retry.NEVER, Scope.TEMPLATE)),
        Refuses(name="a number", status=400, body=no("Invalid mobile number"),
                expect=refused(Retry.NEVER, Scope.RECIPIENT)),
        Refuses(name="a field", status=400, body=no("payload is required"),
                expect=refused(Retry.NEVER, Scope.MESSAGE)),
        Refuses(name="too many", status=429, expect=throttled(30)),
    )  # fmt: skip
    golden = (
        Golden(name="positional", message=MESSAGE, target=TARGET, json=written(POSITIONAL),
               headers={"authkey": KEY, "content-type": "application/json"}),
        Golden(name="named", message=replace(MESSAGE, template=replace(TEMPLATE, format="named")),
               target=TARGET, json=written(NAMED)),
        Golden(
            name="a document, a button, a namespace, a language of the settings, a number of the tenant",
            message=replace(
                MESSAGE,
                template=replace(TEMPLATE, language=None, parameters=()),
                metadata={"media_url": "https://acme.example/a/invoice%2042.PDF?x=1", "button_suffix": "t-1"},
                sender="+14155550199",
            ),
            settings={"language": "hi", "namespace": "n-1"},
            target=TARGET,
            json={
                **written(
                    {
                        "header_1": {
                            "type": "document",
                            "value": "https://acme.example/a/invoice%2042.PDF?x=1",
                            "filename": "invoice 42.PDF",
                        },
                        "button_1": {"subtype": "url", "type": "text", "value": "t-1"},
                    },
                    language={"code": "hi", "policy": "deterministic"},
                    namespace="n-1",
                ),
                "integrated_number": "14155550199",
            },
        ),
        *(
            Golden(
                name=kind,
                message=replace(MESSAGE, metadata={"media_url": f"https://acme.example/{name}"}),
                target=TARGET,
                json=written(
                    {**POSITIONAL, "header_1": {"type": kind, "value": f"https://acme.example/{name}"}}
                ),
            )
            for kind, name in (("image", "a.jpg"), ("video", "b.mp4"))
        ),
    )  # fmt: skip

    @classmethod
    def message(cls) -> Message:
        return MESSAGE


async def send(message: Message) -> tuple[SendResult, HttpServer]:
    async with (
        HttpServer(answer(200, b'{"request_id": "r-1"}')) as server,
        aclosing(TestWhatsApp.make(server.url.removesuffix("/hook"))) as adapter,
    ):
        (result,) = await adapter.send([message])
    return result, server


def parameter(text: str) -> Message:
    return replace(MESSAGE, template=replace(TEMPLATE, parameters=(("a", "fine"), ("b", text))))


def metadata(**fields: Any) -> Message:
    return replace(MESSAGE, metadata=fields)


UNSAFE = ["", "  ", "a\nb", "a\rb", "a\u2028b", "a\x85b", "a\tb", "a     b"]


@pytest.mark.parametrize("text", UNSAFE)
async def test_a_parameter_that_would_not_be_delivered_is_refused_before_anything_is_written(
    text: str,
) -> None:
    result, server = await send(parameter(text))
    assert isinstance(result, Refused)
    assert (result.retry, result.code) == (Retry.NEVER, "parameter_unsafe")
    assert "b " in result.reason
    assert "fine" not in result.reason
    assert server.requests == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        *((metadata(button_suffix=text), "parameter_unsafe") for text in (*UNSAFE, 7, {})),
        *(
            (metadata(media_url=url), "media_url_invalid")
            for url in ("http://acme.example/a.pdf", "https:///a.pdf", "https://acme.example/a.exe", "a.pdf",
                        "https://acme.example/", "https://[a.pdf", "https://acme.example/a\n.pdf", "", 7, [])
        ),
        (replace(MESSAGE, template=None), "template_missing"),
        (replace(MESSAGE, to="9198765432"), "recipient_invalid"),
        (replace(MESSAGE, sender="acme"), "message_unfit"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_before_anything_is_written(message: Message, code: str) -> None:
    result, server = await send(message)
    assert isinstance(result, Refused)
    assert (result.retry, result.code) == (Retry.NEVER, code)
    assert server.requests == []


async def test_four_spaces_and_other_letters_are_sent() -> None:
    result, server = await send(parameter("a    ब"))
    assert not isinstance(result, Refused)
    assert len(server.requests) == 1


def test_a_sender_that_is_no_number_is_explained() -> None:
    with pytest.raises(ValueError, match="country code"):
        TestWhatsApp.made("http://127.0.0.1:9", **{"from": "4155550100"})


# ---------------------------------------------------------------- receipts

PARSER = build_receipts(ReceiptSettings.model_validate({"secrets": SECRET}))
JTD = "01890000-0000-7000-8000-000000000001"


def parse(event: object) -> Sequence[Receipt]:
    return read(PARSER, request(event))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, ReceiptKind.SENT) for name in ("Sent", "submitted", "PENDING")),
        ("Delivered", ReceiptKind.DELIVERED),
        ("read", ReceiptKind.READ),
        ("FAILED", ReceiptKind.FAILED),
        ("on the moon", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("names", [("eventName", "crqid", "customerNumber"), ("status", "CRQID", "mobile")])
def test_each_event_is_of_its_kind_by_newer_and_older_names(
    name: str, kind: ReceiptKind | None, names: tuple[str, str, str]
) -> None:
    event, crqid, number = names
    found = parse({event: name, crqid: JTD, number: "14155550123", "requestId": "r-1"})
    assert [(one.kind, one.reference, one.recipient) for one in found] == (
        [(kind, UUID(JTD), "+14155550123")] if kind else []
    )


@pytest.mark.parametrize("direction", ["inbound", "Inbound", "0", 0])
def test_what_comes_from_recipients_is_no_receipt(direction: object) -> None:
    assert parse({"eventName": "read", "requestId": "r-1", "direction": direction}) == []
    assert parse({"eventName": "read", "requestId": "r-1", "direction": "1"})


@pytest.mark.parametrize("name", ["reason", "failureReason"])
def test_a_failure_tells_metas_code(name: str) -> None:
    (found,) = parse({"eventName": "failed", "requestId": "r-1", name: "(#131026) Message undeliverable"})
    assert (found.code, found.reason) == ("131026", "(#131026) Message undeliverable")


def test_without_metas_code_the_status_code_is_told() -> None:
    (found,) = parse({"eventName": "failed", "requestId": "r-1", "statusCode": "470", "reason": "no"})
    assert found.code == "470"


def test_a_failure_because_the_recipient_stopped_marketing_also_unsubscribes() -> None:
    failed, unsubscribed = parse({"eventName": "failed", "requestId": "r-1", "reason": "131050: stopped"})
    assert (failed.kind, unsubscribed.kind) == (ReceiptKind.FAILED, ReceiptKind.UNSUBSCRIBED)
    assert failed.event_key != unsubscribed.event_key


def test_the_time_of_the_status_is_read() -> None:
    (found,) = parse(
        {"eventName": "read", "requestId": "r-1", "statusUpdatedAt": "2030-01-02T08:34:05", "ts": "1"}
    )
    assert found.at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
