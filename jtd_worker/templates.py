"""Templates: their source, and the compiled form that is kept per id and version."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from jinja2.exceptions import UndefinedError

from jtd_worker.errors import RenderError
from jtd_worker.links import refuse_unsafe_links
from jtd_worker.metering import METER, Meter
from jtd_worker.part import Part
from jtd_worker.result import Json
from jtd_worker.sandbox import GLOBALS, Sandbox

MAX_SUBJECT: Final = 998
"""Characters of a subject: the longest line of RFC 5322, section 2.1.1."""
MAX_PART: Final = 1 << 20
"""Characters of a rendered text or HTML part."""

_TEXT: Final = Sandbox(autoescape=False)
_HTML: Final = Sandbox(autoescape=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable that a template declares; a `default` of None is no default."""

    name: str
    required: bool = True
    default: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSource:
    """A text that templates extend or include, in the two forms a message has."""

    content: str = field(repr=False)
    content_html: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One version of a template, as it stands in the database."""

    id: UUID
    version: int
    key: str
    channel_code: str
    subject: str | None = field(default=None, repr=False)
    content: str = field(repr=False)
    content_html: str | None = field(default=None, repr=False)
    variables: tuple[Variable, ...] = ()
    locale: str | None = None
    layouts: Mapping[str, LayoutSource] = field(default_factory=dict, repr=False)
    """The layouts it may extend or include, by key."""
    provider_template_id: str | None = None
    parameter_format: Literal["positional", "named"] = "positional"
    language: str | None = None
    dlt_entity_id: str | None = None
    dlt_template_id: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Template":
        """Make a template from a row of `n_jtd_templates` with, optionally, `layouts`.

        `variables` is `["name", ...]`, where each name is required, or `[{name, required, default},
        ...]`, where one without `required` is required unless it has a default. `layouts` is
        `{key: {content, content_html}}`. An empty subject, HTML, id or language counts as none, and
        a `parameter_format` of None is positional. Raises `RenderError` `template_invalid` for any
        other shape.
        """
        return cls(
            id=row["id"],
            version=row["version"],
            key=row["template_key"],
            channel_code=row["channel_code"],
            subject=row["subject"] or None,
            content=row["content"] or "",
            content_html=row["content_html"] or None,
            variables=tuple(_variables(row["variables"])),
            locale=row["locale"],
            layouts=dict(_layouts(row.get("layouts"))),
            provider_template_id=row["provider_template_id"] or None,
            parameter_format=_parameter_format(row["parameter_format"]),
            language=row["language"] or None,
            dlt_entity_id=row["dlt_entity_id"] or None,
            dlt_template_id=row["dlt_template_id"] or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The parts of a message as a template wrote them, not yet cleaned for any header or wire."""

    subject: str | None = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(repr=False)


class CompiledTemplate:
    """A template ready to render any number of times; raises `RenderError` if it cannot be compiled."""

    def __init__(self, template: Template) -> None:
        self.template = template
        texts = {key: layout.content for key, layout in template.layouts.items()}
        htmls = {
            key: layout.content_html
            for key, layout in template.layouts.items()
            if layout.content_html is not None
        }
        self._text = Part("text", _TEXT, template.content, texts, MAX_PART)
        self._subject = self._html = None
        if template.subject is not None:
            self._subject = Part("subject", _TEXT, template.subject, {}, MAX_SUBJECT)
        if template.content_html is not None:
            self._html = Part("html", _HTML, template.content_html, htmls, MAX_PART)
        self._defaults: dict[str, Any] = {variable.name: variable.default for variable in template.variables}
        self._required = [variable.name for variable in template.variables if variable.required]

    def complete(self, variables: Mapping[str, Json]) -> dict[str, Json]:
        """Add the declared defaults where a variable is absent or null; the optional ones become null."""
        given = {name: value for name, value in variables.items() if value is not None}
        return {**variables, **self._defaults, **given}

    def render(self, variables: Mapping[str, Json], now: datetime) -> Rendered:
        """Write all parts from completed `variables`; the same ones always give the same parts.

        `now` is what the template sees under that name, and under `items` a list with the variables of this
        one message, unless variables have these names. Does not give way to other tasks; what it may cost
        is bounded by `metering.WORK`. Raises `RenderError`: `variables_missing` with every name that is
        missing in any part, `template_unsafe`, `template_failed`, `template_too_costly`,
        `output_too_large` or `unsafe_url`.
        """
        always: dict[str, Any] = {"now": now, "items": [dict(variables)]}
        absent = {name for name in self._required if name not in always and variables.get(name) is None}
        meter = Meter()
        values: dict[str, Any] = {**GLOBALS, **always, **variables, METER: meter}
        if not absent:
            try:
                rendered = Rendered(
                    subject=self._subject.render(values) if self._subject is not None else None,
                    text=self._text.render(values),
                    html=self._html.render(values) if self._html is not None else None,
                )
            except UndefinedError:
                pass
            except RenderError:
                # A blank stood in for what is missing; that it then failed is only what follows.
                if not meter.missing:
                    raise
            else:
                if not meter.missing:
                    if rendered.html is not None:
                        refuse_unsafe_links(rendered.html)
                    return rendered
        missing = absent | self._noted(values, absent) | meter.missing or {"a value"}
        raise RenderError("variables_missing", f"missing: {', '.join(sorted(missing))}")

    def _noted(self, values: Mapping[str, Any], absent: set[str]) -> set[str]:
        """Run all parts again, on the same meter, to find what is missing beyond the first."""
        given = {name: value for name, value in values.items() if name not in absent}
        noted: set[str] = set()
        for part in (self._subject, self._text, self._html):
            if part is not None:
                part.note_missing(given, noted)
        return noted


class TemplateCache:
    """The compiled templates last used, by id and version; a broken one is remembered as broken."""

    def __init__(self, size: int = 1_000) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[UUID, int], CompiledTemplate | RenderError] = OrderedDict()

    def __contains__(self, key: tuple[UUID, int]) -> bool:
        return key in self._kept

    def __getitem__(self, key: tuple[UUID, int]) -> CompiledTemplate:
        """Return the template; KeyError if it was never added, `RenderError` if it cannot be compiled."""
        found = self._kept[key]
        self._kept.move_to_end(key)
        if isinstance(found, RenderError):
            raise RenderError(found.code, str(found))
        return found

    def add(self, template: Template) -> None:
        """Compile a template and keep it, in place of the one used longest ago if there are too many.

        Takes some ms. A version never changes, so one already kept is not compiled again.
        """
        if (template.id, template.version) not in self._kept:
            self._keep(template.id, template.version, lambda: CompiledTemplate(template))

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Do the same with a row as the database gives it, see `Template.from_row`."""
        self._keep(row["id"], row["version"], lambda: CompiledTemplate(Template.from_row(row)))

    def _keep(self, template_id: UUID, version: int, compiled: Callable[[], CompiledTemplate]) -> None:
        try:
            self._kept[template_id, version] = compiled()
        except RenderError as error:
            self._kept[template_id, version] = error.with_traceback(None)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _variables(declared: Any) -> Iterator[Variable]:
    if declared is not None and not isinstance(declared, list):
        raise _bad_variables()
    for entry in declared or ():
        match entry:
            case str(name) if name:
                yield Variable(name=name)
            case {"name": str(name)} if name:
                default = entry.get("default")
                required = entry.get("required", default is None)
                if not isinstance(required, bool):
                    raise _bad_variables()
                yield Variable(name=name, required=required, default=default)
            case _:
                raise _bad_variables()


def _parameter_format(given: Any) -> Literal["positional", "named"]:
    match given:
        case None | "positional":
            return "positional"
        case "named":
            return "named"
    raise RenderError("template_invalid", "parameter_format: neither positional nor named")


def _layouts(given: Any) -> Iterator[tuple[str, LayoutSource]]:
    for key, layout in (given or {}).items():
        yield key, LayoutSource(content=layout["content"] or "", content_html=layout["content_html"])


def _bad_variables() -> RenderError:
    return RenderError(
        "template_invalid", "variables: neither a list of names nor of {name, required, default}"
    )
