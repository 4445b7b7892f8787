"""The command about adapters: channels."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import typer

from jtd_worker.adapter import Capabilities, Sureness
from jtd_worker.console import note, table, write, write_json
from jtd_worker.errors import ConfigurationError
from jtd_worker.options import AsJson
from jtd_worker.registry import Installed, find_module, installed

app = typer.Typer(rich_markup_mode=None)

HEADERS: Final = ("channel", "provider", "facts from", "unknown outcome", "receipts", "batch", "package")
FACTS: Final[Mapping[Sureness, str]] = {
    Sureness.OWN: "an open standard, or ours",
    Sureness.VECTORS: "vendor's code and examples",
    Sureness.DOCUMENTED: "vendor's pages",
    Sureness.THIRD_PARTY: "third parties, in part",
    Sureness.CONFIGURED: "your settings",
}


@app.command()
def channels(as_json: AsJson = False) -> None:
    """List the adapters that are installed; needs no database."""
    found: list[tuple[Installed, Capabilities | None]] = []
    mistakes = []
    for one in installed():
        try:
            found.append((one, getattr(find_module(one.name), "CAPABILITIES", None)))
        except ConfigurationError as error:
            mistakes.append(str(error).removeprefix("JTD_PROVIDERS: "))
    if as_json:
        write_json([_document(one, capabilities) for one, capabilities in found])
    else:
        write(table(HEADERS, [row(one, capabilities) for one, capabilities in found]))
    for mistake in mistakes:
        note(mistake)
    if mistakes:
        raise typer.Exit(1)


def row(one: Installed, capabilities: Capabilities | None) -> tuple[str, ...]:
    """Return the cells of an adapter; what its module does not tell beforehand is left empty."""
    if capabilities is None:
        return (one.channel, one.provider, "", "", "", "", one.package)
    return (
        one.channel,
        one.provider,
        FACTS[capabilities.sureness],
        # settling writes the row that sending is: both happen, or neither
        "none" if capabilities.transactional else str(capabilities.unknown_rule),
        "yes" if capabilities.has_receipts else "no",
        str(capabilities.batch_size),
        one.package,
    )


def _document(one: Installed, capabilities: Capabilities | None) -> dict[str, Any]:
    return {**asdict(one), **(asdict(capabilities) if capabilities else {})}
