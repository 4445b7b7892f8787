"""What a channel does with a text that is too long for it, and what a message is counted as."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, assert_never

from jtd_worker.contacts import RecipientKey
from jtd_worker.errors import RenderError
from jtd_worker.message import Message
from jtd_worker.sms_parts import GSM_ALONE, is_gsm, sms_parts
from jtd_worker.text_border import border

MARK: Final = "…"
"""Stands where a text was cut."""
GSM_MARK: Final = "..."
"""The same in an SMS of the GSM-7 alphabet, where the other would more than double the parts."""


class ContentRule(StrEnum):
    """What becomes of a text that is too long; `n_jtd_channels.content_rule`."""

    SPLIT = "split"
    """It is sent in several SMS parts, and refused beyond the most."""
    CUT = "cut"
    """Its beginning is sent, with a mark."""
    REFUSE = "refuse"
    """The job fails before anything is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLimit:
    """What one channel takes, and what it does with more."""

    rule: ContentRule
    characters: int | None
    """The most of the text, from 1; None is no limit. Not looked at with SPLIT."""
    parts: int | None
    """The most SMS parts, which SPLIT looks at; None: the channel's messages are not counted in parts."""
    recipient_key: RecipientKey = RecipientKey.USER
    """Which kind of address it takes."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "ContentLimit":
        """Read one channel's entry of jtd.content_rules_v1."""
        return cls(
            rule=ContentRule(told["rule"]),
            characters=told["characters"],
            parts=told["parts"],
            recipient_key=RecipientKey(told["recipient_key"]),
        )


NO_LIMIT: Final = ContentLimit(rule=ContentRule.REFUSE, characters=None, parts=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What became of a text, for the record."""

    units: int | None = None
    """SMS parts; None where messages are not counted in parts, and each is one unit."""
    kept: int | None = None
    """Characters before the mark, if it was cut."""
    characters: int | None = None
    """Before it was cut, if it was."""


def fit(message: Message, limit: ContentLimit, kept: int | None = None) -> tuple[Message, Content]:
    """Make a message as long as its channel takes, and say what became of it.

    Only the text counts, not subject or HTML, which rendering bounds; a message that is cut goes
    without its HTML, which would say the rest. `kept` is how many characters an earlier attempt may have
    sent (jtd.kept_v1): then that decides, whatever the limit is now, so that a retry sends the same.
    Raises `RenderError` `content_too_long`, which names lengths, never content.
    """
    length = len(message.text)
    if kept is None:
        kept = _kept(message, limit)
    content = Content()
    if kept < length:
        message = replace(message, text=message.text[:kept] + _mark(message.text, limit), html=None)
        content = Content(kept=kept, characters=length)
    if limit.parts is not None:
        content = replace(content, units=sms_parts(message.text))
    return message, content


def _kept(message: Message, limit: ContentLimit) -> int:
    """Return how many characters of the text go: all of them, or fewer and a mark."""
    text = message.text
    if limit.rule is ContentRule.SPLIT:
        _must_fit_parts(message, limit)
        return len(text)
    if limit.characters is None or len(text) <= limit.characters:
        return len(text)
    match limit.rule:
        case ContentRule.CUT:
            return border(text, max(0, limit.characters - len(_mark(text, limit))))
        case ContentRule.REFUSE:
            raise RenderError(
                "content_too_long",
                f"the text has {len(text)} characters, and channel {message.channel} takes at most "
                f"{limit.characters}: shorten it, or change the channel's content_rule or max_content_length",
            )
        case _:
            assert_never(limit.rule)


def _must_fit_parts(message: Message, limit: ContentLimit) -> None:
    most = limit.parts
    if most is None:
        return
    # no part holds more than a lone one, so that far too long a text need not be counted through
    if len(message.text) > most * GSM_ALONE or sms_parts(message.text) > most:
        raise RenderError(
            "content_too_long",
            f"the text of {len(message.text)} characters takes more than {most} SMS parts: shorten it, or "
            f"raise max_parts of channel {message.channel}",
        )


def _mark(text: str, limit: ContentLimit) -> str:
    return GSM_MARK if limit.parts is not None and is_gsm(text) else MARK
