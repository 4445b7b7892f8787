"""Finds the adapter that a provider's name stands for: the name of a file, or of an entry point."""

import importlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any, Final, Protocol, Self

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from jtd_worker import channels
from jtd_worker.adapter import Adapter
from jtd_worker.errors import ConfigurationError
from jtd_worker.result import Json

GROUP: Final = "jtd_worker.channels"
"""Entry points of installed packages; one is named as a file of ours would be: `sms_acme`, `any_acme`."""

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
    """Return what serves `name`: its channel's own, else the one for any channel.

    Our own come before those that are installed. Raises ConfigurationError when there is none, or when
    packages disagree about it.
    """
    modules = (f"{name.channel}_{name.provider}", f"any_{name.provider}")
    for module in modules:
        path = f"{channels.__name__}.{module}"
        if find_spec(path) is not None:
            found: Any = importlib.import_module(path)
            return found  # type: ignore[no-any-return]  # a module is matched by its contents
    for module in modules:
        if points := entry_points(group=GROUP, name=module):
            return _loaded(module, points)
    raise ConfigurationError(
        f"JTD_PROVIDERS: no provider {name.provider!r} for channel {name.channel!r}; expected "
        f"jtd_worker/channels/{modules[0]}.py or {modules[1]}.py, or a package with such an entry point"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An adapter that is there to be used."""

    channel: str
    """`any` for one that serves every channel."""
    provider: str
    package: str
    """The distribution that brought it."""

    @property
    def name(self) -> ProviderName:
        """A name that finds it."""
        return ProviderName(channel=self.channel, provider=self.provider)


def installed() -> Sequence[Installed]:
    """List every adapter, by channel and provider; one that another hides is not listed."""
    ours = {module.name: "jtd-worker" for module in iter_modules(channels.__path__)}
    theirs = {point.name: _package(point) for point in entry_points(group=GROUP)}
    found = []
    for module, package in sorted((theirs | ours).items()):
        channel, _, provider = module.partition("_")
        if module not in ours and f"any_{provider}" in ours:
            continue
        found.append(Installed(channel=channel, provider=provider, package=package))
    return found


def _loaded(module: str, points: Collection[EntryPoint]) -> ChannelModule:
    packages = sorted(map(_package, points))
    if len(packages) > 1:
        raise ConfigurationError(
            f"JTD_PROVIDERS: {' and '.join(packages)} both bring {module}; uninstall all but one"
        )
    try:
        found: Any = next(iter(points)).load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ConfigurationError(
            f"JTD_PROVIDERS: {module} of {packages[0]} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    missing = [what for what in ("Settings", "build") if not hasattr(found, what)]
    if missing:
        raise ConfigurationError(
            f"JTD_PROVIDERS: {module} of {packages[0]} has no {' and no '.join(missing)}"
        )
    return found  # type: ignore[no-any-return]  # a module is matched by its contents


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
