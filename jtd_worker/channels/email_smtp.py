"""Mail by SMTP submission to a relay or provider (RFC 5321, 6409, 8314)."""

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from jtd_worker import mime, verp
from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.bounce import read_bounce
from jtd_worker.errors import ConfigurationError, RecipientError, RenderError
from jtd_worker.message import Message
from jtd_worker.receipt import Receipt, ReceiptParser, WebhookRequest
from jtd_worker.result import Refused, Retry, Scope, SendResult
from jtd_worker.smtp_connect import Server, SessionRefusedError, Timeouts
from jtd_worker.smtp_pool import IDLE_SECONDS, SmtpPool
from jtd_worker.verp import Verp
from jtd_worker.webhook_proof import ReceiptSecrets, must_be_one_of

CAPABILITIES = Capabilities(unknown_rule=UnknownRule.RESEND, has_receipts=True)
"""A mail sent twice has the same Message-ID and mostly shows once; one that is missing shows never."""

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.I
)

_NOT_PUBLIC = (".local", ".localdomain", ".internal", ".arpa")


class Settings(BaseModel):
    """Where mail is handed over, as whom, and from whom it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """`none` only for a relay on this machine."""
    port: int = Field(default_factory=lambda fields: _PORTS[fields["tls"]], ge=1, le=65535)
    """By default 587 for `starttls`, 465 for `implicit`, 25 for `none`."""
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = Field(default=None, min_length=1)
    sender: str = Field(alias="from")
    """One mailbox, such as `Acme <no-reply@acme.example>`."""
    ca_file: str | None = None
    """PEM file of the only authorities trusted, instead of the system's."""
    unknown: UnknownRule = UnknownRule.RESEND
    bounce_address: str | None = None
    """Where bounces go, e.g. `bounces@acme.example`; each mail has a token in it. None: they go to `from`."""
    bounce_separator: str = Field(default="+", pattern=r"^[+=_.-]$")
    """What stands before the token: the recipient delimiter of the server that takes the bounces."""
    bounce_secrets: SecretStr | None = None
    """What the tokens are signed with; several, separated by blanks, while one is being replaced."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """The most mails, and so sessions, at one time, of one process; by default as many as there are slots."""

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str) -> str:
        if not _HOST_NAME.fullmatch(host) and not _is_ip(host):
            raise ValueError("must be a host name or an IP address")
        return host

    @field_validator("sender")
    @classmethod
    def _is_mailbox(cls, sender: str) -> str:
        mime.mailbox(sender)
        return sender

    @field_validator("bounce_address")
    @classmethod
    def _has_room_for_a_token(cls, bounces: str | None) -> str | None:
        if bounces is not None:
            verp.address(bounces, "+", "x" * verp.TOKEN_LENGTH)
        return bounces

    @field_validator("bounce_secrets")
    @classmethod
    def _are_secrets(cls, secrets: SecretStr | None) -> SecretStr | None:
        if secrets is not None:
            verp.secrets_of(secrets)
        return secrets

    @field_validator("unknown")
    @classmethod
    def _is_possible(cls, unknown: UnknownRule) -> UnknownRule:
        if unknown is UnknownRule.IDEMPOTENT_RETRY:
            raise ValueError("SMTP knows no idempotency key; choose resend or hold")
        if unknown is UnknownRule.WAIT_FOR_RECEIPT:
            raise ValueError("SMTP brings no receipts; choose resend or hold")
        return unknown

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: set both or neither")
        if self.bounce_address is not None and self.bounce_secrets is None:
            raise ValueError("bounce_address needs bounce_secrets: an unsigned bounce could be anyone's")
        if self.tls == "none" and not _is_loopback(self.host):
            raise ValueError(
                "tls=none sends in clear text and is only for a loopback host; use starttls or implicit"
            )
        return self


class EmailSmtp(SingleSend):
    """Sends each mail in its own transaction over reused sessions."""

    def __init__(
        self, settings: Settings, *, timeouts: Timeouts | None = None, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._settings = settings
        server = _server(settings, timeouts or Timeouts())
        self._mask = server.mask
        self._pool = SmtpPool(server, idle_seconds=idle_seconds)
        secrets = settings.bounce_secrets
        self._verp = Verp(verp.secrets_of(secrets)) if secrets is not None else None

    @property
    def capabilities(self) -> Capabilities:
        return replace(
            CAPABILITIES, unknown_rule=self._settings.unknown, concurrency=self._settings.concurrency
        )

    async def send_one(self, message: Message) -> SendResult:
        """Send one mail; see `Session.deliver` for what is certain and what is Unknown."""
        try:
            if message.attachments:  # encoding megabytes takes its time: not that of the event loop
                mail = await asyncio.to_thread(mime.build, message, self._settings.sender)
            else:
                mail = mime.build(message, self._settings.sender)
        except RenderError as error:
            return Refused(retry=Retry.NEVER, scope=Scope.MESSAGE, code=error.code, reason=str(error))
        except RecipientError as error:
            return Refused(
                retry=Retry.NEVER, scope=Scope.RECIPIENT, code="recipient_invalid", reason=str(error)
            )
        mask = self._mask.for_mail(
            {message.to, mail.recipient}, kept={mail.sender, mail.message_id.strip("<>")}
        )
        try:
            return await self._pool.deliver(self._returning(mail, message), mask)
        except SessionRefusedError as error:
            return error.refused

    def _returning(self, mail: mime.Mail, message: Message) -> mime.Mail:
        """Let bounces of this mail come back to an address of its own."""
        bounces = self._settings.bounce_address
        if bounces is None or self._verp is None:
            return mail
        sender = verp.address(bounces, self._settings.bounce_separator, self._verp.token(message.jtd_id))
        return replace(mail, sender=sender)

    async def aclose(self) -> None:
        """End the idle sessions."""
        await self._pool.aclose()


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; `channel` is always `email`. Asks the resolver for our own name, so it may wait.

    Raises ConfigurationError when `ca_file` cannot be used.
    """
    return EmailSmtp(settings)


class ReceiptSettings(ReceiptSecrets):
    """`secrets` are those of whoever hands over the mails, as bearer token or end of the URL's path."""

    bounce_secrets: SecretStr
    """What the tokens in the bounce addresses are signed with, of all instances of the provider."""

    @field_validator("bounce_secrets")
    @classmethod
    def _are_secrets(cls, secrets: SecretStr) -> SecretStr:
        verp.secrets_of(secrets)
        return secrets


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of mails that came to a bounce address; the body of a request is the mail as it is."""
    return partial(_receipts, settings.each, Verp(verp.secrets_of(settings.bounce_secrets)))


def _receipts(secrets: Sequence[str], tokens: Verp, request: WebhookRequest) -> Sequence[Receipt]:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    path = request.url.partition("?")[0]
    given = token.strip() if kind.lower() == "bearer" else path.rpartition("/")[2]
    must_be_one_of([given], secrets)
    return read_bounce(request.body, tokens)


def ehlo_name(fqdn: str, sender_domain: str) -> str:
    """Choose the name to greet with: this machine's if it is one that the world can know, else the sender's.

    Servers refuse `EHLO 3f1c9a` and `EHLO localhost` (RFC 5321 2.3.5); the name in a container is such a one.
    """
    is_public = "." in fqdn and _HOST_NAME.fullmatch(fqdn) and not _is_ip(fqdn)
    return fqdn if is_public and not fqdn.lower().endswith(_NOT_PUBLIC) else sender_domain


def _server(settings: Settings, timeouts: Timeouts) -> Server:
    credential = None
    if settings.username is not None and settings.password is not None:
        credential = (settings.username, settings.password.get_secret_value())
    return Server(
        host=settings.host,
        port=settings.port,
        security=None if settings.tls == "none" else _security(settings.ca_file),
        implicit_tls=settings.tls == "implicit",
        ehlo_name=ehlo_name(socket.getfqdn(), mime.mailbox(settings.sender).domain),
        credential=credential,
        timeouts=timeouts,
    )


def _security(ca_file: str | None) -> ssl.SSLContext:
    """Check certificate and host name, TLS 1.2 or later (RFC 8997)."""
    try:
        security = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"ca_file {ca_file} cannot be used: {error.strerror or error}") from error
    security.minimum_version = ssl.TLSVersion.TLSv1_2
    return security


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)
