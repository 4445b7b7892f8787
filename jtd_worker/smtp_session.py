"""One SMTP session, used for one mail after the other, each in a transaction of its own."""

import asyncio
import re

import aiosmtplib

from jtd_worker.mime import Mail
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Unknown
from jtd_worker.smtp_connect import Server, SessionRefusedError
from jtd_worker.smtp_reply import Answer, Mask, NoAnswer, Phase, Reply, answer_of, facts, refusal

_BLOCK = 65_536
"""Octets of the body written before waiting for the socket."""

_QUEUE_ID = re.compile(
    r"queued as (?P<as>[\w.-]+)|\bid=(?P<id>[\w.-]+)|^ok (?P<ok>[0-9a-f-]{20,})$", re.I | re.M
)
"""How Postfix, Exim and Amazon SES name the mail they took."""


class StaleSessionError(Exception):
    """A session used before turned out to be gone; nothing of this mail was sent."""


def _is_gone(answer: Answer) -> bool:
    """Whether a server had ended the session, or no longer knows it."""
    return answer in {NoAnswer.LOST, NoAnswer.TIMEOUT} or (isinstance(answer, Reply) and answer.code == 421)


class Session:
    """An open session, for one mail at a time, made from what `connect` returned.

    Raises SessionRefusedError if the connection ended meanwhile.
    """

    def __init__(self, client: aiosmtplib.SMTP, server: Server) -> None:
        transport, protocol = client.transport, client.protocol
        if protocol is None or not isinstance(transport, asyncio.WriteTransport):
            raise SessionRefusedError(refusal(Phase.MAIL, NoAnswer.LOST, server.mask))
        self._client = client
        self._server = server
        self._transport = transport
        self._protocol = protocol
        # For its flow control; kept for as long as the session, since it closes the transport with itself.
        self._writer = asyncio.StreamWriter(transport, protocol, None, asyncio.get_running_loop())
        self._between_mails = True
        self.mails = 0
        """How many mails were begun on it."""

    @property
    def is_reusable(self) -> bool:
        """Whether it is open and the server waits for a next mail."""
        return self._between_mails and self._client.is_connected and not self._is_out_of_step

    def quit(self) -> None:
        """Say QUIT if that makes sense, and close at once.

        The reply, for which a client should wait (RFC 5321 4.1.1.10), changes nothing for any mail; so nobody
        spends time on it.
        """
        if self.is_reusable:
            self._transport.write(b"QUIT\r\n")
        self.abort()

    def abort(self) -> None:
        """Close at once; a peer that hangs cannot delay it."""
        self._transport.abort()
        self._client.close()

    async def deliver(self, mail: Mail, mask: Mask) -> SendResult:
        """Send one mail to its one recipient.

        Raises StaleSessionError if this is not the session's first mail and the connection was found dead
        before MAIL was answered. After a timeout, garbage, a lost connection or a cancellation the session is
        closed.
        """
        self.mails += 1
        local = self._local_refusal(mail)
        if local is not None:
            return local
        self._between_mails = False
        try:
            return await self._transaction(mail, mask)
        finally:
            if not self._between_mails:
                self.abort()

    def _local_refusal(self, mail: Mail) -> Refused | None:
        """Refuse what this server said it cannot take."""
        if mail.needs_smtputf8 and not self._client.supports_extension("smtputf8"):
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.RECIPIENT,
                code="smtp_smtputf8",
                reason="the part before the @ is not ASCII and the server has no SMTPUTF8",
            )
        limit = self._client.esmtp_extensions.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < len(mail.content):  # 0 is no limit (RFC 1870 3)
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.MESSAGE,
                code="smtp_size",
                reason=f"the mail has {len(mail.content)} octets, the server takes {limit}",
            )
        return None

    async def _transaction(self, mail: Mail, mask: Mask) -> SendResult:
        for phase, command, expected in (
            (Phase.MAIL, self._mail_command(mail), 2),
            (Phase.RCPT, f"RCPT TO:<{mail.recipient}>", 2),
            (Phase.DATA, "DATA", 3),
        ):
            answer = await self._ask(command, self._server.timeouts.command)
            if phase is Phase.MAIL and self.mails > 1 and _is_gone(answer):
                raise StaleSessionError
            if isinstance(answer, NoAnswer) or answer.code // 100 != expected:
                return await self._refused(phase, answer, mask)
        broken = await self._write_body(mail.content)
        if broken is not None:
            return refusal(Phase.DATA, broken, mask)
        return await self._end(mail, mask)

    def _mail_command(self, mail: Mail) -> str:
        """Name only parameters that the server offered: a strict one refuses others."""
        size = f" SIZE={len(mail.content)}" if self._client.supports_extension("size") else ""
        smtputf8 = " SMTPUTF8" if mail.needs_smtputf8 else ""
        return f"MAIL FROM:<{mail.sender}>{size}{smtputf8}"

    async def _refused(self, phase: Phase, answer: Answer, mask: Mask) -> SendResult:
        """Reset the server's envelope, so that the session can take the next mail."""
        if isinstance(answer, Reply) and 400 <= answer.code < 600 and answer.code != 421:
            reset = await self._ask("RSET", self._server.timeouts.reset)
            self._between_mails = isinstance(reset, Reply) and reset.code == 250
        return refusal(phase, answer, mask)

    async def _write_body(self, content: bytes) -> NoAnswer | None:
        """Write the dot-stuffed body without the final dot; None if the connection still stands.

        A mail without its final dot is not a mail: a server must throw it away (RFC 5321 4.1.1.4). So the
        body goes out apart from the dot, and a loss seen in between is certain to be harmless.
        """
        body = re.sub(rb"(?m)^\.", b"..", content)
        try:
            for start in range(0, len(body), _BLOCK):
                async with asyncio.timeout(self._server.timeouts.block):
                    self._writer.write(body[start : start + _BLOCK])
                    await self._writer.drain()
        except TimeoutError:
            return NoAnswer.TIMEOUT
        except OSError:
            return NoAnswer.LOST
        if self._is_out_of_step:
            return NoAnswer.GARBAGE
        return None if self._client.is_connected else NoAnswer.LOST

    async def _end(self, mail: Mail, mask: Mask) -> SendResult:
        """Write the final dot. From its first octet on, no answer means that nobody knows."""
        answer = await self._ask(".", self._server.timeouts.final_dot)
        if isinstance(answer, Reply) and 400 <= answer.code < 600:
            return await self._refused(Phase.DATA, answer, mask)
        if isinstance(answer, NoAnswer) or answer.code // 100 != 2:
            what = answer.value if isinstance(answer, NoAnswer) else str(answer.code)
            return Unknown(
                code="smtp_no_answer",
                reason=f"DATA: the whole mail was handed over, but the reply to it was: {what}",
                response={"message_id": mail.message_id},
            )
        self._between_mails = True
        found = _QUEUE_ID.search(answer.text)
        return Sent(
            provider_message_id=found[found.lastgroup] if found and found.lastgroup else None,
            response={**facts(answer, mask, Phase.DATA), "message_id": mail.message_id},
        )

    @property
    def _is_out_of_step(self) -> bool:
        """Whether the server said more than it was asked.

        The client library would take that for the answer to the next command, and in the end the answer to
        another command for that to the mail.
        """
        return bool(self._protocol._buffer)

    async def _ask(self, command: str, seconds: float) -> Answer:
        if self._is_out_of_step:
            return NoAnswer.GARBAGE
        try:
            async with asyncio.timeout(seconds):
                code, text = await self._client.execute_command(command.encode())
        except TimeoutError:
            return NoAnswer.TIMEOUT
        except aiosmtplib.SMTPServerDisconnected:
            return NoAnswer.LOST
        except aiosmtplib.SMTPResponseException:
            return NoAnswer.GARBAGE
        return answer_of(code, text)
