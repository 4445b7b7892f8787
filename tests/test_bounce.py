"""What mails to a bounce address report, and that nobody can make one up."""

import hmac
from base64 import b32encode, b64encode
from datetime import UTC, datetime, timedelta
from time import process_time
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.bounce import LIMIT, read_bounce
from jtd_worker.channels.email_smtp import ReceiptSettings, Settings, build_receipts
from jtd_worker.receipt import ForgedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.result import Refused, Sent
from jtd_worker.testing.smtp_server import SmtpServer, on
from jtd_worker.verp import Verp, address
from tests.bounce_corpus import CORPUS, FORGED, JOB, SECRET, TO, TOKEN, dsn, failed, mail
from tests.test_email_smtp import message, smtp

VERP = Verp([SECRET.encode()])
OTHER_SECRET = "another-secret-of-the-bounce-address"
BEARER = "a-secret-of-the-mail-server"
BOUNCING = {"bounce_address": "bounces@acme.example", "bounce_secrets": SECRET}


def read(name: str) -> list[Receipt]:
    return list(read_bounce(mail(name), VERP))


# What is reported


@pytest.mark.parametrize("name", CORPUS)
def test_a_report_is_understood_for_what_it_is(name: str) -> None:
    assert [(receipt.kind, receipt.code) for receipt in read(name)] == CORPUS[name][1]
    assert all(receipt.reference == JOB for receipt in read(name))


@pytest.mark.parametrize("name", CORPUS)
def test_bare_line_feeds_change_nothing(name: str) -> None:
    assert read_bounce(mail(name).replace(b"\r\n", b"\n"), VERP) == read(name)


def test_a_receipt_tells_code_words_and_time_and_shows_no_contact() -> None:
    (receipt,) = read("google: unknown")
    assert receipt.code == "5.1.1"
    assert receipt.reason == "550-5.1.1 The account does not exist. 550 5.1.1 Try another"
    assert receipt.at == datetime(2031, 5, 6, 0, 0, 2, tzinfo=receipt.at.tzinfo if receipt.at else UTC)
    assert receipt.at.utcoffset() == timedelta(hours=-7)
    assert receipt.details["remote_mta"].startswith("mx.customer.example.")  # type: ignore[union-attr]
    (postfix,) = read("postfix: unknown")
    assert postfix.reason == "550 5.1.1 <<recipient>>: Recipient address rejected: unknown"


@pytest.mark.parametrize("name", CORPUS)
def test_no_receipt_shows_a_contact_or_a_token(name: str) -> None:
    for receipt in read(name):
        shown = f"{receipt.code} {receipt.reason} {receipt.details} {receipt.event_key}".lower()
        assert not [word for word in ("zoe@", "зоя@", "old@", TOKEN) if word in shown]
        assert receipt.recipient is None, "it could be anyone's: the job knows its own"


def test_a_copy_is_the_same_event_and_the_next_report_is_another() -> None:
    first = mail("postfix: delayed")
    again = read_bounce(b"Received: by another.example\r\n" + first, VERP)
    later = read_bounce(first.replace(b"report-1@", b"report-2@"), VERP)
    keys = [receipt.event_key for receipt in (*read("postfix: delayed"), *again, *later)]
    assert keys[0] == keys[1] != keys[2]
    assert len({receipt.event_key for receipt in read("two recipients")}) == 2
    assert len({receipt.event_key for name in ("postfix: unknown", "policy") for receipt in read(name)}) == 2


# Whose it is


def test_the_address_that_the_mail_server_names_is_enough() -> None:
    raw = mail("postfix: unknown").replace(TO.encode(), b"undisclosed@acme.example")
    assert read_bounce(raw, VERP) == []
    (receipt,) = read_bounce(raw, VERP, to=TO)
    assert receipt.reference == JOB


@pytest.mark.parametrize(
    "to",
    [
        TO.upper(),
        f"<{TO}>",
        f"SRS0=HHHH=TT=acme.example={TO.partition('@')[0]}@forwarder.example",
        f"prvs=1234={TO}",
        TO.replace("bounces+", "mail-"),
    ],
)
def test_a_token_is_found_however_the_address_was_rewritten(to: str) -> None:
    assert VERP.jtd_id(to) == JOB


@given(st.uuids(), st.integers(0, 15))
def test_a_token_with_another_character_is_not_ours(jtd_id: UUID, place: int) -> None:
    token = VERP.token(jtd_id)
    changed = list(token)
    changed[32 + place] = "a" if changed[32 + place] != "a" else "b"
    assert VERP.jtd_id(token) == jtd_id
    assert VERP.jtd_id("".join(changed)) is None
    assert VERP.jtd_id(uuid4().hex + token[32:]) is None


def test_a_token_of_an_earlier_secret_is_known_and_one_of_another_house_is_not() -> None:
    assert Verp([OTHER_SECRET.encode(), SECRET.encode()]).jtd_id(TO) == JOB
    assert Verp([OTHER_SECRET.encode()]).jtd_id(TO) is None
    assert VERP.jtd_id(FORGED) is None


def test_a_token_is_the_same_for_every_attempt_and_release() -> None:
    digest = hmac.digest(SECRET.encode(), b"jtd-worker verp 1\0" + JOB.bytes, "sha256")
    assert TOKEN.startswith("0192f0c100007000800000000000abcd")
    assert TOKEN[32:] == b32encode(digest[:10]).decode().lower()


# Mails that are broken on purpose


def test_a_huge_mail_is_read_only_at_its_beginning() -> None:
    head = mail("postfix: unknown").removesuffix(b"--b1--\r\n")
    raw = head + b"\r\n--b1\r\nContent-Type: message/rfc822\r\n\r\n" + b"x" * (3 * LIMIT)
    assert [receipt.kind for receipt in read_bounce(raw, VERP)] == [ReceiptKind.BOUNCED]
    late = b"X-Filler: " + b"x" * LIMIT + b"\r\n" + mail("postfix: unknown")
    assert read_bounce(late, VERP) == []


@pytest.mark.parametrize("depth", [40, 400, 4000])
def test_a_mail_nested_without_end_ends(depth: int) -> None:
    raw = f"To: {TO}\r\n".encode()
    for level in range(depth):
        raw += f'Content-Type: multipart/mixed; boundary="n{level}"\r\n\r\n--n{level}\r\n'.encode()
    assert read_bounce(raw, VERP) == []
    rfc822 = f"To: {TO}\r\n".encode() + b"Content-Type: message/rfc822\r\n\r\n" * depth
    assert read_bounce(rfc822, VERP) == []


@pytest.mark.parametrize("depth", [0, 24, 200])
def test_a_mail_that_costs_the_parser_much_is_cut(depth: int) -> None:
    """Unbounded this takes a minute: anyone may write to the address, and others wait behind it."""
    raw = f"To: {TO}\r\n".encode()
    for level in range(depth):
        raw += f'Content-Type: multipart/mixed; boundary="n{level}"\r\n\r\n--n{level}\r\n'.encode()
    begun = process_time()
    assert read_bounce(raw + b"Content-Type: message/delivery-status\r\n\r\n" + b"\n" * 2**20, VERP) == []
    assert process_time() - begun < 10


def test_a_report_of_many_recipients_is_bounded() -> None:
    groups = "\n\n".join(failed("5.1.1", "x").replace("zoe@", f"z{number}@") for number in range(1000))
    raw = dsn(groups).replace("{to}", TO).encode()
    assert 0 < len(read_bounce(raw, VERP)) <= 20


@given(st.binary(max_size=2000))
def test_bytes_of_any_kind_are_no_error(raw: bytes) -> None:
    assert read_bounce(raw, VERP, to=TO) is not None


@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_a_mail_of_the_corpus_with_anything_in_its_midst_is_no_error(name: str, data: st.DataObject) -> None:
    raw = mail(name)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    changed = raw[:start] + data.draw(st.binary(max_size=20)) + raw[end:]
    for receipt in read_bounce(changed, VERP):
        assert receipt.reference == JOB
        assert len(receipt.event_key) <= 200
        assert receipt.reason is None or (receipt.reason.isprintable() and len(receipt.reason) <= 300)
        assert "zoe@customer.example" not in f"{receipt.reason} {receipt.details}"


# The way out


async def test_each_mail_has_an_envelope_sender_of_its_own() -> None:
    async with SmtpServer() as server, smtp(server, **BOUNCING) as adapter:
        for _ in range(2):
            assert isinstance(await adapter.send_one(message(jtd_id=JOB)), Sent)
        await adapter.send_one(message())
    first, again, other = (accepted.sender for accepted in server.messages)
    assert first == again == TO
    assert other != first
    assert VERP.jtd_id(other) is not None
    assert server.messages[0].mail["From"] == "Acme <no-reply@acme.example>"


async def test_another_separator_is_taken() -> None:
    async with SmtpServer() as server, smtp(server, **BOUNCING, bounce_separator="-") as adapter:
        await adapter.send_one(message(jtd_id=JOB))
    assert server.messages[0].sender == f"bounces-{TOKEN}@acme.example"


async def test_a_server_that_echoes_the_token_does_not_put_it_on_record() -> None:
    script = [on("mail", f"550 5.1.8 <{TO}>: no such sender")]
    async with SmtpServer(script) as server, smtp(server, **BOUNCING) as adapter:
        result = await adapter.send_one(message(jtd_id=JOB))
    assert isinstance(result, Refused)
    assert result.reason == "MAIL: 550 5.1.8 <<address>>: no such sender"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bounce_address": "bounces@acme.example"}, "needs bounce_secrets"),
        ({"bounce_address": "acme", "bounce_secrets": SECRET}, "mail address"),
        ({"bounce_address": "Acme <b@acme.example>", "bounce_secrets": SECRET}, "bare address"),
        ({"bounce_address": f"{'b' * 16}@acme.example", "bounce_secrets": SECRET}, "15 characters"),
        ({"bounce_address": "bounces@acme.example", "bounce_secrets": "short"}, "32 or more"),
        ({"bounce_address": "bounces@acme.example", "bounce_secrets": " "}, "must be a secret"),
        ({**BOUNCING, "bounce_separator": "@"}, "bounce_separator"),
    ],
)
def test_settings_of_bounces_that_cannot_work_are_refused(changes: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as raised:
        Settings.model_validate({"host": "mail.acme.example", "from": "no-reply@acme.example", **changes})
    assert SECRET not in str(raised.value)


def test_the_longest_address_of_bounces_fits_a_local_part() -> None:
    assert len(address(f"{'b' * 15}@acme.example", "+", TOKEN).partition("@")[0]) == 64


# Over HTTP


def request(body: bytes, *, path: str = "/webhooks/smtp", **headers: str) -> WebhookRequest:
    return WebhookRequest(
        method="POST",
        url=f"https://jtd.acme.example{path}",
        headers=headers,
        body=body,
        received_at=datetime(2031, 5, 6, tzinfo=UTC),
    )


PARSE = build_receipts(
    ReceiptSettings.model_validate(
        {"secrets": f"{BEARER} older", "bounce_secrets": f"{OTHER_SECRET} {SECRET}"}
    )
)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhooks/smtp", {"authorization": f"Bearer {BEARER}"}),
        ("/webhooks/smtp", {"authorization": "bearer older"}),
        (f"/webhooks/smtp/{BEARER}", {}),
        (f"/webhooks/smtp/{BEARER}?x=1", {}),
    ],
)
def test_a_mail_may_come_as_the_body_of_a_request(path: str, headers: dict[str, str]) -> None:
    assert PARSE(request(mail("postfix: unknown"), path=path, **headers)) == read("postfix: unknown")
    assert PARSE(request(mail("someone is on holiday"), path=path, **headers)) == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhooks/smtp", {}),
        ("/webhooks/smtp/", {}),
        ("/webhooks/smtp", {"authorization": "Bearer "}),
        ("/webhooks/smtp", {"authorization": f"Basic {b64encode(BEARER.encode()).decode()}"}),
        ("/webhooks/smtp", {"authorization": f"Bearer {BEARER}x"}),
        ("/webhooks/smtp", {"authorization": "Bearer ø"}),
        (f"/webhooks/smtp/{BEARER}", {"authorization": "Bearer wrong"}),
        (f"/webhooks/smtp?secret={BEARER}", {}),
    ],
)
def test_a_request_without_the_secret_is_forged(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(ForgedError):
        PARSE(request(mail("postfix: unknown"), path=path, **headers))


def test_the_secrets_of_receipts_are_not_shown() -> None:
    given = {"secrets": BEARER, "bounce_secrets": SECRET}
    assert SECRET not in repr(ReceiptSettings.model_validate(given))
    with pytest.raises(ValidationError) as raised:
        ReceiptSettings.model_validate({**given, "bounce_secrets": "short-" + BEARER[:5], "colour": "red"})
    assert BEARER[:5] not in str(raised.value)
