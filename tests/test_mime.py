"""What a message looks like as mail, and what can never become one."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, message_from_string, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr, unquote
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker import mime
from jtd_worker.errors import RecipientError, RenderError
from jtd_worker.message import Attachment, Message

SENDER = "Acme <no-reply@acme.example>"
UNSAFE = ["\r\n", "\n", "\r", "\0", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"]

header_text = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
body_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=3000)


def message(**changes: Any) -> Message:
    fields: Mapping[str, Any] = {
        "jtd_id": UUID("0192f0c1-0000-7000-8000-00000000abcd"),
        "tenant_id": UUID(int=7),
        "channel": "email",
        "event_type": "notification",
        "source_type": "user_invite",
        "idempotency_key": "0192f0c1-0000-7000-8000-00000000abcd",
        "created_at": datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
        "to": "jane@example.com",
        "subject": "Hello",
        "text": "Hello Jane",
    }
    return Message(**{**fields, **changes})


def parsed(**changes: Any) -> EmailMessage:
    document = message_from_bytes(mime.build(message(**changes), SENDER).content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    assert not document.defects
    return document


def body(mail: EmailMessage, kind: Literal["plain", "html"]) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def assert_fit_for_smtp(content: bytes) -> None:
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\0", content) is None
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.endswith(b"\r\n")


def test_the_headers_name_sender_recipient_subject_date_and_origin() -> None:
    mail = parsed(name="Jane Doe", reply_to="Help <help@acme.example>")
    assert str(mail["From"]) == SENDER
    assert str(mail["To"]) == "Jane Doe <jane@example.com>"
    assert mail["Reply-To"].addresses[0].addr_spec == "help@acme.example"
    assert mail["Subject"] == "Hello"
    assert mail["Date"].datetime == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@acme.example>")
    assert "0192f0c1-0000-7000-8000-00000000abcd" in mail["Message-ID"]


def test_headers_without_a_source_are_left_out() -> None:
    mail = parsed(subject=None)
    assert mail["Subject"] is None
    assert mail["Reply-To"] is None


def test_the_same_message_gives_the_same_bytes_twice() -> None:
    attachment = Attachment(name="a.pdf", media_type="application/pdf", content=b"%PDF")
    first = message(html="<p>Hello</p>", attachments=(attachment,))
    again = message(html="<p>Hello</p>", attachments=(attachment,))
    assert mime.build(first, SENDER).content == mime.build(again, SENDER).content


def test_several_attachments_travel_side_by_side() -> None:
    files = tuple(
        Attachment(name=f"{number}.pdf", media_type="application/pdf", content=b"%PDF") for number in range(3)
    )
    mail = parsed(html="<p>Hello</p>", attachments=files)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["0.pdf", "1.pdf", "2.pdf"]
    assert body(mail, "html").strip() == "<p>Hello</p>"


def test_the_time_zone_of_the_session_does_not_change_the_bytes() -> None:
    elsewhere = message().created_at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert mime.build(message(created_at=elsewhere), SENDER).content == mime.build(message(), SENDER).content


def test_the_message_id_follows_the_idempotency_key() -> None:
    first = mime.build(message(), SENDER).message_id
    assert mime.build(message(idempotency_key="another"), SENDER).message_id != first
    assert mime.build(message(text="changed"), SENDER).message_id == first


def test_a_long_message_id_is_not_encoded() -> None:
    sender = f"no-reply@{'a' * 60}.{'b' * 60}.example"
    mail = mime.build(message(), sender)
    assert f"Message-ID: {mail.message_id}\r\n".encode() in mail.content


def test_text_comes_before_html_and_attachments_last() -> None:
    attachment = Attachment(name="a.pdf", media_type="application/pdf", content=b"%PDF\r\n\0")
    mail = parsed(html="<p>Hello</p>", attachments=(attachment,))
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert [part.get_content() for part in mail.iter_attachments()] == [b"%PDF\r\n\0"]


def test_html_alone_is_a_single_part() -> None:
    mail = parsed(text="", html="<p>Hello</p>")
    assert mail.get_content_type() == "text/html"
    assert mail.get_content().strip() == "<p>Hello</p>"


def test_no_body_can_contain_the_boundary_that_ends_it() -> None:
    # The boundary seen in one mail, written into the text of the next under the same id.
    boundary = parsed(html="<p>Hello</p>").get_boundary()
    mail = parsed(html="<p>Hello</p>", text=f"a\n--{boundary}\nContent-Type: text/html\n\nb")
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert str(boundary) in body(mail, "plain")


@pytest.mark.parametrize("unsafe", UNSAFE)
@pytest.mark.parametrize(
    "into",
    [
        lambda text: {"subject": f"Hello{text}Bcc: eve@evil.example"},
        lambda text: {"name": f"Jane{text}Bcc: eve@evil.example"},
        lambda text: {"to": f"jane@example.com{text}Bcc: eve@evil.example"},
        lambda text: {"reply_to": f"help@acme.example{text}Bcc: eve@evil.example"},
        lambda text: {"attachments": (Attachment(name=f"a{text}b", media_type="text/csv", content=b""),)},
        lambda text: {"attachments": (Attachment(name="a", media_type=f"text/csv{text}x: y", content=b""),)},
    ],
    ids=["subject", "name", "address", "reply_to", "attachment_name", "media_type"],
)
def test_a_control_character_in_any_header_source_is_refused(into: Any, unsafe: str) -> None:
    with pytest.raises(RenderError) as caught:
        mime.build(message(**into(unsafe)), SENDER)
    assert caught.value.code == "header_unsafe"
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "jane",
        "@example.com",
        "jane@",
        "jane doe@example.com",
        "Jane <jane@example.com>",
        "a@b.example, c@d.example",
        "a@b@c.example",
        "jane@exam ple.com",
        "jane@-example.com",
        "jane@example..com",
        "jane@[192.0.2.1]",
        "jane@ex>ample.com",
        "ja..ne@example.com",
        "jane\ud800@example.com",
        "jane@exa\ud800mple.com",
        'jane"@example.com',
    ],
)
def test_what_is_not_one_address_is_the_recipients_fault(address: str) -> None:
    with pytest.raises(RecipientError) as caught:
        mime.build(message(to=address), SENDER)
    assert not address or address not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("jane@faß.example", "jane@xn--fa-hia.example"),
        ("jane@BÜCHER.example", "jane@xn--bcher-kva.example"),
        ("jane@例え.テスト", "jane@xn--r8jz45g.xn--zckzah"),
        ("Jane.Doe+tag@EXAMPLE.com", "Jane.Doe+tag@example.com"),
        ("jane@a--b.under_score.example", "jane@a--b.under_score.example"),
        ('"jane doe"@example.com', '"jane doe"@example.com'),
        ('"a\\"b"@example.com', '"a\\"b"@example.com'),
    ],
)
def test_the_envelope_has_the_domain_as_ascii(address: str, envelope: str) -> None:
    mail = mime.build(message(to=address), SENDER)
    assert mail.recipient == envelope
    assert not mail.needs_smtputf8
    assert f"To: {envelope}".encode() in mail.content


def test_a_local_part_beyond_ascii_needs_smtputf8_and_is_written_as_utf8() -> None:
    mail = mime.build(message(to="jürgen@bücher.example", name="Jürgen"), SENDER)
    assert mail.needs_smtputf8
    assert "jürgen@xn--bcher-kva.example".encode() in mail.content
    assert_fit_for_smtp(mail.content)


@pytest.mark.parametrize("reply_to", ["nobody", "a@b.example, c@d.example", "jürgen@acme.example", "a@[b"])
def test_a_reply_to_that_is_not_one_address_is_refused(reply_to: str) -> None:
    with pytest.raises(RenderError) as caught:
        mime.build(message(reply_to=reply_to), SENDER)
    assert caught.value.code == "reply_to_invalid"


@pytest.mark.parametrize(
    "media_type", ["pdf", "application/", "multipart/mixed", "message/rfc822", "a/b; c=d"]
)
def test_an_attachment_of_no_usable_type_is_refused(media_type: str) -> None:
    with pytest.raises(RenderError) as caught:
        parsed(attachments=(Attachment(name="a", media_type=media_type, content=b""),))
    assert caught.value.code == "attachment_invalid"


@pytest.mark.parametrize(
    "name", ["Rechnung für Zoë.pdf", "請求書.pdf", 'a "b"; c=%20\\.pdf', "ü" * 120 + ".pdf"]
)
def test_an_attachment_keeps_its_name(name: str) -> None:
    content = mime.build(
        message(attachments=(Attachment(name=name, media_type="application/pdf", content=b"x" * 5000),)),
        SENDER,
    ).content
    assert_fit_for_smtp(content)
    document = message_from_bytes(content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    assert [part.get_filename() for part in document.iter_attachments()] == [name]


def test_lone_surrogates_and_nul_are_replaced_in_text() -> None:
    mail = parsed(subject="a\ud800b", name="c\udfffd", text="e\ud800\0f \ud83d\ude00", html="<p>\udc00</p>")
    assert mail["Subject"] == "a\ufffdb"
    assert mail["To"].addresses[0].display_name == "c\ufffdd"
    assert body(mail, "plain") == "e\ufffd\ufffdf \U0001f600\n"
    assert body(mail, "html") == "<p>\ufffd</p>\n"


def test_a_repr_shows_neither_recipient_nor_text() -> None:
    shown = repr(mime.build(message(name="Jane", subject="Secret", text="Secret"), SENDER))
    assert "jane" not in shown.lower()
    assert "Secret" not in shown


def decoded(header: str) -> str:
    return str(make_header(decode_header(header)))


@pytest.mark.parametrize("to", ["jane@example.com", "jürgen@example.com"])
def test_what_looks_like_an_encoded_word_is_not_decoded_on_the_way(to: str) -> None:
    trap = "=?utf-8?q?a=0D=0ABcc:_eve@evil.example?="
    attachment = Attachment(name=trap, media_type="text/csv", content=b"")
    content = mime.build(message(to=to, subject=trap, name=trap, attachments=(attachment,)), SENDER).content
    assert b"\nBcc" not in content
    assert trap.encode() not in content
    read = message_from_string(content.decode(), policy=policy.default)
    assert read["Subject"] == trap


@given(name=header_text)
def test_any_file_name_arrives_as_written(name: str) -> None:
    attachment = Attachment(name=name, media_type="text/csv", content=b"")
    content = mime.build(message(attachments=(attachment,)), SENDER).content
    assert_fit_for_smtp(content)
    document = message_from_bytes(content, policy=policy.compat32)
    found = document.get_payload(1).get_filename("")  # type: ignore[union-attr]
    assert found in {name.strip(), unquote(name.strip())}  # it takes what stands in < > for quoted


@given(subject=header_text, name=header_text, utf8=st.booleans())
def test_any_subject_and_name_arrive_as_written(subject: str, name: str, *, utf8: bool) -> None:
    to = "jürgen@example.com" if utf8 else "jane@example.com"
    content = mime.build(message(subject=subject, name=name, to=to), SENDER).content
    assert_fit_for_smtp(content)
    # The older parser reads it: the newer one makes a space of the gap between two encoded words of a name.
    read = message_from_string(content.decode(), policy=policy.compat32)
    shown, address = parseaddr(read["To"].replace("\n", ""))
    assert decoded(read.get("Subject", "")).strip() == subject.strip()
    assert address == to
    assert decoded(shown).split() == name.split()


@given(text=body_text, html=st.none() | body_text)
def test_any_body_arrives_as_written(text: str, html: str | None) -> None:
    content = mime.build(message(text=text, html=html), SENDER).content
    assert_fit_for_smtp(content)
    assert content.isascii()
    document = message_from_bytes(content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    assert body(document, "html" if html and not text else "plain").rstrip("\n") == (
        text or html or ""
    ).rstrip("\n")
    if text and html:
        assert body(document, "html").rstrip("\n") == html.rstrip("\n")
