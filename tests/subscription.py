"""A browser's side of Web Push: it has keys, and reads what was encrypted for it (RFC 8291)."""

import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jtd_worker import web_push

POINT: Final = 65


class Subscription:
    """What `pushManager.subscribe` gives a page, with the secrets that stay in the browser."""

    def __init__(self, *, private_key: str | None = None, auth: str | None = None) -> None:
        self._key = web_push.private_key(private_key) if private_key else generate_private_key(SECP256R1())
        self._auth = web_push.from_base64url(auth) if auth else os.urandom(16)
        self._point = web_push.point(self._key.public_key())
        self.keys = {"p256dh": web_push.base64url(self._point), "auth": web_push.base64url(self._auth)}

    def read(self, body: bytes) -> bytes:
        """Decrypt a body of one record; cryptography's InvalidTag if it was not for this browser."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        assert (size, length) == (4096, POINT)
        sender, record = body[21 : 21 + POINT], body[21 + POINT :]
        assert len(record) <= size
        shared = self._key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), sender))
        secret = self._derive(self._auth, shared, b"WebPush: info\0" + self._point + sender, 32)
        key = self._derive(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        nonce = self._derive(salt, secret, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, record, None).rstrip(b"\0")
        assert padded[-1:] == b"\x02"
        return padded[:-1]

    @staticmethod
    def _derive(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
