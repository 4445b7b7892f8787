"""SendGrid: the kit, the requests as its API wants them, and its signed events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jtd_worker.channels.email_sendgrid import ReceiptSettings, build_receipts
from jtd_worker.message import Attachment
from jtd_worker.receipt import ForgedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.result import Retry, Scope
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample

KEY = "SG.planted-key.that-nobody-may-see"
MAIL = sample("email")
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
PLAIN = {
    "personalizations": [
        {
            "to": [{"email": "zoe@customer.example", "name": "Zoë"}],
            "custom_args": {"jtd_id": "01890000-0000-7000-8000-000000000001"},
        }
    ],
    "from": {"email": "no-reply@acme.example", "name": "Acme"},
    "subject": "Paid",
    "content": [
        {"type": "text/plain", "value": "Your payment of 5 € arrived."},
        {"type": "text/html", "value": "<p>Your payment of 5&nbsp;€ arrived.</p>"},
    ],
    "headers": {"Auto-Submitted": "auto-generated"},
    "tracking_settings": {"click_tracking": {"enable": False}},
}


class TestSendGrid(HttpConformance):
    provider = "email:sendgrid"
    settings = {"api_key": KEY, "from": "Acme <no-reply@acme.example>"}
    secrets = (KEY,)
    id_is_in_body = False
    accepts = (
        Accepts(name="202", status=202, headers={"x-message-id": "LRzXl_NHStOGhQ4kofSm_A"},
                id="LRzXl_NHStOGhQ4kofSm_A"),
        Accepts(name="the sandbox", status=200, id=None),
    )  # fmt: skip
    refuses = (
        Refuses(
            name="a recipient",
            status=400,
            body={"errors": [{"message": "no mail address", "field": "personalizations.0.to.0.email"}]},
            expect=refused(Retry.NEVER, Scope.RECIPIENT),
        ),
        Refuses(
            name="a subject",
            status=400,
            body={"errors": [{"message": "required", "field": "subject"}]},
            expect=refused(Retry.NEVER, Scope.MESSAGE),
        ),
        Refuses(name="a region", status=451, expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)),
    )
    golden = (
        Golden(name="text and HTML", message=MAIL, target="/v3/mail/send", headers=HEADERS, json=PLAIN),
        Golden(
            name="everything",
            message=replace(
                MAIL,
                subject=None,
                html=None,
                name=None,
                reply_to="Billing <billing@tenant.example>",
                sender="Tenant <hello@tenant.example>",
                unsubscribe_url="https://jtd.example/u/token",
                attachments=(Attachment(name="r.pdf", media_type="application/pdf", content=b"%PDF"),),
            ),
            target="/v3/mail/send",
            json={
                **PLAIN,
                "personalizations": [
                    {**PLAIN["personalizations"][0], "to": [{"email": "zoe@customer.example"}]}  # type: ignore[dict-item]
                ],
                "from": {"email": "hello@tenant.example", "name": "Tenant"},
                "reply_to": {"email": "billing@tenant.example", "name": "Billing"},
                "subject": " ",
                "content": [{"type": "text/plain", "value": "Your payment of 5 € arrived."}],
                "headers": {
                    "Auto-Submitted": "auto-generated",
                    "List-Unsubscribe": "<https://jtd.example/u/token>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
                "attachments": [
                    {
                        "content": "JVBERg==",
                        "type": "application/pdf",
                        "filename": "r.pdf",
                        "disposition": "attachment",
                    }
                ],
            },
        ),
    )


# The vendor's own example, from the tests of its library sendgrid-python.
PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmp"
    "qIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
OTHER_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4S"
    "XZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
)
TIMESTAMP = "1600112502"
SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
AT = datetime.fromtimestamp(int(TIMESTAMP), UTC)


def request(body: bytes = BODY, *, signature: str = SIGNATURE, at: datetime = AT) -> WebhookRequest:
    return WebhookRequest(
        method="POST",
        url="https://jtd.example/webhooks/sendgrid",
        headers={
            "x-twilio-email-event-webhook-signature": signature,
            "x-twilio-email-event-webhook-timestamp": TIMESTAMP,
        },
        body=body,
        received_at=at,
    )


def parse(given: WebhookRequest, secrets: str = PUBLIC_KEY) -> list[Receipt]:
    found = build_receipts(ReceiptSettings.model_validate({"secrets": secrets}))(given)
    assert isinstance(found, list)
    return found


def test_the_vendors_example_is_proved_and_read() -> None:
    assert parse(request()) == [
        Receipt(
            kind=ReceiptKind.BOUNCED,
            event_key="ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",
            provider_message_id="LRzXl_NHStOGhQ4kofSm_A",
            recipient="hello@world.com",
            at=datetime.fromtimestamp(1600112492, UTC),
            reason="Bounced Address",
        )
    ]


@pytest.mark.parametrize(
    "forged",
    [
        request(BODY.strip()),
        request(BODY.replace(b"dropped", b"delivered")),
        request(signature=SIGNATURE[:-4] + "ZtA="),
        request(signature="not base64"),
        request(at=AT + timedelta(days=2)),
        request(at=AT - timedelta(days=2)),
        replace(request(), headers={}),
    ],
    ids=["trimmed", "changed", "other signature", "no signature", "old", "from the future", "unsigned"],
)
def test_what_is_not_signed_byte_for_byte_is_forged(forged: WebhookRequest) -> None:
    with pytest.raises(ForgedError):
        parse(forged)


def test_another_key_does_not_fit_and_an_old_one_stays_good_beside_it() -> None:
    with pytest.raises(ForgedError):
        parse(request(), OTHER_KEY)
    assert parse(request(), f"{OTHER_KEY} {PUBLIC_KEY}")


def test_a_key_that_is_none_is_explained() -> None:
    with pytest.raises(ValueError, match="base64 of a public key"):
        ReceiptSettings.model_validate({"secrets": "abc"})
