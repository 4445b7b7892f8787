"""Tenants' own credentials: found by name in the environment, a folder or the database."""

import asyncio
import json
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from jtd_worker.errors import RefusedReferenceError
from jtd_worker.lease import elapsed
from jtd_worker.result import Json

ENVIRONMENT_PREFIX: Final = "JTD_CREDENTIAL_"
"""What every variable begins with that a tenant may name: no other secret of ours can be one."""
KEPT_SECONDS = 60.0
"""How long a document is kept in memory: a changed one counts after that."""
MOST_KEPT: Final = 1000
LARGEST: Final = 1 << 16
"""Bytes of a document."""

_Kind: TypeAlias = Literal["env", "file", "pg"]
_NAMES: Final[dict[_Kind, re.Pattern[str]]] = {
    "env": re.compile(r"[A-Z0-9_]{1,40}"),
    "file": re.compile(r"(?![./])[A-Za-z0-9._-]{1,40}(/(?!\.)[A-Za-z0-9._-]{1,40}){0,3}"),
    "pg": re.compile(r"[a-z0-9][a-z0-9._-]{0,39}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialName:
    """Where a credential is."""

    kind: _Kind
    name: str
    """Without the prefix of the environment, relative to the folder; so one credential has one name."""

    @property
    def code(self) -> str:
        """As it stands in the code of a provider, after the @: `acme`, `env:ACME`, `file:acme.json`."""
        return self.name if self.kind == "pg" else f"{self.kind}:{self.name}"

    @classmethod
    def of_code(cls, code: str) -> "CredentialName | None":
        """Return the name whose code this is; None if none has it."""
        kind, colon, name = code.partition(":")
        return _name(kind, name) if colon else _name("pg", code)

    def __str__(self) -> str:
        prefix = ENVIRONMENT_PREFIX if self.kind == "env" else ""
        return f"{self.kind}:{prefix}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The settings of one provider, secrets among them, and for whom they are."""

    provider: str | None
    """As in a file's name, e.g. `sendgrid`; None leaves it to the reference."""
    tenants: frozenset[UUID] | None
    """None: for every tenant."""
    settings: Mapping[str, Json] = field(repr=False)


class _Document(BaseModel):
    """What belongs to us of a document; the rest are settings."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    provider: str | None = Field(None, pattern=r"^[a-z][a-z0-9]*$")
    tenants: Literal["*"] | frozenset[UUID]


class Credentials:
    """Finds credentials, and remembers them for a while."""

    def __init__(
        self,
        environment: Mapping[str, SecretStr],
        folder: Path | None,
        ask: Callable[[str], Awaitable[str | None]],
    ) -> None:
        """`environment` are the variables without their prefix; without a `folder` there are no files.

        `ask` returns what the database keeps under a name; None for nothing.
        """
        self._environment = environment
        self._folder = folder
        self._ask = ask
        self._known: dict[CredentialName, tuple[float, Credential | RefusedReferenceError]] = {}

    def name(self, text: str) -> CredentialName:
        """Read `env:NAME`, `file:PATH` or `pg:NAME`; RefusedReferenceError for what may not be named."""
        kind, _, name = text.partition(":")
        if kind == "file" and self._folder is not None:
            name = name.removeprefix(f"{self._folder}/")
        if kind == "env":
            name = name.removeprefix(ENVIRONMENT_PREFIX) if name.startswith(ENVIRONMENT_PREFIX) else ""
        if (found := _name(kind, name)) is None:
            raise RefusedReferenceError(
                "credential_refused",
                f"the credential is none that a tenant may name: env:{ENVIRONMENT_PREFIX}<NAME>, "
                "file:<below JTD_CREDENTIAL_DIR> or pg:<name>",
            )
        return found

    async def find(self, name: CredentialName, tenant_id: UUID) -> Credential:
        """Return the credential `name` for that tenant, as it was at most KEPT_SECONDS ago.

        Raises RefusedReferenceError when it is not there, not for him, or cannot be read. One that is for
        others is said to be as absent as one that is nowhere.
        """
        begun = elapsed()
        self._known = {n: kept for n, kept in self._known.items() if begun - kept[0] < KEPT_SECONDS}
        if name not in self._known:
            found = await self._look(name)
            while len(self._known) >= MOST_KEPT:
                del self._known[next(iter(self._known))]
            self._known[name] = begun, found
        _, credential = self._known[name]
        if isinstance(credential, RefusedReferenceError):
            raise credential
        if credential.tenants is not None and tenant_id not in credential.tenants:
            raise _absent(name)
        return credential

    async def _look(self, name: CredentialName) -> Credential | RefusedReferenceError:
        try:
            text = await self._text(name)
            return _absent(name) if text is None else read(name, text)
        except RefusedReferenceError as error:
            return error

    async def _text(self, name: CredentialName) -> str | None:
        match name.kind:
            case "env":
                secret = self._environment.get(name.name)
                return None if secret is None else secret.get_secret_value()
            case "file":
                return None if self._folder is None else await asyncio.to_thread(_file, self._folder, name)
            case "pg":
                return await self._ask(name.name)
            case _:
                assert_never(name.kind)


def _name(kind: str, name: str) -> CredentialName | None:
    for known, pattern in _NAMES.items():
        if kind == known and pattern.fullmatch(name):
            return CredentialName(kind=known, name=name)
    return None


def _file(folder: Path, name: CredentialName) -> str | None:
    """Return what is in a file below `folder`, wherever links lead; None if there is none."""
    try:
        path = (folder / name.name).resolve()
        if not path.is_relative_to(folder.resolve()):
            return None
        # a pipe would keep us waiting for ever
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(LARGEST + 1).decode() if is_file else None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, RuntimeError) as error:  # the last for links in a circle
        raise _unusable(name, f"cannot be read ({type(error).__name__})") from None


def read(name: CredentialName, text: str) -> Credential:
    """Read a document; RefusedReferenceError says what is wrong with it without what it holds."""
    if len(text) > LARGEST:
        raise _unusable(name, f"is longer than {LARGEST} bytes")
    try:
        given = document(text)
        own = _Document.model_validate(given)
    except (ValidationError, ValueError, RecursionError):
        raise _unusable(
            name, 'is no JSON object with "tenants", a list of ids or "*", and the settings of a provider'
        ) from None
    settings = {key: value for key, value in given.items() if key not in _Document.model_fields}
    tenants = None if isinstance(own.tenants, str) else own.tenants
    return Credential(provider=own.provider, tenants=tenants, settings=settings)


def document(text: str) -> dict[str, Json]:
    """Return the JSON object that `text` is; ValueError or RecursionError when it is none."""
    match json.loads(text):
        case dict() as found:
            return found
        case _:
            raise ValueError("not an object")


def _absent(name: CredentialName) -> RefusedReferenceError:
    return RefusedReferenceError(
        "credential_refused", f"credential {name} is not there, or not for this tenant", is_gone=True
    )


def _unusable(name: CredentialName, why: str) -> RefusedReferenceError:
    return RefusedReferenceError("credential_refused", f"credential {name} {why}")
