"""How commands print: readable on a terminal, whole plain lines in a pipe."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_UNBROKEN = 10_000
"""Columns of a pipe, whose reader takes lines apart by himself; COLUMNS overrules."""


def write(*parts: RenderableType) -> None:
    """Print each part on standard output, a blank line between them; a str is one line."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNBROKEN
    with console.capture() as captured:
        for place, part in enumerate(parts):
            if place:
                console.print()
            console.print(plain(part) if isinstance(part, str) else part)
    # cells are padded to the width of their column, and so is the last one
    for line in captured.get().splitlines():
        print(line.rstrip())


def write_json(document: object) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=2, default=_plain_json))


def note(sentence: str) -> None:
    """Print a remark for a person on standard error, where it is in no script's way."""
    print(plain(sentence), file=sys.stderr)


def plain(value: object) -> str:
    """Return a value as one line that no terminal takes for an instruction; None is empty."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Lay out rows in columns; what does not fit the width goes on in the next line, nothing is cut off."""
    made = Table(box=None, pad_edge=False, show_header=any(headers), header_style="bold")
    for header in headers:
        made.add_column(header, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return made


def moment(text: str | None) -> str:
    """Return an ISO time of the database, which is in UTC, as people read it."""
    if text is None:
        return ""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
    except ValueError:  # infinity, or a year that Python does not know
        return text


def span(duration: timedelta) -> str:
    """Return a duration in its two greatest units: `120 ms`, `4.2 s`, `3 min 4 s`, `2 d 3 h`."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def _plain_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
