"""The SMTP adapter against a server that misbehaves: what is certain, what is not, and what is reused."""

import logging
import smtplib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.adapter import UnknownRule
from jtd_worker.channels.email_smtp import EmailSmtp, Settings, build, ehlo_name
from jtd_worker.errors import ConfigurationError
from jtd_worker.message import Message
from jtd_worker.result import Refused, SendResult, Sent
from jtd_worker.smtp_connect import Timeouts
from jtd_worker.smtp_reply import Mask
from jtd_worker.testing import Relay, SmtpConformance
from jtd_worker.testing.smtp_server import Certificate, SmtpServer, on

SENDER = "Acme <no-reply@acme.example>"
PASSWORD = "s3cret-pass"
SES_ID = "0100018d4b8c1f2a-6d1c1f3e-0000-4000-8000-000000000000-000000"
LOGIN: Mapping[str, Any] = {"username": "acme-relay", "password": PASSWORD}

PATIENT = Timeouts(connect=10, command=10, block=10, final_dot=10, reset=10)
HURRIED = Timeouts(connect=1, command=1, block=1, final_dot=1, reset=1)
SIDE_BY_SIDE = Timeouts(connect=3, command=3, block=3, final_dot=3, reset=3)


def message(**changes: Any) -> Message:
    jtd_id = uuid4()
    fields: Mapping[str, Any] = {
        "jtd_id": jtd_id,
        "tenant_id": UUID(int=7),
        "channel": "email",
        "event_type": "notification",
        "source_type": "user_invite",
        "idempotency_key": str(jtd_id),
        "created_at": datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
        "to": "jane.doe@example.com",
        "subject": "Hello",
        "text": "Hello Jane",
    }
    return Message(**{**fields, **changes})


def settings(port: int, **changes: Any) -> Settings:
    return Settings.model_validate(
        {"host": "127.0.0.1", "port": port, "tls": "none", "from": SENDER, **changes}
    )


@asynccontextmanager
async def smtp(server: SmtpServer, timeouts: Timeouts = PATIENT, **changes: Any) -> AsyncIterator[EmailSmtp]:
    adapter = EmailSmtp(settings(server.port, **changes), timeouts=timeouts)
    try:
        yield adapter
    finally:
        await adapter.aclose()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("tls"), "localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("tls"), "elsewhere.example")


class TestSmtp(SmtpConformance):
    @classmethod
    def make(cls, relay: Relay) -> EmailSmtp:
        username, password = relay.login or (None, None)
        asked = settings(
            relay.port,
            host=relay.host,
            tls=relay.tls,
            ca_file=relay.ca_file,
            username=username,
            password=password,
        )
        each = dict.fromkeys(("connect", "command", "block", "final_dot", "reset"), relay.seconds)
        return EmailSmtp(asked, timeouts=Timeouts(**each))


# What is handed over


async def test_the_mail_arrives_as_it_was_built_with_its_envelope() -> None:
    text = ".\r\n.. dots\r\n.\r\nFrom here\r\n" + "long " * 500
    async with SmtpServer() as server, smtp(server) as adapter:
        result = await adapter.send_one(
            message(to="Jane@bücher.example", name="Jane Döe", text=text, html="<p>.</p>")
        )
    [accepted] = server.messages
    assert accepted.sender == "no-reply@acme.example"
    assert accepted.recipients == ("Jane@xn--bcher-kva.example",)
    assert accepted.parameters == f"SIZE={len(accepted.content)}"
    assert accepted.mail["To"].addresses[0].display_name == "Jane Döe"
    plain = accepted.mail.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().rstrip() == text.rstrip()
    assert isinstance(result, Sent)
    assert result.provider_message_id == "00000001"
    assert result.response == {
        "phase": "data",
        "code": 250,
        "text": "2.0.0 Ok: queued as 00000001",
        "message_id": accepted.mail["Message-ID"],
    }


async def test_smtputf8_is_asked_for_only_when_needed() -> None:
    async with SmtpServer() as server, smtp(server) as adapter:
        await adapter.send_one(message(to="jürgen@example.com"))
        await adapter.send_one(message())
    assert ["SMTPUTF8" in mail.parameters for mail in server.messages] == [True, False]


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4VqGmT1Zz9", "4VqGmT1Zz9"),
        ("250 OK id=1rXyZa-0004Ab-2C", "1rXyZa-0004Ab-2C"),
        (f"250 Ok {SES_ID}", SES_ID),
        ("250 2.0.0 x5si1234 Message accepted for delivery", None),
        ("250 great", None),
    ],
)
async def test_the_queue_id_is_kept_where_the_reply_has_one(reply: str, queue_id: str | None) -> None:
    async with SmtpServer([on("dot", reply)]) as server, smtp(server) as adapter:
        result = await adapter.send_one(message())
    assert isinstance(result, Sent)
    assert result.provider_message_id == queue_id


# What a server's text may show


async def test_a_reason_shows_the_servers_text_without_contacts() -> None:
    reply = (
        "550-5.1.1 <JANE.DOE@example.com>: user jane.doe unknown,\r\n"
        "550 5.1.1 ask postmaster@example.com or no-reply@acme.example \x1b[31m" + "x" * 1000
    )
    async with SmtpServer([on("rcpt", reply)]) as server, smtp(server) as adapter:
        result = await adapter.send_one(message())
    assert isinstance(result, Refused)
    told, _, rest = result.reason.partition(", ")
    assert told == "RCPT: 550 5.1.1 <<recipient>>: user <recipient> unknown"
    assert rest.startswith("ask <address> or no-reply@acme.example [31mxxx")
    assert len(result.reason) <= 320
    assert len(str(result.response["text"])) <= 500


@given(before=st.text(max_size=20), after=st.text(max_size=20), address=st.emails())
def test_no_text_around_an_address_lets_it_through(before: str, after: str, address: str) -> None:
    mask = Mask({}).for_mail([address], kept=[])
    assert address.lower() not in mask(before + address.swapcase() + after).lower()


async def test_a_credential_that_the_server_echoes_is_masked() -> None:
    reply = f"535 5.7.8 {PASSWORD} of acme-relay is wrong: AGFjbWUtcmVsYXkAczNjcmV0LXBhc3M="
    async with (
        SmtpServer([on("auth", reply)], login=("acme-relay", PASSWORD)) as server,
        smtp(server, **LOGIN) as adapter,
    ):
        result = await adapter.send_one(message())
    assert isinstance(result, Refused)
    assert result.reason == "AUTH: 535 5.7.8 <password> of <username> is wrong: <password>"


async def test_nothing_is_logged_by_the_adapter(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = [on("rcpt", "550 5.1.1 jane.doe@example.com", nth=1)]
    async with SmtpServer(script) as server, smtp(server) as adapter:
        await adapter.send([message(), message()])
    assert [record for record in caplog.records if record.name != "asyncio"] == []


# Sessions


async def test_two_hundred_mails_go_over_few_sessions() -> None:
    async with SmtpServer() as server:
        async with smtp(server) as adapter:
            results: list[SendResult] = []
            for _ in range(50):
                results += await adapter.send([message() for _ in range(4)])
        await server.until_idle()
    assert all(isinstance(result, Sent) for result in results)
    assert len({mail.mail["Message-ID"] for mail in server.messages}) == 200
    assert server.connections == 4
    assert all(len(mail.recipients) == 1 for mail in server.messages)
    assert "RSET" not in server.verbs()
    assert server.verbs().count("QUIT") == 4


async def test_a_session_ends_after_a_hundred_mails() -> None:
    async with SmtpServer() as server:
        async with smtp(server) as adapter:
            for _ in range(201):
                assert isinstance(await adapter.send_one(message()), Sent)
        await server.until_idle()
    assert server.connections == 3
    assert [server.verbs(number).count("MAIL") for number in (1, 2, 3)] == [100, 100, 1]
    assert [server.verbs(number)[-1] for number in (1, 2, 3)] == ["QUIT", "QUIT", "QUIT"]


async def test_a_session_is_reset_after_a_refusal_and_used_again() -> None:
    script = [
        on("mail", "451 4.3.0 later", nth=1),
        on("rcpt", "550 5.1.1 unknown", nth=1),
        on("data", "451 4.3.0 later", nth=1),
        on("dot", "554 5.6.0 no", nth=1),
    ]
    async with SmtpServer(script) as server, smtp(server) as adapter:
        results = [await adapter.send_one(message()) for _ in range(5)]
    assert [type(result) for result in results] == [Refused, Refused, Refused, Refused, Sent]
    assert server.connections == 1
    assert server.verbs().count("RSET") == 4


async def test_an_idle_session_is_ended_politely() -> None:
    async with SmtpServer() as server:
        adapter = EmailSmtp(settings(server.port), timeouts=PATIENT, idle_seconds=0.05)
        await adapter.send_one(message())
        await server.until_idle()
        assert server.verbs()[-1] == "QUIT"
        assert isinstance(await adapter.send_one(message()), Sent)
        await adapter.aclose()
        await server.until_idle()
    assert server.connections == 2


async def test_the_session_used_last_is_used_first() -> None:
    async with SmtpServer() as server, smtp(server) as adapter:
        await adapter.send([message() for _ in range(3)])
        for _ in range(5):
            await adapter.send_one(message())
    assert len({mail.connection for mail in server.messages[3:]}) == 1


async def test_the_greeting_names_a_real_host() -> None:
    async with SmtpServer() as server, smtp(server) as adapter:
        await adapter.send_one(message())
    assert server.commands[0][1] == f"EHLO {ehlo_name(socket.getfqdn(), 'acme.example')}"


@pytest.mark.parametrize(
    ("fqdn", "name"),
    [
        ("worker-3.acme.example", "worker-3.acme.example"),
        ("3f1c9a0b2d4e", "acme.example"),
        ("localhost", "acme.example"),
        ("localhost.localdomain", "acme.example"),
        ("worker-0.jobs.default.svc.cluster.local", "acme.example"),
        ("1.0.0.127.in-addr.arpa", "acme.example"),
        ("10.0.0.7", "acme.example"),
        ("bad name.example", "acme.example"),
    ],
)
def test_a_name_the_world_does_not_know_is_not_greeted_with(fqdn: str, name: str) -> None:
    assert ehlo_name(fqdn, "acme.example") == name


async def test_no_credential_is_sent_when_tls_cannot_be_had(certificate: Certificate) -> None:
    async with SmtpServer(login=("acme-relay", PASSWORD)) as server:
        async with smtp(server, tls="starttls", ca_file=str(certificate.certificate), **LOGIN) as adapter:
            await adapter.send_one(message())
        await server.until_idle()
    assert server.verbs() == ["EHLO"]


async def test_extensions_are_asked_for_again_under_tls(certificate: Certificate) -> None:
    async with SmtpServer(tls="starttls", certificate=certificate) as server:
        async with smtp(server, tls="starttls", ca_file=str(certificate.certificate)) as adapter:
            await adapter.send_one(message())
            await adapter.send_one(message())
        await server.until_idle()
    assert server.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    assert server.connections == 1


# Settings


def test_settings_are_read_from_plain_strings() -> None:
    read = Settings.model_validate(
        {"host": "mail.acme.example", "port": "2525", "tls": "implicit", "from": SENDER, **LOGIN}
    )
    assert (read.port, read.tls, read.sender, read.unknown) == (2525, "implicit", SENDER, UnknownRule.RESEND)
    assert PASSWORD not in repr(read)


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_from_the_security(tls: str, port: int) -> None:
    assert Settings.model_validate({"host": "localhost", "tls": tls, "from": SENDER}).port == port


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_clear_text_is_allowed_to_this_machine(host: str) -> None:
    assert Settings.model_validate({"host": host, "tls": "none", "from": SENDER}).tls == "none"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tls": "none"}, "use starttls or implicit"),
        ({"tls": "off"}, "tls"),
        ({"username": "acme"}, "both or neither"),
        ({"password": PASSWORD}, "both or neither"),
        ({"username": "", "password": PASSWORD}, "username"),
        ({"from": "Acme"}, "not a mail address"),
        ({"from": "a@b.example, c@d.example"}, "not"),
        ({"from": "Acme <no-reply@acme.example>\r\nBcc: eve@evil.example"}, "not one mailbox"),
        ({"from": "jürgen@acme.example"}, "ASCII"),
        ({"host": "mail acme"}, "host name"),
        ({"port": 0}, "port"),
        ({"unknown": "idempotent_retry"}, "no idempotency key"),
        ({"unknown": "wait_for_receipt"}, "no receipts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_show_no_secret(changes: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        Settings.model_validate({"host": "mail.acme.example", "from": SENDER, **changes})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="ca_file"):
        build(settings(25, tls="starttls", ca_file=str(file)), "email")


@pytest.mark.parametrize("rule", [UnknownRule.RESEND, UnknownRule.HOLD])
def test_the_rule_for_an_unknown_outcome_is_a_setting(rule: UnknownRule) -> None:
    capabilities = build(settings(25, unknown=rule.value), "email").capabilities
    assert capabilities.unknown_rule is rule
    assert capabilities.needs_hand_off


def test_no_repr_shows_the_password() -> None:
    adapter = build(settings(25, **LOGIN), "email")
    assert PASSWORD not in repr(adapter)
    assert PASSWORD not in repr(vars(adapter))


# The server itself


@pytest.fixture
def threaded() -> Iterator[SmtpServer]:
    with SmtpServer.in_thread([on("rcpt", "450 4.7.1 greylisted", recipient="b@c.example", nth=1)]) as server:
        yield server


def test_the_server_serves_other_processes_from_a_thread(threaded: SmtpServer) -> None:
    with smtplib.SMTP("127.0.0.1", threaded.port, timeout=5) as client:
        client.sendmail("a@b.example", "x@c.example", "Subject: one\r\n\r\n.\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@b.example", "b@c.example", "Subject: two\r\n\r\n")
        client.sendmail("a@b.example", "b@c.example", "Subject: three\r\n\r\n")
    received = threaded.wait_for_messages(2)
    assert [mail.mail["Subject"] for mail in received] == ["one", "three"]
    assert received[0].content.endswith(b"\r\n.\r\n")
