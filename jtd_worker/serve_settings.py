"""The settings of `jtd-worker serve`: read from the environment once, at start, with every mistake named."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jtd_worker.errors import ConfigurationError
from jtd_worker.receipt_source import ReceiptSource
from jtd_worker.registry import ProviderName
from jtd_worker.settings import FOREIGN_PREFIXES, PREFIX, Address, PublicUrl, mistakes_of, provider_names
from jtd_worker.shared_secrets import SharedSecrets

_ORIGIN = re.compile(r"https?://[^/?#@\s,*]+")


class ServeSettings(BaseSettings):
    """What the web process needs; each provider that reports adds its own under JTD_RECEIPTS_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr = Field(
        description="Postgres to work on, as a libpq URL, of a login with the role `jtd_web`; required."
    )
    http: Address = Field("127.0.0.1:8080", description="`host:port` to serve on. Port 0 takes a free one.")
    public_url: PublicUrl = Field(
        "",
        description="What callers put before `/webhooks/`, where a proxy stands between: "
        "`https://jtd.example.com`, with a path if it adds one. Signatures over the URL need it.",
    )
    serve_connections: int = Field(
        4, ge=1, le=100, description="Connections to Postgres for requests, in this process."
    )
    serve_body_bytes: int = Field(
        1_048_576, ge=1_024, le=67_108_864, description="The largest body that is read, in bytes."
    )
    receipts: Annotated[tuple[ProviderName, ...], NoDecode] = Field(
        (), description="Providers that report here: `email:sendgrid,sms:twilio`."
    )
    feed_secrets: SharedSecrets = Field(
        SecretStr(""),
        description="What the tokens of the feed are signed with (HS256), 32 bytes or more; several, "
        "separated by blanks, while one is being replaced. None: there is no feed.",
    )
    feed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may ask for the feed: `https://app.example.com`, with commas."
    )
    unsubscribe_secrets: SharedSecrets = Field(
        SecretStr(""),
        description="What links to unsubscribe are signed with, as in `run`. None: there is no such page.",
    )
    drain_seconds: float = Field(
        25, ge=0, le=3600, description="How long running requests may take to end after SIGTERM."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: colours on a terminal, JSON lines elsewhere."
    )

    _split = field_validator("receipts", mode="before")(provider_names)

    @field_validator("feed_origins", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = tuple(part.strip() for part in value.split(",") if part.strip())
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("is not a list of origins, e.g. https://app.example.com")
        return origins

    @field_validator("http")
    @classmethod
    def _must_serve(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty; give host:port, e.g. 0.0.0.0:8080")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfiguration:
    """Validated settings of the web process and of each provider that reports to it."""

    settings: ServeSettings
    sources: Mapping[tuple[str, str], ReceiptSource]
    """By channel and provider."""


def load() -> ServeConfiguration:
    """Read the settings from the environment.

    Raises ConfigurationError that names everything missing, unknown or wrong, one a line; values
    are not shown, since they may be secret.
    """
    mistakes: list[str] = []
    ours = {
        k: v for k, v in os.environ.items() if k.startswith(PREFIX) and not k.startswith(FOREIGN_PREFIXES)
    }
    for name in ServeSettings.model_fields:
        ours.pop(PREFIX + name.upper(), None)
    settings: ServeSettings | None = None
    try:
        settings = ServeSettings()
    except ValidationError as error:
        mistakes += mistakes_of(PREFIX, error)
    sources: dict[tuple[str, str], ReceiptSource] = {}
    for provider in settings.receipts if settings else ():
        prefix = ReceiptSource.prefix(provider)
        own = {
            key.removeprefix(prefix).lower(): ours.pop(key) for key in list(ours) if key.startswith(prefix)
        }
        try:
            sources[provider.channel, provider.provider] = ReceiptSource.make(provider, own)
        except ValidationError as error:
            mistakes += mistakes_of(prefix, error)
        except ConfigurationError as error:
            mistakes.append(str(error))
    if settings:  # otherwise nobody knows whose they are
        mistakes += [
            f"{name} is not a setting of `serve` or of a provider in JTD_RECEIPTS" for name in sorted(ours)
        ]
    if mistakes or settings is None:
        raise ConfigurationError("the settings cannot be used:\n" + "\n".join(f"  {m}" for m in mistakes))
    return ServeConfiguration(settings=settings, sources=sources)
