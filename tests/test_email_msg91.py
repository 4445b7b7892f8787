"""MSG91's mail: the kit, the requests as its API wants them, and its events."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

import pytest

from jtd_worker.channels.email_msg91 import ReceiptSettings, Settings, build_receipts
from jtd_worker.message import Attachment, Message, ProviderTemplate
from jtd_worker.receipt import Receipt, ReceiptKind
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Unknown
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, throttled, unknown
from jtd_worker.testing.http_server import HttpServer, Step, answer
from tests.msg91 import SECRET, read, request

KEY = "planted-authkey-that-nobody-may-see"
TEMPLATE = ProviderTemplate(
    id="payment_received", language=None, format="positional", parameters=(("amount", "5"), ("currency", "€"))
)
MAIL = sample("email", template=TEMPLATE)
HEADERS = {"authkey": KEY, "content-type": "application/json", "accept": "application/json"}
PLAIN = {
    "recipients": [
        {
            "to": [{"email": "zoe@customer.example", "name": "Zoë"}],
            "variables": {"VAR1": "5", "VAR2": "€"},
            "crqid": "01890000-0000-7000-8000-000000000001",
        }
    ],
    "from": {"email": "no-reply@acme.example", "name": "Acme"},
    "domain": "acme.example",
    "template_id": "payment_received",
}
YES = {"status": "success", "hasError": False, "data": {"unique_id": "u-1", "message": "Email queued"}}
OPERATOR = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)


def no(**fields: object) -> dict[str, object]:
    return {"status": "fail", "hasError": True, **fields}


class TestMail(HttpConformance):
    provider = "email:msg91"
    settings = {"authkey": KEY, "from": "Acme <no-reply@acme.example>", "batch_size": "50"}
    secrets = (KEY,)
    accepts = (
        Accepts(name="unique_id", body=YES, id="u-1"),
        Accepts(name="request_id", body={"request_id": "r-1", "message": "m-1"}, id="r-1"),
        Accepts(name="data.request_id", body={"data": {"request_id": "r-2"}, "message": "m-1"}, id="r-2"),
        Accepts(name="message_id", body={"message_id": "i-1", "message": "m-1"}, id="i-1"),
        Accepts(name="message", body={"message": "m-1", "data": "Email queued"}, id="m-1"),
    )
    refuses = (
        Refuses(name="hasError in a 200", status=200, body={**YES, "hasError": True},
                expect=refused(Retry.NEVER, Scope.MESSAGE), code="msg91_error"),
        *(
            Refuses(name=f"{field}={word} in a 200", status=200, body={**YES, field: word},
                    expect=refused(Retry.NEVER, Scope.MESSAGE))
            for field in ("status", "type")
            for word in ("error", "fail", "failed", "Fail")
        ),
        Refuses(name="a sentence and no id", status=200, body={"message": "Email queued"}, expect=unknown()),
        Refuses(name="207", status=200, body=no(code=207), expect=OPERATOR, code="msg91_207"),
        Refuses(name="418", status=200, body=no(code="418"), expect=OPERATOR, code="msg91_418"),
        Refuses(name="HTTP 418", status=418, expect=OPERATOR, code="http_418"),
        Refuses(name="HTTP 401", status=401, body=no(message="Unauthorized"), expect=OPERATOR),
        Refuses(name="no credit", status=200, body=no(message="Insufficient credits"), expect=OPERATOR),
        Refuses(name="a plan", status=400, body=no(errors="Upgrade your plan"), expect=OPERATOR),
        Refuses(name="a domain", status=422, body=no(errors={"domain": ["The domain is not verified"]}),
                expect=refused(Retry.NEVER, Scope.TEMPLATE)),
        Refuses(name="a template", status=404, body=no(message="Template not found"),
                expect=refused(Retry.NEVER, Scope.TEMPLATE)),
        Refuses(name="a recipient", status=400, body=no(errors={"to.0.email": ["The email is invalid"]}),
                expect=refused(Retry.NEVER, Scope.RECIPIENT)),
        Refuses(name="another error", status=400, body=no(errors=["what?"]),
                expect=refused(Retry.NEVER, Scope.MESSAGE)),
        Refuses(name="a quota a second", status=429, body=no(message="quota"), expect=throttled(30)),
        Refuses(name="a gateway that quotes", status=502, body=no(code=207), expect=unknown()),
    )  # fmt: skip
    golden = (
        Golden(name="plain", message=MAIL, target="/api/v5/email/send", headers=HEADERS, json=PLAIN),
        Golden(
            name="everything",
            message=replace(
                MAIL,
                name=None,
                template=replace(TEMPLATE, format="named"),
                reply_to="Billing <billing@tenant.example>",
                sender="hello@tenant.example",
                attachments=(Attachment(name="r.pdf", media_type="application/pdf", content=b"%PDF"),),
            ),
            settings={"domain": "mail.acme.example"},
            target="/api/v5/email/send",
            json={
                "recipients": [
                    {
                        "to": [{"email": "zoe@customer.example"}],
                        "variables": {"amount": "5", "currency": "€"},
                        "crqid": "01890000-0000-7000-8000-000000000001",
                    }
                ],
                "from": {"email": "hello@tenant.example"},
                "domain": "mail.acme.example",
                "template_id": "payment_received",
                "reply_to": [{"email": "billing@tenant.example", "name": "Billing"}],
                "attachments": [{"fileName": "r.pdf", "file": "data:application/pdf;base64,JVBERg=="}],
            },
        ),
    )

    @classmethod
    def message(cls) -> Message:
        return MAIL


def mail(n: int, **changes: object) -> Message:
    return replace(MAIL, jtd_id=UUID(int=n), to=f"zoe{n}@customer.example", **changes)  # type: ignore[arg-type]


async def send(
    script: object, *messages: Message, **settings: str
) -> tuple[Sequence[SendResult], HttpServer]:
    async with (
        HttpServer(script) as server,  # type: ignore[arg-type]
        aclosing(TestMail.make(server.url.removesuffix("/hook"), **settings)) as adapter,
    ):
        return await adapter.send(messages), server


async def test_mails_of_one_template_and_sender_go_in_one_request() -> None:
    other = replace(TEMPLATE, id="other")
    results, server = await send(
        answer(200, b'{"data": {"unique_id": "u-1"}}'),
        mail(1),
        mail(2, template=other),
        mail(3),
        mail(4, sender="hello@tenant.example"),
        mail(5, reply_to="help@tenant.example"),
    )
    assert [type(result) for result in results] == [Sent] * 5
    asked = [[one["crqid"] for one in request.json["recipients"]] for request in server.requests]
    assert sorted(asked) == [[str(UUID(int=n)) for n in call] for call in ([1, 3], [2], [4], [5])]


async def test_a_mail_without_a_template_is_refused_and_harms_no_other() -> None:
    results, server = await send(
        answer(200, b'{"data": {"unique_id": "u-1"}}'),
        mail(1),
        mail(2, template=None),
        mail(3, template=replace(TEMPLATE, id="")),
        mail(4, name="a\r\nb"),
        mail(5),
    )
    codes = [getattr(result, "code", "sent") for result in results]
    assert codes == ["sent", "template_missing", "template_missing", "header_unsafe", "sent"]
    assert isinstance(results[1], Refused)
    assert (results[1].retry, results[1].scope) == (Retry.NEVER, Scope.TEMPLATE)
    assert len(server.requests) == 1


async def test_a_lost_answer_leaves_all_of_its_request_unknown() -> None:
    results, server = await send([Step.RESET], mail(1), mail(2))
    assert [type(result) for result in results] == [Unknown] * 2
    assert len(server.requests) == 1


async def test_the_batch_size_is_a_setting() -> None:
    results, server = await send(
        answer(200, b'{"data": {"unique_id": "u-1"}}'), mail(1), mail(2), batch_size="1"
    )
    assert [type(result) for result in results] == [Sent] * 2
    assert len(server.requests) == 2
    assert Settings.model_fields["batch_size"].default == 1, "more may not be refused as one"
    assert TestMail.make("http://127.0.0.1:9", batch_size="7").capabilities.batch_size == 7


# ---------------------------------------------------------------- receipts

PARSER = build_receipts(ReceiptSettings.model_validate({"secrets": SECRET}))


def parse(event: object) -> Sequence[Receipt]:
    return read(PARSER, request(event))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"eventName": "Queued"}, ReceiptKind.SENT),
        ({"eventName": "Accepted"}, ReceiptKind.SENT),
        ({"eventName": "Delivered"}, ReceiptKind.DELIVERED),
        ({"eventName": "Opened"}, ReceiptKind.READ),
        ({"eventName": "Clicked"}, ReceiptKind.READ),
        ({"eventName": "Bounced"}, ReceiptKind.BOUNCED),
        ({"eventName": "Failed"}, ReceiptKind.FAILED),
        ({"eventName": "Failed", "enhancedStatusCode": "5.1.1"}, ReceiptKind.BOUNCED),
        ({"eventName": "Failed", "enhancedStatusCode": "5.2.2"}, ReceiptKind.FAILED),
        ({"eventName": "Failed", "failureCategory": "Hard Bounce"}, ReceiptKind.BOUNCED),
        ({"eventName": "Rejected", "enhancedStatusCode": "5.1.1"}, ReceiptKind.FAILED),
        ({"eventName": "Unsubscribed"}, ReceiptKind.UNSUBSCRIBED),
        ({"eventName": "Complaints"}, ReceiptKind.COMPLAINED),
        ({"eventName": "complaint"}, ReceiptKind.COMPLAINED),
        ({"eventName": "Spam"}, ReceiptKind.COMPLAINED),
        ({"eventName": "On Moon"}, None),
        ({}, None),
    ],
)
def test_each_event_is_of_its_kind(event: dict[str, str], kind: ReceiptKind | None) -> None:
    found = parse({"requestId": "r-1", **event})
    assert [receipt.kind for receipt in found] == ([kind] if kind else [])
