"""Secrets that we and others of the house sign with: one or several while one is being replaced."""

from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr

LEAST_BYTES: Final = 32
"""As long as the digest of HMAC-SHA-256 (RFC 2104, 3; RFC 7518, 3.2)."""


def each(secrets: SecretStr) -> tuple[bytes, ...]:
    """Return the secrets of a blank-separated list; the first is the one to sign with."""
    return tuple(word.encode() for word in secrets.get_secret_value().split())


def _long_enough(secrets: SecretStr) -> SecretStr:
    for number, secret in enumerate(each(secrets), start=1):
        if len(secret) < LEAST_BYTES:
            raise ValueError(f"secret {number} has {len(secret)} bytes; {LEAST_BYTES} or more are needed")
    return secrets


SharedSecrets = Annotated[SecretStr, AfterValidator(_long_enough)]
"""Blank-separated; none at all is allowed, and means that what they are for is off."""
