"""Envelope senders that say whose bounce comes back to them: `bounces+<token>@acme.example` (VERP)."""

import hmac
import re
from base64 import b32encode
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from pydantic import SecretStr

from jtd_worker import mime

LEAST_SECRET: Final = 32
"""Bytes: as long as the digest of HMAC-SHA-256 (RFC 2104 3)."""

TOKEN_LENGTH: Final = 48
"""The id of a job in hex, and 80 bits of an HMAC in base32: both survive a server that lowers letters."""

_TOKEN: Final = re.compile(r"(?<![0-9a-z])([0-9a-f]{32})([a-z2-7]{16})(?![0-9a-z])")
_LONGEST: Final = 4000
"""Characters of a header that are looked through."""


class Verp:
    """Signs the ids of jobs, so that nobody who did not get a mail can make up its bounce."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Take the secrets; the first signs, the others were used before."""
        self._secrets = tuple(secrets)

    def token(self, jtd_id: UUID) -> str:
        """Return what stands in an address for a job."""
        return f"{jtd_id.hex}{_signature(self._secrets[0], jtd_id)}"

    def jtd_id(self, text: str) -> UUID | None:
        """Return the job of the first token in a text that we signed; None if there is none."""
        for found in _TOKEN.finditer(text[:_LONGEST].lower()):
            jtd_id = UUID(hex=found[1])
            # all of them, so that the time does not tell which
            fits = [hmac.compare_digest(found[2], _signature(secret, jtd_id)) for secret in self._secrets]
            if any(fits):
                return jtd_id
        return None


def secrets_of(secrets: SecretStr) -> tuple[bytes, ...]:
    """Return the secrets of a blank-separated list. ValueError if there is none, or one that is short."""
    found = tuple(word.encode() for word in secrets.get_secret_value().split())
    if not found:
        raise ValueError("there must be a secret")
    for number, secret in enumerate(found, start=1):
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"secret {number} has {len(secret)} bytes; {LEAST_SECRET} or more are needed")
    return found


def address(bounces: str, separator: str, token: str) -> str:
    """Return the address that a token makes of `bounces@acme.example`.

    Raises ValueError when `bounces` is no bare address, or when it leaves no room: a local part has at most
    64 characters (RFC 5321 4.5.3.1.1).
    """
    found = mime.mailbox(bounces)
    if found.display_name or "<" in bounces or '"' in bounces:
        raise ValueError("must be a bare address such as bounces@acme.example")
    if len(found.username) + len(separator) + TOKEN_LENGTH > 64:
        raise ValueError("the part before the @ has room for 15 characters")
    return f"{found.username}{separator}{token}@{found.domain}"


def _signature(secret: bytes, jtd_id: UUID) -> str:
    digest = hmac.digest(secret, b"jtd-worker verp 1\0" + jtd_id.bytes, "sha256")
    return b32encode(digest[:10]).decode().lower()
