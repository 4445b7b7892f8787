"""The SMTP adapter against a server that misbehaves: what is certain, what is not, and what is reused."""

import asyncio
import logging
import smtplib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
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
from jtd_worker.message import Attachment, Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.smtp_connect import Timeouts
from jtd_worker.smtp_reply import Mask
from jtd_worker.testing.smtp_server import DROP, GARBAGE, HANG, Certificate, Rule, SmtpServer, on

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


# What each answer means


@dataclass(frozen=True, kw_only=True)
class Case:
    script: tuple[Rule, ...] = ()
    kind: type[SendResult] = Refused
    retry: Retry | None = None
    scope: Scope | None = None
    code: str | None = None
    may_have_left: bool = False
    server: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)
    message: Mapping[str, Any] = field(default_factory=dict)
    trusts: str = "certificate"


def refused(*script: Rule, axes: tuple[Retry, Scope], code: str, **more: Any) -> Case:
    return Case(script=script, retry=axes[0], scope=axes[1], code=code, **more)


def sent(*script: Rule, **more: Any) -> Case:
    return Case(script=script, kind=Sent, may_have_left=True, **more)


def unknown(*script: Rule) -> Case:
    return Case(script=script, kind=Unknown, may_have_left=True, code="smtp_no_answer")


RECIPIENT_NEVER = (Retry.NEVER, Scope.RECIPIENT)
RECIPIENT_LATER = (Retry.LATER, Scope.RECIPIENT)
MESSAGE_NEVER = (Retry.NEVER, Scope.MESSAGE)
MESSAGE_LATER = (Retry.LATER, Scope.MESSAGE)
PROVIDER_LATER = (Retry.LATER, Scope.PROVIDER)
PROVIDER_OPERATOR = (Retry.AFTER_OPERATOR, Scope.PROVIDER)
CREDENTIAL_LATER = (Retry.LATER, Scope.CREDENTIAL)
CREDENTIAL_OPERATOR = (Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
NETWORK_LATER = (Retry.LATER, Scope.NETWORK)

STARTTLS = {"tls": "starttls"}
IMPLICIT = {"tls": "implicit"}
AUTH: Mapping[str, Any] = {"login": ("acme-relay", PASSWORD)}

CASES = {
    # accepted
    "accepted": sent(),
    "a greeting of several lines": sent(on("banner", "220-mail.example\r\n220-be nice\r\n220 ready")),
    "accepted with 251 at RCPT": sent(on("rcpt", "251 2.1.5 will forward")),
    "QUIT drops": sent(on("quit", DROP)),
    "QUIT hangs": sent(on("quit", HANG)),
    "no extensions at all": sent(server={"extensions": ()}),
    "SMTPUTF8 is offered and needed": sent(message={"to": "jürgen@example.com"}),
    "SIZE 0 is no limit": sent(server={"extensions": ("SIZE 0",)}),
    # the connection
    "greeting 554": refused(on("banner", "554 5.7.1 no"), axes=PROVIDER_OPERATOR, code="smtp_connect_554"),
    "greeting 421": refused(on("banner", "421 4.3.2 full"), axes=PROVIDER_LATER, code="smtp_connect_421"),
    "greeting hangs": refused(on("banner", HANG), axes=NETWORK_LATER, code="smtp_timeout"),
    "greeting drops": refused(on("banner", DROP), axes=NETWORK_LATER, code="smtp_connect"),
    "greeting garbage": refused(on("banner", GARBAGE), axes=PROVIDER_LATER, code="smtp_garbage"),
    "EHLO 550": refused(on("ehlo", "550 5.7.1 bad name"), axes=PROVIDER_OPERATOR, code="smtp_ehlo_550"),
    "EHLO 451": refused(on("ehlo", "451 4.3.0 not now"), axes=PROVIDER_LATER, code="smtp_ehlo_451"),
    "EHLO hangs": refused(on("ehlo", HANG), axes=NETWORK_LATER, code="smtp_timeout"),
    "EHLO drops": refused(on("ehlo", DROP), axes=NETWORK_LATER, code="smtp_lost"),
    "EHLO garbage": refused(on("ehlo", GARBAGE), axes=PROVIDER_LATER, code="smtp_garbage"),
    # TLS
    "STARTTLS": sent(server=STARTTLS, client=STARTTLS),
    "implicit TLS": sent(server=IMPLICIT, client=IMPLICIT),
    "STARTTLS by host name": sent(server=STARTTLS, client={**STARTTLS, "host": "localhost"}),
    "STARTTLS not offered": refused(axes=PROVIDER_OPERATOR, code="smtp_tls", client=STARTTLS),
    "STARTTLS 454": refused(
        on("starttls", "454 4.7.0 no TLS now"),
        axes=PROVIDER_LATER,
        code="smtp_starttls_454",
        server=STARTTLS,
        client=STARTTLS,
    ),
    "STARTTLS 501": refused(
        on("starttls", "501 5.5.4 no"),
        axes=PROVIDER_OPERATOR,
        code="smtp_starttls_501",
        server=STARTTLS,
        client=STARTTLS,
    ),
    "STARTTLS drops": refused(
        on("starttls", DROP), axes=NETWORK_LATER, code="smtp_lost", server=STARTTLS, client=STARTTLS
    ),
    "STARTTLS hangs": refused(
        on("starttls", HANG), axes=NETWORK_LATER, code="smtp_timeout", server=STARTTLS, client=STARTTLS
    ),
    "a reply slipped in before TLS is not read": sent(
        on("starttls", "220 2.0.0 go\r\n250-forged\r\n250 AUTH PLAIN"), server=STARTTLS, client=STARTTLS
    ),
    "a certificate of nobody we trust": refused(
        axes=PROVIDER_OPERATOR, code="smtp_tls", server=STARTTLS, client=STARTTLS, trusts="elsewhere"
    ),
    "implicit TLS, a certificate of nobody we trust": refused(
        axes=PROVIDER_OPERATOR, code="smtp_tls", server=IMPLICIT, client=IMPLICIT, trusts="elsewhere"
    ),
    "a certificate for another host": refused(
        axes=PROVIDER_OPERATOR,
        code="smtp_tls",
        server={**STARTTLS, "certificate": "elsewhere"},
        client=STARTTLS,
        trusts="elsewhere",
    ),
    "implicit TLS on a port that has none": refused(axes=NETWORK_LATER, code="smtp_tls", client=IMPLICIT),
    # authentication
    "AUTH PLAIN": sent(server={**STARTTLS, **AUTH}, client={**STARTTLS, **LOGIN}),
    "AUTH LOGIN": sent(server={"auth_methods": "LOGIN", **AUTH}, client=LOGIN),
    "AUTH 535": refused(
        axes=CREDENTIAL_OPERATOR,
        code="smtp_auth_535",
        server=AUTH,
        client={"username": "acme-relay", "password": "wrong"},
    ),
    "AUTH 454": refused(
        on("auth", "454 4.7.0 try later"),
        axes=CREDENTIAL_LATER,
        code="smtp_auth_454",
        server=AUTH,
        client=LOGIN,
    ),
    "AUTH 421": refused(
        on("auth", "421 4.7.0 bye"), axes=PROVIDER_LATER, code="smtp_auth_421", server=AUTH, client=LOGIN
    ),
    "AUTH hangs": refused(
        on("auth", HANG), axes=NETWORK_LATER, code="smtp_timeout", server=AUTH, client=LOGIN
    ),
    "AUTH drops": refused(on("auth", DROP), axes=NETWORK_LATER, code="smtp_lost", server=AUTH, client=LOGIN),
    "AUTH not offered": refused(axes=CREDENTIAL_OPERATOR, code="smtp_auth", client=LOGIN),
    "AUTH wanted, no user name": refused(axes=CREDENTIAL_OPERATOR, code="smtp_530", server=AUTH),
    # MAIL
    "MAIL 550": refused(on("mail", "550 no"), axes=MESSAGE_NEVER, code="smtp_550"),
    "MAIL 550 5.7.1": refused(on("mail", "550 5.7.1 no"), axes=CREDENTIAL_OPERATOR, code="smtp_550"),
    "MAIL 553 5.1.8": refused(on("mail", "553 5.1.8 who?"), axes=CREDENTIAL_OPERATOR, code="smtp_553"),
    "MAIL 451": refused(on("mail", "451 4.3.0 not now"), axes=PROVIDER_LATER, code="smtp_451"),
    "MAIL 452 4.3.1": refused(on("mail", "452 4.3.1 disk full"), axes=PROVIDER_LATER, code="smtp_452"),
    "MAIL 552 5.3.4": refused(on("mail", "552 5.3.4 too big"), axes=MESSAGE_NEVER, code="smtp_552"),
    "MAIL 552": refused(on("mail", "552 too big"), axes=MESSAGE_NEVER, code="smtp_552"),
    "MAIL 421": refused(on("mail", "421 4.3.2 bye"), axes=PROVIDER_LATER, code="smtp_421"),
    "MAIL hangs": refused(on("mail", HANG), axes=NETWORK_LATER, code="smtp_timeout"),
    "MAIL drops": refused(on("mail", DROP), axes=NETWORK_LATER, code="smtp_lost"),
    "MAIL garbage": refused(on("mail", GARBAGE), axes=PROVIDER_LATER, code="smtp_garbage"),
    # RCPT
    "RCPT 550 5.1.1": refused(on("rcpt", "550 5.1.1 unknown"), axes=RECIPIENT_NEVER, code="smtp_550"),
    "RCPT 550": refused(on("rcpt", "550 unknown"), axes=RECIPIENT_NEVER, code="smtp_550"),
    "RCPT 450 greylisted": refused(on("rcpt", "450 4.7.1 later"), axes=RECIPIENT_LATER, code="smtp_450"),
    "RCPT 451 4.3.0": refused(on("rcpt", "451 4.3.0 overloaded"), axes=PROVIDER_LATER, code="smtp_451"),
    "RCPT 552 5.2.2": refused(on("rcpt", "552 5.2.2 full"), axes=RECIPIENT_LATER, code="smtp_552"),
    "RCPT 452 4.2.2": refused(on("rcpt", "452 4.2.2 full"), axes=RECIPIENT_LATER, code="smtp_452"),
    "RCPT 552": refused(on("rcpt", "552 too many"), axes=RECIPIENT_LATER, code="smtp_552"),
    "RCPT 452 4.5.3": refused(on("rcpt", "452 4.5.3 too many"), axes=PROVIDER_LATER, code="smtp_452"),
    "RCPT 550 5.7.1": refused(on("rcpt", "550 5.7.1 members only"), axes=MESSAGE_NEVER, code="smtp_550"),
    "RCPT relay denied": refused(
        on("rcpt", "554 5.7.1 <jane.doe@example.com>: Relay access denied"),
        axes=CREDENTIAL_OPERATOR,
        code="smtp_554",
    ),
    "RCPT, a 4xx that says 5.1.1": refused(
        on("rcpt", "450 5.1.1 contradiction"), axes=RECIPIENT_LATER, code="smtp_450"
    ),
    "RCPT, a 5xx that says 4.2.1": refused(
        on("rcpt", "550 4.2.1 contradiction"), axes=RECIPIENT_NEVER, code="smtp_550"
    ),
    "RCPT 421": refused(on("rcpt", "421 4.7.0 bye"), axes=PROVIDER_LATER, code="smtp_421"),
    "RCPT hangs": refused(on("rcpt", HANG), axes=NETWORK_LATER, code="smtp_timeout"),
    "RCPT drops": refused(on("rcpt", DROP), axes=NETWORK_LATER, code="smtp_lost"),
    "RCPT garbage": refused(on("rcpt", GARBAGE), axes=PROVIDER_LATER, code="smtp_garbage"),
    # DATA, before the body
    "DATA 554": refused(on("data", "554 5.5.1 no"), axes=MESSAGE_NEVER, code="smtp_554"),
    "DATA 451": refused(on("data", "451 4.3.0 not now"), axes=PROVIDER_LATER, code="smtp_451"),
    "DATA 250, out of step": refused(on("data", "250 what?"), axes=PROVIDER_LATER, code="smtp_250"),
    "DATA hangs": refused(on("data", HANG), axes=NETWORK_LATER, code="smtp_timeout"),
    "DATA drops": refused(on("data", DROP), axes=NETWORK_LATER, code="smtp_lost"),
    # the reply to the final dot
    "dot 550 5.7.1": refused(on("dot", "550 5.7.1 spam"), axes=MESSAGE_NEVER, code="smtp_550"),
    "dot 554 5.6.0": refused(on("dot", "554 5.6.0 bad MIME"), axes=MESSAGE_NEVER, code="smtp_554"),
    "dot 554": refused(on("dot", "554 no"), axes=MESSAGE_NEVER, code="smtp_554"),
    "dot 550 5.1.1": refused(on("dot", "550 5.1.1 unknown"), axes=RECIPIENT_NEVER, code="smtp_550"),
    "dot 550 5.1.8": refused(on("dot", "550 5.1.8 bad sender"), axes=MESSAGE_NEVER, code="smtp_550"),
    "dot 552 5.3.4": refused(on("dot", "552 5.3.4 too big"), axes=MESSAGE_NEVER, code="smtp_552"),
    "dot 552 5.7.0": refused(on("dot", "552 5.7.0 attachment"), axes=MESSAGE_NEVER, code="smtp_552"),
    "dot 552": refused(on("dot", "552 too big"), axes=MESSAGE_NEVER, code="smtp_552"),
    "dot 552 5.2.2": refused(on("dot", "552 5.2.2 full"), axes=RECIPIENT_LATER, code="smtp_552"),
    "dot 452 4.3.4": refused(on("dot", "452 4.3.4 too big"), axes=MESSAGE_NEVER, code="smtp_452"),
    "dot 452": refused(on("dot", "452 disk full"), axes=PROVIDER_LATER, code="smtp_452"),
    "dot 451 4.7.1": refused(on("dot", "451 4.7.1 later"), axes=MESSAGE_LATER, code="smtp_451"),
    "dot 550 5.4.5": refused(on("dot", "550 5.4.5 daily limit"), axes=CREDENTIAL_LATER, code="smtp_550"),
    "dot 421": refused(on("dot", "421 4.3.2 bye"), axes=PROVIDER_LATER, code="smtp_421"),
    "dot 454 throttled": Case(
        script=(on("dot", "454 Throttling failure: Maximum sending rate exceeded."),),
        kind=Throttled,
        code="smtp_454",
    ),
    "dot hangs": unknown(on("dot", HANG)),
    "dot drops": unknown(on("dot", DROP)),
    "dot garbage": unknown(on("dot", GARBAGE)),
    "dot 354, out of step": unknown(on("dot", "354 more?")),
    # refused here
    "too large for the server": refused(
        axes=MESSAGE_NEVER,
        code="smtp_size",
        server={"extensions": ("SIZE 2000",)},
        message={"text": "x" * 3000},
    ),
    "SMTPUTF8 needed and not offered": refused(
        axes=RECIPIENT_NEVER,
        code="smtp_smtputf8",
        server={"extensions": ()},
        message={"to": "jürgen@example.com"},
    ),
    "no address": refused(axes=RECIPIENT_NEVER, code="recipient_invalid", message={"to": "jane"}),
    "a line break in the subject": refused(
        axes=MESSAGE_NEVER, code="header_unsafe", message={"subject": "Hello\r\nBcc: eve@evil.example"}
    ),
    "a line break in the name": refused(
        axes=MESSAGE_NEVER, code="header_unsafe", message={"name": "Jane\nBcc: eve@evil.example"}
    ),
    "a command in the address": refused(
        axes=MESSAGE_NEVER,
        code="header_unsafe",
        message={"to": "jane@example.com>\r\nRCPT TO:<eve@evil.example"},
    ),
}


@dataclass(frozen=True)
class Observed:
    result: SendResult
    accepted: int


async def observe(case: Case, certificates: Mapping[str, Certificate]) -> Observed:
    options = dict(case.server)
    if "tls" in options:
        options["certificate"] = certificates[options.get("certificate", "certificate")]
    client = dict(case.client)
    if "tls" in client:
        client["ca_file"] = str(certificates[case.trusts].certificate)
    hangs = any(rule.action is HANG and rule.phase != "quit" for rule in case.script)
    async with SmtpServer([replace(rule) for rule in case.script], **options) as server:
        async with smtp(server, SIDE_BY_SIDE if hangs else PATIENT, **client) as adapter:
            [result] = await adapter.send([message(**case.message)])
        return Observed(result, len(server.messages))


@pytest.fixture(scope="module")
def observed(certificate: Certificate, elsewhere: Certificate) -> Mapping[str, Observed]:
    """Run all cases side by side on one loop, each with a server of its own."""

    async def run() -> dict[str, Observed]:
        certificates = {"certificate": certificate, "elsewhere": elsewhere}
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(observe(case, certificates)) for name, case in CASES.items()}
        return {name: task.result() for name, task in tasks.items()}

    return asyncio.run(run())


@pytest.mark.parametrize("name", CASES)
def test_each_answer_has_its_meaning(name: str, observed: Mapping[str, Observed]) -> None:
    case, seen = CASES[name], observed[name]
    assert type(seen.result) is case.kind, seen.result
    assert getattr(seen.result, "retry", None) == case.retry
    assert getattr(seen.result, "scope", None) == case.scope
    assert getattr(seen.result, "code", None) == case.code
    if case.kind is Sent:
        assert seen.accepted == 1
    elif not case.may_have_left:
        assert seen.accepted == 0


@pytest.mark.parametrize("name", CASES)
def test_no_result_shows_a_contact_or_a_secret(name: str, observed: Mapping[str, Observed]) -> None:
    shown = repr(observed[name].result).lower()
    for hidden in ("jane", "doe@", "jürgen", "evil", PASSWORD, "wrong'", "hello"):
        assert hidden not in shown


async def test_nobody_listens_is_a_network_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        adapter = EmailSmtp(settings(taken.getsockname()[1]), timeouts=PATIENT)
        result = await adapter.send_one(message())
    assert isinstance(result, Refused)
    assert (result.retry, result.scope, result.code) == (*NETWORK_LATER, "smtp_connect")


@pytest.mark.parametrize(("action", "code"), [(DROP, "smtp_lost"), (HANG, "smtp_timeout")])
async def test_a_loss_before_the_final_dot_is_certain(action: Any, code: str) -> None:
    file = Attachment(name="big.bin", media_type="application/octet-stream", content=bytes(16 * 1024 * 1024))
    script = [on("body", action)]
    async with SmtpServer(script, extensions=()) as server, smtp(server, HURRIED) as adapter:
        result = await adapter.send_one(message(attachments=(file,)))
    assert isinstance(result, Refused)
    assert (result.retry, result.scope, result.code) == (*NETWORK_LATER, code)
    assert server.messages == []


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


async def test_a_second_attempt_hands_over_the_same_octets() -> None:
    again = message(html="<p>Hello</p>")
    async with SmtpServer([on("dot", DROP, nth=1)]) as server, smtp(server) as adapter:
        assert isinstance(await adapter.send_one(again), Unknown)
        assert isinstance(await adapter.send_one(again), Sent)
    assert server.messages[0].content == server.messages[1].content


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
    async with SmtpServer([on("auth", reply)], **AUTH) as server, smtp(server, **LOGIN) as adapter:
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


@pytest.mark.parametrize("action", ["500 5.5.2 what?", "421 4.3.2 bye", DROP, HANG, GARBAGE])
async def test_a_session_that_cannot_be_reset_is_not_used_again(action: Any) -> None:
    script = [on("rcpt", "550 5.1.1 unknown", nth=1), on("rset", action)]
    async with SmtpServer(script) as server, smtp(server, HURRIED) as adapter:
        first, second = [await adapter.send_one(message()) for _ in range(2)]
    assert isinstance(first, Refused)
    assert first.code == "smtp_550"
    assert isinstance(second, Sent)
    assert [mail.connection for mail in server.messages] == [2]


@pytest.mark.parametrize("action", [DROP, HANG, "421 4.4.2 idle for too long"])
async def test_a_reused_session_found_dead_is_replaced_at_once(action: Any) -> None:
    async with SmtpServer([on("mail", action, nth=2)]) as server, smtp(server, HURRIED) as adapter:
        results = [await adapter.send_one(message()) for _ in range(2)]
    assert [type(result) for result in results] == [Sent, Sent]
    assert [mail.connection for mail in server.messages] == [1, 2]


async def test_a_dead_session_is_replaced_only_once() -> None:
    script = [on("mail", DROP, nth=2), on("mail", DROP, nth=2)]
    async with SmtpServer(script) as server, smtp(server) as adapter:
        first = await adapter.send_one(message())
        second = await adapter.send_one(message())
    assert isinstance(first, Sent)
    assert isinstance(second, Refused)
    assert second.code == "smtp_lost"
    assert server.connections == 2


async def test_a_loss_after_mail_was_answered_is_not_redone() -> None:
    async with SmtpServer([on("rcpt", DROP, nth=2)]) as server, smtp(server) as adapter:
        await adapter.send_one(message())
        result = await adapter.send_one(message())
    assert isinstance(result, Refused)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("phase", "action"), [("mail", HANG), ("data", HANG), ("dot", HANG), ("dot", GARBAGE), ("data", GARBAGE)]
)
async def test_a_session_in_doubt_is_closed_and_not_used_again(phase: Any, action: Any) -> None:
    async with SmtpServer([on(phase, action, nth=1)]) as server, smtp(server, HURRIED) as adapter:
        await adapter.send_one(message())
        await server.until_idle()
        assert isinstance(await adapter.send_one(message()), Sent)
    assert server.messages[-1].connection == 2


@pytest.mark.parametrize("phase", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_cancelled_send_closes_its_session(phase: Any) -> None:
    async with SmtpServer([on(phase, HANG, nth=1)]) as server, smtp(server) as adapter:
        sending = asyncio.create_task(adapter.send_one(message()))
        await server.until_seen(phase)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.until_idle()
        assert isinstance(await adapter.send_one(message()), Sent)
    assert server.messages[-1].connection == 2


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
