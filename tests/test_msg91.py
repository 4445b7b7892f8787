"""MSG91's webhooks: a secret in the URL, a body of one's own, and events that have no id."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker import msg91
from jtd_worker.channels import email_msg91, sms_msg91, whatsapp_msg91
from jtd_worker.receipt import ForgedError, MalformedError, Receipt, ReceiptKind, ReceiptParser
from tests.msg91 import SECRET, read, request

DOC = (Path(__file__).parent.parent / "docs" / "channels" / "msg91.md").read_text()
JTD = "01890000-0000-7000-8000-000000000001"
VALUES = {
    **dict.fromkeys(("crqid", "CRQID"), JTD),
    "requestId": "7dc9157ab37f4ab683e73d4f0a7c111a",
    "recipient": "zoe@customer.example",
    **dict.fromkeys(("telNum", "customerNumber"), "919500006558"),
    "eventName": "Delivered",
    "status": "1",
    **dict.fromkeys(("ts", "deliveryTime", "statusUpdatedAt"), "2030-01-02 08:34:05"),
    "direction": "outbound",
}
"""What the provider puts in for its placeholders; all others become nothing."""
MODULES = [email_msg91, sms_msg91, whatsapp_msg91]
MODULES_BY_NAME = pytest.mark.parametrize("module", MODULES, ids=["email", "sms", "whatsapp"])


def parser(module: Any, secrets: str = SECRET) -> ReceiptParser:
    made: ReceiptParser = module.build_receipts(module.ReceiptSettings.model_validate({"secrets": secrets}))
    return made


def filled(module: Any, **values: str) -> bytes:
    """Return the body of the panel with its placeholders replaced."""
    known = {**VALUES, **values}
    body = json.dumps(module.PANEL_BODY)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: known.get(found[1], ""), body).encode()


def parse(module: Any, body: bytes) -> Receipt:
    (found,) = read(parser(module), request(body))
    return found


# ---------------------------------------------------------------- the panel


@MODULES_BY_NAME
def test_the_docs_show_the_body_that_is_to_be_typed_into_the_panel(module: Any) -> None:
    shown = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", DOC, re.M | re.S)]
    assert dict(module.PANEL_BODY) in shown


@MODULES_BY_NAME
def test_that_body_is_read_when_it_is_filled_in(module: Any) -> None:
    found = parse(module, filled(module))
    to = "zoe@customer.example" if module is email_msg91 else "+919500006558"
    assert found == Receipt(
        kind=ReceiptKind.DELIVERED,
        event_key=found.event_key,
        provider_message_id="7dc9157ab37f4ab683e73d4f0a7c111a",
        reference=UUID(JTD),
        recipient=to,
        at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@MODULES_BY_NAME
def test_what_the_provider_left_as_it_was_counts_as_nothing(module: Any) -> None:
    body = {**module.PANEL_BODY, "requestId": "r-1", "eventName": "delivered", "status": "1"}
    found = parse(module, json.dumps(body).encode())
    assert (found.reference, found.recipient, found.at, found.code) == (None, None, None, None)


@MODULES_BY_NAME
def test_an_event_that_names_no_message_is_passed_over(module: Any) -> None:
    body = filled(module, requestId="", crqid="", CRQID="0")
    assert read(parser(module), request(body)) == []


@MODULES_BY_NAME
def test_a_reason_shows_no_contact(module: Any) -> None:
    told = "no mailbox zoe@customer.example, no number 919500006558"
    body = filled(module, status="2", eventName="Failed", reason=told, failureReason=told)
    found = parse(module, body)
    assert found.reason is not None
    assert (found.recipient or "").lstrip("+") not in found.reason


# ---------------------------------------------------------------- the secret


@MODULES_BY_NAME
@pytest.mark.parametrize(
    "url",
    [
        f"https://jtd.example/webhooks/msg91/{SECRET}",
        f"https://jtd.example/webhooks/email/msg91/{SECRET}?x=1",
        f"https://jtd.example/webhooks/msg91?key={SECRET}",
        f"https://jtd.example/webhooks/msg91/?x=1&key={SECRET}",
    ],
)
def test_the_secret_stands_in_the_path_or_in_the_query(module: Any, url: str) -> None:
    assert read(parser(module), request(filled(module), url=url))


@MODULES_BY_NAME
@pytest.mark.parametrize(
    "url",
    [
        "https://jtd.example/webhooks/msg91",
        "https://jtd.example/webhooks/msg91/",
        f"https://jtd.example/webhooks/msg91/{SECRET[:-1]}",
        f"https://jtd.example/webhooks/msg91/{SECRET}x",
        f"https://jtd.example/webhooks/msg91/{SECRET}/",
        f"https://jtd.example/webhooks/{SECRET}/msg91",
        f"https://jtd.example/webhooks/msg91?other={SECRET}",
        f"https://jtd.example/webhooks/msg91#{SECRET}",
        "https://jtd.example/webhooks/msg91?key=",
        "https://jtd.example/webhooks/msg91?key=%ff%fe",
    ],
)
def test_any_other_url_is_forged(module: Any, url: str) -> None:
    with pytest.raises(ForgedError):
        parser(module)(request(filled(module), url=url))


@MODULES_BY_NAME
def test_a_new_secret_is_good_beside_the_old_one(module: Any) -> None:
    given = request(filled(module))
    assert read(parser(module, f"another-secret-of-the-url-1234 {SECRET}"), given)
    with pytest.raises(ForgedError):
        parser(module, "another-secret-of-the-url-1234")(given)


@MODULES_BY_NAME
@pytest.mark.parametrize("secrets", ["", " ", "short", f"{SECRET} short"])
def test_a_secret_that_can_be_guessed_is_not_taken(module: Any, secrets: str) -> None:
    with pytest.raises(ValidationError) as raised:
        parser(module, secrets)
    assert SECRET not in str(raised.value)


# ---------------------------------------------------------------- bodies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1", "read", JTD]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["requestId", "CRQID", "crqid", "status", "eventName", "report", "date", "ts", "reason",
                 "failureReason", "telNum", "customerNumber", "recipient", "statusUpdatedAt", "desc"]
            )
            | st.text(),
            inner,
        )
    ),
)  # fmt: skip


@MODULES_BY_NAME
@given(document=JSON)
def test_no_json_makes_a_parser_fail(module: Any, document: Any) -> None:
    try:
        found = read(parser(module), request(json.dumps(document)))
    except MalformedError:
        return
    for one in found:
        assert len(one.event_key) == 40
        assert all(text is None or text.isprintable() for text in (one.reason, one.code, one.recipient))
        assert one.at is None or one.at.tzinfo


@MODULES_BY_NAME
@given(body=st.binary())
def test_no_bytes_make_a_parser_fail(module: Any, body: bytes) -> None:
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        with suppress(MalformedError):
            read(parser(module), request(body, headers=headers))


@MODULES_BY_NAME
@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"1", b'"text"', b"null", b"{}", b'{"other": 1}', b"[" * 100_000, b"9" * 5000, b"\xff"],
    ids=["empty", "cut", "number", "text", "null", "no names", "other names", "deep", "long", "no UTF-8"],
)
def test_a_body_that_is_not_of_the_panel_is_malformed(module: Any, body: bytes) -> None:
    with pytest.raises(MalformedError):
        parser(module)(request(body))


# ---------------------------------------------------------------- keys and times

EVENTS = st.fixed_dictionaries(
    {
        "requestId": st.sampled_from(["r-1", "r-2"]),
        "crqid": st.sampled_from([JTD, JTD.replace("1", "2")]),
        "to": st.sampled_from(["919500006558", "919500006559"]),
        "name": st.sampled_from(["delivered", "failed"]),
    }
)


@MODULES_BY_NAME
@given(first=EVENTS, second=EVENTS)
def test_a_copy_has_the_key_of_its_event_and_no_other_event_has_it(
    module: Any, first: dict[str, str], second: dict[str, str]
) -> None:
    one, other = (
        parse(
            module,
            json.dumps(
                {"requestId": event["requestId"], "crqid": event["crqid"], "recipient": event["to"],
                 "telNum": event["to"], "customerNumber": event["to"], "status": event["name"],
                 "eventName": event["name"], "ts": n}
            ).encode(),
        )
        for n, event in enumerate((first, second))
    )  # fmt: skip
    assert (one.event_key == other.event_key) == (first == second)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2024-05-22 10:06:20", datetime(2024, 5, 22, 4, 36, 20, tzinfo=UTC)),
        ("2024-05-22T10:06:20", datetime(2024, 5, 22, 4, 36, 20, tzinfo=UTC)),
        ("2024-05-22T10:06:20Z", datetime(2024, 5, 22, 10, 6, 20, tzinfo=UTC)),
        ("2024-05-22T10:06:20+02:00", datetime(2024, 5, 22, 8, 6, 20, tzinfo=UTC)),
        ("1726729500", datetime(2024, 9, 19, 7, 5, tzinfo=UTC)),
        (1726729500, datetime(2024, 9, 19, 7, 5, tzinfo=UTC)),
        ("1726729500000", datetime(2024, 9, 19, 7, 5, tzinfo=UTC)),
        ("22/05/2024", None),
        ("9" * 30, None),
    ],
)
def test_a_time_without_a_zone_is_indias(written: object, expected: datetime | None) -> None:
    body = {"requestId": "r-1", "eventName": "Opened", "ts": written}
    assert parse(email_msg91, json.dumps(body).encode()).at == expected


@pytest.mark.parametrize("module", MODULES)
def test_its_facts_are_third_party_and_it_reports(module: ModuleType) -> None:
    assert module.CAPABILITIES.sureness == "third_party"
    assert module.CAPABILITIES.has_receipts


def test_the_key_is_not_in_a_repr() -> None:
    settings = msg91.Settings.model_validate({"authkey": "planted-authkey"})
    assert "planted" not in repr(settings)
