"""One part of a template - the subject, the text or the HTML - compiled with the layouts it uses."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from traceback import walk_tb
from types import CodeType
from typing import Any, Final

from jinja2 import Template as JinjaTemplate
from jinja2 import Undefined
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError, UndefinedError

from jtd_worker.errors import RenderError
from jtd_worker.instrument import Instrument
from jtd_worker.sandbox import Sandbox
from jtd_worker.undefined import Absent, noting_undefined

MAX_SOURCE: Final = 256 << 10
"""Characters of one part or layout."""
MAX_TOKENS: Final = 10_000
"""Tokens between the braces of one part or layout; bounds the time of compiling."""

# What a template can raise by what it does with its values. The texts of these errors may quote a
# value, so only their names are passed on.
_FAILURES: Final = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Part:
    """One part, ready to render any number of times.

    `where` names it in errors, `limit` is the most characters it may write, `layouts` are the sources
    it may extend or include. Raises `RenderError` `template_invalid` if it cannot be compiled.
    """

    def __init__(
        self, where: str, environment: Sandbox, source: str, layouts: Mapping[str, str], limit: int
    ) -> None:
        self.where = where
        self.limit = limit
        self.names: set[str] = set()
        self._environment = environment
        self._layouts: dict[str, CodeType] = {}
        self._code, wanted = self._compile(where, source, layouts)
        while wanted:
            name = wanted.pop()
            self._layouts[name], more = self._compile(f"layout {name} of {where}", layouts[name], layouts)
            wanted |= more - self._layouts.keys()
        self._templates = self._bind(Absent)

    def render(self, values: dict[str, Any]) -> str:
        """Write the part; `RenderError` where the template, its values or its size do not allow it."""
        try:
            text = _write(self._templates[0], values)
        except SecurityError as error:
            raise RenderError(
                "template_unsafe", f"{self._place(error)}: reaches for what is closed"
            ) from None
        except UndefinedError:
            raise
        except _FAILURES as error:
            raise RenderError("template_failed", f"{self._place(error)}: {type(error).__name__}") from None
        if len(text) > self.limit:
            raise RenderError("output_too_large", f"the {self.where} is longer than {self.limit} characters")
        return text

    def note_missing(self, values: dict[str, Any], noted: set[str]) -> None:
        """Run the part only to add to `noted` the values it lacks."""
        template = self._bind(noting_undefined(noted, self.names))[0]
        with suppress(RenderError, *_FAILURES):
            _write(template, values)

    def _compile(self, where: str, source: str, layouts: Mapping[str, str]) -> tuple[CodeType, set[str]]:
        if len(source) > MAX_SOURCE:
            raise RenderError("template_invalid", f"{where}: longer than {MAX_SOURCE} characters")
        try:
            code_tokens = (token for token in self._environment.lex(source) if token[1] != "data")
            if next(islice(code_tokens, MAX_TOKENS, None), None) is not None:
                raise RenderError("template_invalid", f"{where}: more than {MAX_TOKENS} tokens of code")
            instrument = Instrument(self._environment, layouts, where)
            tree = instrument.visit(self._environment.parse(source))
            code = self._environment.compile(tree, name=where, filename=where)
        except TemplateSyntaxError as error:
            raise RenderError("template_invalid", f"{where}, line {error.lineno}: {error.message}") from None
        except (SyntaxError, RecursionError, MemoryError, ValueError):
            # Python's own limits: depth of nesting, digits of a number.
            raise RenderError(
                "template_invalid", f"{where}: too deeply nested, or too long a number"
            ) from None
        self.names |= instrument.names
        return code, instrument.layouts_used

    def _bind(self, undefined: type[Undefined]) -> list[JinjaTemplate]:
        """Make the template, followed by its layouts, with what an absent value is to do."""
        environment = self._environment.overlay(undefined=undefined)
        load = environment.template_class.from_code
        environment.layouts = {name: load(environment, code, {}) for name, code in self._layouts.items()}
        return [load(environment, self._code, {}), *environment.layouts.values()]

    def _place(self, error: Exception) -> str:
        """Name the innermost line of the template, or of its layout, that the error came from."""
        templates = {template.filename: template for template in self._templates}
        place = self.where
        for frame, line in walk_tb(error.__traceback__):
            template = templates.get(frame.f_code.co_filename)
            if template is not None:
                place = f"{template.filename}, line {template.get_corresponding_lineno(line)}"
        return place


def _write(template: JinjaTemplate, values: dict[str, Any]) -> str:
    return "".join(template.root_render_func(template.new_context(values, shared=True)))
