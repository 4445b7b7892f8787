"""Every way an HTTP request goes wrong, with what an adapter must say of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from jtd_worker.message import Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.testing.http_server import Drip, Step, Steps, answer, chunked


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must be said of an attempt."""

    kind: type[SendResult]
    retry: Retry | None = None
    scope: Scope | None = None
    wait: timedelta | None = None
    """The time to wait that must be told; None is not looked at."""

    @property
    def may_have_left(self) -> bool:
        """Whether the provider may have taken the message: only then may it not be offered elsewhere."""
        return self.kind in (Sent, Unknown)


def sent() -> Expect:
    return Expect(kind=Sent)


def unknown() -> Expect:
    return Expect(kind=Unknown)


def refused(retry: Retry, scope: Scope, wait: timedelta | None = None) -> Expect:
    return Expect(kind=Refused, retry=retry, scope=scope, wait=wait)


def throttled(seconds: float | None = None) -> Expect:
    return Expect(kind=Throttled, wait=None if seconds is None else timedelta(seconds=seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way for an attempt to go."""

    name: str
    expect: Expect
    server: Mapping[str, Any] = field(default_factory=dict)
    """How `HttpServer` is made."""
    certificate: str | None = None
    """`trusted`, `untrusted` or `other_host`: the server speaks TLS."""
    url: Callable[[str], str] = field(default=lambda url: url)
    """Changes the base URL that the adapter is given."""
    change: Callable[[Message], Message] = field(default=lambda message: message)
    arrives: bool = True
    """Whether the request may reach the server."""


CREDENTIAL: Final = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
OPERATOR: Final = refused(Retry.AFTER_OPERATOR, Scope.PROVIDER)
LATER: Final = refused(Retry.LATER, Scope.PROVIDER)
NEVER: Final = refused(Retry.NEVER, Scope.MESSAGE)
NETWORK: Final = refused(Retry.LATER, Scope.NETWORK)

HTML: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><hr><center>nginx</center></body></html>"
)
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_NOW: Final = "Wed, 02 Jan 2030 03:04:05 GMT"
_IN_A_MINUTE: Final = "Wed, 02 Jan 2030 03:05:00 GMT"


def _status(status: int, expect: Expect, name: str = "", **fields: Any) -> Case:
    return Case(name=name or f"{status}", expect=expect, server={"script": answer(status, **fields)})


def _wait(name: str, seconds: float, **headers: str) -> Case:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return _status(429, throttled(seconds), f"429 {name}", headers=fields)


def _lost(name: str, *steps: Any, **server: Any) -> Case:
    return Case(name=name, expect=unknown(), server={"script": steps, **server})


def _unreached(name: str, expect: Expect = NETWORK, **others: Any) -> Case:
    return Case(name=name, expect=expect, arrives=False, **others)


def _over_tls(url: str) -> str:
    return url.replace("http:", "https:")


STATUSES: Final = (
    _status(300, OPERATOR),
    _status(301, OPERATOR, headers={"location": "/elsewhere"}),
    _status(302, OPERATOR, headers={"location": "/elsewhere"}),
    _status(304, OPERATOR),
    _status(307, OPERATOR, headers={"location": "/elsewhere"}),
    _status(308, OPERATOR, headers={"location": "//other.invalid/"}),
    _status(400, NEVER),
    _status(400, NEVER, "400 with an HTML page", body=HTML, headers={"content-type": "text/html"}),
    _status(401, CREDENTIAL),
    _status(402, CREDENTIAL),
    _status(403, CREDENTIAL),
    _status(404, OPERATOR, body=HTML),
    _status(405, OPERATOR),
    _status(407, CREDENTIAL),
    _status(408, NETWORK),
    _status(413, NEVER),
    _status(415, NEVER),
    _status(422, NEVER),
    _status(500, LATER, body=HTML),
    _status(500, LATER, "500 with JSON that is no object", body=b'["error"]'),
    _status(500, LATER, "500, then the body hangs", body=b"half", length=9),
    _status(503, LATER),
    _status(503, refused(Retry.LATER, Scope.PROVIDER, timedelta(seconds=7)), "503 for 7 s",
            headers={"retry-after": "7"}),
    _status(502, unknown()),
    _status(504, unknown(), body=HTML),
    _status(520, unknown()),
    _status(524, unknown()),
    _wait("without a time", 30),
    _wait("with seconds", 12, retry_after="12"),
    _wait("with no seconds", 0, retry_after="0"),
    _wait("with more seconds than there are", 21600, retry_after="9" * 400),
    _wait("with a date by the sender's clock", 55, retry_after=_IN_A_MINUTE, date=_NOW),
    _wait("with a date gone by", 0, retry_after="Wed, 02 Jan 2002 03:04:05 GMT"),
    _wait("with what is no time", 30, retry_after="soon"),
)  # fmt: skip

TRANSPORT: Final = (
    _lost("101", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Step.HANG),
    _lost("closed without an answer", Step.CLOSE),
    _lost("reset without an answer", Step.RESET),
    _lost("no answer in time", Step.HANG),
    _lost("garbage instead of a status", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Step.HANG),
    _lost("a status that is no number", b"HTTP/1.1 abc OK\r\n\r\n", Step.HANG),
    _lost("half a status", b"HTTP/1.1 20", Step.CLOSE),
    _lost("a status, then a reset", _OK, Step.RESET),
    _lost("headers cut", _OK + b"content-le", Step.CLOSE),
    _lost("headers hang", _OK + b"content-le", Step.HANG),
    _lost("headers drip past the total time", Drip(_OK, 0.7)),
    _lost("a header without colon", _OK + b"nonsense\r\n\r\n", Step.HANG),
    _lost("two lengths", _OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", Step.HANG),
    _lost("endless headers", _OK + b"x: y\r\n" * 40_000, Step.HANG),
    _lost("only interim answers", b"HTTP/1.1 100 Continue\r\n\r\n", Step.HANG),
    _lost("reset between head and body", on_headers=[Step.RESET]),
    _lost("closed between head and body", on_headers=[Step.CLOSE]),
    _lost("reset before anything was read", on_connect=[Step.RESET]),
    _lost("closed before anything was read", on_connect=[Step.CLOSE]),
    Case(name="no answer in time over TLS", expect=unknown(), server={"script": [Step.HANG]},
         certificate="trusted"),
    Case(name="broken TLS", expect=unknown(), server={"script": [Step.BREAK_TLS]}, certificate="trusted"),
    Case(name="reset over TLS", expect=unknown(), server={"script": [Step.RESET]}, certificate="trusted"),
    Case(name="413 before the body was read", expect=NEVER,
         server={"on_headers": [*answer(413), Step.HANG]}),
    _unreached("nobody listens", url=lambda _: "http://127.0.0.1:9"),
    _unreached("a name that cannot be found", url=lambda _: f"https://{'a' * 64}.example"),
    _unreached("no TLS: it never shakes hands", server={"on_connect": [Step.HANG]}, url=_over_tls),
    _unreached("no TLS: it speaks HTTP", server={"on_connect": [*answer(400), Step.HANG]}, url=_over_tls),
    _unreached("no TLS: reset in the handshake", server={"on_connect": [Step.RESET]}, url=_over_tls),
    _unreached("a certificate that nobody vouches for", OPERATOR, certificate="untrusted"),
    _unreached("a certificate for another host", OPERATOR, certificate="other_host"),
)  # fmt: skip


def after_success(
    status: int, body: bytes, headers: Mapping[str, str], *, is_in_body: bool
) -> tuple[Case, ...]:
    """Return what may come of an answer that says yes, whole or not.

    `is_in_body`: without its body the answer does not show that the message was taken.
    """
    cut = unknown() if is_in_body else sent()
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    head = b"HTTP/1.1 %d Scripted\r\n%scontent-length: %d\r\n\r\n" % (status, fields, len(body) + 9)
    chunks = chunked(status, body[: len(body) // 2] or b" ", body[len(body) // 2 :] or b" ")
    in_chunks = [chunks[0][:-2] + fields + b"\r\n", *chunks[1:]]  # type: ignore[index]

    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n"

    def case(name: str, expect: Expect, *steps: Any, certificate: str | None = None) -> Case:
        return Case(name=f"success, {name}", expect=expect, server={"script": steps}, certificate=certificate)

    def plain(content: bytes, extra: Mapping[str, str] | None = None, **others: Any) -> Steps:
        return answer(status, content, {**headers, **(extra or {})}, **others)

    return (
        case("whole", sent(), *plain(body)),
        case("in chunks", sent(), *in_chunks),
        case("after 100 and 103", sent(), interim, *plain(body)),
        case("with another content type", sent(), *plain(body, {"content-type": "text/html"})),
        case("over TLS", sent(), *plain(body), certificate="trusted"),
        case("but empty", cut, *plain(b"")),
        case("but an HTML page", cut, *plain(HTML, {"content-type": "text/html"})),
        case("but no UTF-8", cut, *plain(b'{"id": "\xff\xfe"}')),
        case("but nested deeper than the stack", cut, *plain(b"[" * 60_000)),
        case("but a JSON list", cut, *plain(b"[]")),
        case("but JSON null", cut, *plain(b"null")),
        case("but an empty object", cut, *plain(b"{}")),
        case("then the body is cut", cut, head, body[: len(body) // 2], Step.CLOSE),
        case("then the body hangs", cut, head, Step.HANG),
        case("then a reset", cut, head, Step.RESET),
        case("then the body drips past the total time", cut, head, Drip(b"x" * 9, 0.9)),
        case("then an endless body", cut, *plain(b"x" * 200_000, length=10**12), Step.HANG),
        case("then a reset over TLS", cut, head, Step.RESET, certificate="trusted"),
    )  # fmt: skip
