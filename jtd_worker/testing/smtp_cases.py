"""Every way a mail server goes wrong, with what an adapter must say of it (RFC 5321, 3207, 4954, 3463)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from jtd_worker.message import Attachment
from jtd_worker.result import Retry, Scope
from jtd_worker.testing.http_cases import Expect, refused, sent, throttled, unknown
from jtd_worker.testing.smtp_server import DROP, GARBAGE, HANG, Action, Misbehaviour, Phase, Rule, Then, on

LOGIN: Final = ("acme-relay", "s3cret-pass")
"""User name and password of the servers that ask for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The server that an adapter is made for."""

    port: int
    host: str = "127.0.0.1"
    tls: Literal["starttls", "implicit", "none"] = "none"
    ca_file: str
    """PEM file of the only authority to be trusted."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    seconds: float
    """Of every timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way for a mail to go."""

    name: str
    expect: Expect
    code: str | None = None
    """The code that must be told; None for a success."""
    script: tuple[Rule, ...] = ()
    server: Mapping[str, Any] = field(default_factory=dict)
    """How `SmtpServer` is made."""
    shows: str = "localhost"
    """The name in the server's certificate; `elsewhere.example` is another."""
    trusts: str = "localhost"
    """The name in the certificate that the adapter trusts."""
    relay: Mapping[str, Any] = field(default_factory=dict)
    """What is different in the `Relay`."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """What is different in the message."""
    earlier: int = 0
    """So many mails go before, one after the other; what comes of them is not looked at."""
    connections: int | None = None
    """How many there must have been at the end; None is not looked at."""

    @property
    def waits_for_a_timeout(self) -> bool:
        """Whether the server keeps the adapter waiting."""
        return any(
            HANG in (rule.action, getattr(rule.action, "after", None)) and rule.phase != "quit"
            for rule in self.script
        )

    @property
    def is_big(self) -> bool:
        """Whether its mail has megabytes."""
        return BIG in self.change.get("attachments", ())


RECIPIENT_NEVER: Final = refused(Retry.NEVER, Scope.RECIPIENT)
RECIPIENT_LATER: Final = refused(Retry.LATER, Scope.RECIPIENT)
MESSAGE_NEVER: Final = refused(Retry.NEVER, Scope.MESSAGE)
MESSAGE_LATER: Final = refused(Retry.LATER, Scope.MESSAGE)
PROVIDER_LATER: Final = refused(Retry.LATER, Scope.PROVIDER)
PROVIDER_OPERATOR: Final = refused(Retry.AFTER_OPERATOR, Scope.PROVIDER)
CREDENTIAL_LATER: Final = refused(Retry.LATER, Scope.CREDENTIAL)
CREDENTIAL_OPERATOR: Final = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
NETWORK_LATER: Final = refused(Retry.LATER, Scope.NETWORK)

STARTTLS: Final[Mapping[str, Any]] = {"server": {"tls": "starttls"}, "relay": {"tls": "starttls"}}
IMPLICIT: Final[Mapping[str, Any]] = {"server": {"tls": "implicit"}, "relay": {"tls": "implicit"}}
AUTH: Final[Mapping[str, Any]] = {"server": {"login": LOGIN}, "relay": {"login": LOGIN}}
WIDE: Final = "jürgen@customer.example"
SMALL: Final = Attachment(name="ö.png", media_type="image/png", content=bytes(range(256)))
BIG: Final = Attachment(name="big.bin", media_type="application/octet-stream", content=bytes(16 << 20))
"""More than any buffer of the kernel takes."""


def _answer(phase: Phase, reply: Action, expect: Expect, name: str = "", **others: Any) -> Case:
    """Return the case that this is what `phase` is answered with; the code follows from the reply."""
    about_message = phase in {"mail", "rcpt", "data", "dot"}
    step = {"banner": "connect"}.get(phase, phase)
    match reply:
        case str():
            code = f"smtp_{reply[:3]}" if about_message else f"smtp_{step}_{reply[:3]}"
        case Misbehaviour.HANG:
            code = "smtp_timeout"
        case Misbehaviour.DROP:
            code = "smtp_connect" if phase == "banner" else "smtp_lost"
        case Misbehaviour.GARBAGE:
            code = "smtp_garbage"
        case Then():
            code = "smtp_lost"
    if expect.kind is unknown().kind:
        code = "smtp_no_answer"
    said = reply.name.lower() if isinstance(reply, Misbehaviour) else str(reply)
    return Case(
        name=name or f"{phase}: {said}", expect=expect, code=code, script=(on(phase, reply),), **others
    )


def _sent(name: str, *script: Rule, **others: Any) -> Case:
    return Case(name=name, expect=sent(), script=script, **others)


ACCEPTED: Final = (
    _sent("accepted"),
    _sent("a greeting of several lines", on("banner", "220-mail.example\r\n220-be nice\r\n220 ready")),
    _sent("251 at RCPT", on("rcpt", "251 2.1.5 will forward")),
    _sent("252 at RCPT", on("rcpt", "252 2.1.5 will try")),
    _sent("an answer of several lines to the whole mail", on("dot", "250-2.0.0 Ok:\r\n250 2.0.0 queued")),
    _sent("slow replies", server={"pause": 0.1}),
    _sent("QUIT drops", on("quit", DROP)),
    _sent("QUIT hangs", on("quit", HANG)),
    _sent("QUIT 500", on("quit", "500 5.5.2 what?")),
    _sent("QUIT garbage", on("quit", GARBAGE)),
    _sent("accepted, then dropped", on("dot", Then("250 2.0.0 Ok", DROP))),
    _sent("no extensions at all", server={"extensions": ()}),
    _sent("8BITMIME is not offered", server={"extensions": ("SIZE 0",)}),
    _sent("8BITMIME is not offered, an attachment", server={"extensions": ()},
          change={"attachments": (SMALL,)}),
    _sent("SMTPUTF8 is offered and needed", change={"to": WIDE}),
    _sent("SIZE 0 is no limit", server={"extensions": ("SIZE 0",)}),
    _sent("SIZE without a number", server={"extensions": ("SIZE",)}),
    _sent("extensions in small letters", server={"extensions": ("size 10485760", "smtputf8")},
          change={"to": WIDE}),
    _sent("dots and long lines", change={"text": ".\r\n..\r\n.\r\n" + "long " * 500}),
)  # fmt: skip

CONNECTION: Final = (
    _answer("banner", "554 5.7.1 no", PROVIDER_OPERATOR),
    _answer("banner", "421 4.3.2 full", PROVIDER_LATER),
    _answer("banner", HANG, NETWORK_LATER),
    _answer("banner", DROP, NETWORK_LATER),
    _answer("banner", GARBAGE, PROVIDER_LATER),
    _answer("ehlo", "550 5.7.1 bad name", PROVIDER_OPERATOR),
    _answer("ehlo", "451 4.3.0 not now", PROVIDER_LATER),
    _answer("ehlo", "421 4.3.2 bye", PROVIDER_LATER),
    _answer("ehlo", HANG, NETWORK_LATER),
    _answer("ehlo", DROP, NETWORK_LATER),
    _answer("ehlo", GARBAGE, PROVIDER_LATER),
    Case(name="greeted, then dropped", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("banner", Then("220 mail.example", DROP)),)),
    Case(name="EHLO answered, then dropped", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("ehlo", Then("250 mail.example", DROP)),)),
)  # fmt: skip

TLS: Final = (
    _sent("STARTTLS", **STARTTLS),
    _sent("implicit TLS", **IMPLICIT),
    _sent("STARTTLS by host name", server={"tls": "starttls"},
          relay={"tls": "starttls", "host": "localhost"}),
    Case(name="STARTTLS is not offered", expect=PROVIDER_OPERATOR, code="smtp_tls",
         relay={"tls": "starttls", "login": LOGIN}, server={"login": LOGIN}),
    Case(name="STARTTLS is blotted out", expect=PROVIDER_OPERATOR, code="smtp_tls",
         relay={"tls": "starttls"}, server={"extensions": ("XXXXXXXA", "SIZE 0")}),
    _answer("starttls", "454 4.7.0 no TLS now", PROVIDER_LATER, **STARTTLS),
    _answer("starttls", "501 5.5.4 no", PROVIDER_OPERATOR, **STARTTLS),
    _answer("starttls", "421 4.3.2 bye", PROVIDER_LATER, **STARTTLS),
    _answer("starttls", DROP, NETWORK_LATER, **STARTTLS),
    _answer("starttls", HANG, NETWORK_LATER, **STARTTLS),
    _answer("starttls", GARBAGE, PROVIDER_LATER, **STARTTLS),
    Case(name="STARTTLS answered, then dropped", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("starttls", Then("220 2.0.0 go ahead", DROP)),), **STARTTLS),
    Case(name="STARTTLS answered, then no handshake", expect=NETWORK_LATER, code="smtp_timeout",
         script=(on("starttls", Then("220 2.0.0 go ahead", HANG)),), **STARTTLS),
    Case(name="STARTTLS answered, then no TLS", expect=NETWORK_LATER, code="smtp_tls",
         script=(on("starttls", Then("220 2.0.0 go ahead", GARBAGE)),), **STARTTLS),
    Case(name="421 to the EHLO under TLS", expect=PROVIDER_LATER, code="smtp_ehlo_421",
         script=(on("ehlo", "421 4.3.2 bye", nth=2),), **STARTTLS),
    _sent("a reply slipped in before TLS is not read",
          on("starttls", "220 2.0.0 go\r\n250-forged\r\n250 AUTH PLAIN"), **STARTTLS),
    Case(name="a certificate of nobody we trust", expect=PROVIDER_OPERATOR, code="smtp_tls",
         trusts="elsewhere.example", **STARTTLS),
    Case(name="implicit TLS, a certificate of nobody we trust", expect=PROVIDER_OPERATOR, code="smtp_tls",
         trusts="elsewhere.example", **IMPLICIT),
    Case(name="a certificate for another host", expect=PROVIDER_OPERATOR, code="smtp_tls",
         shows="elsewhere.example", trusts="elsewhere.example", **STARTTLS),
    Case(name="implicit TLS on a port that has none", expect=NETWORK_LATER, code="smtp_tls",
         relay={"tls": "implicit"}),
)  # fmt: skip

AUTHENTICATION: Final = (
    _sent("AUTH PLAIN", server={"tls": "starttls", "login": LOGIN},
          relay={"tls": "starttls", "login": LOGIN}),
    _sent("AUTH LOGIN", server={"auth_methods": "LOGIN", "login": LOGIN}, relay={"login": LOGIN}),
    Case(name="AUTH, a wrong password", expect=CREDENTIAL_OPERATOR, code="smtp_auth_535",
         server={"login": LOGIN}, relay={"login": (LOGIN[0], "another-pass")}),
    _answer("auth", "535 5.7.8 s3cret-pass of acme-relay is wrong", CREDENTIAL_OPERATOR, **AUTH),
    _answer("auth", "454 4.7.0 try later", CREDENTIAL_LATER, **AUTH),
    _answer("auth", "421 4.7.0 bye", PROVIDER_LATER, **AUTH),
    _answer("auth", HANG, NETWORK_LATER, **AUTH),
    _answer("auth", DROP, NETWORK_LATER, **AUTH),
    _answer("auth", GARBAGE, PROVIDER_LATER, **AUTH),
    Case(name="AUTH is not offered", expect=CREDENTIAL_OPERATOR, code="smtp_auth", relay={"login": LOGIN}),
    Case(name="AUTH by a method that we do not know", expect=CREDENTIAL_OPERATOR, code="smtp_auth",
         server={"login": LOGIN, "auth_methods": "GSSAPI"}, relay={"login": LOGIN}),
    Case(name="AUTH is wanted, no user name", expect=CREDENTIAL_OPERATOR, code="smtp_530",
         server={"login": LOGIN}),
)  # fmt: skip

MAIL: Final = (
    _answer("mail", "550 no", MESSAGE_NEVER),
    _answer("mail", "550 5.7.1 no", CREDENTIAL_OPERATOR),
    _answer("mail", "553 5.1.8 who?", CREDENTIAL_OPERATOR),
    _answer("mail", "451 4.3.0 not now", PROVIDER_LATER),
    _answer("mail", "452 4.3.1 disk full", PROVIDER_LATER),
    _answer("mail", "552 5.3.4 too big", MESSAGE_NEVER),
    _answer("mail", "552 too big", MESSAGE_NEVER),
    _answer("mail", "421 4.3.2 bye", PROVIDER_LATER),
    _answer("mail", HANG, NETWORK_LATER),
    _answer("mail", DROP, NETWORK_LATER),
    _answer("mail", GARBAGE, PROVIDER_LATER),
    Case(name="MAIL answered, then dropped", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("mail", Then("250 2.1.0 ok", DROP)),)),
    Case(name="MAIL answered twice", expect=PROVIDER_LATER, code="smtp_garbage",
         script=(on("mail", "250 2.1.0 ok\r\n250 2.1.0 ok"),)),
)  # fmt: skip

RCPT: Final = (
    _answer("rcpt", "550 5.1.1 unknown", RECIPIENT_NEVER),
    _answer("rcpt", "550 unknown", RECIPIENT_NEVER),
    _answer("rcpt", "550-5.1.1 <zoe@customer.example>\r\n550 5.1.1 zoe is unknown", RECIPIENT_NEVER,
            "rcpt: 550 in several lines that name the recipient"),
    _answer("rcpt", "450 4.7.1 later", RECIPIENT_LATER),
    _answer("rcpt", "451 4.3.0 overloaded", PROVIDER_LATER),
    _answer("rcpt", "552 5.2.2 full", RECIPIENT_LATER),
    _answer("rcpt", "452 4.2.2 full", RECIPIENT_LATER),
    _answer("rcpt", "552 too many", RECIPIENT_LATER),
    _answer("rcpt", "452 4.5.3 too many", PROVIDER_LATER),
    _answer("rcpt", "550 5.7.1 members only", MESSAGE_NEVER),
    _answer("rcpt", "554 5.7.1 <zoe@customer.example>: Relay access denied", CREDENTIAL_OPERATOR,
            "rcpt: relay access denied"),
    _answer("rcpt", "450 5.1.1 contradiction", RECIPIENT_LATER),
    _answer("rcpt", "550 4.2.1 contradiction", RECIPIENT_NEVER),
    _answer("rcpt", "421 4.7.0 bye", PROVIDER_LATER),
    _answer("rcpt", HANG, NETWORK_LATER),
    _answer("rcpt", DROP, NETWORK_LATER),
    _answer("rcpt", GARBAGE, PROVIDER_LATER),
    Case(name="RCPT answered, then dropped", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("rcpt", Then("250 2.1.5 ok", DROP)),)),
    Case(name="RCPT refused, and the next answer with it", expect=RECIPIENT_NEVER, code="smtp_550",
         script=(on("rcpt", "550 5.1.1 unknown\r\n250 2.0.0 reset"),)),
)  # fmt: skip

DATA: Final = (
    _answer("data", "554 5.5.1 no valid recipients", MESSAGE_NEVER),
    _answer("data", "451 4.3.0 not now", PROVIDER_LATER),
    _answer("data", "421 4.3.2 bye", PROVIDER_LATER),
    _answer("data", "250 what?", PROVIDER_LATER),
    _answer("data", HANG, NETWORK_LATER),
    _answer("data", DROP, NETWORK_LATER),
    _answer("data", GARBAGE, PROVIDER_LATER),
    Case(name="DATA answered twice", expect=PROVIDER_LATER, code="smtp_garbage",
         script=(on("data", "354 go ahead\r\n250 2.0.0 ok"),)),
    Case(name="the body drops", expect=NETWORK_LATER, code="smtp_lost", script=(on("body", DROP),),
         server={"extensions": ()}, change={"attachments": (BIG,)}),
    Case(name="the body hangs", expect=NETWORK_LATER, code="smtp_timeout", script=(on("body", HANG),),
         server={"extensions": ()}, change={"attachments": (BIG,)}),
)  # fmt: skip

FINAL_DOT: Final = (
    _answer("dot", "550 5.7.1 spam", MESSAGE_NEVER),
    _answer("dot", "554 5.6.0 bad MIME", MESSAGE_NEVER),
    _answer("dot", "554 no", MESSAGE_NEVER),
    _answer("dot", "550 5.1.1 unknown", RECIPIENT_NEVER),
    _answer("dot", "550 5.1.8 bad sender", MESSAGE_NEVER),
    _answer("dot", "552 5.3.4 too big", MESSAGE_NEVER),
    _answer("dot", "552 5.7.0 attachment", MESSAGE_NEVER),
    _answer("dot", "552 too big", MESSAGE_NEVER),
    _answer("dot", "552 5.2.2 full", RECIPIENT_LATER),
    _answer("dot", "452 4.3.4 too big", MESSAGE_NEVER),
    _answer("dot", "452 disk full", PROVIDER_LATER),
    _answer("dot", "451 4.7.1 later", MESSAGE_LATER),
    _answer("dot", "451 5.7.1 contradiction", MESSAGE_LATER),
    _answer("dot", "550 5.4.5 daily limit", CREDENTIAL_LATER),
    _answer("dot", "421 4.3.2 bye", PROVIDER_LATER),
    _answer("dot", "454 Throttling failure: Maximum sending rate exceeded.", throttled()),
    _answer("dot", HANG, unknown()),
    _answer("dot", DROP, unknown()),
    _answer("dot", GARBAGE, unknown()),
    _answer("dot", "354 more?", unknown()),
    _answer("dot", Then("250-2.0.0 Ok: queu", DROP), unknown(), "dot: half an answer, then dropped"),
)  # fmt: skip

NOT_OFFERED: Final = (
    Case(name="too large for the server", expect=MESSAGE_NEVER, code="smtp_size",
         server={"extensions": ("SIZE 2000",)}, change={"text": "x" * 3000}),
    Case(name="SMTPUTF8 is needed and not offered", expect=RECIPIENT_NEVER, code="smtp_smtputf8",
         server={"extensions": ()}, change={"to": WIDE}),
    Case(name="no address", expect=RECIPIENT_NEVER, code="recipient_invalid", change={"to": "zoe"}),
    Case(name="a line break in the subject", expect=MESSAGE_NEVER, code="header_unsafe",
         change={"subject": "Paid\r\nBcc: eve@evil.example"}),
    Case(name="a line break in the name", expect=MESSAGE_NEVER, code="header_unsafe",
         change={"name": "Zoë\nBcc: eve@evil.example"}),
    Case(name="a command in the address", expect=MESSAGE_NEVER, code="header_unsafe",
         change={"to": "zoe@customer.example>\r\nRCPT TO:<eve@evil.example"}),
)  # fmt: skip


def _again(name: str, *script: Rule, connections: int = 2) -> Case:
    return Case(name=name, expect=sent(), script=script, earlier=1, connections=connections)


REUSED: Final = (
    _again("a session is used again", connections=1),
    _again("a session that was reset is used again", on("rcpt", "550 5.1.1 unknown", nth=1), connections=1),
    _again("a session that was reset after the whole mail is used again",
           on("dot", "550 5.7.1 spam", nth=1), connections=1),
    _again("a used session is gone: MAIL drops", on("mail", DROP, nth=2)),
    _again("a used session is gone: MAIL hangs", on("mail", HANG, nth=2)),
    _again("a used session is gone: MAIL 421", on("mail", "421 4.4.2 idle for too long", nth=2)),
    _again("a session drops while idle", on("dot", Then("250 2.0.0 Ok", DROP), nth=1)),
    _again("a session says 421 while idle", on("dot", "250 2.0.0 Ok\r\n421 4.4.2 idle too long", nth=1)),
    Case(name="a session says more than it was asked", expect=RECIPIENT_NEVER, code="smtp_550",
         script=(on("dot", "250 2.0.0 Ok\r\n250 a\r\n250 b\r\n354 c", nth=1),
                 on("rcpt", "550 5.1.1 unknown", nth=2)),
         earlier=1, connections=2),
    _again("a session cannot be reset: 500", on("rcpt", "550 no", nth=1), on("rset", "500 5.5.2 what?")),
    _again("a session cannot be reset: 421", on("rcpt", "550 no", nth=1), on("rset", "421 4.3.2 bye")),
    _again("a session cannot be reset: drops", on("rcpt", "550 no", nth=1), on("rset", DROP)),
    _again("a session cannot be reset: hangs", on("rcpt", "550 no", nth=1), on("rset", HANG)),
    _again("a session cannot be reset: garbage", on("rcpt", "550 no", nth=1), on("rset", GARBAGE)),
    _again("a refusal with the next answer in it", on("rcpt", "550 no\r\n250 reset\r\n250 b", nth=1)),
    _again("a session in doubt is not used again: MAIL hangs", on("mail", HANG, nth=1)),
    _again("a session in doubt is not used again: DATA hangs", on("data", HANG, nth=1)),
    _again("a session in doubt is not used again: DATA garbage", on("data", GARBAGE, nth=1)),
    _again("a session in doubt is not used again: the final dot hangs", on("dot", HANG, nth=1)),
    _again("a session in doubt is not used again: the final dot garbage", on("dot", GARBAGE, nth=1)),
    Case(name="a used session is gone, and the next one too", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("mail", DROP, nth=2), on("mail", DROP, nth=2)), earlier=1, connections=2),
    Case(name="a used session is lost once MAIL was answered", expect=NETWORK_LATER, code="smtp_lost",
         script=(on("rcpt", DROP, nth=2),), earlier=1, connections=1),
    Case(name="a used session is lost after the final dot", expect=unknown(), code="smtp_no_answer",
         script=(on("dot", DROP, nth=2),), earlier=1, connections=1),
)  # fmt: skip

CASES: Final = (
    *ACCEPTED, *CONNECTION, *TLS, *AUTHENTICATION, *MAIL, *RCPT, *DATA, *FINAL_DOT, *NOT_OFFERED, *REUSED,
)  # fmt: skip
