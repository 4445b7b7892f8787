import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Receiver

from jtd_worker.standard_webhooks import parse_secrets, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * size).decode()


def test_the_vector_that_the_scheme_publishes_is_met() -> None:
    signature = sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    secret=st.binary(min_size=24, max_size=64),
    message_id=st.text("0123456789abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=64),
    timestamp=st.integers(min_value=0, max_value=4_000_000_000),
    body=st.text(st.characters(codec="utf-8")),
)
def test_signatures_equal_those_of_the_schemes_own_library(
    secret: bytes, message_id: str, timestamp: int, body: str
) -> None:
    theirs = Receiver(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    assert sign(secret, message_id, timestamp, body.encode()) == theirs


def test_a_body_that_is_no_text_can_be_signed() -> None:
    assert sign(KEY, "m", 1, b"\xff\x00%s") != sign(KEY, "m", 1, b"\xff\x00%d")


@pytest.mark.parametrize("size", [24, 25, 26, 64])
def test_secrets_of_24_to_64_bytes_are_read_with_or_without_padding(size: int) -> None:
    assert parse_secrets(secret_of(size)) == (b"k" * size,)
    assert parse_secrets(secret_of(size).rstrip("=")) == (b"k" * size,)


def test_several_secrets_keep_their_order() -> None:
    assert parse_secrets(f" {secret_of(24)}\n{SECRET}  ") == (b"k" * 24, KEY)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no signing secret"),
        ("  ", "no signing secret"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "1 of 1 does not start with `whsec_`"),
        (f"{SECRET} whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "2 of 2 does not start with `whsec_`"),
        ("whsec_", "holds 0 bytes"),
        (secret_of(23), "holds 23 bytes"),
        (secret_of(65), "holds 65 bytes"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "not base64"),
        ("whsec_MfKQ9r8GKYqr!!!!TwjUPD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwé", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwa", "not base64"),
    ],
)
def test_an_unusable_secret_is_named_by_its_place_and_never_shown(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_secrets(text)
    assert "MfKQ9r8G" not in str(caught.value)
    assert caught.value.__cause__ is None
