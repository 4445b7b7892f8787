"""What WhatsApp wants of a template's values, whoever passes them on: others it takes, and delivers not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from jtd_worker.errors import RenderError

MediaKind = Literal["image", "video", "document"]

_LINE_BREAK: Final = re.compile(r"[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_MOST_SPACES: Final = 4
_KINDS: Final[dict[str, MediaKind]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "image"),
    **dict.fromkeys((".mp4", ".3gp"), "video"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".txt", ".csv"), "document"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What stands in the header of a template; WhatsApp fetches it itself."""

    kind: MediaKind
    url: str = field(repr=False)
    file_name: str = field(repr=False)


def check_parameters(parameters: Sequence[tuple[str, str]]) -> None:
    """Raise RenderError `parameter_unsafe`, naming each parameter that would not be delivered."""
    unsafe = [f"{name} {fault}" for name, text in parameters if (fault := _fault(text))]
    if unsafe:
        raise RenderError("parameter_unsafe", f"WhatsApp delivers no such parameters: {', '.join(unsafe)}")


def media(url: Any) -> Media:
    """Read `metadata.media_url`; RenderError `media_url_invalid` unless it is https and of a known type."""
    try:
        parts = urlsplit(url if isinstance(url, str) and url.isprintable() else "")
        path = PurePosixPath(unquote(parts.path))
        is_https = parts.scheme == "https" and bool(parts.hostname)
    except ValueError:
        is_https = False
    if not is_https:
        raise RenderError("media_url_invalid", "metadata.media_url: not the URL of a file, with https")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise RenderError(
            "media_url_invalid", f"metadata.media_url: its path ends in none of {', '.join(_KINDS)}"
        )
    return Media(kind=kind, url=url, file_name=path.name)


def _fault(text: str) -> str | None:
    if not text.strip():
        return "is blank"
    if _LINE_BREAK.search(text):
        return "has a line break"
    if "\t" in text:
        return "has a tab"
    if " " * (_MOST_SPACES + 1) in text:
        return f"has more than {_MOST_SPACES} spaces in a row"
    return None
