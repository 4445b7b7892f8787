"""What a template gets for a value it was not given: an error, or a note of all that is missing."""

from collections.abc import Callable, Container
from typing import Any

from jinja2.runtime import ChainableUndefined, StrictUndefined


class Absent(StrictUndefined, ChainableUndefined):
    """Raises when used, but `customer.name | default("there")` works without a `customer` too."""

    __slots__ = ()


def noting_undefined(noted: set[str], known: Container[str]) -> type[ChainableUndefined]:
    """Make a class of absent values that go along with every use and note their names in `noted`.

    So one more run of a template that failed finds all it lacks, not only the first. Asking whether a
    value is defined is not a use. A name not in `known`, the names written in the template, may be a
    value (`prices[customer]`) and is not repeated.
    """

    def noting(answer: Callable[["Noted"], Any]) -> Callable[..., Any]:
        def method(self: "Noted", *_: Any, **__: Any) -> Any:
            name = self._undefined_name
            noted.add(name if name is not None and name in known else "an element")
            return answer(self)

        return method

    class Noted(ChainableUndefined):
        __slots__ = ()

        __str__ = noting(lambda self: "")
        __iter__ = noting(lambda self: iter(()))
        __len__ = __int__ = __index__ = noting(lambda self: 0)
        __float__ = noting(lambda self: 0.0)
        __hash__ = noting(id)
        __bool__ = __contains__ = noting(lambda self: False)
        __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = noting(lambda self: False)
        __call__ = __pos__ = __neg__ = noting(lambda self: self)
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = noting(lambda self: self)
        __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = noting(lambda self: self)
        __mod__ = __rmod__ = __pow__ = __rpow__ = noting(lambda self: self)

    return Noted
