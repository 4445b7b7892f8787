"""Invitations: what producers may give, and what a calendar reads in the mail."""

import json
from base64 import b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker import mime
from jtd_worker.channels import email_resend, email_sendgrid, email_ses
from jtd_worker.errors import RenderError
from jtd_worker.invitation import read_invitation
from jtd_worker.message import Attachment, Invitation
from jtd_worker.render import render
from jtd_worker.result import Sent
from jtd_worker.testing import sample
from jtd_worker.testing.http_server import HttpServer, answer
from tests.test_render import compiled, jtd

SENDER = "Acme <no-reply@acme.example>"
START = datetime(2031, 6, 1, 3, 30, tzinfo=UTC)
GIVEN = {"start": "2031-06-01T09:00:00+05:30", "duration": 45}
INVITATION = Invitation(method="REQUEST", start=START, end=START + timedelta(minutes=45))
text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=120)


def mail(**changes: Any) -> EmailMessage:
    built = mime.build(sample("email", calendar=Invitation(**{**fields(), **changes})), SENDER)
    document = message_from_bytes(built.content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    return document


def fields() -> dict[str, Any]:
    return {"method": "REQUEST", "start": INVITATION.start, "end": INVITATION.end}


def ics(document: EmailMessage) -> bytes:
    (part,) = [part for part in document.walk() if part.get_content_type() == "text/calendar"]
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def event(**changes: Any) -> icalendar.Event:
    """Return the event as a calendar program reads it."""
    calendar = icalendar.Calendar.from_ical(ics(mail(**changes)))
    assert calendar["VERSION"] == "2.0"
    (found,) = calendar.walk("VEVENT")
    assert isinstance(found, icalendar.Event)
    assert not found.errors
    return found


# What is written


def test_a_calendar_reads_who_invites_whom_when_and_where() -> None:
    found = event(
        summary="Service", location="12 Lake Road; at the back, left", description="Two\nlines \\ more"
    )
    assert (found["DTSTART"].dt, found["DTEND"].dt) == (START, START + timedelta(minutes=45))
    assert found["DTSTAMP"].dt == sample("email").created_at
    assert str(found["SUMMARY"]) == "Service"
    assert str(found["LOCATION"]) == "12 Lake Road; at the back, left"
    assert str(found["DESCRIPTION"]) == "Two\nlines \\ more"
    assert str(found["ORGANIZER"]) == "mailto:no-reply@acme.example"
    assert found["ORGANIZER"].params["CN"] == "Acme"
    assert str(found["ATTENDEE"]) == "mailto:zoe@customer.example"
    assert dict(found["ATTENDEE"].params) == {
        "CN": "Zoë", "ROLE": "REQ-PARTICIPANT", "PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE"
    }  # fmt: skip
    assert (found["SEQUENCE"], found["STATUS"]) == (0, "CONFIRMED")
    assert str(found["UID"]) == f"{sample('email').jtd_id}@acme.example"


def test_a_cancellation_is_about_the_same_appointment_and_asks_for_nothing() -> None:
    found = event(method="CANCEL", uid="appointment-4711", sequence=3)
    assert (str(found["UID"]), found["SEQUENCE"], found["STATUS"]) == ("appointment-4711", 3, "CANCELLED")
    assert "RSVP" not in found["ATTENDEE"].params
    calendar = icalendar.Calendar.from_ical(ics(mail(method="CANCEL", uid="appointment-4711")))
    assert calendar["METHOD"] == "CANCEL"


def test_the_subject_stands_in_for_a_summary_and_the_sender_for_an_organizer() -> None:
    assert str(event()["SUMMARY"]) == "Paid"
    assert (
        str(event(organizer="Service <service@acme.example>")["ORGANIZER"]) == "mailto:service@acme.example"
    )


def test_the_mail_has_it_as_the_last_alternative_and_as_a_file() -> None:
    document = mail()
    assert document.get_content_type() == "multipart/mixed"
    bodies, file = document.iter_parts()
    assert [part.get_content_type() for part in bodies.iter_parts()] == [
        "text/plain", "text/html", "text/calendar",
    ]  # fmt: skip
    *_, part = bodies.iter_parts()
    assert part.get_param("method") == "REQUEST"
    assert part.get_content_charset() == "utf-8"
    assert (file.get_content_type(), file.get_filename()) == ("application/ics", "invite.ics")
    assert file.get_payload(decode=True) == ics(document)


def test_other_attachments_and_a_mail_of_text_alone_keep_their_form() -> None:
    other = Attachment(name="a.pdf", media_type="application/pdf", content=b"%PDF")
    message = sample("email", html=None, attachments=(other,), calendar=INVITATION)
    document = message_from_bytes(mime.build(message, SENDER).content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    assert [part.get_filename() for part in document.iter_attachments()] == ["a.pdf", "invite.ics"]
    bodies = next(iter(document.iter_parts()))
    assert [part.get_content_type() for part in bodies.iter_parts()] == ["text/plain", "text/calendar"]


def test_a_mail_without_an_invitation_is_as_it_was() -> None:
    assert b"calendar" not in mime.build(sample("email"), SENDER).content
    assert mime.files(sample("email"), mime.envelope(sample("email"), SENDER)) == ()


def test_every_attempt_writes_the_same_bytes_whatever_the_zone_of_the_session() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    message = sample("email", calendar=INVITATION)
    again = sample("email", calendar=INVITATION, created_at=sample("email").created_at.astimezone(zone))
    assert mime.build(message, SENDER).content == mime.build(again, SENDER).content


@given(text, text, st.integers(0, 2**31 - 1))
def test_any_text_comes_back_as_it_was_and_no_line_is_too_long(summary: str, place: str, number: int) -> None:
    found = event(summary=summary, location=place, description=f"{place}\n{summary}", sequence=number)
    assert str(found["SUMMARY"]) == summary
    assert str(found["LOCATION"]) == place
    assert str(found["DESCRIPTION"]) == f"{place}\n{summary}"
    lines = ics(mail(summary=summary, location=place)).split(b"\r\n")
    assert lines.pop() == b""
    assert max(map(len, lines)) <= 75
    assert not [line for line in lines if b"\n" in line or b"\r" in line]
    b"\r\n".join(lines).decode()


def test_what_has_a_meaning_in_a_calendar_is_escaped() -> None:
    assert b"SUMMARY:a\\, b\\; c\\\\ d\\n e\r\n" in ics(mail(summary="a, b; c\\ d\n e"))


@pytest.mark.parametrize("name", ["summary", "location", "description", "uid"])
def test_a_text_cannot_add_a_line_of_its_own(name: str) -> None:
    found = event(**{name: "Service\r\nATTENDEE:mailto:eve@evil.example\r\nEND:VEVENT\x00\u2028"})
    assert str(found["ATTENDEE"]) == "mailto:zoe@customer.example"


@pytest.mark.parametrize(
    "name", ['Zoë "Z"; CN=Eve:mailto:eve@evil.example', "Zoë, the second", "Zoë:", "^n'"]
)
def test_a_name_cannot_leave_its_quotation_marks(name: str) -> None:
    built = mime.build(sample("email", name=name, calendar=INVITATION), SENDER)
    document = message_from_bytes(built.content, policy=policy.default)
    assert isinstance(document, EmailMessage)
    (found,) = icalendar.Calendar.from_ical(ics(document)).walk("VEVENT")
    assert str(found["ATTENDEE"]) == "mailto:zoe@customer.example"
    assert found["ATTENDEE"].params["ROLE"] == "REQ-PARTICIPANT"


# What a producer may give


def refused(given: Any) -> str:
    with pytest.raises(RenderError) as raised:
        read_invitation(given)
    assert raised.value.code == "calendar_invalid"
    return str(raised.value)


def test_a_producer_gives_an_end_or_a_duration() -> None:
    assert read_invitation(GIVEN) == INVITATION
    assert read_invitation({"start": GIVEN["start"], "end": "2031-06-01T04:15:00Z"}) == INVITATION


@pytest.mark.parametrize("given", [None, "soon", 5, [], {}, {"name": "mine"}, {"summary": "x", "uid": "y"}])
def test_what_is_no_invitation_is_left_to_the_template(given: Any) -> None:
    assert read_invitation(given) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"start": None}, "start must be a time with offset"),
        ({"start": "2031-06-01T09:00:00"}, "start must be a time with offset"),
        ({"start": "tomorrow"}, "start must be a time with offset"),
        ({"start": 1938000000}, "start must be a time with offset"),
        ({"start": "0001-01-01T00:00:00+05:00"}, "start must be a time with offset"),
        ({"end": "2031-06-02T09:00:00Z"}, "either end or duration"),
        ({"duration": 0}, "duration must be a whole number from 1"),
        ({"duration": "45"}, "duration must be a whole number from 1"),
        ({"duration": True}, "duration must be a whole number from 1"),
        ({"duration": 2**31}, "duration must be a whole number from 1"),
        ({"start": "9999-12-31T23:00:00Z", "duration": 2**30}, "duration is too long"),
        ({"sequence": -1}, "sequence must be a whole number from 0"),
        ({"sequence": 1.5}, "sequence must be a whole number from 0"),
        ({"method": "PUBLISH"}, "method must be REQUEST or CANCEL"),
        ({"method": ["REQUEST"]}, "method must be REQUEST or CANCEL"),
        ({"method": "CANCEL"}, "CANCEL needs the uid"),
        ({"summary": ""}, "summary must be a text"),
        ({"summary": "x" * 1001}, "at most 1000"),
        ({"location": {}}, "location must be a text"),
        ({"organizer": "Acme"}, "organizer must be one mail address"),
        ({"organizer": "a@b.example, c@d.example"}, "organizer must be one mail address"),
        ({"begin": "2031"}, "'begin' is not known"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused_with_what_to_mend(changes: Any, told: str) -> None:
    assert told in refused({**GIVEN, **changes})


def test_an_end_before_its_start_is_refused() -> None:
    assert "after start" in refused({"start": GIVEN["start"], "end": GIVEN["start"]})
    assert "either end or duration" in refused({"start": GIVEN["start"]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["start", "end", "duration", "method", "sequence", "summary", "organizer", "uid"])


@given(
    st.dictionaries(keys, json_values | st.datetimes().map(lambda time: f"{time.isoformat()}Z"), max_size=6)
)
def test_whatever_is_given_is_an_invitation_or_none_or_refused(given: dict[str, Any]) -> None:
    found = None
    with suppress(RenderError):
        found = read_invitation(given)
    if found is not None:
        mime.build(sample("email", calendar=found), SENDER)


# On its way


def test_a_job_of_mail_renders_with_its_invitation_and_others_without() -> None:
    payload = {"calendar": GIVEN}
    template = compiled("At {{ calendar.start }}")
    message = render(jtd(payload=payload, channel_code="email"), template)
    assert message.calendar == INVITATION
    assert message.text == f"At {GIVEN['start']}"
    assert render(jtd(payload=payload, channel_code="sms"), template).calendar is None


def test_a_job_whose_invitation_is_wrong_is_not_sent() -> None:
    wrong = jtd(payload={"calendar": {"start": GIVEN["start"], "end": "x"}})
    with pytest.raises(RenderError, match=r"payload\.calendar: end must be a time") as raised:
        render(wrong, compiled("x"))
    assert raised.value.code == "calendar_invalid"


@pytest.mark.parametrize(
    ("module", "settings", "yes"),
    [
        (email_sendgrid, {"api_key": "k"}, answer(202)),
        (email_resend, {"api_key": "k"}, answer(200, b'{"id": "1"}')),
        (
            email_ses,
            {"region": "eu-west-1", "access_key_id": "a", "secret_access_key": "b"},
            answer(200, b'{"MessageId": "1"}'),
        ),
    ],
)
async def test_each_provider_is_given_it(module: Any, settings: dict[str, str], yes: Any) -> None:
    async with HttpServer(yes) as server:
        url = server.url.removesuffix("/hook")
        read = module.Settings.model_validate({**settings, "base_url": url, "from": SENDER})
        adapter = module.build(read, "email")
        (result,) = await adapter.send([sample("email", calendar=INVITATION)])
        await adapter.aclose()
    assert isinstance(result, Sent), result
    body = json.loads(server.requests[0].body)
    if "Content" in body:
        document = message_from_bytes(b64decode(body["Content"]["Raw"]["Data"]), policy=policy.default)
        assert isinstance(document, EmailMessage)
        assert b"METHOD:REQUEST" in ics(document)
    else:
        (file,) = body["attachments"]
        kind = file.get("type") or file.get("content_type")
        assert (kind, file["filename"]) == ("text/calendar; method=REQUEST; charset=utf-8", "invite.ics")
        assert b"METHOD:REQUEST" in b64decode(file["content"])
