"""Web Push: encrypts for one subscription (RFC 8291, RFC 8188), and proves who sends (VAPID, RFC 8292)."""

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD: Final = 4096
"""Bytes of the one record; a push service need not take more (RFC 8030, 7.2)."""
MOST_PLAINTEXT: Final = 3993
"""Bytes: what is left of 4096 beside header (86), padding delimiter (1) and tag (16)."""


def encrypt(
    plaintext: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    private_key: EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the body of a request with `Content-Encoding: aes128gcm`.

    `p256dh` is an uncompressed point, `auth` 16 bytes. Key and salt are fresh unless a test gives them:
    used twice they would give the text away. Raises ValueError if the text is too long or a key is none.
    """
    if len(plaintext) > MOST_PLAINTEXT:
        raise ValueError(f"a push holds {MOST_PLAINTEXT} bytes, this one has {len(plaintext)}")
    receiver = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), p256dh)
    sender = private_key or generate_private_key(SECP256R1())
    salt = salt or os.urandom(16)
    own = point(sender.public_key())
    secret = _hkdf(auth, sender.exchange(ECDH(), receiver), b"WebPush: info\0" + p256dh + own, 32)
    key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD.to_bytes(4, "big") + bytes([len(own)]) + own
    # 2 ends the last record, without padding
    return header + AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)


def vapid(key: EllipticCurvePrivateKey, origin: str, subject: str, expires_at: int) -> str:
    """Return the `Authorization` for requests to `origin` (scheme, host, port) until `expires_at`.

    That is seconds since 1970, at most 24 h from now; `subject` a `mailto:` or `https:` URL (RFC 8292, 2).
    """
    claims = {"aud": origin, "exp": expires_at, "sub": subject}
    header = {"typ": "JWT", "alg": "ES256"}
    signed = f"{base64url(_json(header))}.{base64url(_json(claims))}".encode()
    r, s = decode_dss_signature(key.sign(signed, ECDSA(SHA256())))
    signature = base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={signed.decode()}.{signature}, k={base64url(point(key.public_key()))}"


def private_key(text: str) -> EllipticCurvePrivateKey:
    """Read a key as tools for VAPID write it: the 32 bytes of the number in base64url; else ValueError."""
    number = from_base64url(text)
    if len(number) != 32:
        raise ValueError("a private key has 32 bytes")
    return derive_private_key(int.from_bytes(number, "big"), SECP256R1())


def point(key: EllipticCurvePublicKey) -> bytes:
    """Return the 65 bytes of an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def base64url(content: bytes) -> str:
    """Encode without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode with or without padding; ValueError if it is none."""
    bare = text.rstrip("=")
    try:
        return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except (Base64Error, ValueError):
        raise ValueError("not base64url") from None


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
