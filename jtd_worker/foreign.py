"""Text from outside made fit to be stored: bounded, without NUL and lone surrogates."""

import math
import re

from jtd_worker.result import Json

MAX_TEXT = 2_000
"""Characters kept of one text that a provider sent; the rest says nothing new to a person."""
MAX_ITEMS = 50
MAX_DEPTH = 5
LARGEST = 10**18

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` as Postgres can store it, at most `limit` characters; anything else as its text."""
    return _UNSTORABLE.sub("\ufffd", str(text)[:limit])


def clean_json(value: Json, depth: int = MAX_DEPTH) -> Json:
    """Return `value` with every text cleaned, and bounded in depth and number of items."""
    match value:
        case str():
            return clean(value)
        case dict() if depth:
            items = list(value.items())[:MAX_ITEMS]
            return {clean(key, 200): clean_json(item, depth - 1) for key, item in items}
        case list() if depth:
            return [clean_json(item, depth - 1) for item in value[:MAX_ITEMS]]
        case dict() | list():
            return None
        case float() if not math.isfinite(value):  # JSON has no such numbers
            return None
        case int() if abs(value) >= LARGEST:
            return None
        case int() | float() | None:
            return value
        case _:  # an adapter may have put anything there
            return f"<{type(value).__name__}>"
