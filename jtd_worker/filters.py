"""The filters that templates may use; those that make much out of little pay for what they make."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, Undefined, pass_context, pass_environment
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.runtime import Context

from jtd_worker.metering import Meter, meter_of

# Left out, and why: random (another text on a retry); center, indent, pprint, batch, slice, wordwrap,
# urlize, xmlattr (sizes given by a number); striptags (its time grows with the square of the text).
_KEPT: Final = frozenset(
    """abs attr capitalize count dictsort e escape filesizeformat first float forceescape groupby int last
    length list lower max min safe sort string title truncate upper urlencode wordcount
    """.split()  # noqa: SIM905 - a table of words
)
# These give lists here, not generators: a list can be printed, counted and walked twice.
_LISTING: Final = ("map", "reject", "rejectattr", "select", "selectattr")

_WIDE_FIELD: Final = re.compile(r"\{[^{}]*(?:\{|\d{3})")
_WIDE_CONVERSION: Final = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\*|\d{3}|\d*\.(?:\*|\d{3}))")


def amplified(method: str, text: str, args: Sequence[Any]) -> int:
    """Return what a text method costs above the size of what it is given."""
    match method, args:
        case "replace", (str(old), str(new), *_):
            return text.count(old) * len(new)
        case "join", (values, *_):
            return len(text) * len(values)
        case "strip" | "lstrip" | "rstrip", (str(chars), *_):
            return len(text) * len(chars)
        case "split" | "rsplit" | "splitlines", _:
            return 4 * len(text)
        case _:
            return 0


def pay_for_fields(meter: Meter, text: str, values: Any) -> None:
    """Pay for `text.format(values)`, which may name a value many times; widths are below 100."""
    if _WIDE_FIELD.search(text.replace("{{", "")):
        raise OverflowError("a width or precision is at most 99")
    _pay_repeatedly(meter, values, text.count("{"))


def percent(meter: Meter, text: str, values: Any) -> str:
    """Write `text % values`, which may name a value many times; widths are below 100."""
    if _WIDE_CONVERSION.search(text.replace("%%", "")):
        raise OverflowError("a width or precision is at most 99")
    _pay_repeatedly(meter, values, text.count("%"))
    written: str = text % values
    return written


def _pay_repeatedly(meter: Meter, values: Any, times: int) -> None:
    before = meter.left
    meter.measure(values)
    meter.spend((before - meter.left) * times)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """As Jinja2's, but null gives the default too: producers write null for what they do not have."""
    if value is None or isinstance(value, Undefined) or (boolean and not value):
        return default_value
    return value


@pass_context
def _replace(context: Context, value: Any, old: Any, new: Any, count: int | None = None) -> Any:
    text, old, new = _text(value), _text(old), _text(new)
    meter_of(context).spend(amplified("replace", text, (old, new)))
    return DEFAULT_FILTERS["replace"](context.eval_ctx, text, old, new, count)


@pass_context
def _join(context: Context, value: Any, d: Any = "", attribute: str | int | None = None) -> Any:
    values, separator = list(value), _text(d)
    meter = meter_of(context)
    meter.measure(values)
    meter.spend(amplified("join", separator, (values,)))
    return DEFAULT_FILTERS["join"](context.eval_ctx, values, separator, attribute)


@pass_context
def _trim(context: Context, value: Any, chars: str | None = None) -> str:
    text = _text(value)
    if chars is not None:
        meter_of(context).spend(amplified("strip", text, (chars,)))
    return text.strip(chars)


@pass_context
def _format(context: Context, value: str, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes either positional or named values")
    return percent(meter_of(context), value, kwargs or args)


def _listing(name: str) -> Callable[..., list[Any]]:
    @pass_context
    def listed(context: Context, *args: Any, **kwargs: Any) -> list[Any]:
        return list(DEFAULT_FILTERS[name](context, *args, **kwargs))

    return listed


@pass_environment
def _unique(
    environment: Environment, value: Any, case_sensitive: bool = False, attribute: str | int | None = None
) -> list[Any]:
    return list(DEFAULT_FILTERS["unique"](environment, value, case_sensitive, attribute))


def _items(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(value.items())


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else list(reversed(list(value)))


def _round(value: float, precision: int = 0, method: str = "common") -> Any:
    if not 0 <= precision <= 15:
        raise ValueError("a precision is 0 to 15")
    return DEFAULT_FILTERS["round"](value, precision, method)


@pass_environment
def _sum(
    environment: Environment, iterable: Any, attribute: str | int | None = None, start: float = 0
) -> Any:
    # Of numbers only: adding lists one after the other takes the square of their number.
    return DEFAULT_FILTERS["sum"](environment, iterable, attribute, start + 0)


@pass_context
def _tojson(context: Context, value: Any) -> Any:
    return DEFAULT_FILTERS["tojson"](context.eval_ctx, value)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: DEFAULT_FILTERS[name] for name in _KEPT},
    **{name: _listing(name) for name in _LISTING},
    "d": _default,
    "default": _default,
    "format": _format,
    "items": _items,
    "join": _join,
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "sum": _sum,
    "tojson": _tojson,
    "trim": _trim,
    "unique": _unique,
}
