"""The version that was tagged before this one, to run beside it as during an upgrade."""

import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    tag: str
    code: Path
    """The folder that holds its `jtd_worker`."""


def previous(checkout: Path, folder: Path) -> Previous | None:
    """Unpack it into `folder`; None when no version is tagged yet, or this is no checkout of git."""
    git = ["git", "-C", str(checkout)]
    described = subprocess.run(
        [*git, "describe", "--tags", "--abbrev=0", "HEAD~1"], check=False, capture_output=True, text=True
    )
    if described.returncode != 0:
        return None
    tag, archive = described.stdout.strip(), folder / "previous.zip"
    subprocess.run([*git, "archive", f"--output={archive}", tag], check=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "previous")
    return Previous(tag=tag, code=folder / "previous")
