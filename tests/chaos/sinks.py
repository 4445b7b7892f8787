"""The providers: an SMTP server and webhook receivers that keep ledgers and misbehave on command."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Protocol
from uuid import UUID

from jtd_worker.testing.http_server import Drip, HttpServer, Request, Step, Steps, answer
from jtd_worker.testing.smtp_server import DROP, GARBAGE, HANG, Misbehaviour, Phase, SmtpServer, _Connection
from tests.chaos.ledger import HANGS, Ledger, Treatment
from tests.chaos.network import Network
from tests.chaos.traps import Traps

DELAYS = {Treatment.SLOW: 0.3, Treatment.LATE: 4.0}
"""Seconds until a provider answers; late is later than any lease of a run."""
USUAL = (Treatment.TAKE, Treatment.SLOW)
"""How messages are treated while nothing is wrong: half of them keep their slots for a while."""
RETRY_AFTER = 1
"""Seconds of pause that one asks for."""

_REPLIES: dict[Treatment, tuple[Phase, str | Misbehaviour]] = {
    Treatment.LATER: ("rcpt", "451 4.3.2 not now"),
    Treatment.THROTTLE: ("mail", "421 4.7.0 too many"),
    Treatment.NEVER: ("rcpt", "550 5.1.1 no such mailbox"),
    Treatment.DROP_BEFORE: ("data", DROP),
    Treatment.DROP_AFTER: ("dot", DROP),
    Treatment.HANG_BEFORE: ("data", HANG),
    Treatment.HANG_AFTER: ("dot", HANG),
    Treatment.GARBAGE_AFTER: ("dot", GARBAGE),
    Treatment.GATEWAY_BEFORE: ("dot", "451 4.4.1 no answer from the host behind"),
    Treatment.GATEWAY_AFTER: ("dot", DROP),
}


class Sink(Protocol):
    """A provider of one channel."""

    ledger: Ledger
    usual: Callable[[], Treatment]
    """How messages are treated while nothing is wrong."""
    mood: Callable[[], Treatment]
    """How the next message is treated."""

    async def go_down(self) -> None:
        """Refuse connections and break those that are open."""

    async def come_up(self) -> None:
        """Listen again, at the same port."""

    def hang_up(self) -> None:
        """Break the connections that are open."""


class SmtpSink(SmtpServer):
    """A mail server; each daemon sends from an address `<daemon>@...`, each job to `<its id>@...`."""

    def __init__(self, traps: Traps, usual: Callable[[], Treatment]) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.usual = self.mood = usual
        self._traps = traps
        self._treatments: dict[int, Treatment] = {}
        """By connection: of the mail that is being sent over it."""

    def _scripted(self, phase: Phase, connection: _Connection) -> str | Misbehaviour | None:
        if phase == "mail":
            self._treatments[connection.number] = self.mood()
        if phase == "dot" and self._spring("received", connection):
            return "451 4.3.0 its client is gone"
        at, reply = _REPLIES.get(self._treatments.get(connection.number, Treatment.TAKE), ("", None))
        return reply if phase == at else None

    async def _data(self, connection: _Connection) -> None:
        sender, recipients = connection.sender, list(connection.recipients)
        await asyncio.sleep(DELAYS.get(self._treatments.get(connection.number, Treatment.TAKE), 0))
        await super()._data(connection)
        if sender and recipients:
            self._traps.spring("smtp answered", _local(sender), recipients[0].encode())

    def _accept(self, connection: _Connection, content: bytes) -> None:
        daemon, jtd = _local(connection.sender or ""), UUID(_local(connection.recipients[0]))
        if f"<{jtd}.".encode() not in content:
            self.ledger.mistakes.append(f"the mail to {jtd} has another's Message-ID")
        treatment = self._treatments[connection.number]
        self.ledger.note(jtd, daemon, treatment, content.replace(f"{daemon}@".encode(), b"@"))
        self._spring("accepted", connection)

    def _spring(self, moment: str, connection: _Connection) -> bool:
        about = connection.recipients[0].encode()
        return self._traps.spring(f"smtp {moment}", _local(connection.sender or ""), about)

    async def go_down(self) -> None:
        self._server.close()
        self.hang_up()

    async def come_up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()


class _Treated(list[bytes | Drip | Step]):
    """The steps of an answer, and whom it answers."""

    def __init__(self, steps: Steps, request: Request) -> None:
        super().__init__(steps)
        self.request = request


class HookSink(HttpServer):
    """A receiver of webhooks; each daemon posts to `/<daemon>`."""

    def __init__(self, traps: Traps, usual: Callable[[], Treatment]) -> None:
        super().__init__(self._treat)
        self.ledger = Ledger()
        self.usual = self.mood = usual
        self._traps = traps

    def url_for(self, daemon: str) -> str:
        return f"http://127.0.0.1:{self.port}/{daemon}"

    def _treat(self, request: Request) -> Steps:
        if self._spring("received", request):
            return [Step.RESET]
        jtd, treatment = UUID(request.headers["webhook-id"]), self.mood()
        if request.json["data"]["id"] != str(jtd):
            self.ledger.mistakes.append(f"the message of {jtd} has another's id in its body")
        self.ledger.note(jtd, _daemon(request), treatment, request.body)
        self._spring("accepted", request)
        return _Treated(_steps(treatment, len(self.requests)), request)

    async def _perform(self, steps: Steps, connection: object) -> bool:
        goes_on = await super()._perform(steps, connection)  # type: ignore[arg-type]
        if isinstance(steps, _Treated):
            self._spring("answered", steps.request)
        return goes_on

    def _spring(self, moment: str, request: Request) -> bool:
        return self._traps.spring(
            f"webhook {moment}", _daemon(request), request.headers["webhook-id"].encode()
        )

    async def go_down(self) -> None:
        self._server.close()
        self.hang_up()

    async def come_up(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()


def _steps(treatment: Treatment, number: int) -> Steps:
    taken = answer(200, b'{"id": "m-%d"}' % number)
    match treatment:
        case Treatment.TAKE:
            return taken
        case Treatment.SLOW | Treatment.LATE:
            (whole,) = taken
            assert isinstance(whole, bytes)
            return [Drip(whole[:1], DELAYS[treatment]), whole[1:]]
        case Treatment.LATER:
            return answer(503)
        case Treatment.THROTTLE:
            return answer(429, headers={"retry-after": str(RETRY_AFTER)})
        case Treatment.NEVER:
            return answer(422)
        case Treatment.DROP_BEFORE | Treatment.DROP_AFTER:
            return [Step.RESET]
        case Treatment.HANG_BEFORE | Treatment.HANG_AFTER:
            return [Step.HANG]
        case Treatment.GARBAGE_AFTER:
            return [b"!! what is this?\r\n\r\n", Step.CLOSE]
        case Treatment.GATEWAY_BEFORE | Treatment.GATEWAY_AFTER:
            return answer(502)


def mood(rng: Random, *treatments: Treatment) -> Callable[[], Treatment]:
    """Treat each message in one of these ways, by the throw of a die."""
    return lambda: rng.choice(treatments)


@contextmanager
def treating(network: Network, sink: Sink, rng: Random, *treatments: Treatment) -> Iterator[None]:
    """Let a provider treat each message in one of these ways, and then as usual again."""
    sink.mood = mood(rng, *treatments)
    try:
        yield
    finally:
        sink.mood = sink.usual
        if HANGS & set(treatments):
            network.call(sink.hang_up)


def _daemon(request: Request) -> str:
    return request.target.strip("/")


def _local(address: str) -> str:
    return address.partition("@")[0]
