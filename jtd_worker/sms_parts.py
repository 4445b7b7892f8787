"""How many parts a text takes as an SMS: what providers charge for, known before it is sent.

The alphabet is that of 3GPP TS 23.038, section 6.2.1 (GSM 03.38), its default extension table
included; national shift tables are left out, since senders rarely use them. The room of a part is
that of TS 23.040: 140 octets, less the 6 of the header that joins parts.
"""

from collections.abc import Iterable
from typing import Final

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""One septet each; the escape, the 128th, is no character."""
EXTENSION: Final = frozenset("\f^{}\\[~]|€")
"""Two septets each: the escape and the character, which stay in one part."""
_GSM: Final = BASIC | EXTENSION

GSM_ALONE: Final = 160
GSM_JOINED: Final = 153
"""Septets of a text that is one part, and of each of several."""
UCS2_ALONE: Final = 70
UCS2_JOINED: Final = 67
"""The same in UTF-16 code units, for a text with any character that GSM-7 lacks."""


def is_gsm(text: str) -> bool:
    """Whether every character of `text` is in the GSM-7 alphabet."""
    return _GSM.issuperset(text)


def sms_parts(text: str) -> int:
    """Return the number of parts, from 1; an empty text is one.

    A character of two units, an extended one or one beyond U+FFFF, is never split between parts, so
    that a part may hold one unit less.
    """
    if is_gsm(text):
        return _parts((2 if c in EXTENSION else 1 for c in text), GSM_ALONE, GSM_JOINED)
    return _parts((2 if c > "\uffff" else 1 for c in text), UCS2_ALONE, UCS2_JOINED)


def _parts(widths: Iterable[int], alone: int, joined: int) -> int:
    total = used = 0
    parts = 1
    for width in widths:
        total += width
        used += width
        if used > joined:
            parts += 1
            used = width
    return 1 if total <= alone else parts
