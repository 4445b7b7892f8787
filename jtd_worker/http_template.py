"""Requests written by the templates of a configuration: each value is encoded for the place it stands in."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx
from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError, UndefinedError
from jinja2.meta import find_undeclared_variables

from jtd_worker.errors import RenderError
from jtd_worker.http_exchange import HttpRequest
from jtd_worker.message import Attachment, Message, ProviderTemplate
from jtd_worker.metering import METER, Meter
from jtd_worker.part import Part
from jtd_worker.sandbox import GLOBALS, Sandbox

BodyFormat: TypeAlias = Literal["json", "form", "none"]
_MAX_BODY: Final = 8 << 20
_MAX_VALUE: Final = 64 << 10
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_FIXED_HOST: Final = re.compile(r"https?://[^/?#{}\s]+([/?#]|$)")
_TELLING_HEADER: Final = re.compile(r"auth|key|token|secret|password|signature")
_TELLING_LENGTH: Final = 6
_OPEN: Final = frozenset({"variables", "metadata"})
"""What the producer fills in, so that nothing can be said of its names before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """The templates of a request as they were set; `repr` shows none, since one may hold a secret."""

    method: str
    url: str = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body_format: BodyFormat = "none"
    body: str = field(default="", repr=False)
    """For `json` a text that is JSON once its values are filled in, for `form` a JSON object of templates."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class RequestTemplate:
    """A request ready to be written for any number of messages; ValueError says what is wrong with it."""

    def __init__(self, source: RequestSource) -> None:
        if not _FIXED_HOST.match(source.url):
            raise ValueError("url: begins with https:// and a host that is the same for every message")
        self._source = source
        self._url = _Text("url", source.url, _IN_URL, source)
        self._query = _texts("query", source.query, source)
        self._headers = _texts(
            "header", {name.lower(): text for name, text in source.headers.items()}, source
        )
        self._body = _Text("body", source.body, _IN_JSON, source) if source.body_format == "json" else None
        self._form = _texts("form field", _form(source), source)
        if source.body_format == "none" and source.body:
            raise ValueError("body: there is none with body_format `none`")
        for name, text in self._headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"headers: {name!r} is no name of a header")
            if _TELLING_HEADER.search(name) and not text.names & {"secret", "idempotency_key", "jtd_id"}:
                raise ValueError(
                    f"headers: put what {name} keeps secret into secrets, as {{{{ secret.name }}}}"
                )
        self.names: frozenset[str] = frozenset().union(*(text.names for text in self._all()))
        self.sample_url = self._sample_url()
        """The URL of a sample message."""

    @property
    def hidden(self) -> Iterator[str]:
        """Yield every text that must never be seen: the secrets, and what headers are made of them."""
        yield from self._source.secrets.values()
        values = _values(_SAMPLE, self._source.secrets)
        for text in self._headers.values():
            if text.names == {"secret"}:
                # `Basic dXNlcjpwYXNz` is not seen to hold the password
                yield from (word for word in text.render(values).split() if len(word) >= _TELLING_LENGTH)

    def write(self, message: Message) -> HttpRequest:
        """Fill in a message; RenderError or ValueError if it does not fit, which quote nothing of it."""
        if message.attachments and "attachments" not in self.names:
            raise ValueError("it has attachments, and the request that is set has no place for them")
        values = _values(message, self._source.secrets)
        headers = {name: _header(name, text.render(values)) for name, text in self._headers.items()}
        kind = _CONTENT_TYPES[self._source.body_format]
        return HttpRequest(
            method=self._source.method,
            url=self._written_url(values),
            headers={**({"content-type": kind} if kind else {}), **headers},
            body=self._written_body(values),
        )

    def _written_url(self, values: dict[str, Any]) -> httpx.URL:
        url, query = self._url.render(values), urlencode(_filled(self._query, values), quote_via=quote)
        try:
            return httpx.URL(f"{url}{'&' if '?' in url else '?'}{query}" if query else url)
        except httpx.InvalidURL:
            raise ValueError("url: is no URL") from None

    def _written_body(self, values: dict[str, Any]) -> bytes:
        if self._body is None:
            return urlencode(_filled(self._form, values)).encode()
        text = self._body.render(values)
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(
                "body: is no JSON once its values are filled in; a value brings its own quotes: "
                '{"to": {{ to }}}'
            ) from None
        return text.encode()

    def _all(self) -> Iterator["_Text"]:
        yield self._url
        if self._body is not None:
            yield self._body
        for group in (self._query, self._headers, self._form):
            yield from group.values()

    def _sample_url(self) -> str:
        """Write a sample; what a producer fills in may have to be a text or a number."""
        mistakes = []
        for message in self._samples():
            try:
                return str(self.write(message).url)
            except RenderError as error:
                mistakes.append(f"with a sample message: {error}")
        raise ValueError(mistakes[0])

    def _samples(self) -> Iterator[Message]:
        paths = [path for text in self._all() for path in text.paths]
        attachments = _SAMPLE.attachments if "attachments" in self.names else ()
        for value in ('a "sample"', 5):
            yield replace(_sample(paths, value), attachments=attachments)


class _Text:
    """One template of the request."""

    def __init__(self, where: str, source: str, environment: Sandbox, request: RequestSource) -> None:
        self.where = where
        try:
            tree = environment.parse(source)
            self._part = Part(where, environment, source, {}, _MAX_BODY if where == "body" else _MAX_VALUE)
            self.names = frozenset(find_undeclared_variables(tree)) - GLOBALS.keys()
        except TemplateSyntaxError as error:
            raise ValueError(f"{where}, line {error.lineno}: {error.message}") from None
        except RenderError as error:
            raise ValueError(str(error)) from None
        if unknown := sorted(self.names - _NAMES):
            raise ValueError(f"{where}: there is no {unknown[0]!r}; there are {', '.join(sorted(_NAMES))}")
        if next(tree.find_all(_WRITES_TWICE), None) is not None:
            raise ValueError(f"{where}: a macro, or a block that is set or filtered, would be encoded twice")
        self.paths = [path for node in tree.find_all((nodes.Getattr, nodes.Getitem)) if (path := _path(node))]
        for owner, name, *_ in self.paths:
            if owner == "secret" and name not in request.secrets:
                raise ValueError(f"{where}: there is no secret.{name} in secrets")

    def render(self, values: dict[str, Any]) -> str:
        """Write it; RenderError names what is missing."""
        meter = Meter()
        given = {**GLOBALS, **values, METER: meter}
        try:
            text = self._part.render(given)
        except UndefinedError:
            missing: set[str] = set()
            self._part.note_missing(given, missing)
            missing |= meter.missing or {"a value"}
        else:
            missing = meter.missing
        if missing:
            raise RenderError("variables_missing", f"{self.where}: missing: {', '.join(sorted(missing))}")
        return text


def _texts(where: str, sources: Mapping[str, str], request: RequestSource) -> Mapping[str, _Text]:
    return {name: _Text(f"{where} {name}", text, _PLAIN, request) for name, text in sources.items()}


def _filled(texts: Mapping[str, _Text], values: dict[str, Any]) -> Mapping[str, str]:
    """Write fields; one that comes out empty is left out."""
    written = {name: text.render(values) for name, text in texts.items()}
    return {name: text for name, text in written.items() if text}


def _form(source: RequestSource) -> Mapping[str, str]:
    if source.body_format != "form":
        return {}
    try:
        fields = json.loads(source.body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
        raise ValueError('body: with body_format `form` a JSON object of texts, e.g. {"to": "{{ to }}"}')
    return fields


def _header(name: str, text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"header {name}: holds what no header can")
    return text.strip()


def _path(node: nodes.Node) -> tuple[str, ...]:
    """Return `variables.order.id` as a tuple; nothing where a part is only known later."""
    match node:
        case (
            nodes.Getattr(node=owner, attr=name) | nodes.Getitem(node=owner, arg=nodes.Const(value=str(name)))
        ):
            pass
        case _:
            return ()
    match owner:
        case nodes.Name(name=first):
            return (first, name)
        case nodes.Getattr() | nodes.Getitem():
            before = _path(owner)
            return (*before, name) if before else ()
    return ()


def _values(message: Message, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return what the templates may name."""
    return {
        "to": message.to,
        "name": message.name,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "sender": message.sender,
        "reply_to": message.reply_to,
        "locale": message.locale,
        "unsubscribe_url": message.unsubscribe_url,
        "channel": message.channel,
        "event_type": message.event_type,
        "source_type": message.source_type,
        "jtd_id": str(message.jtd_id),
        "tenant_id": str(message.tenant_id),
        "idempotency_key": message.idempotency_key,
        # in UTC, because the zone of a timestamp read from Postgres is the session's
        "created_at": message.created_at.astimezone(UTC),
        "variables": dict(message.variables),
        "metadata": dict(message.metadata),
        "attachments": [
            {**asdict(one), "content": b64encode(one.content).decode()} for one in message.attachments
        ],
        "template": _approved(message.template),
        "secret": dict(secrets),
    }


def _approved(template: ProviderTemplate | None) -> dict[str, Any] | None:
    if template is None:
        return None
    return {
        "id": template.id,
        "language": template.language,
        "format": template.format,
        "parameters": [{"name": name, "text": text} for name, text in template.parameters],
        "dlt_entity_id": template.dlt_entity_id,
        "dlt_template_id": template.dlt_template_id,
    }


def _sample(paths: Iterable[tuple[str, ...]], value: str | int) -> Message:
    """Return a message that has everything, with `value` for each variable that the templates name."""
    filled: dict[str, dict[str, Any]] = {name: {} for name in _OPEN}
    # the longest first: they tell what is a mapping
    for first, *names, last in sorted(paths, key=len, reverse=True):
        if first in _OPEN:
            place = filled[first]
            for name in names:
                place = place.setdefault(name, {})
            place.setdefault(last, value)
    return replace(_SAMPLE, variables=filled["variables"], metadata=filled["metadata"])


class _Encoding(Sandbox):
    """A sandbox that encodes each value as it is written; none can ask for an exception."""

    def __init__(self, encode: Callable[[Any], str] | None) -> None:
        super().__init__(autoescape=False)
        self.finalize = encode
        self.filters = {**self.filters, "b64encode": lambda text: b64encode(str(text).encode()).decode()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_of)


def _json_of(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    raise ValueError("a value that JSON has not")


def _quoted(value: Any) -> str:
    text = str(value)
    if text in {".", ".."}:
        raise ValueError("would leave the path")
    return quote(text, safe="")


_SAMPLE: Final = Message(
    jtd_id=UUID(int=1),
    tenant_id=UUID(int=2),
    channel="sms",
    event_type="notification",
    source_type="user_invite",
    idempotency_key=str(UUID(int=1)),
    created_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    to="+14155550123",
    name="Zoë",
    subject="A subject",
    text='A "text"\nof two lines',
    html="<p>A text</p>",
    attachments=(Attachment(name="a.txt", media_type="text/plain", content=b"a"),),
    reply_to="reply@example.com",
    locale="en",
    sender="ACME",
    unsubscribe_url="https://example.com/u",
    template=ProviderTemplate(
        id="t-1",
        language="en",
        format="named",
        parameters=(("name", "Zoë"),),
        dlt_entity_id="1001",
        dlt_template_id="1007",
    ),
)
_NAMES: Final = frozenset(_values(_SAMPLE, {}))
_IN_JSON: Final = _Encoding(_json)
_IN_URL: Final = _Encoding(_quoted)
_PLAIN: Final = _Encoding(None)
_WRITES_TWICE: Final = (nodes.Macro, nodes.CallBlock, nodes.AssignBlock, nodes.FilterBlock)
_CONTENT_TYPES: Final[Mapping[BodyFormat, str]] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "none": "",
}
