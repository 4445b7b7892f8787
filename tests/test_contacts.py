"""One form for numbers and mail addresses; what leaves a doubt is refused before anything is sent."""

from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from jtd_worker.contacts import RecipientKey, Region, address
from jtd_worker.errors import RecipientError
from jtd_worker.result import Json
from tests.daemon import run_until_idle
from tests.jobs import insert_jtd, one, row

NOWHERE = Region("")


def number(text: str, country: Json = None, default: str = "") -> str:
    return address(text, RecipientKey.MOBILE, country, Region(default))


def refused(text: str, country: Json = None, default: str = "") -> str:
    with pytest.raises(RecipientError) as raised:
        number(text, country, default)
    assert text not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "country", "default", "expected"),
    [
        ("+14155550123", None, "", "+14155550123"),
        (" +1 (415) 555-0123 ", None, "", "+14155550123"),
        ("+919876543210", "US", "DE", "+919876543210"),
        ("9876543210", "IN", "", "+919876543210"),
        ("9876543210", "in", "US", "+919876543210"),
        ("9876543210", "+91", "", "+919876543210"),
        ("9876543210", "91", "", "+919876543210"),
        ("9876543210", 91, "", "+919876543210"),
        ("9876543210", "", "IN", "+919876543210"),
        ("98765 43210", None, "IN", "+919876543210"),
        ("09876543210", None, "IN", "+919876543210"),
        ("919876543210", None, "IN", "+919876543210"),
        ("(415) 555-0123", "1", "", "+14155550123"),
        ("0044 20 7946 0958", None, "GB", "+442079460958"),
        ("06 698 12345", "IT", "", "+390669812345"),
    ],
)
def test_a_number_is_given_in_e164(text: str, country: Json, default: str, expected: str) -> None:
    assert number(text, country, default) == expected


@pytest.mark.parametrize("text", ["9198765432", "9112345678", "9199999999", "9190000091"])
def test_a_national_number_that_begins_like_the_country_code_keeps_all_its_digits(text: str) -> None:
    assert number(text, "IN") == f"+91{text}"


def test_a_number_that_can_be_read_in_two_ways_is_refused() -> None:
    assert number("+4949518957855") != number("+49518957855")
    assert "may begin with the country code" in refused("49518957855", "DE")


@pytest.mark.parametrize("text", ["9876543210", "919876543210", "14155550123", "00919876543210"])
def test_a_number_without_a_country_is_refused_with_what_to_do(text: str) -> None:
    assert "JTD_DEFAULT_REGION" in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "+9198765432",  # what a guessed prefix makes of 9198765432
        "+91919876543210",  # the country code twice
        "+15550100000",
        "+1415555012",
        "+99912345678",
        "+447700900123",  # a range that nobody is given
    ],
)
def test_a_number_that_its_country_has_not_given_out_is_refused(text: str) -> None:
    assert "given out" in refused(text)


@pytest.mark.parametrize("text", ["+44 (0)20 7946 0958", "+9109876543210", "+114155550123"])
def test_one_recipient_has_not_two_spellings_in_the_list_of_suppressions(text: str) -> None:
    assert "not dialled from abroad" in refused(text)


@pytest.mark.parametrize(
    "text", ["", "+", "john@example.com", "1-800-FLOWERS", "+14155550123 ext 5", "tel:+14155550123",
             "+14155550123;ext=5", "call +14155550123", "+١٤١٥٥٥٥٠١٢٣",
             "\uff11\uff14155550123", "+1415555\n0123"]
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(RecipientError, match="not a phone number"):
        number(text, None, "US")


@pytest.mark.parametrize("country", ["India", "XX", "999", "0", 1234, -91, 91.0, True, [], {}, "²", "+"])
def test_a_country_that_is_none_is_refused_and_not_passed_over(country: Json) -> None:
    assert "country_code" in refused("9876543210", country, "IN")


@given(st.text() | st.from_regex(r"\+?[0-9 ().-]{3,20}"), st.sampled_from(["", "IN", "US", "DE", "IT", "AR"]))
def test_whatever_is_taken_for_a_number_is_one_form_of_it(text: str, default: str) -> None:
    try:
        found = number(text, None, default)
    except RecipientError:
        return
    assert found.startswith("+")
    assert found[1:].isdigit()
    assert 8 <= len(found) <= 16
    assert number(found) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jo@Customer.EXAMPLE", "Jo@customer.example"),
        (" jo@x.test ", "jo@x.test"),
        ("jö@exämple.com", "jö@exämple.com"),
        ("jo@mail.local", "jo@mail.local"),
        ("jo@localhost", "jo@localhost"),
        ('"a b"@x.example', '"a b"@x.example'),
        ("o'brien+tag@x.example", "o'brien+tag@x.example"),
    ],
)
def test_a_mail_address_stays_as_written_but_for_its_domain(text: str, expected: str) -> None:
    assert address(text, RecipientKey.EMAIL, "IN", NOWHERE) == expected


@pytest.mark.parametrize(
    "text", ["", "jo", "@x.example", "jo@", "a b@x.example", "jo..b@x.example", "jo.@x.example",
             "jo@x..example",
             "Jo <jo@x.example>", "a@x.example,b@x.example", "jo@x.example\r\nBcc: b@x.example",
             "jo@-x.example",
             "j" * 65 + "@x.example", "jo@[127.0.0.1]", "jo\u200b@x.example"]
)  # fmt: skip
def test_what_is_no_mail_address_is_refused(text: str) -> None:
    with pytest.raises(RecipientError) as raised:
        address(text, RecipientKey.EMAIL, None, NOWHERE)
    assert text == "" or text not in str(raised.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for key in (RecipientKey.EMAIL, RecipientKey.MOBILE):
        try:
            found = address(text, key, None, NOWHERE)
        except RecipientError:
            continue
        assert address(found, key, None, NOWHERE) == found


def test_the_id_of_a_user_is_not_touched() -> None:
    assert address(" 5 ", RecipientKey.USER, None, NOWHERE) == " 5 "


def test_a_region_that_is_none_is_named() -> None:
    assert Region.parse(" in ") == Region("IN")
    with pytest.raises(ValueError, match="ISO 3166"):
        Region.parse("India")


# With the database


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("+1 (415) 555-0123", RecipientKey.MOBILE),
        ("+91 98765-43210", RecipientKey.MOBILE),
        ("+39 06 698 12345", RecipientKey.MOBILE),
        ("+44.20/7946.0958", RecipientKey.MOBILE),
        ("Jo@Customer.EXAMPLE", RecipientKey.EMAIL),
        ("JÖ@EXÄMPLE.com", RecipientKey.EMAIL),
        ("jo@xn--exmple-cua.com", RecipientKey.EMAIL),
    ],
)
def test_what_is_sent_to_is_what_the_lists_know(db: psycopg.Connection, text: str, key: RecipientKey) -> None:
    query = "SELECT jtd.canonical(%s) = jtd.canonical(%s)"
    assert one(db, query, text, address(text, key, None, NOWHERE))


def sms(db: psycopg.Connection, contact: str | None, **recipient_data: Json) -> None:
    insert_jtd(
        db,
        channel_code="sms",
        recipient_contact=contact,
        template_key="user_invite_sms_v1",
        payload={
            "inviter_name": "Jane",
            "tenant_name": "Acme",
            "invite_link": "https://example.com/i",
            "recipient_data": recipient_data,
        },
    )


def test_the_worker_sends_to_one_form_and_refuses_what_it_cannot_read(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    sms(db, "98765 43210")
    sms(db, "(415) 555-0123", country_code="US")
    sms(db, None, mobile="20 7946 0958", country_code="gb")
    sms(db, None, mobile="9876543211", country_code="+91")
    sms(db, "+15550100000")
    insert_jtd(db, recipient_contact="John@Customer.EXAMPLE")
    insert_jtd(db, recipient_contact="john..doe@customer.example")
    run_until_idle(dsn, "sms:outbox,email:outbox", tmp_path, default_region="IN")
    sent = db.execute("SELECT recipient FROM n_jtd_outbox ORDER BY 1").fetchall()
    assert [to for (to,) in sent] == [
        "+14155550123", "+442079460958", "+919876543210", "+919876543211", "John@customer.example",
    ]  # fmt: skip
    failed = db.execute("SELECT id FROM n_jtd WHERE status_code = 'failed' ORDER BY 1").fetchall()
    assert len(failed) == 2
    for (jtd_id,) in failed:
        found = row(db, jtd_id)
        assert (found["error_code"], found["retry_count"]) == ("recipient_invalid", 0)
        assert "recipient's" in found["error_message"]


def test_a_channel_of_ones_own_says_itself_what_its_addresses_are(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute(
        "INSERT INTO n_jtd_channels (code, name, queue_name, recipient_key)"
        " VALUES ('voice', 'Voice', 'jtd_voice', 'mobile')"
    )
    db.execute(
        "UPDATE n_jtd_event_types SET allowed_channels = allowed_channels || '{voice}'"
        " WHERE code = 'notification'"
    )
    db.execute(
        "INSERT INTO n_jtd_templates (template_key, name, channel_code, source_type_code, content)"
        " VALUES ('v', 'V', 'voice', 'user_invite', 'Hello')"
    )
    insert_jtd(db, channel_code="voice", recipient_contact="+1 415 555 0123", template_key="v")
    run_until_idle(dsn, "voice:outbox", tmp_path)
    assert one(db, "SELECT recipient FROM n_jtd_outbox") == "+14155550123"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"mobile": "9876543210", "country_code": "IN"}, "9876543210"),
        ({"mobile": "9876543210", "country_code": " in "}, "9876543210"),
        ({"mobile": "9876543210", "country_code": "91"}, "+919876543210"),
    ],
)
def test_a_region_is_no_calling_code(db: psycopg.Connection, data: dict[str, str], expected: str) -> None:
    found = one(db, "SELECT jtd.recipient('mobile', NULL, NULL, %s)", Jsonb({"recipient_data": data}))
    assert found == expected
