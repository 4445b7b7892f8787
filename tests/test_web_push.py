"""Web Push: what is written for a browser can be read by it alone, and proves who wrote it."""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from jtd_worker.web_push import (
    MOST_PLAINTEXT,
    base64url,
    encrypt,
    from_base64url,
    point,
    private_key,
    vapid,
)
from tests.subscription import Subscription

# RFC 8291, appendix A
PLAINTEXT = b"When I grow up, I want to be a watermelon"
UA_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
UA_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
AS_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK"
    "6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
# RFC 8292, section 2.4
TOKEN = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3Njgs"
    "InN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErt"
    "mysazNjjvW2L9OkSSHzvoD1oA"
)
TOKEN_KEY = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"


def verify(token: str, key: str) -> dict[str, object]:
    """Return the claims of an ES256 token, read another way than it is made; InvalidSignature if forged."""
    header, claims, signature = token.split(".")
    raw = from_base64url(signature)
    assert len(raw) == 64
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), from_base64url(key)).verify(
        encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
        f"{header}.{claims}".encode(),
        ECDSA(SHA256()),
    )
    assert json.loads(from_base64url(header)) == {"typ": "JWT", "alg": "ES256"}
    found: dict[str, object] = json.loads(from_base64url(claims))
    return found


def test_the_example_of_the_rfc_is_written_byte_by_byte() -> None:
    body = encrypt(
        PLAINTEXT,
        from_base64url(UA_PUBLIC),
        from_base64url(AUTH),
        private_key=private_key(AS_PRIVATE),
        salt=from_base64url(SALT),
    )
    assert base64url(body) == BODY


def test_the_reader_that_other_tests_use_reads_the_example_of_the_rfc() -> None:
    browser = Subscription(private_key=UA_PRIVATE, auth=AUTH)
    assert browser.keys["p256dh"] == UA_PUBLIC
    assert browser.read(from_base64url(BODY)) == PLAINTEXT


@pytest.mark.parametrize("length", [0, 1, MOST_PLAINTEXT])
def test_what_was_written_can_be_read_and_never_looks_the_same(length: int) -> None:
    browser = Subscription()
    keys = from_base64url(browser.keys["p256dh"]), from_base64url(browser.keys["auth"])
    first, second = encrypt(b"x" * length, *keys), encrypt(b"x" * length, *keys)
    assert browser.read(first) == browser.read(second) == b"x" * length
    assert first != second
    assert first[:16] != second[:16]
    assert len(first) == length + 86 + 17 <= 4096


def test_more_than_a_push_service_must_take_is_refused() -> None:
    with pytest.raises(ValueError, match="3993 bytes"):
        encrypt(b"x" * (MOST_PLAINTEXT + 1), from_base64url(UA_PUBLIC), from_base64url(AUTH))


@pytest.mark.parametrize("key", [b"", b"\x04" + b"\x01" * 64, from_base64url(UA_PUBLIC)[:-1]])
def test_a_key_that_is_no_point_of_the_curve_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        encrypt(b"x", key, from_base64url(AUTH))


def test_the_example_token_of_the_rfc_verifies() -> None:
    assert verify(TOKEN, TOKEN_KEY) == {
        "aud": "https://push.example.net",
        "exp": 1453523768,
        "sub": "mailto:push@example.com",
    }
    with pytest.raises(InvalidSignature):
        verify(TOKEN[:-4] + "AAAA", TOKEN_KEY)


def test_our_proof_verifies_with_the_key_that_it_names() -> None:
    own = private_key(AS_PRIVATE)
    scheme, token, key = vapid(own, "https://push.example.net", "mailto:a@acme.example", 1453523768).split(
        " "
    )
    assert (scheme, key) == ("vapid", f"k={base64url(point(own.public_key()))}")
    assert token.startswith("t=")
    claims = verify(token.removeprefix("t=").rstrip(","), key.removeprefix("k="))
    assert claims == {"aud": "https://push.example.net", "exp": 1453523768, "sub": "mailto:a@acme.example"}


@pytest.mark.parametrize("text", ["", "abc", "A" * 44 + "==", "é", AS_PRIVATE + "AAAA"])
def test_a_private_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        private_key(text)
