"""The self-check: whether a worker with these settings could run, and what to do where it could not."""

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, SecretStr
from rich.console import RenderableType
from rich.text import Text

from jtd_worker import check_database
from jtd_worker.adapter import Adapter
from jtd_worker.console import table
from jtd_worker.errors import ConfigurationError, JtdError
from jtd_worker.finding import Finding, failure, ok
from jtd_worker.registry import Provider
from jtd_worker.session import masked, session
from jtd_worker.settings import PREFIX, Configuration, Settings, load

_STYLES: Final = {"ok": "green", "warning": "yellow", "failure": "bold red"}
_SECRET_NAME: Final = re.compile("password|secret|token|key|credential", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the self-check found."""

    settings: Mapping[str, str]
    """Those in effect by the name of their variable, secrets masked; empty when they cannot be used."""
    findings: tuple[Finding, ...]

    @property
    def has_failed(self) -> bool:
        """Whether a worker could not run."""
        return any(finding.level == "failure" for finding in self.findings)

    def told(self) -> Iterator[RenderableType]:
        """Yield the settings, one line each, and the findings, one line each."""
        if self.settings:
            yield table(("", ""), list(self.settings.items()))
        yield table(
            ("", "", ""), [(Text(f.level, _STYLES[f.level]), f.subject, f.sentence) for f in self.findings]
        )


def check(dsn: str | None) -> Examination:
    """Examine the settings in the environment and the database `dsn`; whatever is wrong is a finding."""
    configuration, findings = _configuration()
    effective: dict[str, str] = {}
    outbound: list[tuple[str, str]] = []
    if configuration is not None:
        effective = dict(_effective(configuration))
        found, outbound = asyncio.run(_providers(configuration))
        findings += found
    if dsn:
        findings += _database(dsn, configuration, outbound)
    else:
        findings.append(failure("database", "there is none to look at", "set JTD_DATABASE_URL"))
    return Examination(settings=effective, findings=tuple(findings))


def _configuration() -> tuple[Configuration | None, list[Finding]]:
    try:
        return load(), [ok("settings", "can be used")]
    except ConfigurationError as error:
        _, *mistakes = str(error).splitlines()  # the first line says only that they follow
        return None, [failure("settings", line.strip(), "correct it in the environment") for line in mistakes]


def _effective(configuration: Configuration) -> Iterator[tuple[str, str]]:
    settings = configuration.settings
    for name in Settings.model_fields:
        value = getattr(settings, name)
        match name:
            case "database_url":
                text = _masked_dsn(value.get_secret_value())
            case "providers" | "tenant_senders":
                text = ",".join(map(str, value or ()))
            case _:
                text = str(value)
        yield PREFIX + name.upper(), text
    for providers in configuration.providers.values():
        for provider in providers:
            yield from _own(provider)


def _own(provider: Provider) -> Iterator[tuple[str, str]]:
    for name, text in shown(provider.settings):
        yield provider.name.prefix + name.upper(), text


def shown(settings: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield what is set of a provider's settings, `***` for what is secret or kept out of its repr."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None:
            is_secret = isinstance(value, SecretStr) or not field.repr or _SECRET_NAME.search(name)
            yield field.alias or name, "***" if is_secret else str(value)


def _masked_dsn(dsn: str) -> str:
    try:
        return masked(dsn)
    except ConfigurationError:
        return "***"  # the examination of the database says what is wrong with it


async def _providers(configuration: Configuration) -> tuple[list[Finding], list[tuple[str, str]]]:
    """Say who serves each channel, and return channel and code of the providers that leave the house.

    Makes each adapter, which opens no connection, to hear what it says.
    """
    findings: list[Finding] = []
    outbound = []
    for channel, providers in configuration.providers.items():
        for provider in providers:
            try:
                adapter = provider.build()
            except ConfigurationError as error:
                findings.append(failure(f"provider {provider.name}", str(error), "correct its settings"))
            else:
                findings.append(
                    ok(f"channel {channel}", f"is served by {provider.name.code}, {_how(adapter)}")
                )
                if not adapter.capabilities.transactional:
                    outbound.append((channel, provider.name.code))
                await adapter.aclose()
    return findings, outbound


def _how(adapter: Adapter) -> str:
    capabilities = adapter.capabilities
    if capabilities.transactional:
        return "inside the database: no outcome is ever unknown"
    return f"and an unknown outcome means {capabilities.unknown_rule}"


def _database(
    dsn: str, configuration: Configuration | None, outbound: Collection[tuple[str, str]]
) -> list[Finding]:
    served: Collection[str] = configuration.providers if configuration else ()
    findings: list[Finding] = []
    try:
        with session(dsn, "check") as conn:
            for finding in check_database.examine(conn, served, outbound):
                findings.append(finding)  # one by one: what was found before an error counts
    except JtdError as error:
        findings.append(failure("database", str(error)))
    return findings
