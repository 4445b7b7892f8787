"""Finds the adapter that a provider's name stands for: the file's name is its registration."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol, Self

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from jtd_worker.adapter import Adapter
from jtd_worker.errors import ConfigurationError
from jtd_worker.result import Json

_NAME = re.compile(r"([a-z][a-z0-9_]*):([a-z][a-z0-9]*)(?:\.([a-z][a-z0-9]*))?")


class ChannelModule(Protocol):
    """What a file in `channels/` provides."""

    Settings: type[BaseModel]

    def build(self, settings: BaseModel, channel: str) -> Adapter:
        """Return an adapter; opens no connection yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderName:
    """`channel:provider`, or `channel:provider.instance` where one provider is used twice."""

    channel: str
    provider: str
    instance: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `email:smtp` or `email:smtp.backup`; anything else is a ValueError."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not channel:provider, e.g. email:smtp or email:smtp.backup")
        return cls(channel=match[1], provider=match[2], instance=match[3] or "")

    @property
    def code(self) -> str:
        """As kept in `n_jtd.provider_code`: `smtp` or `smtp.backup`."""
        return f"{self.provider}.{self.instance}" if self.instance else self.provider

    @property
    def prefix(self) -> str:
        """What its environment variables begin with, e.g. `JTD_EMAIL_SMTP_`."""
        parts = (self.channel, self.provider, self.instance)
        return "JTD_" + "".join(f"{part.upper()}_" for part in parts if part)

    def __str__(self) -> str:
        return f"{self.channel}:{self.code}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider with its validated settings, from which an adapter is built."""

    name: ProviderName
    module: ChannelModule = field(repr=False)
    settings: BaseModel

    @classmethod
    def make(cls, name: ProviderName, values: Mapping[str, Json]) -> Self:
        """Validate `values` by the provider's own model.

        Raises ConfigurationError when there is no such provider, pydantic's ValidationError when
        the values are wrong.
        """
        module = find_module(name)
        return cls(name=name, module=module, settings=module.Settings.model_validate(dict(values)))

    def build(self) -> Adapter:
        """Return a fresh adapter."""
        return self.module.build(self.settings, self.name.channel)


def find_module(name: ProviderName) -> ChannelModule:
    """Return the file that serves `name`: its channel's own, else the one for any channel."""
    for module in (f"{name.channel}_{name.provider}", f"any_{name.provider}"):
        path = f"jtd_worker.channels.{module}"
        if find_spec(path) is not None:
            found: Any = importlib.import_module(path)
            return found  # type: ignore[no-any-return]  # a module is matched by its contents
    raise ConfigurationError(
        f"JTD_PROVIDERS: no provider {name.provider!r} for channel {name.channel!r}; "
        f"expected jtd_worker/channels/{name.channel}_{name.provider}.py or any_{name.provider}.py"
    )
