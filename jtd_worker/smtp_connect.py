"""Opening an SMTP session: connect, secure, authenticate, and what each refusal on the way means."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiosmtplib

from jtd_worker.result import Refused, Retry, Scope, Throttled
from jtd_worker.smtp_reply import Mask, NoAnswer, Phase, answer_of, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait, by default the least that RFC 5321 4.5.3.2 asks of a client.

    A shorter wait after the final dot makes duplicates: the server takes the mail and we send it again.
    """

    connect: float = 300
    """Until the greeting, TCP and TLS included; the kernel gives up a silent TCP connect earlier."""
    command: float = 300
    block: float = 180
    final_dot: float = 600
    reset: float = 10
    """Ours: RSET only decides whether a session can be used again, and the result is known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Whom to talk to, and as whom."""

    host: str
    port: int
    security: ssl.SSLContext | None
    """None sends in clear text, and never happens on its own."""
    implicit_tls: bool
    ehlo_name: str
    credential: tuple[str, str] | None = field(repr=False)
    """User name and password."""
    timeouts: Timeouts

    @property
    def mask(self) -> Mask:
        """Hide the credential in any form that a server could echo."""
        if self.credential is None:
            return Mask({})
        username, password = self.credential
        plain = f"\0{username}\0{password}"
        encoded = [b64encode(text.encode()).decode() for text in (username, password, plain)]
        return Mask({username: "<username>"} | dict.fromkeys([password, *encoded], "<password>"))


class SessionRefusedError(Exception):
    """No session could be opened; nothing of any mail was sent."""

    def __init__(self, refused: Refused | Throttled) -> None:
        super().__init__(refused.code)
        self.refused = refused


async def connect(server: Server) -> aiosmtplib.SMTP:
    """Connect, secure, authenticate.

    Raises SessionRefusedError; TLS that was asked for is never given up. Closes the connection when it raises
    or is cancelled.
    """
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        local_hostname=server.ehlo_name,
        use_tls=server.implicit_tls,
        start_tls=False,  # done here, step by step, to tell the refusals apart
        tls_context=server.security,
        timeout=None,
    )
    limits, mask = server.timeouts, server.mask
    try:
        async with _step(Phase.CONNECT, limits.connect, mask):
            await client.connect()
        async with _step(Phase.EHLO, limits.command, mask):
            await client.ehlo()
        if server.security is not None and not server.implicit_tls:
            await _start_tls(client, server)
        if server.credential is not None:
            await _authenticate(client, server, *server.credential)
    except BaseException:
        if isinstance(client.transport, asyncio.WriteTransport):
            client.transport.abort()
        client.close()
        raise
    return client


async def _start_tls(client: aiosmtplib.SMTP, server: Server) -> None:
    if not client.supports_extension("starttls"):
        raise SessionRefusedError(
            Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.PROVIDER,
                code="smtp_tls",
                reason="STARTTLS: the server does not offer it, and clear text was not allowed",
            )
        )
    async with _step(Phase.STARTTLS, server.timeouts.connect, server.mask):
        await client.starttls()
    # What was offered in clear text may have been forged (RFC 3207 4.2).
    async with _step(Phase.EHLO, server.timeouts.command, server.mask):
        await client.ehlo()


async def _authenticate(client: aiosmtplib.SMTP, server: Server, username: str, password: str) -> None:
    """Try one method once: a second try with a wrong password may lock the account."""
    methods = {"plain": client.auth_plain, "login": client.auth_login}
    offered = next((method for name, method in methods.items() if name in client.server_auth_methods), None)
    if offered is None:
        raise SessionRefusedError(
            Refused(
                retry=Retry.AFTER_OPERATOR,
                scope=Scope.CREDENTIAL,
                code="smtp_auth",
                reason="AUTH: the server offers neither PLAIN nor LOGIN; choose another port or no user name",
            )
        )
    async with _step(Phase.AUTH, server.timeouts.command, server.mask):
        await offered(username, password)


@asynccontextmanager
async def _step(phase: Phase, seconds: float, mask: Mask) -> AsyncIterator[None]:
    """Bound one step, and turn what goes wrong in it into a SessionRefusedError.

    The client library is always called without a timeout of its own: on Python 3.11 its `wait_for` can lose a
    cancellation that comes together with the answer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except aiosmtplib.SMTPResponseException as error:
        raise SessionRefusedError(refusal(phase, answer_of(error.code, error.message), mask)) from None
    except TimeoutError:
        raise SessionRefusedError(refusal(phase, NoAnswer.TIMEOUT, mask)) from None
    except OSError as error:
        raise SessionRefusedError(_network_refusal(phase, error.__cause__ or error, mask)) from None


def _network_refusal(phase: Phase, cause: BaseException, mask: Mask) -> Refused | Throttled:
    match cause:
        case ssl.SSLCertVerificationError():
            reason = f"TLS: the server's certificate is not accepted: {cause.verify_message}"
            return Refused(retry=Retry.AFTER_OPERATOR, scope=Scope.PROVIDER, code="smtp_tls", reason=reason)
        case ssl.SSLError():
            reason = f"TLS: {cause.reason or 'the handshake failed'}"
            return Refused(retry=Retry.LATER, scope=Scope.NETWORK, code="smtp_tls", reason=reason)
        case _ if phase is Phase.CONNECT:
            reason = f"CONNECT: {mask(str(cause))}"
            return Refused(retry=Retry.LATER, scope=Scope.NETWORK, code="smtp_connect", reason=reason)
        case _:
            return refusal(phase, NoAnswer.LOST, mask)
