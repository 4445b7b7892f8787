"""Makes one short line of what others wrote, without secrets and contacts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote

REASON_LENGTH: Final = 300
"""Characters of a reason that a person reads."""


@dataclass(frozen=True, slots=True)
class Mask:
    """The words that must not be seen, each with what stands for it."""

    words: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, stand_in: str, words: Iterable[str]) -> Self:
        """Hide each of `words` behind `stand_in`, e.g. `<secret>`; also as it stands in a URL."""
        forms = {form for word in words for form in (one_line(word), _quoted(word)) if form}
        return cls(tuple((form, stand_in) for form in sorted(forms)))

    def __add__(self, other: "Mask") -> "Mask":
        return Mask(self.words + other.words)

    def reason(self, text: str) -> str:
        """Put foreign `text` on one bounded line and hide the words, in any case of letters."""
        line = one_line(text)
        if self.words:
            stand_ins = {word.lower(): stand_in for word, stand_in in self.words}
            longest_first = sorted(stand_ins, key=len, reverse=True)
            pattern = "|".join(map(re.escape, longest_first))
            line = re.sub(
                pattern, lambda found: stand_ins.get(found[0].lower(), "<hidden>"), line, flags=re.IGNORECASE
            )
        # Cut last: a word that is cut would not be recognised.
        return line[:REASON_LENGTH].rstrip(": ")


def contact(to: str) -> Mask:
    """Hide a recipient's address or number, with and without its plus sign."""
    return Mask.of("<recipient>", (to, to.lstrip("+")))


def _quoted(word: str) -> str:
    return quote(word.encode("utf-8", "replace"), safe="")


def one_line(text: str) -> str:
    """Replace whatever does not print, line ends and zero-width characters among it, by single blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
