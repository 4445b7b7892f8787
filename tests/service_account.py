"""A Google service account of the tests' own, and the server that gives tokens for it."""

import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from jtd_worker.testing.http_server import Steps, answer

TOKEN = "ya29.planted-token-that-nobody-may-see"


@cache
def pem() -> str:
    """Return a private key; making one takes a while."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def account(token_uri: str, **changes: str) -> str:
    """Return the JSON key of an account whose tokens come from `token_uri`."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "acme-app",
            "private_key_id": "key-1",
            "private_key": pem(),
            "client_email": "worker@acme-app.iam.gserviceaccount.com",
            "token_uri": token_uri,
            **changes,
        }
    )


def grant(token: str = TOKEN, *, seconds: int = 3600) -> Steps:
    """Return the answer that gives a token."""
    document = {"access_token": token, "expires_in": seconds, "token_type": "Bearer"}
    return answer(200, json.dumps(document).encode())
