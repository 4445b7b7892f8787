"""Finds what reads a provider's receipts: the file that serves the provider, if it takes any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from jtd_worker.errors import ConfigurationError
from jtd_worker.receipt import ReceiptParser
from jtd_worker.registry import ProviderName, find_module


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSource:
    """A provider that reports, with the parser of its reports."""

    name: ProviderName
    parse: ReceiptParser = field(repr=False)

    @classmethod
    def make(cls, name: ProviderName, values: Mapping[str, str]) -> Self:
        """Validate `values` by the provider's own `ReceiptSettings`.

        Raises ConfigurationError when the provider is not there or reports nothing, pydantic's
        ValidationError when the values are wrong.
        """
        if name.instance:
            raise ConfigurationError(
                f"JTD_RECEIPTS: {name}: the instances of a provider report together; "
                f"give {name.channel}:{name.provider}, with the secrets of all"
            )
        try:
            module: Any = find_module(name)
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("JTD_PROVIDERS", "JTD_RECEIPTS")) from error
        if not (hasattr(module, "ReceiptSettings") and hasattr(module, "build_receipts")):
            raise ConfigurationError(f"JTD_RECEIPTS: {name} reports nothing that could be received")
        settings = module.ReceiptSettings.model_validate(dict(values))
        return cls(name=name, parse=module.build_receipts(settings))

    @staticmethod
    def prefix(name: ProviderName) -> str:
        """What the variables of `name`'s receipts begin with, e.g. `JTD_RECEIPTS_EMAIL_SENDGRID_`."""
        return name.prefix.replace("JTD_", "JTD_RECEIPTS_", 1)
