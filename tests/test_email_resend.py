"""Resend: the kit, the requests as its API wants them, and its signed events."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.channels.email_resend import ReceiptSettings, build_receipts
from jtd_worker.message import Attachment
from jtd_worker.receipt import ForgedError, MalformedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.result import Retry, Scope
from jtd_worker.standard_webhooks import parse_secrets, sign
from jtd_worker.testing import (
    Accepts,
    Golden,
    HttpConformance,
    Refuses,
    refused,
    sample,
    throttled,
    unknown,
)
from tests.webhook_requests import AT, request

KEY = "re_planted_key_that_nobody_may_see"
MAIL = sample("email")
JTD = str(MAIL.jtd_id)
HEADERS = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "idempotency-key": MAIL.idempotency_key,
}
PLAIN = {
    "from": '"Acme" <no-reply@acme.example>',
    "to": ['"Zoë" <zoe@customer.example>'],
    "subject": "Paid",
    "text": "Your payment of 5 € arrived.",
    "html": "<p>Your payment of 5&nbsp;€ arrived.</p>",
    "headers": {"Auto-Submitted": "auto-generated"},
    "tags": [{"name": "jtd_id", "value": JTD}],
}
CREDENTIAL = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
MESSAGE = refused(Retry.NEVER, Scope.MESSAGE)


def named(status: int, name: str, expect: Any, **headers: str) -> Refuses:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    body = {"statusCode": status, "name": name, "message": "why"}
    return Refuses(
        name=f"{status} {name}", status=status, body=body, headers=fields, expect=expect, code=name
    )


class TestResend(HttpConformance):
    provider = "email:resend"
    settings = {"api_key": KEY, "from": "Acme <no-reply@acme.example>"}
    secrets = (KEY,)
    accepts = (Accepts(name="200", body={"id": "49a3999c-0ce1"}, id="49a3999c-0ce1"),)
    refuses = (
        named(400, "validation_error", MESSAGE),
        named(422, "missing_required_field", MESSAGE),
        named(422, "invalid_from_address", CREDENTIAL),
        named(400, "invalid_idempotency_key", MESSAGE),
        named(401, "missing_api_key", CREDENTIAL),
        named(403, "invalid_api_key", CREDENTIAL),
        named(403, "validation_error", CREDENTIAL),
        named(404, "not_found", refused(Retry.AFTER_OPERATOR, Scope.PROVIDER)),
        named(409, "concurrent_idempotent_requests", refused(Retry.LATER, Scope.MESSAGE)),
        named(409, "invalid_idempotent_request", unknown()),
        named(429, "rate_limit_exceeded", throttled(3), retry_after="3"),
        named(429, "daily_quota_exceeded", CREDENTIAL),
        named(429, "monthly_quota_exceeded", CREDENTIAL),
        named(500, "application_error", refused(Retry.LATER, Scope.PROVIDER)),
    )
    golden = (
        Golden(name="text and HTML", message=MAIL, target="/emails", headers=HEADERS, json=PLAIN),
        Golden(
            name="everything",
            message=replace(
                MAIL,
                html=None,
                name='The "Boss"',
                reply_to="billing@tenant.example",
                sender="Tenant <hello@tenant.example>",
                unsubscribe_url="https://jtd.example/u/token",
                attachments=(Attachment(name="r.pdf", media_type="application/pdf", content=b"%PDF"),),
            ),
            target="/emails",
            json={
                **{name: value for name, value in PLAIN.items() if name != "html"},
                "from": '"Tenant" <hello@tenant.example>',
                "to": ['"The \\"Boss\\"" <zoe@customer.example>'],
                "reply_to": "billing@tenant.example",
                "headers": {
                    "Auto-Submitted": "auto-generated",
                    "List-Unsubscribe": "<https://jtd.example/u/token>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
                "attachments": [
                    {"content": "JVBERg==", "filename": "r.pdf", "content_type": "application/pdf"}
                ],
            },
        ),
    )


# The example of the scheme's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "b3RoZXIgc2VjcmV0IG9mIDI0IGJ5dGVz"
VECTOR = request(
    '{"test": 2432232314}',
    {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    at=datetime.fromtimestamp(1614265330, UTC),
)


def parse(given: WebhookRequest, secrets: str = SECRET) -> list[Receipt]:
    found = build_receipts(ReceiptSettings.model_validate({"secrets": secrets}))(given)
    assert isinstance(found, list)
    return found


def event(body: Any, event_id: str = "msg_1") -> WebhookRequest:
    raw = json.dumps(body).encode()
    seconds = int(AT.timestamp())
    (secret,) = parse_secrets(SECRET)
    return request(
        raw,
        {
            "svix-id": event_id,
            "svix-timestamp": str(seconds),
            "svix-signature": f"v1a,x {sign(secret, event_id, seconds, raw)}",
        },
    )


def told(kind: str, **data: Any) -> Mapping[str, Any]:
    return {
        "type": kind,
        "created_at": "2030-01-02T03:04:05.126Z",
        "data": {
            "email_id": "49a3999c-0ce1",
            "to": ["zoe@customer.example"],
            "tags": {"jtd_id": JTD},
            **data,
        },
    }


def test_the_schemes_example_is_proved() -> None:
    with pytest.raises(MalformedError):  # it is signed, and it is no event
        parse(VECTOR)


@pytest.mark.parametrize(
    "forged",
    [
        replace(VECTOR, body=VECTOR.body + b" "),
        replace(VECTOR, received_at=VECTOR.received_at + timedelta(seconds=301)),
        replace(VECTOR, received_at=VECTOR.received_at - timedelta(seconds=301)),
        replace(
            VECTOR,
            headers={
                **VECTOR.headers,
                "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=",
            },
        ),
        replace(VECTOR, headers={**VECTOR.headers, "svix-id": "msg_2"}),
        replace(VECTOR, headers={}),
    ],
    ids=["changed", "old", "from the future", "other signature", "other id", "unsigned"],
)
def test_what_is_not_signed_byte_for_byte_is_forged(forged: WebhookRequest) -> None:
    with pytest.raises(ForgedError):
        parse(forged)


def test_another_secret_does_not_fit_and_an_old_one_stays_good_beside_it() -> None:
    with pytest.raises(ForgedError):
        parse(event(told("email.sent")), OTHER)
    assert parse(event(told("email.sent")), f"{OTHER} {SECRET}")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (told("email.sent"), ReceiptKind.SENT),
        (told("email.delivery_delayed"), ReceiptKind.DEFERRED),
        (told("email.delivered"), ReceiptKind.DELIVERED),
        (told("email.opened"), ReceiptKind.READ),
        (told("email.clicked"), ReceiptKind.READ),
        (told("email.bounced", bounce={"type": "Permanent"}), ReceiptKind.BOUNCED),
        (told("email.bounced", bounce={"type": "Temporary"}), ReceiptKind.SOFT_BOUNCED),
        (told("email.failed", failed={"reason": "reached_daily_quota"}), ReceiptKind.FAILED),
        (told("email.suppressed", suppressed={"type": "x"}), ReceiptKind.FAILED),
        (told("email.complained"), ReceiptKind.COMPLAINED),
    ],
    ids=lambda value: value["data"]["email_id"] if isinstance(value, dict) else value,
)
def test_each_event_has_its_kind(body: Mapping[str, Any], kind: ReceiptKind) -> None:
    (receipt,) = parse(event(body))
    assert receipt.kind is kind
    assert (receipt.reference, receipt.provider_message_id) == (MAIL.jtd_id, "49a3999c-0ce1")
    assert receipt.recipient == "zoe@customer.example"
    assert receipt.at == datetime(2030, 1, 2, 3, 4, 5, 126000, tzinfo=UTC)


def test_a_bounce_tells_why() -> None:
    bounce = {"type": "Permanent", "subType": "Suppressed", "message": "it is on our list"}
    (receipt,) = parse(event(told("email.bounced", bounce=bounce)))
    assert (receipt.code, receipt.reason) == ("Suppressed", "it is on our list")


def test_a_copy_has_the_same_key_and_another_event_another() -> None:
    first, copy, other = (parse(event(told("email.sent"), one))[0] for one in ("a", "a", "b"))
    assert first.event_key == copy.event_key != other.event_key


def test_events_that_tell_nothing_of_a_message_are_left_alone() -> None:
    assert parse(event(told("contact.created"))) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    body=json_values, data=st.dictionaries(st.sampled_from(["to", "tags", "bounce", "email_id"]), json_values)
)
def test_whatever_is_signed_is_read_or_malformed(body: Any, data: Any) -> None:
    for given_body in (body, {"type": "email.bounced", "created_at": body, "data": data}):
        with suppress(MalformedError):
            parse(event(given_body))
