"""The settings of a worker: read from the environment once, at start, with every mistake named."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    DirectoryPath,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jtd_worker.contacts import Region
from jtd_worker.credential import ENVIRONMENT_PREFIX
from jtd_worker.errors import ConfigurationError
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.shared_secrets import SharedSecrets, each

PREFIX = "JTD_"
FOREIGN_PREFIXES = ("JTD_TEST_",)
"""Names under our prefix that are not the worker's."""

_PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if value and not (colon and host and port.isdigit() and int(port) < 65536):
        raise ValueError("is not host:port, e.g. 0.0.0.0:8080")
    return value


Address: TypeAlias = Annotated[str, AfterValidator(_address)]
"""`host:port`, or nothing."""


def _public_url(value: str) -> str:
    if value and not _PUBLIC_URL.fullmatch(value):
        raise ValueError("is not a URL without query, e.g. https://jtd.example.com")
    return value.rstrip("/")


PublicUrl: TypeAlias = Annotated[str, AfterValidator(_public_url)]
"""Scheme, host and perhaps a path, without a slash at its end; or nothing."""


def provider_names(value: object) -> object:
    """Read `email:smtp,inapp:db`; ValueError names the part that is not of that form."""
    if not isinstance(value, str):
        return value
    return tuple(ProviderName.parse(part.strip()) for part in value.split(",") if part.strip())


class Settings(BaseSettings):
    """What every worker needs; providers add their own under JTD_<CHANNEL>_<PROVIDER>_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="Postgres to work on, as a libpq URL; required.")
    providers: Annotated[tuple[ProviderName, ...], NoDecode] = Field(
        description="Channels served, with their providers in order of preference, "
        "e.g. `email:smtp,inapp:db`; required."
    )
    slots: int = Field(
        32,
        ge=1,
        le=1000,
        description="Most sends at one time in this process, in equal shares for the channels that leave the "
        "house; bounds what a crash can leave unknown.",
    )
    lease_seconds: int = Field(
        8,
        ge=2,
        le=300,
        description="A worker that is silent this long is dead, and what it held is taken back.",
    )
    drain_seconds: float = Field(
        25, ge=0, le=3600, description="How long running sends may take to end after SIGTERM."
    )
    tenant_senders: Annotated[tuple[ProviderName, ...] | None, NoDecode] = Field(
        None,
        description="Those of JTD_PROVIDERS by which tenants may name the sender without a credential "
        "of their own.",
    )
    credential_dir: DirectoryPath | None = Field(
        None, description="Where the credentials are that tenants name as `file:`; none: nowhere."
    )
    http: Address = Field(
        "", description="`host:port` of /healthz, /readyz and /metrics; empty: none. Port 0 takes a free one."
    )
    default_region: str = Field(
        "",
        description="Where phone numbers without a country code belong, e.g. `IN`; empty: they are refused.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: colours on a terminal, JSON lines elsewhere."
    )

    public_url: PublicUrl = Field(
        "", description="Where `jtd-worker serve` is reached from outside: `https://jtd.example.com`."
    )
    unsubscribe_secrets: SharedSecrets = Field(
        SecretStr(""),
        description="What links to unsubscribe are signed with, 32 bytes or more; several, separated by "
        "blanks, while one is being replaced: the first signs. None: no mail carries such a link.",
    )

    @field_validator("unsubscribe_secrets")
    @classmethod
    def _must_lead_somewhere(cls, value: SecretStr, others: ValidationInfo) -> SecretStr:
        if each(value) and not others.data.get("public_url", "https:").startswith("https:"):
            raise ValueError("needs JTD_PUBLIC_URL, beginning with https:")
        return value

    @field_validator("providers", "tenant_senders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        names = provider_names(value)
        if names == ():
            raise ValueError("names no provider, e.g. email:smtp,inapp:db")
        return names

    @field_validator("default_region")
    @classmethod
    def _region(cls, value: str) -> str:
        return Region.parse(value).code


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Validated settings of the worker and of each of its providers."""

    settings: Settings
    providers: Mapping[str, tuple[Provider, ...]]
    """Channel -> its providers, in order of preference."""
    credentials: Mapping[str, SecretStr] = field(default_factory=dict)
    """What tenants may name as `env:JTD_CREDENTIAL_<NAME>`, by name."""


def load() -> Configuration:
    """Read the settings from the environment.

    Raises ConfigurationError that names everything missing, unknown or wrong, one a line; values
    are not shown, since they may be secret.
    """
    mistakes: list[str] = []
    ours = {
        k: v for k, v in os.environ.items() if k.startswith(PREFIX) and not k.startswith(FOREIGN_PREFIXES)
    }
    core = {name: ours.pop(PREFIX + name.upper(), None) for name in Settings.model_fields}
    settings: Settings | None = None
    try:
        settings = Settings()
    except ValidationError as error:
        mistakes += mistakes_of(PREFIX, error)
    names = _names(core["providers"]) if settings is None else settings.providers
    made: dict[ProviderName, Provider] = {}
    for name in sorted(names, key=lambda name: -len(name.prefix)):  # smtp.backup takes its own before smtp
        own = {key: ours.pop(key) for key in list(ours) if key.startswith(name.prefix)}
        try:
            made[name] = Provider.make(name, {k.removeprefix(name.prefix).lower(): v for k, v in own.items()})
        except ValidationError as error:
            mistakes += mistakes_of(name.prefix, error)
        except ConfigurationError as error:
            mistakes.append(str(error))
    credentials = {
        name.removeprefix(ENVIRONMENT_PREFIX): SecretStr(ours.pop(name))
        for name in list(ours)
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    if settings is not None:
        mistakes += [
            f"JTD_TENANT_SENDERS: {name} is not one of JTD_PROVIDERS"
            for name in settings.tenant_senders or ()
            if name not in names
        ]
    mistakes += [
        f"{name} is not a setting of the worker or of a provider in JTD_PROVIDERS" for name in sorted(ours)
    ]
    if mistakes or settings is None:
        raise ConfigurationError("the settings cannot be used:\n" + "\n".join(f"  {m}" for m in mistakes))
    channels = {name.channel: tuple(made[n] for n in names if n.channel == name.channel) for name in names}
    return Configuration(settings=settings, providers=channels, credentials=credentials)


def _names(text: str | None) -> tuple[ProviderName, ...]:
    """The names that can be read, so that mistakes of their settings are found as well."""
    names = []
    for part in (text or "").split(","):
        with suppress(ValueError):
            names.append(ProviderName.parse(part.strip()))
    return tuple(names)


def mistakes_of(prefix: str, error: ValidationError) -> list[str]:
    """Say each mistake that `error` found, by the name of its variable and without its value."""
    lines = []
    for mistake in error.errors(include_url=False, include_input=False, include_context=False):
        if mistake["type"] == "default_factory_not_called":  # only follows from another mistake
            continue
        name = (
            prefix + "_".join(str(part) for part in mistake["loc"][:1]).upper()
            if mistake["loc"]
            else prefix + "*"
        )
        message = (
            "is required" if mistake["type"] == "missing" else mistake["msg"].removeprefix("Value error, ")
        )
        if mistake["type"] == "extra_forbidden":
            message = "is not a setting of this provider"
        lines.append(f"{name}: {message}")
    return lines
