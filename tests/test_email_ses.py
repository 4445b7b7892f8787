"""SES: the kit, signed requests, and events that come through SNS."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.channels.email_ses import ReceiptSettings, Settings, build, build_receipts
from jtd_worker.errors import ConfigurationError
from jtd_worker.receipt import (
    ForgedError,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.result import Retry, Scope
from jtd_worker.sns import signed_text
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, throttled
from jtd_worker.testing.http_server import HttpServer, answer
from tests.webhook_requests import AT, request

SECRET = "planted/secret+that/nobody+may+see"
MAIL = sample("email")
CREDENTIAL = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
MESSAGE = refused(Retry.NEVER, Scope.MESSAGE)


def named(status: int, name: str, expect: Any, text: str = "why") -> Refuses:
    return Refuses(
        name=f"{status} {name} {text}",
        status=status,
        body={"message": text},
        headers={"x-amzn-errortype": f"{name}:http://internal.amazon.com/"},
        expect=expect,
        code=name,
    )


class TestSes(HttpConformance):
    provider = "email:ses"
    settings = {
        "region": "eu-west-1",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": SECRET,
        "from": "Acme <no-reply@acme.example>",
    }
    secrets = (SECRET,)
    accepts = (Accepts(name="200", body={"MessageId": "0100-000000"}, id="0100-000000"),)
    refuses = (
        named(429, "TooManyRequestsException", throttled(30)),
        named(400, "ThrottlingException", throttled(30)),
        named(400, "LimitExceededException", CREDENTIAL),
        named(400, "AccountSuspendedException", CREDENTIAL),
        named(400, "SendingPausedException", CREDENTIAL),
        named(400, "MailFromDomainNotVerifiedException", CREDENTIAL),
        named(400, "MessageRejected", CREDENTIAL, "Email address is not verified."),
        named(400, "MessageRejected", MESSAGE, "Local address contains illegal characters"),
        named(404, "NotFoundException", refused(Retry.AFTER_OPERATOR, Scope.PROVIDER)),
        named(400, "BadRequestException", MESSAGE),
        named(403, "SignatureDoesNotMatch", CREDENTIAL),
        named(500, "InternalFailure", refused(Retry.LATER, Scope.PROVIDER)),
    )
    golden = (
        Golden(
            name="the call", message=MAIL, target="/v2/email/outbound-emails",
            headers={"content-type": "application/json"},
        ),
    )  # fmt: skip


async def test_a_mail_goes_raw_with_its_recipient_and_our_reference() -> None:
    async with HttpServer(answer(200, b'{"MessageId": "1"}')) as server:
        adapter = TestSes.make(f"http://localhost:{server.port}", configuration_set="events")
        await adapter.send([replace(MAIL, sender="Tenant <hello@tenant.example>")])
        await adapter.aclose()
    (sent,) = server.requests
    raw = sent.json.pop("Content")
    assert {name: value for name, value in sent.json.items() if name != "Content"} == {
        "Destination": {"ToAddresses": ["zoe@customer.example"]},
        "FromEmailAddress": "hello@tenant.example",
        "ConfigurationSetName": "events",
        "EmailTags": [{"Name": "jtd_id", "Value": str(MAIL.jtd_id)}],
    }
    mail = message_from_bytes(b64decode(raw["Raw"]["Data"]), policy=policy.default)
    assert (mail["Subject"], mail["From"]) == ("Paid", "Tenant <hello@tenant.example>")
    scheme, _, fields = sent.headers["authorization"].partition(" ")
    assert scheme == "AWS4-HMAC-SHA256"
    assert "/eu-west-1/ses/aws4_request" in fields


def test_the_region_names_the_host() -> None:
    settings = Settings.model_validate({"region": "ap-south-1", "from": "a@acme.example"})
    assert str(settings.base_url) == "https://email.ap-south-1.amazonaws.com/"


def test_one_half_of_a_key_is_refused_and_none_at_all_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"region": "eu-west-1", "from": "a@acme.example"}
    with pytest.raises(ValueError, match="go together"):
        Settings.model_validate({**plain, "access_key_id": "AKIDEXAMPLE"})
    settings = Settings.model_validate(plain)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere",
                        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="set access_key_id and secret_access_key"):
        build(settings, "email")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert build(settings, "email")


# ---------------------------------------------------------------- events, through SNS

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
KEY = generate_private_key(public_exponent=65537, key_size=2048)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(KEY.public_key())
    .serial_number(1)
    .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
    .sign(KEY, SHA256())
    .public_bytes(Encoding.PEM)
)


class Amazon:
    """What stands at the URLs of SNS, and what was opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def get(self, url: str) -> bytes:
        self.opened.append(url)
        return CERTIFICATE


def parser(amazon: Amazon | None = None) -> ReceiptParser:
    settings = ReceiptSettings.model_validate({"topic_arns": f"{TOPIC} {TOPIC}-2"})
    return build_receipts(settings, (amazon or Amazon()).get)


def message(version: str = "2", **changes: str) -> dict[str, str]:
    fields = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea",
        "TopicArn": TOPIC,
        "Message": "{}",
        "Timestamp": "2030-01-02T03:04:05.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **changes,
    }
    algorithm = SHA256() if version == "2" else SHA1()
    signature = KEY.sign(signed_text(fields).encode(), PKCS1v15(), algorithm)
    return {"Signature": b64encode(signature).decode(), **fields}


def posted(fields: Mapping[str, Any]) -> WebhookRequest:
    return request(
        json.dumps(fields), {"x-amz-sns-message-type": str(fields.get("Type")), "content-type": "text/plain"}
    )


def event(body: Any, **changes: str) -> WebhookRequest:
    return posted(message(Message=json.dumps(body), **changes))


def told(kind: str, **objects: Any) -> dict[str, Any]:
    return {
        "eventType": kind,
        "mail": {"messageId": "0100-000000", "tags": {"jtd_id": [str(MAIL.jtd_id)]}},
        **objects,
    }


def parse(given: WebhookRequest) -> list[Receipt]:
    found = parser()(given)
    assert isinstance(found, list)
    return found


def test_what_is_signed_is_as_the_vendor_puts_it_together() -> None:
    fields = {"Type": "Notification", "TopicArn": "t", "Message": "m", "MessageId": "i", "Timestamp": "d",
              "Token": "never", "SubscribeURL": "never", "Signature": "never"}  # fmt: skip
    assert signed_text(fields) == "Message\nm\nMessageId\ni\nTimestamp\nd\nTopicArn\nt\nType\nNotification\n"
    assert signed_text({**fields, "Subject": "s"}) == (
        "Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\nd\nTopicArn\nt\nType\nNotification\n"
    )
    subscription = {**fields, "Type": "SubscriptionConfirmation", "Token": "k", "SubscribeURL": "u"}
    assert signed_text(subscription) == (
        "Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nd\nToken\nk\nTopicArn\nt\n"
        "Type\nSubscriptionConfirmation\n"
    )


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_the_signature_are_proved(version: str) -> None:
    assert parser()(posted(message(version, Message=json.dumps(told("Send")))))


@pytest.mark.parametrize(
    "forged",
    [
        {**message(), "Message": "{ }"},
        {**message(), "Subject": "added"},
        {**message(), "Signature": "not base64"},
        {**message(), "SignatureVersion": "3"},
        message(TopicArn="arn:aws:sns:eu-west-1:999999999999:theirs"),
        message(Timestamp="2030-01-01T00:00:00.000Z"),
        message(SigningCertURL="https://sns.us-east-1.amazonaws.com.evil.test/a.pem"),
        message(SigningCertURL="http://sns.us-east-1.amazonaws.com/a.pem"),
        message(SigningCertURL="https://sns.us-east-1.amazonaws.com/a.txt"),
        message(SigningCertURL="https://user@sns.us-east-1.amazonaws.com/a.pem"),
        message(SigningCertURL="https://[broken/a.pem"),
        message(SigningCertURL="https://sns.us-east-1.amazonaws.com/\n/a.pem"),
        message(SigningCertURL="https://sns.us-east-1.amazonaws.com/\0/a.pem"),
        message(SigningCertURL=f"https://sns.us-east-1.amazonaws.com/{'a' * 70_000}.pem"),
    ],
    ids=[
        "changed",
        "a field added",
        "no base64",
        "version",
        "topic",
        "old",
        "host",
        "http",
        "no pem",
        "user",
        "broken",
        "line break",
        "null",
        "long",
    ],
)
def test_what_is_not_proved_is_forged(forged: Mapping[str, str]) -> None:
    with pytest.raises(ForgedError):
        parser()(posted(forged))


def test_the_header_must_name_the_type_of_the_body() -> None:
    given = replace(posted(message()), headers={"x-amz-sns-message-type": "SubscriptionConfirmation"})
    with pytest.raises(ForgedError):
        parser()(given)


def test_a_subscription_to_our_topic_is_confirmed_once_at_sns_only() -> None:
    amazon = Amazon()
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    confirmation = message(Type="SubscriptionConfirmation", Token="t", SubscribeURL=url)
    assert parser(amazon)(posted(confirmation)) == []
    assert amazon.opened == [CERTIFICATE_URL, url]
    with pytest.raises(ForgedError):
        parser(amazon)(
            posted(message(Type="SubscriptionConfirmation", SubscribeURL="https://evil.test/?Token=t"))
        )
    assert amazon.opened == [CERTIFICATE_URL, url, CERTIFICATE_URL]


def test_a_certificate_is_read_once() -> None:
    amazon = Amazon()
    read = parser(amazon)
    read(event(told("Send")))
    read(event(told("Delivery")))
    assert amazon.opened == [CERTIFICATE_URL]


def test_the_sentence_that_follows_a_subscription_is_no_event() -> None:
    assert (
        parse(posted(message(Message="Successfully validated SNS topic for Amazon SES event publishing.")))
        == []
    )


BOUNCE = {"bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2030-01-02T03:04:00.000Z",
          "bouncedRecipients": [{"emailAddress": "zoe@customer.example", "status": "5.1.1",
                                 "diagnosticCode": "smtp; 550 5.1.1 unknown"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (told("Send"), ReceiptKind.SENT),
        (told("DeliveryDelay", deliveryDelay={"delayedRecipients": []}), ReceiptKind.DEFERRED),
        (told("Delivery", delivery={"recipients": ["zoe@customer.example"]}), ReceiptKind.DELIVERED),
        (told("Open", open={}), ReceiptKind.READ),
        (told("Click", click={}), ReceiptKind.READ),
        (told("Bounce", bounce=BOUNCE), ReceiptKind.BOUNCED),
        (told("Bounce", bounce={"bounceType": "Transient"}), ReceiptKind.SOFT_BOUNCED),
        (told("Bounce", bounce={"bounceType": "Undetermined"}), ReceiptKind.FAILED),
        (told("Complaint", complaint={"complaintFeedbackType": "abuse"}), ReceiptKind.COMPLAINED),
        (told("Reject", reject={"reason": "Bad content"}), ReceiptKind.FAILED),
        (told("Rendering Failure", failure={"errorMessage": "x"}), ReceiptKind.FAILED),
        (told("Subscription"), ReceiptKind.UNSUBSCRIBED),
    ],
)
def test_each_event_has_its_kind(body: Mapping[str, Any], kind: ReceiptKind) -> None:
    (receipt,) = parse(event(body))
    assert (receipt.kind, receipt.reference) == (kind, MAIL.jtd_id)
    assert receipt.provider_message_id == "0100-000000"
    notification = {**body, "notificationType": body["eventType"], "eventType": None}
    assert parse(event(notification))[0].kind is kind


def test_a_bounce_tells_whom_when_and_why() -> None:
    (receipt,) = parse(event(told("Bounce", bounce=BOUNCE)))
    assert receipt.recipient == "zoe@customer.example"
    assert receipt.at == AT - timedelta(seconds=5)
    assert (receipt.code, receipt.reason) == ("5.1.1", "smtp; 550 5.1.1 unknown")


def test_what_is_no_complaint_is_none() -> None:
    assert parse(event(told("Complaint", complaint={"complaintFeedbackType": "not-spam"}))) == []


def test_a_copy_has_the_same_key_and_another_event_another() -> None:
    keys = [parse(event(told("Send"), MessageId=one))[0].event_key for one in ("a", "a", "b")]
    assert keys[0] == keys[1] != keys[2]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    body=json_values,
    parts=st.dictionaries(st.sampled_from(["mail", "bounce", "delivery", "complaint"]), json_values),
)
def test_whatever_is_signed_is_read_or_malformed(body: Any, parts: Any) -> None:
    for given_body in (body, {"eventType": "Bounce", **parts}):
        with suppress(MalformedError):
            parse(event(given_body))
