"""Idle SMTP sessions, kept for the next mail: the one used last is used first, so that the rest can end."""

import asyncio

from jtd_worker.mime import Mail
from jtd_worker.result import SendResult
from jtd_worker.smtp_connect import Server, connect
from jtd_worker.smtp_reply import Mask
from jtd_worker.smtp_session import Session, StaleSessionError

MAILS_A_SESSION = 100
"""Large receivers end a session after 20 to 100 mails; one reconnect in a hundred bothers no relay."""

IDLE_SECONDS = 60.0
"""Servers drop an idle session after 1 to 5 minutes."""


class SmtpPool:
    """Sends over as few sessions as there are mails at the same time."""

    def __init__(self, server: Server, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._server = server
        self._idle_seconds = idle_seconds
        self._idle: dict[Session, asyncio.TimerHandle] = {}

    async def deliver(self, mail: Mail, mask: Mask) -> SendResult:
        """Send on an idle session, else on a new one.

        Raises SessionRefusedError when none can be opened. If an idle session turns out to be gone before it
        answered MAIL, the mail is sent at once on a new one, not on another idle one: they die together.
        """
        session = self._take()
        if session is not None:
            try:
                return await self._deliver(session, mail, mask)
            except StaleSessionError:
                pass
        return await self._deliver(Session(await connect(self._server), self._server), mail, mask)

    async def aclose(self) -> None:
        """End the idle sessions; sessions in use end with their mail."""
        while self._idle:
            session, timer = self._idle.popitem()
            timer.cancel()
            session.quit()
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    async def _deliver(self, session: Session, mail: Mail, mask: Mask) -> SendResult:
        result = await session.deliver(mail, mask)
        if session.is_reusable and session.mails < MAILS_A_SESSION:
            timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire, session)
            self._idle[session] = timer
        else:
            session.quit()
        return result

    def _take(self) -> Session | None:
        while self._idle:
            session, timer = self._idle.popitem()
            timer.cancel()
            if session.is_reusable:
                return session
            session.abort()
        return None

    def _retire(self, session: Session) -> None:
        del self._idle[session]
        session.quit()
