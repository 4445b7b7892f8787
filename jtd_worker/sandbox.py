"""The Jinja2 environments that templates run in: what a template may touch, and what is bounded.

Only JSON values, the row's own `now` and what the template makes of them are reachable. What would
give another text on a retry (`random`, today's date) is not there at all.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Template, Undefined, pass_context
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from jtd_worker.filters import FILTERS, amplified, pay_for_fields, percent
from jtd_worker.metering import CALL_COST, METERING_FILTERS, meter_of
from jtd_worker.undefined import Absent

MAX_RANGE: Final = 10_000
_MAX_INT_BITS: Final = 4_096

_TEXT_METHODS: Final = frozenset(
    """capitalize casefold count endswith find format index isalnum isalpha isdecimal isdigit islower
    isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind
    rpartition rsplit rstrip split splitlines startswith strip swapcase title upper
    """.split()  # noqa: SIM905 - a table of words
)
_DATE: Final = frozenset({"year", "month", "day", "weekday", "isoweekday", "isoformat", "strftime"})
_TIME: Final = frozenset({"hour", "minute", "second", "isoformat", "strftime"})
_ATTRIBUTES: Final[Mapping[type, frozenset[str]]] = MappingProxyType(
    {
        str: _TEXT_METHODS,
        Markup: _TEXT_METHODS,
        dict: frozenset({"get", "items", "keys", "values"}),
        list: frozenset({"count", "index"}),
        tuple: frozenset({"count", "index"}),
        int: frozenset(),
        float: frozenset(),
        bool: frozenset(),
        type(None): frozenset(),
        datetime: _DATE | _TIME | {"date", "time"},
        date: _DATE,
        time: _TIME,
    }
)


def _bounded_range(*args: int) -> range:
    """A `range` of at most MAX_RANGE numbers."""
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise OverflowError(f"a range has at most {MAX_RANGE} numbers")
    return numbers


GLOBALS: Final[Mapping[str, Any]] = MappingProxyType(
    {name: DEFAULT_NAMESPACE[name] for name in ("dict", "cycler", "joiner", "namespace")}
    | {"range": _bounded_range}
)


def _repeated_size(left: Any, right: Any) -> int:
    """Return the length of a sequence times a number, whichever stands first."""
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(times, int):
            return len(sequence) * max(times, 0)
    return 0


@pass_context
def _in(context: Context, value: Any, container: Any) -> bool:
    meter_of(context).measure(container)
    return value in container


class _Format:
    """The sandboxed `format` of a text; `Sandbox.call` makes it pay."""

    __slots__ = ("_text", "_write")

    def __init__(self, text: str, write: Callable[..., str]) -> None:
        self._text = text
        self._write = write

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        return self._write(*args, **kwargs)


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment; `layouts` are the only templates that its templates can extend or include."""

    layouts: Mapping[str, Template] = MappingProxyType({})
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, *, autoescape: bool) -> None:
        # Nothing is computed while compiling: the meter does not run there.
        super().__init__(undefined=Absent, autoescape=autoescape, optimized=False, cache_size=0)
        self.globals = dict(GLOBALS)
        self.filters = {**FILTERS, **METERING_FILTERS}
        self.tests = {**self.tests, "in": _in}

    def get_template(self, name: str | Template, parent: str | None = None, globals: Any = None) -> Template:
        """The layout of that name; that it is there was checked when compiling."""
        return name if isinstance(name, Template) else self.layouts[name]

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look into a mapping first: faster, and `order.items` is what the producer sent."""
        if type(obj) is dict:
            try:
                return obj[attribute]
            except KeyError:
                pass
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        known = _ATTRIBUTES.get(type(obj))
        if known is not None:
            return attr in known
        return not isinstance(obj, type) and super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once, even where the template would only test the attribute."""
        raise SecurityError("unsafe attribute")

    def wrap_str_format(self, value: Any) -> Any:
        """Bound what the sandboxed `str.format` can make of a short text."""
        sandboxed = super().wrap_str_format(value)
        if sandboxed is None:
            return None
        if value.__name__ != "format":
            raise SecurityError("format_map")
        return _Format(value.__self__, sandboxed)

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Apply a filter that `map` was given by name; the meter's own are not to be had."""
        if name in METERING_FILTERS:
            raise SecurityError("filter of the meter")
        return super().call_filter(name, *args, **kwargs)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, a block or a method, which pays for the values it is given."""
        meter = meter_of(context)
        meter.spend(CALL_COST)
        owner = getattr(obj, "__self__", None)
        if owner is not None or isinstance(obj, type):
            # A macro or block pays in its own body; a method may read all that it is given.
            for value in (owner, *args, *kwargs.values()):
                meter.measure(value)
        if isinstance(owner, str):
            meter.spend(amplified(obj.__name__, owner, args))
        if isinstance(obj, _Format):
            pay_for_fields(meter, obj._text, [args, kwargs])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Bound the operators that can make much out of little."""
        meter = meter_of(context)
        if operator == "%" and isinstance(left, str):
            return percent(meter, left, right)
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * (right if operator == "**" else 1) + right.bit_length()
            if bits > _MAX_INT_BITS:
                raise OverflowError(f"a whole number has at most {_MAX_INT_BITS} bits")
        elif operator == "*":
            meter.spend(_repeated_size(left, right))
        else:
            meter.measure(left)
            meter.measure(right)
        return super().call_binop(context, operator, left, right)
