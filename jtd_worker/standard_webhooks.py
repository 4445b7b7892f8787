"""Signs and proves webhooks by the Standard Webhooks scheme (standardwebhooks.com, specification 1.0.0)."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""How far a signed timestamp may be from our clock, either way, as the scheme's own libraries have it."""

_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
_SECONDS = re.compile(r"[0-9]{1,12}")


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read one or more blank-separated secrets, each `whsec_` and the base64 of 24 to 64 bytes.

    Several stand side by side while a secret is being replaced: the receiver accepts either.
    Missing base64 padding is forgiven, as the scheme's own libraries do. Raises ValueError that says
    which secret is wrong and why, and shows none of them.
    """
    words = text.split()
    if not words:
        raise ValueError("no signing secret: give `whsec_` followed by the base64 of 24 to 64 random bytes")
    return tuple(
        _secret(word, f"signing secret {n} of {len(words)}") for n, word in enumerate(words, start=1)
    )


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,<base64>`, one entry of the `webhook-signature` header.

    `timestamp` is in Unix seconds, of this attempt. `message_id` must hold no full stop, because a full
    stop separates the signed parts. `body` is signed and must be sent byte for byte.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def verify(
    secrets: Iterable[bytes],
    message_id: str,
    timestamp: str,
    signatures: str,
    body: bytes,
    now: datetime,
    max_age_seconds: int = TOLERANCE_SECONDS,
) -> bool:
    """Return whether one of `secrets` signed this, at a time near `now`.

    `message_id`, `timestamp` and `signatures` are the headers as they came; `signatures` holds one or more
    entries separated by blanks, of which those of another version than `v1` prove nothing.
    """
    if not _SECONDS.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > max_age_seconds:
        return False
    given = [entry.encode() for entry in signatures.split()]
    # sums up instead of stopping at the first that fits, so that the time tells nothing
    return (
        sum(
            hmac.compare_digest(sign(secret, message_id, int(timestamp), body).encode(), entry)
            for secret in secrets
            for entry in given
        )
        > 0
    )


def _secret(word: str, which: str) -> bytes:
    if not word.startswith(_PREFIX):
        raise ValueError(f"{which} does not start with `{_PREFIX}`")
    encoded = word.removeprefix(_PREFIX)
    try:
        secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{which} is not base64 after `{_PREFIX}`") from None
    if len(secret) not in _SECRET_BYTES:
        raise ValueError(f"{which} holds {len(secret)} bytes; the scheme asks for 24 to 64")
    return secret
