"""Where a text may be cut: after a word, else between what readers see as two characters."""

import unicodedata
from typing import Final

_ZERO_WIDTH_JOINER: Final = "\u200d"
_VIRAMA: Final = 9
"""The canonical combining class of what joins a consonant to the next."""


def border(text: str, most: int) -> int:
    """Return how many characters of `text`, which has more than `most`, are kept when it is cut.

    At most `most`, without blanks at the end. The last third may go for the end of a word; a longer word
    is cut, though not within a cluster of characters that are shown as one. The same text is always cut at
    the same place.
    """
    place = most
    while place > 0 and _is_within_cluster(text, place):
        place -= 1
    place = place or most  # one cluster fills it all
    if not text[place].isspace():
        word = max((n for n in range(place * 2 // 3, place) if text[n].isspace()), default=place)
        place = word
    return len(text[:place].rstrip())


def _is_within_cluster(text: str, place: int) -> bool:
    """Whether the characters before and after `place` are one to a reader.

    The rules of UAX 29, section 3.1.1, as far as the categories of Python's Unicode data tell them apart.
    """
    before, after = text[place - 1], text[place]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    if _extends(after) or before == _ZERO_WIDTH_JOINER or unicodedata.combining(before) == _VIRAMA:
        return True
    if _is_flag_half(before) and _is_flag_half(after):
        return _flag_halves_before(text, place) % 2 == 1
    return _is_hangul_syllable(before, after)


def _extends(character: str) -> bool:
    return (
        unicodedata.category(character).startswith("M")
        or character in "\u200c\u200d\uff9e\uff9f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # colours of skin
        or "\U000e0020" <= character <= "\U000e007f"  # tags, which name the flags of regions
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves_before(text: str, place: int) -> int:
    number = 0
    while number < place and _is_flag_half(text[place - number - 1]):
        number += 1
    return number


def _is_hangul_syllable(before: str, after: str) -> bool:
    """Whether `after` goes on with a syllable; leading jamo are U+1100 to U+115F and U+A960 to U+A97C."""
    if "\u1160" <= after <= "\u11ff" or "\ud7b0" <= after <= "\ud7fb":
        return (
            "\u1100" <= before <= "\u11ff" or "\ua960" <= before <= "\ua97c" or "\uac00" <= before <= "\ud7fb"
        )
    leads = "\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c"
    return leads and (
        "\u1100" <= after <= "\u115f" or "\ua960" <= after <= "\ua97c" or "\uac00" <= after <= "\ud7a3"
    )
