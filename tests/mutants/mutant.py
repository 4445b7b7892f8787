"""A defect as data: where it goes, and the tests that must see it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """A text to be replaced; kept short, and yet the only one of its kind in the file."""

    path: str
    """Below the root of the checkout."""
    old: str
    new: str

    def is_stale(self, root: Path) -> bool:
        """Whether the text is not there any more, or not there alone."""
        file = root / self.path
        return not file.is_file() or file.read_text("utf-8").count(self.old) != 1

    def apply(self, root: Path) -> None:
        """Replace the text in the tree at `root`."""
        file = root / self.path
        file.write_text(file.read_text("utf-8").replace(self.old, self.new), "utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One way to put a failure mode back."""

    failure_mode: str
    """`F1`, `F2` ..."""
    what: str
    """What is done wrong then."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """Node ids of pytest; each of these tests must fail, of one without a parameter any of its cases."""
