"""Twilio: the kit, the requests as its API wants them, and its signed callbacks."""

import hmac
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.channels.sms_twilio import ReceiptSettings, Settings, build_receipts
from jtd_worker.receipt import ForgedError, MalformedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import Retry, Scope
from jtd_worker.testing import Accepts, Expect, Golden, HttpConformance, Refuses, refused, sample, throttled
from jtd_worker.testing.http_conformance import TIMEOUT_SECONDS

ACCOUNT = "AC" + "0" * 32
TOKEN = "planted-auth-token-that-nobody-may-see"
SERVICE = "MG" + "0" * 32
SMS = sample("sms")
TARGET = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
BASIC = "Basic " + b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
FORM = {"To": "+14155550123", "From": "+15005550006", "Body": "Your payment of 5 € arrived."}
CREATED = {"sid": "SM" + "1" * 32, "status": "queued", "num_segments": "1", "error_code": None}

CREDENTIAL = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
RECIPIENT = refused(Retry.NEVER, Scope.RECIPIENT)
MESSAGE = refused(Retry.NEVER, Scope.MESSAGE)


def refuses(code: int, status: int, expect: Expect) -> Refuses:
    body = {
        "code": code,
        "message": "to +14155550123: no",
        "more_info": "https://x.example",
        "status": status,
    }
    return Refuses(name=f"{code}", status=status, body=body, expect=expect, code=f"twilio_{code}")


class TestTwilio(HttpConformance):
    provider = "sms:twilio"
    settings = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from": "+15005550006"}
    secrets = (TOKEN, BASIC.removeprefix("Basic "))
    accepts = (
        Accepts(name="queued", status=201, body=CREATED, id="SM" + "1" * 32),
        Accepts(name="a service", status=201, body={"sid": "SM2", "status": "accepted"}, id="SM2"),
        Accepts(name="200", body={"sid": "MM3", "status": "scheduled"}, id="MM3"),
    )
    refuses = (
        *(refuses(code, 401, CREDENTIAL) for code in (20003, 20005, 10001)),
        *(refuses(code, 403, CREDENTIAL) for code in (20008, 21408)),
        refuses(20404, 404, CREDENTIAL),
        *(
            refuses(code, 400, CREDENTIAL)
            for code in (21212, 21219, 21603, 21606, 21608, 21659, 21660, 21661, 21701, 21703, 30034)
        ),
        *(refuses(code, 400, RECIPIENT) for code in (21211, 21214, 21217, 21265, 21612, 21614, 21635)),
        # the law: who has opted out must not be reached by another provider
        refuses(21610, 400, RECIPIENT),
        *(refuses(code, 400, MESSAGE) for code in (21602, 21617, 21619, 21620, 21623)),
        *(refuses(code, 429, throttled(1)) for code in (14107, 20429)),
        refuses(63038, 429, throttled(900)),
        refuses(99999, 400, MESSAGE),
        refuses(20500, 500, refused(Retry.LATER, Scope.PROVIDER)),
        refuses(20503, 503, refused(Retry.LATER, Scope.PROVIDER)),
        Refuses(
            name="a time beats ours",
            status=429,
            body={"code": 20429, "message": "slow down"},
            headers={"retry-after": "9"},
            expect=throttled(9),
        ),
    )
    golden = (
        Golden(name="a number", message=SMS, target=TARGET, form=FORM, headers={"authorization": BASIC}),
        Golden(
            name="a service with everything",
            message=replace(SMS, text="a&b=c +1"),
            target=TARGET,
            settings={
                "from": "",
                "messaging_service": SERVICE,
                "status_callback": "https://jtd.example/webhooks/twilio?a=1",
                "validity_seconds": "300",
                "api_key": "SK" + "0" * 32,
            },
            form={
                "To": "+14155550123",
                "MessagingServiceSid": SERVICE,
                "Body": "a&b=c +1",
                "StatusCallback": "https://jtd.example/webhooks/twilio"
                "?a=1&ref=01890000-0000-7000-8000-000000000001",
                "ValidityPeriod": "300",
            },
            headers={
                "authorization": "Basic " + b64encode(f"SK{'0' * 32}:{TOKEN}".encode()).decode(),
            },
        ),
        Golden(
            name="a sender of its own",
            message=replace(SMS, sender="ACME"),
            target=TARGET,
            settings={"from": "", "messaging_service": SERVICE},
            form={**FORM, "From": "ACME"},
        ),
    )

    @classmethod
    def made(cls, url: str, **settings: str) -> Provider:
        given = {"base_url": url, "timeout_seconds": str(TIMEOUT_SECONDS), **cls.settings, **settings}
        # an empty one takes a setting of the class away
        return Provider.make(ProviderName.parse(cls.provider), {k: v for k, v in given.items() if v})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sender": None}, "either FROM or MESSAGING_SERVICE"),
        ({"messaging_service": SERVICE}, "either FROM or MESSAGING_SERVICE"),
        ({"account_sid": "../other"}, "pattern"),
        ({"status_callback": "http://jtd.example/"}, "https"),
        ({"unknown": "idempotent_retry"}, "no idempotency key"),
        ({"unknown": "wait_for_receipt"}, "STATUS_CALLBACK"),
    ],
)
def test_settings_that_cannot_work_are_explained(changes: dict[str, str | None], said: str) -> None:
    given = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006", **changes}
    given["from"] = given.pop("sender")
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(given)


@pytest.mark.parametrize(
    ("callback", "rule"), [("https://jtd.example/webhooks/twilio", "wait_for_receipt"), ("", "hold")]
)
def test_a_receipt_is_waited_for_only_where_one_can_come(callback: str, rule: str) -> None:
    capabilities = TestTwilio.make("http://127.0.0.1:9", status_callback=callback).capabilities
    assert capabilities.unknown_rule == rule
    assert capabilities.echoes_reference == bool(callback)


# Receipts. The vendor's own examples, from the tests of its library twilio-python.

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
AT = datetime(2030, 1, 1, tzinfo=UTC)
CALL = "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309"
JSON_BODY = b'{"property": "value", "boolean": true}'
JSON_URL = f"{URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
REFERENCE = UUID("01890000-0000-7000-8000-000000000001")


def request(body: bytes | str, signature: str, url: str = URL) -> WebhookRequest:
    return WebhookRequest(
        method="POST",
        url=url,
        headers={"x-twilio-signature": signature},
        body=body if isinstance(body, bytes) else body.encode(),
        received_at=AT,
    )


def parse(given: WebhookRequest, secrets: str = "12345") -> list[Receipt]:
    found = build_receipts(ReceiptSettings.model_validate({"secrets": secrets}))(given)
    assert isinstance(found, list)
    return found


VECTORS = [
    (CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", URL),
    (CALL, "kvajT1Ptam85bY51eRf/AJRuM3w=", URL),
    (CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", URL.replace(".com", ".com:443")),
    (CALL, "kvajT1Ptam85bY51eRf/AJRuM3w=", URL.replace(".com", ".com:443")),
    (CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4=", "http://mycompany.com:80/myapp.php?foo=1&bar=2"),
    (CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4=", "http://mycompany.com/myapp.php?foo=1&bar=2"),
    (CALL, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", "http://mycompany.com:1234/myapp.php?foo=1&bar=2"),
    (
        "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
        "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
        URL,
    ),
    (JSON_BODY, "a9nBmqA0ju/hNViExpshrM61xv4=", JSON_URL),
]


@pytest.mark.parametrize("vector", VECTORS, ids=map(str, range(1, 10)))
def test_the_vendors_examples_are_proved(vector: tuple[bytes | str, str, str]) -> None:
    assert parse(request(*vector)) == []
    assert parse(request(*vector), "old 12345") == []


@pytest.mark.parametrize("vector", VECTORS, ids=map(str, range(1, 10)))
def test_what_is_changed_or_of_another_token_is_forged(vector: tuple[bytes | str, str, str]) -> None:
    body, signature, url = vector
    for forged in (
        request(body + b" " if isinstance(body, bytes) else body + "&More=1", signature, url),
        request(body, signature, url + "&x=1"),
        request(body, "R" + signature[1:] if signature[0] != "R" else "S" + signature[1:], url),
        request(body, "é", url),
        replace(request(*vector), headers={}),
    ):
        with pytest.raises(ForgedError):
            parse(forged)
    with pytest.raises(ForgedError):
        parse(request(*vector), "54321")


@pytest.mark.parametrize("url", ["https://[", "https://mycompany.com:port/", "https://mycompany.com:99999/"])
def test_a_url_that_is_none_is_forged(url: str) -> None:
    with pytest.raises(ForgedError):
        parse(request(CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", url))


def signed(url: str, fields: dict[str, str]) -> WebhookRequest:
    text = url + "".join(name + fields[name] for name in sorted(fields))
    signature = b64encode(hmac.digest(b"12345", text.encode(), "sha1")).decode()
    return request(urlencode(fields), signature, url)


def callback(status: str, **fields: str) -> list[Receipt]:
    told = {
        "MessageSid": "SM1",
        "MessageStatus": status,
        "To": "+14155550123",
        "AccountSid": ACCOUNT,
        **fields,
    }
    return parse(signed(f"https://jtd.example/webhooks/twilio?ref={REFERENCE}", told))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        *(
            (status, "", ReceiptKind.SENT)
            for status in ("accepted", "scheduled", "queued", "sending", "sent")
        ),
        ("delivered", "", ReceiptKind.DELIVERED),
        ("partially_delivered", "", ReceiptKind.DELIVERED),
        ("read", "", ReceiptKind.READ),
        ("canceled", "", ReceiptKind.FAILED),
        ("failed", "30002", ReceiptKind.FAILED),
        ("undelivered", "30007", ReceiptKind.FAILED),
        ("undelivered", "12345", ReceiptKind.FAILED),
        ("undelivered", "30003", ReceiptKind.SOFT_BOUNCED),
        ("undelivered", "30006", ReceiptKind.BOUNCED),
        ("failed", "21610", ReceiptKind.UNSUBSCRIBED),
        ("delivered", "30006", ReceiptKind.DELIVERED),
        ("received", "", None),
        ("something_new", "", None),
    ],
)
def test_each_status_has_its_kind(status: str, code: str, kind: ReceiptKind | None) -> None:
    found = callback(status, **({"ErrorCode": code} if code else {}))
    assert [receipt.kind for receipt in found] == ([kind] if kind else [])


def test_a_receipt_has_our_reference_and_shows_no_contact() -> None:
    (receipt,) = callback("failed", ErrorCode="30003", ErrorMessage="no handset at +14155550123")
    assert receipt.reference == REFERENCE
    assert receipt.provider_message_id == "SM1"
    assert receipt.recipient == "+14155550123"
    assert receipt.code == "twilio_30003"
    assert receipt.reason == "no handset at <recipient>"
    assert "4155550123" not in repr(receipt)


def test_json_of_a_status_is_read_as_a_form_is() -> None:
    body = json.dumps({"MessageSid": "SM1", "MessageStatus": "sent"}).encode()
    url = f"{URL}&bodySHA256={sha256(body).hexdigest()}"
    (receipt,) = parse(request(body, b64encode(hmac.digest(b"12345", url.encode(), "sha1")).decode(), url))
    assert receipt.event_key == callback("sent")[0].event_key


@given(
    st.tuples(
        st.sampled_from(["sent", "delivered", "failed"]), st.from_regex(r"SM[0-9a-f]{1,150}", fullmatch=True)
    ),
    st.tuples(
        st.sampled_from(["sent", "delivered", "failed"]), st.from_regex(r"SM[0-9a-f]{1,150}", fullmatch=True)
    ),
)
def test_a_copy_has_the_same_key_and_another_event_another(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = [callback(status, MessageSid=sid, Extra=extra)[0].event_key for (status, sid), extra in
            ((one, "1"), (one, "2"), (other, "1"))]  # fmt: skip
    assert keys[0] == keys[1]
    assert (keys[0] == keys[2]) == (one == other)
    assert all(len(key) <= 200 for key in keys)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "To", "x"]), inner
    ),
)  # fmt: skip


@given(st.binary() | ANY_JSON.map(lambda told: json.dumps(told).encode()))
def test_garbage_that_is_signed_never_breaks_the_parser(body: bytes) -> None:
    url = f"{URL}&bodySHA256={sha256(body).hexdigest()}"
    with suppress(MalformedError):
        parse(request(body, b64encode(hmac.digest(b"12345", url.encode(), "sha1")).decode(), url))


@given(st.binary())
def test_a_form_that_is_garbage_is_forged(body: bytes) -> None:
    with pytest.raises(ForgedError):
        parse(request(body, "RSOYDt4T1cUTdK1PDd93/VVr8B8="))


@given(
    st.dictionaries(
        st.sampled_from(
            ["MessageSid", "SmsSid", "MessageStatus", "ErrorCode", "ErrorMessage", "To", "\0", "é"]
        ),
        st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["sent", "failed"]),
    )
)
def test_any_signed_form_is_read_or_ignored(fields: dict[str, str]) -> None:
    parse(signed(URL, fields))
