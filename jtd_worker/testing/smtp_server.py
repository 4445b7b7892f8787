"""A real SMTP server on loopback that misbehaves on command and keeps what it accepted.

async with SmtpServer([on("rcpt", "550 5.1.1 unknown", recipient="jane@example.com")]) as server: ...
with SmtpServer.in_thread([on("dot", HANG, nth=2)]) as server: ...
"""

import asyncio
import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

Phase: TypeAlias = Literal[
    "banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "rset", "noop", "quit"
]
"""`data` is the command, `body` what follows 354, `dot` the reply to the whole mail."""


EXTENSIONS: Final = ("8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 10485760")


class Misbehaviour(Enum):
    HANG = "answer nothing, keep the connection"
    DROP = "reset the connection"
    GARBAGE = "answer with a line that is no SMTP reply"


HANG, DROP, GARBAGE = Misbehaviour


@dataclass(frozen=True, slots=True)
class Then:
    """A reply, and what comes after it; GARBAGE waits until the client has gone on."""

    reply: str
    after: Misbehaviour


Action: TypeAlias = str | Misbehaviour | Then


@dataclass(slots=True)
class Rule:
    phase: Phase
    action: Action
    nth: int | None
    recipient: str | None
    seen: int = 0

    def applies(self, phase: Phase, recipients: Sequence[str]) -> bool:
        if phase != self.phase or (self.recipient is not None and self.recipient not in recipients):
            return False
        self.seen += 1
        return self.nth in {None, self.seen}


def on(phase: Phase, action: Action, *, nth: int | None = None, recipient: str | None = None) -> Rule:
    """Answer so at this phase: always, or the n-th time (from 1), or for mails to this recipient only.

    `action` is a reply (lines joined by CRLF), one of HANG, DROP, GARBAGE, or `Then`: a reply and one of
    these. An `nth` counts over all connections what the rest of the rule applies to. The first rule that
    applies wins.
    """
    return Rule(phase, action, nth, recipient)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A mail that was received whole; whether the client was told so is the script's affair."""

    connection: int
    sender: str
    recipients: tuple[str, ...]
    parameters: str
    """Of MAIL, e.g. `SIZE=123`."""
    content: bytes

    @property
    def mail(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for localhost and 127.0.0.1; it is its own authority."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, name: str = "localhost", *extra: str) -> Self:
        made = cls(folder / f"{name}.pem", folder / f"{name}.key")
        names = ",".join([f"DNS:{name}", *extra])
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
        command += ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        return made

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


class _Closed(Exception):
    """The connection is over."""


@dataclass(slots=True, kw_only=True)
class _Connection:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    secure: bool
    authenticated: bool = False
    sender: str | None = None
    parameters: str = ""
    recipients: list[str] = field(default_factory=list)

    def reset(self) -> None:
        self.sender, self.parameters = None, ""
        self.recipients.clear()


class SmtpServer:
    """Listens on 127.0.0.1 at `port`; what it saw is in `messages`, `commands`, `connections`."""

    def __init__(
        self,
        script: Sequence[Rule] = (),
        *,
        extensions: Sequence[str] = EXTENSIONS,
        tls: Literal["starttls", "implicit", "none"] = "none",
        certificate: Certificate | None = None,
        login: tuple[str, str] | None = None,
        auth_methods: str = "PLAIN LOGIN",
        pause: float = 0,
    ) -> None:
        """Offer AUTH, and ask for it, if `login` (user name, password) is given.

        `pause`: seconds before each reply.
        """
        self.script = list(script)
        self.extensions = tuple(extensions)
        self.tls = tls
        self.certificate = certificate
        self.login = login
        self.auth_methods = auth_methods
        self.pause = pause
        self.port = 0
        self.connections = 0
        self.messages: list[Accepted] = []
        self.commands: list[tuple[int, str]] = []
        """Number of the connection, from 1, and the line; the answers to AUTH are not kept."""
        self.in_clear_text: list[str] = []
        """The commands, without what follows them, that came without TLS."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._happened = asyncio.Event()
        self._reached: set[Phase] = set()

    # Lifetime

    async def __aenter__(self) -> Self:
        context = self.certificate.context() if self.certificate and self.tls == "implicit" else None
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=context, limit=64 * 1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @classmethod
    @contextmanager
    def in_thread(cls, script: Sequence[Rule] = (), **options: Any) -> Iterator[Self]:
        """Serve from a loop in a thread of its own, for tests that block."""
        ready: Future[tuple[Self, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def serve() -> None:
            async with cls(script, **options) as server:
                stop = asyncio.Event()
                ready.set_result((server, asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        server, loop, stop = ready.result(timeout=10)
        try:
            yield server
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(timeout=10)

    def wait_for_messages(self, count: int, *, seconds: float = 10) -> list[Accepted]:
        """Block until so many mails were accepted, from another thread; AssertionError when they are not."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, seconds), len(self.messages)
            return list(self.messages)

    async def until_idle(self, *, seconds: float = 10) -> None:
        """Wait until no connection is open."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_seen(self, phase: Phase, *, seconds: float = 10) -> None:
        """Wait until this phase was reached for the first time."""
        async with asyncio.timeout(seconds):
            while phase not in self._reached:
                await self._happened.wait()

    def verbs(self, connection: int | None = None) -> list[str]:
        """The commands as they came in, of one connection or of all."""
        return [line.split(" ")[0].upper() for number, line in self.commands if connection in {None, number}]

    # One connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = _Connection(
            number=self.connections, reader=reader, writer=writer, secure=self.tls == "implicit"
        )
        try:
            await self._session(connection)
        except (_Closed, ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _session(self, connection: _Connection) -> None:
        await self._reply(connection, "banner", "220 mail.example ready")
        while True:
            line = (await connection.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
            self._note(connection, line)
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    await self._reply(connection, "ehlo", self._greeting(connection))
                case "STARTTLS":
                    await self._start_tls(connection)
                case "AUTH":
                    await self._authenticate(connection, rest)
                case "MAIL":
                    await self._mail(connection, rest)
                case "RCPT":
                    await self._rcpt(connection, rest)
                case "DATA":
                    await self._data(connection)
                case "RSET":
                    connection.reset()
                    await self._reply(connection, "rset", "250 2.0.0 reset")
                case "NOOP":
                    await self._reply(connection, "noop", "250 2.0.0 ok")
                case "QUIT":
                    await self._reply(connection, "quit", "221 2.0.0 bye")
                    raise _Closed
                case _:
                    await self._answer(connection, "500 5.5.2 unknown command")

    def _greeting(self, connection: _Connection) -> str:
        lines = ["mail.example", *self.extensions]
        if self.tls == "starttls" and not connection.secure:
            lines.append("STARTTLS")
        if self.login is not None and (connection.secure or self.tls == "none"):
            lines.append(f"AUTH {self.auth_methods}")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    async def _start_tls(self, connection: _Connection) -> None:
        if await self._reply(connection, "starttls", "220 2.0.0 go ahead") and self.certificate is not None:
            await connection.writer.start_tls(self.certificate.context())
            connection.secure = True

    async def _authenticate(self, connection: _Connection, rest: str) -> None:
        method, _, initial = rest.partition(" ")
        given = b64decode(initial).decode()
        if method.upper() == "PLAIN":
            _, username, password = given.split("\0")
        else:
            await self._answer(connection, "334 UGFzc3dvcmQ6")
            username = given
            password = b64decode(await connection.reader.readuntil(b"\r\n")).decode()
        connection.authenticated = (username, password) == self.login
        answer = "235 2.7.0 welcome" if connection.authenticated else "535 5.7.8 wrong user name or password"
        await self._reply(connection, "auth", answer)

    async def _mail(self, connection: _Connection, rest: str) -> None:
        if self.login is not None and not connection.authenticated:
            await self._answer(connection, "530 5.7.0 authentication required")
        elif connection.sender is not None:
            await self._answer(connection, "503 5.5.1 nested MAIL")
        else:
            address, _, parameters = rest.removeprefix("FROM:<").partition(">")
            if await self._reply(connection, "mail", "250 2.1.0 ok"):
                connection.sender, connection.parameters = address, parameters.strip()

    async def _rcpt(self, connection: _Connection, rest: str) -> None:
        if connection.sender is None:
            await self._answer(connection, "503 5.5.1 need MAIL")
            return
        address = rest.removeprefix("TO:<").removesuffix(">")
        connection.recipients.append(address)
        if not await self._reply(connection, "rcpt", "250 2.1.5 ok"):
            connection.recipients.remove(address)

    async def _data(self, connection: _Connection) -> None:
        if not connection.recipients:
            await self._answer(connection, "503 5.5.1 need RCPT")
            return
        if not await self._reply(connection, "data", "354 go ahead"):
            return
        interruption = self._scripted("body", connection)
        if interruption is HANG:
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the client's writes stand still
        if interruption is not None:
            await self._answer(connection, interruption)
        content = await connection.reader.readuntil(b"\r\n.\r\n")
        answer = self._scripted("dot", connection) or f"250 2.0.0 Ok: queued as {len(self.messages) + 1:08X}"
        if isinstance(answer, Misbehaviour) or _is_yes(answer):
            self._accept(connection, content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."))
        connection.reset()
        await self._answer(connection, answer)

    def _accept(self, connection: _Connection, content: bytes) -> None:
        assert connection.sender is not None
        with self._changed:
            self.messages.append(
                Accepted(
                    connection=connection.number,
                    sender=connection.sender,
                    recipients=tuple(connection.recipients),
                    parameters=connection.parameters,
                    content=content,
                )
            )
            self._changed.notify_all()

    async def _reply(self, connection: _Connection, phase: Phase, usual: str) -> bool:
        """Answer as scripted, else as usual; True if that was a yes."""
        action = self._scripted(phase, connection) or usual
        await self._answer(connection, action)
        return _is_yes(action)

    def _scripted(self, phase: Phase, connection: _Connection) -> Action | None:
        self._reached.add(phase)
        self._happened.set()
        self._happened = asyncio.Event()
        return next((rule.action for rule in self.script if rule.applies(phase, connection.recipients)), None)

    async def _answer(self, connection: _Connection, action: Action) -> None:
        await asyncio.sleep(self.pause)
        match action:
            case Misbehaviour.HANG:
                while await connection.reader.read(65_536):
                    pass
                raise _Closed
            case Misbehaviour.DROP:
                raise _Closed
            case Misbehaviour.GARBAGE:
                connection.writer.write(b"!! what is this?\r\n")
            case Then(reply, after):
                await self._answer(connection, reply)
                if after is Misbehaviour.GARBAGE:
                    await connection.reader.read(1)
                await self._answer(connection, after)
            case _:
                connection.writer.write(f"{action}\r\n".encode())
        await connection.writer.drain()
        if isinstance(action, str) and action.rpartition("\n")[2].startswith("421"):
            raise _Closed

    def _note(self, connection: _Connection, line: str) -> None:
        if not connection.secure:
            self.in_clear_text.append(line.partition(" ")[0].upper())
        self.commands.append((connection.number, line if line[:4].upper() != "AUTH" else line[:10].rstrip()))


def _is_yes(action: Action) -> bool:
    reply = action.reply if isinstance(action, Then) else action
    return isinstance(reply, str) and reply[0] in "23"
