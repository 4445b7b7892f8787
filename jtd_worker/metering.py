"""The meter that a template pays its work from, which bounds what one render may cost.

A sandbox keeps a template from touching what it must not, but not from looping for minutes or from
doubling a text until the memory is gone. So each run of a body is paid for, and each operation that
reads a whole value (`instrument.py` puts the payments into the template). The count is the same on
every machine and every retry, which a time limit would not be: no row fails because a machine was busy.
"""

from collections.abc import Callable, ItemsView, KeysView, Mapping, Sized, ValuesView
from datetime import date, datetime, time
from typing import Any, Final

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context
from jinja2.utils import Namespace

from jtd_worker.errors import RenderError

WORK: Final = 8 << 20
"""What one render may spend, in units of 10 to 50 ns; a usual mail spends a few thousand."""
NODE_COST: Final = 32
CALL_COST: Final = 128

METER: Final = "meter!"
"""Where the meter stands among the variables: a name that no template can write."""

_SCALARS: Final = frozenset({int, float, bool, type(None), datetime, date, time})
_HOLDERS: Final = (list, tuple, dict, KeysView, ValuesView, ItemsView)
_PRINTABLE: Final = (str, int, float, date, time, list, tuple, dict)


class Meter:
    """What one render has left to spend, and the missing values it met."""

    __slots__ = ("left", "missing")

    def __init__(self) -> None:
        self.left = WORK
        self.missing: set[str] = set()

    def spend(self, cost: int) -> None:
        """Pay for work about to be done; `RenderError` `template_too_costly` when nothing is left."""
        self.left -= cost
        if self.left < 0:
            raise RenderError("template_too_costly", "the template does too much work; simplify its loops")

    def measure(self, value: object) -> None:
        """Pay for the whole of a value, as far down as it is nested.

        Lists that hold each other many times over are walked as often as printing would, so the
        meter runs out before the memory does.
        """
        if isinstance(value, str):
            self.spend(len(value))
            return
        self.spend(NODE_COST)
        pending: list[Any] = [value]
        while pending:
            item = pending.pop()
            kind = type(item)
            if kind in _SCALARS:
                continue
            if isinstance(item, str):
                self.spend(len(item))
            elif kind is list or kind is dict or isinstance(item, _HOLDERS):
                self.spend(NODE_COST * len(item))
                pending.extend(item)
                if kind is dict:
                    pending.extend(item.values())
            elif isinstance(item, Namespace):
                raise RenderError("template_failed", "a namespace can be neither printed nor compared")
            elif isinstance(item, range):
                self.spend(NODE_COST * len(item))


def meter_of(context: Context) -> Meter:
    """Return the meter of the render that a filter or operator runs in."""
    meter: Meter = context.parent[METER]
    return meter


@pass_context
def _printed(context: Context, value: Any, name: str) -> Any:
    """Pay for a value that is written out; null counts as missing, and is never printed."""
    meter: Meter = context.parent[METER]
    if type(value) is str:
        meter.left -= len(value)
        if meter.left < 0:
            meter.spend(0)
        return value
    if value is None or isinstance(value, Undefined):
        meter.missing.add(name)
        return ""
    # Anything else would be written as the address of an object, another one each time.
    if not isinstance(value, _PRINTABLE):
        raise RenderError("template_failed", f"{name}: not a text, number, date, list or mapping")
    meter.measure(value)
    return value


@pass_context
def _filtered(context: Context, value: Any, name: str, is_constant_time: bool) -> Any:
    """Pay for a value that is filtered; null counts as missing."""
    meter = meter_of(context)
    if value is None or isinstance(value, Undefined):
        meter.missing.add(name)
        return ""
    if not is_constant_time:
        meter.measure(value)
    return value


@pass_context
def _measured(context: Context, value: Any) -> Any:
    """Pay for a value that is compared, tested or sliced."""
    meter_of(context).measure(value)
    return value


@pass_context
def _looped(context: Context, values: Any, name: str) -> Any:
    """Pay for walking over values, apart from what the body of the loop costs."""
    meter = meter_of(context)
    if values is None or isinstance(values, Undefined):
        meter.missing.add(name)
        return ()
    if not isinstance(values, Sized):
        values = list(values)
    meter.spend(NODE_COST * len(values))
    return values


@pass_context
def _paid(context: Context, value: Any, cost: int) -> Any:
    """Pay for one run of a body."""
    meter_of(context).spend(cost)
    return value


METERING_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "printed!": _printed,
    "filtered!": _filtered,
    "measured!": _measured,
    "looped!": _looped,
    "paid!": _paid,
}
