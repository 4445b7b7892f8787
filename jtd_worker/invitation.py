"""Reads the invitation that a producer gives as `payload.calendar`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from jtd_worker import mime
from jtd_worker.errors import RenderError
from jtd_worker.message import Invitation
from jtd_worker.result import Json

_MARKS: Final = frozenset({"start", "end", "duration", "method"})
"""An object without any of these is a variable like others."""
_TEXTS: Final[Mapping[str, int]] = {
    "summary": 1000, "location": 1000, "description": 10_000, "organizer": 320, "uid": 255,
}  # fmt: skip
"""Characters of each at most."""
_KNOWN: Final = frozenset({"start", "end", "duration", "method", "sequence", *_TEXTS})


def read_invitation(given: Json) -> Invitation | None:
    """Return the invitation; None for what is none. Raises RenderError `calendar_invalid`."""
    if not isinstance(given, Mapping) or not _MARKS & given.keys():
        return None
    if unknown := sorted(given.keys() - _KNOWN):
        raise _invalid(f"{', '.join(map(repr, unknown))[:100]} is not known")
    texts = {name: _text(given, name, longest) for name, longest in _TEXTS.items()}
    start = _moment(given, "start")
    method = given.get("method", "REQUEST")
    if method not in ("REQUEST", "CANCEL"):
        raise _invalid("method must be REQUEST or CANCEL")
    if method == "CANCEL" and texts["uid"] is None:
        raise _invalid("CANCEL needs the uid of the invitation")
    if texts["organizer"] is not None:
        try:
            mime.mailbox(texts["organizer"])
        except ValueError:
            raise _invalid("organizer must be one mail address") from None
    return Invitation(
        method="CANCEL" if method == "CANCEL" else "REQUEST",
        start=start,
        end=_end(given, start),
        sequence=_number(given, "sequence", 0, least=0),
        **texts,
    )


def _end(given: Mapping[str, Json], start: datetime) -> datetime:
    if ("end" in given) == ("duration" in given):
        raise _invalid("needs either end or duration")
    if "end" in given:
        end = _moment(given, "end")
        if end <= start:
            raise _invalid("end must be after start")
        return end
    try:
        return start + timedelta(minutes=_number(given, "duration", None, least=1))
    except OverflowError:
        raise _invalid("duration is too long") from None


def _moment(given: Mapping[str, Json], name: str) -> datetime:
    value = given.get(name)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _invalid(f"{name} must be a time with offset, such as 2027-06-01T09:00:00+05:30")


def _number(given: Mapping[str, Json], name: str, default: int | None, *, least: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise _invalid(f"{name} must be a whole number from {least}")
    return value


def _text(given: Mapping[str, Json], name: str, longest: int) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise _invalid(f"{name} must be a text of at most {longest} characters")
    return value


def _invalid(what: str) -> RenderError:
    return RenderError("calendar_invalid", f"payload.calendar: {what}")
