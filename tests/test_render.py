"""A claimed JTD and its template become one message, the same one on every attempt."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.errors import RenderError
from jtd_worker.jtd import Jtd
from jtd_worker.message import Attachment, Message
from jtd_worker.render import MAX_ATTACHMENTS, render
from jtd_worker.templates import CompiledTemplate, Template, Variable

CREATED = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)
SECRET = "s3cret-value"


def jtd(**changes: Any) -> Jtd:
    given: dict[str, Any] = {
        "id": UUID(int=7),
        "attempt": 1,
        "tenant_id": UUID(int=8),
        "event_type_code": "notification",
        "channel_code": "email",
        "source_type_code": "user_invite",
        "to": "ann@example.com",
        "recipient_name": "Ann",
        "payload": {},
        "template_variables": {},
        "metadata": {},
        "template_id": UUID(int=9),
        "template_version": 1,
        "template_key": "hello_v1",
        "locale": "en",
        "created_at": CREATED,
        "is_diverted": False,
        "retry_count": 0,
        "max_retries": 3,
        "expires_at": None,
    }
    return Jtd(**(given | changes))


def compiled(content: str = "", **changes: Any) -> CompiledTemplate:
    given: dict[str, Any] = {"id": UUID(int=9), "version": 1, "key": "hello_v1", "channel_code": "email"}
    return CompiledTemplate(Template(**(given | {"content": content} | changes)))


def text(content: str, **changes: Any) -> str:
    return render(jtd(**changes), compiled(content)).text


def refused(template: CompiledTemplate, **changes: Any) -> RenderError:
    with pytest.raises(RenderError) as caught:
        render(jtd(**changes), template)
    assert SECRET not in str(caught.value)
    return caught.value


def attached(*entries: Any) -> tuple[Attachment, ...]:
    return render(jtd(payload={"attachments": list(entries)}), compiled()).attachments


def test_a_message_holds_all_that_the_row_and_the_template_say() -> None:
    row = jtd(payload={"name": "Ann"}, metadata={"media_url": "https://example.com/x.png"})
    template = compiled("Hi {{ name }}", subject=" Hello {{ name }}\n", content_html="<p>{{ name }}</p>")
    assert render(row, template) == Message(
        jtd_id=UUID(int=7),
        tenant_id=UUID(int=8),
        channel="email",
        event_type="notification",
        source_type="user_invite",
        idempotency_key="00000000-0000-0000-0000-000000000007",
        created_at=CREATED,
        to="ann@example.com",
        name="Ann",
        subject="Hello Ann",
        text="Hi Ann",
        html="<p>Ann</p>",
        variables={"name": "Ann", "recipient_name": "Ann"},
        locale="en",
        metadata={"media_url": "https://example.com/x.png"},
    )


def test_a_later_attempt_gives_the_same_message() -> None:
    template = compiled("{{ now.isoformat() }} {{ data }}")
    payload = {"data": {"b": 1, "a": 2}}
    assert render(jtd(payload=payload), template) == render(
        jtd(payload=payload, attempt=5, retry_count=4), template
    )


def test_the_later_source_of_a_variable_wins_key_by_key() -> None:
    payload = {"a": "flat", "b": "flat", "c": "flat", "template_data": {"b": "data", "c": "data"}}
    assert (
        text("{{ a }} {{ b }} {{ c }}", payload=payload, template_variables={"c": "own"}) == "flat data own"
    )


def test_what_is_no_variable_is_not_in_reach_of_the_template() -> None:
    payload = {"recipient_data": {"email": SECRET}, "attachments": [], "template_data": {}}
    content = "{{ recipient_data is defined }}{{ attachments is defined }}{{ template_data is defined }}"
    assert text(content, payload=payload) == "FalseFalseFalse"
    assert set(render(jtd(payload=payload), compiled()).variables) == {"recipient_name"}


def test_the_name_of_the_recipient_is_a_variable_unless_one_is_given() -> None:
    assert text("{{ recipient_name }}") == "Ann"
    assert text("{{ recipient_name }}", payload={"recipient_name": None}) == "Ann"
    assert text("{{ recipient_name }}", payload={"recipient_name": "Bob"}) == "Bob"


def test_a_default_reaches_the_message_for_templates_of_the_provider() -> None:
    template = compiled(variables=(Variable(name="hours", default=24), Variable(name="link", required=False)))
    assert render(jtd(recipient_name=None), template).variables == {"hours": 24, "link": None}


def test_now_is_when_the_row_was_created() -> None:
    assert text("{{ now.strftime('%d.%m.%Y') }}") == "31.01.2030"


def test_missing_variables_are_refused_by_name() -> None:
    error = refused(compiled("{{ a }}{{ b }}{{ known }}", subject="{{ c }}"), payload={"known": SECRET})
    assert (error.code, str(error)) == ("variables_missing", "missing: a, b, c")


@pytest.mark.parametrize("data", [["a"], "a", 1, False])
def test_template_data_that_is_no_mapping_is_refused(data: object) -> None:
    assert refused(compiled(), payload={"template_data": data}).code == "payload_invalid"


def test_template_data_may_be_null() -> None:
    assert text("{{ a }}", payload={"a": "x", "template_data": None}) == "x"


def test_a_template_without_subject_gives_none() -> None:
    message = render(jtd(channel_code="sms", to="+14155550100"), compiled("hi"))
    assert (message.subject, message.html) == (None, None)


@pytest.mark.parametrize("name", ["a\r\nBcc: x@example.com", "a\nb", "a\rb"])
def test_a_second_line_in_a_subject_is_refused(name: str) -> None:
    assert refused(compiled(subject="Hi {{ name }}!"), payload={"name": name}).code == "header_unsafe"


def test_other_control_characters_of_a_subject_become_spaces() -> None:
    message = render(jtd(payload={"name": "a\u2028b\x0bc\td\x00e"}), compiled(subject="{{ name }}"))
    assert message.subject == "a b c d e"


def test_a_name_is_one_line_for_the_header() -> None:
    assert (
        render(jtd(recipient_name="Ann\r\nBcc: x@example.com\x00"), compiled()).name
        == "Ann  Bcc: x@example.com"
    )
    assert render(jtd(recipient_name=None), compiled()).name is None


def test_nul_and_lone_surrogates_are_removed() -> None:
    message = render(jtd(payload={"x": "a\x00b\ud800c\u00e9"}), compiled("{{ x }}", content_html="{{ x }}"))
    assert (message.text, message.html) == ("abcé", "abcé")


@given(st.text(alphabet=st.characters()))
def test_whatever_a_variable_holds_the_message_can_be_encoded(value: str) -> None:
    one_line = "".join(value.splitlines())
    template = compiled("{{ x }}", subject="{{ y }}")
    message = render(jtd(payload={"x": value, "y": one_line}, recipient_name=value), template)
    for part in (message.text, message.subject, message.name):
        assert part is not None
        part.encode()
        assert "\0" not in part
    assert len((message.subject or "").splitlines()) <= 1


def test_reply_to_comes_from_the_payload_else_from_the_metadata() -> None:
    template = compiled()
    assert render(jtd(), template).reply_to is None
    both = jtd(payload={"reply_to": "a@example.com"}, metadata={"reply_to": "b@example.com"})
    assert render(both, template).reply_to == "a@example.com"
    assert (
        render(jtd(payload={"reply_to": 1}, metadata={"reply_to": "b@example.com"}), template).reply_to
        == "b@example.com"
    )
    assert refused(template, payload={"reply_to": "a@example.com\r\nBcc: x"}).code == "header_unsafe"


def test_attachments_are_decoded() -> None:
    encoded = b64encode(b"%PDF-" * 40).decode()
    wrapped = "\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    entry = {"name": "invoice é.pdf", "type": "application/pdf", "content_base64": wrapped}
    empty = {"name": "b.txt", "type": "text/plain", "content_base64": ""}
    assert attached(entry, empty) == (
        Attachment(name="invoice é.pdf", media_type="application/pdf", content=b"%PDF-" * 40),
        Attachment(name="b.txt", media_type="text/plain", content=b""),
    )
    assert render(jtd(payload={"attachments": None}), compiled()).attachments == ()


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a\r\nb.pdf"},
        {"name": None},
        {"type": "pdf"},
        {"type": "text/plain\r\nX: y"},
        {"type": "text/plain; name=x"},
        {"content_base64": "%%%"},
        {"content_base64": "abc"},
        {"content_base64": "é"},
        {"content_base64": None},
    ],
)
def test_a_bad_attachment_is_refused_by_its_number(change: dict[str, Any]) -> None:
    good = {"name": "a.txt", "type": "text/plain", "content_base64": "eA=="}
    error = refused(compiled(), payload={"attachments": [good, good | change]})
    assert (error.code, str(error).split(":")[0]) == ("attachment_invalid", "attachment 2")


@pytest.mark.parametrize("bad", ["a", {"name": "a"}, [1], [{}]])
def test_attachments_of_another_shape_are_refused(bad: object) -> None:
    assert refused(compiled(), payload={"attachments": bad}).code == "attachment_invalid"


def test_attachments_are_bounded_together() -> None:
    half = {"name": "a", "type": "a/b", "content_base64": b64encode(bytes(MAX_ATTACHMENTS // 2)).decode()}
    assert len(attached(half, half)) == 2
    one_byte = {"name": "a", "type": "a/b", "content_base64": "eA=="}
    assert refused(compiled(), payload={"attachments": [half, half, one_byte]}).code == "attachment_too_large"
