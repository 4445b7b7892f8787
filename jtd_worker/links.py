"""Refuses HTML whose links would run a script: escaping alone lets `javascript:` through in an `href`.

The whole rendered part is looked at, not the variables, so it does not matter how the template put the
address together.
"""

import re
from html import unescape
from typing import Final

from jtd_worker.errors import RenderError

# `action` is found within `formaction` too, and `href` within `xlink:href`.
_ATTRIBUTES: Final = ("href", "src", "action")
# Without quotes a value is read so far only: texts that say `src=` again and again stay cheap to look at.
_LONG: Final = 2_048
_VALUE: Final = re.compile(rf"""\s*=\s*(?:"([^"]*)|'([^']*)|([^\s>]{{0,{_LONG}}}))""")
_PLAIN_STARTS: Final = ("https://", "http://", "mailto:", "tel:", "cid:", "/", "#")
# A browser drops tabs and newlines within a scheme, and control characters before it (WHATWG URL, 4.4).
_DROPPED: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]+")
_UNSAFE_SCHEMES: Final = ("javascript:", "vbscript:", "data:")
_PICTURE: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp)[;,]")


def refuse_unsafe_links(html: str) -> None:
    """Raise `RenderError` `unsafe_url` if an address in `html` begins with an unsafe scheme.

    A picture of dots given as `data:` in a `src` is let through: it cannot run anything.
    """
    lowered = html.lower()
    for attribute in _ATTRIBUTES:
        position = lowered.find(attribute)
        while position >= 0:
            position += len(attribute)
            value = _VALUE.match(lowered, position)
            if value is not None and _is_unsafe(value, attribute):
                raise RenderError(
                    "unsafe_url", f"an address in {attribute!r} has a scheme that can run a script"
                )
            position = lowered.find(attribute, position)


def _is_unsafe(found: re.Match[str], attribute: str) -> bool:
    value = found[found.lastindex or 0]
    if value.startswith(_PLAIN_STARTS):
        return False
    plain = _DROPPED.sub("", unescape(value)).lower()
    if attribute == "src" and _PICTURE.match(plain):
        return False
    cut_short = found.lastindex == 3 and len(value) == _LONG
    return cut_short or plain.startswith(_UNSAFE_SCHEMES)
