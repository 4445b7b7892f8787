"""Links by which a recipient unsubscribes with one click (RFC 8058): they hold the job's id and nothing else.

A link works for as long as its secret is there, and the job: a mail may be opened after years. So replace a
secret by putting the new one before it, and take the old one away after 90 days at the earliest.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

PATH: Final = "/u/"
_VERSION: Final = b"\x01"
_PROOF_BYTES: Final = 16
"""Half of the digest, which RFC 2104, 5 calls enough."""
_LENGTH: Final = 44
"""Characters of version, id and proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeLinks:
    """Makes the links of one public address."""

    public_url: str
    """Without a slash at its end."""
    secret: bytes = field(repr=False)

    def link(self, jtd_id: UUID) -> str:
        """Return the link for the recipient of a job."""
        return f"{self.public_url}{PATH}{sign(self.secret, jtd_id)}"


def sign(secret: bytes, jtd_id: UUID) -> str:
    """Return the token for a job: 44 characters that may stand in a URL."""
    signed = _VERSION + jtd_id.bytes
    return urlsafe_b64encode(signed + _proof(secret, signed)).decode()


def verify(secrets: Iterable[bytes], token: str) -> UUID | None:
    """Return the id of the job that one of `secrets` signed; None for anything else."""
    try:
        given = urlsafe_b64decode(token.encode("ascii")) if len(token) == _LENGTH else b""
    except (UnicodeEncodeError, Base64Error):
        return None
    signed, proof = given[:-_PROOF_BYTES], given[-_PROOF_BYTES:]
    if len(signed) != 17 or signed[:1] != _VERSION:
        return None
    # sums up instead of stopping at the first that fits, so that the time tells nothing
    is_ours = sum(hmac.compare_digest(_proof(secret, signed), proof) for secret in secrets)
    return UUID(bytes=signed[1:]) if is_ours else None


def _proof(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, b"jtd.unsubscribe." + signed, hashlib.sha256)[:_PROOF_BYTES]
