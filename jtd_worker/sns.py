"""Messages of Amazon SNS over HTTPS: proved, and subscriptions confirmed (its guide on signatures)."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from jtd_worker.receipt import ForgedError, MalformedError, WebhookRequest
from jtd_worker.webhook_proof import document, moment, text

_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_SIGNED: Final = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES: Final[Mapping[str, type[HashAlgorithm]]] = {
    "1": SHA1,  # the vendor's first version; topics can be set to the second
    "2": SHA256,
}
_SECONDS: Final = 5.0
_MOST_BYTES: Final = 64 * 1024
_KEPT: Final = 16
_LONGEST_URL: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What was published to a topic of ours."""

    id: str
    """The same for each copy."""
    message: str = field(repr=False)


class Sns:
    """The topics that are listened to."""

    def __init__(
        self, topic_arns: Collection[str], max_age_seconds: int, get: Callable[[str], bytes]
    ) -> None:
        """`get` returns what stands at a URL of SNS, or raises OSError."""
        self._topic_arns = topic_arns
        self._max_age_seconds = max_age_seconds
        self._get = get
        self._keys: dict[str, RSAPublicKey] = {}

    def notification(self, request: WebhookRequest) -> Notification | None:
        """Prove a request and return what was published; None for what is SNS's own, such as a subscription.

        A subscription to a topic of ours is confirmed. Waits for the network when a certificate is new.
        Raises ForgedError, MalformedError, and OSError when SNS cannot be reached.
        """
        message = document(request)
        if not isinstance(message, dict) or not all(isinstance(value, str) for value in message.values()):
            raise MalformedError("the body is no message of SNS")
        self._prove(message, request)
        match message.get("Type"):
            case "Notification":
                event_key = text(message.get("MessageId"), 150)
                if event_key is None:
                    raise MalformedError("the message has no id")
                return Notification(id=event_key, message=message.get("Message", ""))
            case "SubscriptionConfirmation":
                self._get(_at_sns(message.get("SubscribeURL", "")))
                return None
            case _:
                return None

    def _prove(self, message: Mapping[str, str], request: WebhookRequest) -> None:
        if message.get("TopicArn") not in self._topic_arns:
            raise ForgedError("it comes from another topic than those in topic_arns")
        if message.get("Type") != request.headers.get("x-amz-sns-message-type"):
            raise ForgedError("the header names another type than the body")
        at = moment(message.get("Timestamp"))
        if at is None or abs((request.received_at - at).total_seconds()) > self._max_age_seconds:
            raise ForgedError("the signed time is too far from ours")
        algorithm = _HASHES.get(message.get("SignatureVersion", ""))
        if algorithm is None:
            raise ForgedError("the version of the signature is unknown")
        try:
            signature = b64decode(message.get("Signature", ""), validate=True)
            self._key(_at_sns(message.get("SigningCertURL", ""), ".pem")).verify(
                signature, signed_text(message).encode(), PKCS1v15(), algorithm()
            )
        except (InvalidSignature, Base64Error, ValueError):
            raise ForgedError("the signature does not fit") from None

    def _key(self, url: str) -> RSAPublicKey:
        if url not in self._keys:
            key = load_pem_x509_certificate(self._get(url)).public_key()
            if not isinstance(key, RSAPublicKey):
                raise ForgedError("the certificate is none for RSA")
            if len(self._keys) >= _KEPT:
                self._keys.clear()
            self._keys[url] = key
        return self._keys[url]


def signed_text(message: Mapping[str, Any]) -> str:
    """Return the text that a signature is over: names and values by lines, in the order of the names."""
    is_notification = message.get("Type") == "Notification"
    left_out = {"SubscribeURL", "Token"} if is_notification else {"Subject"}
    return "".join(
        f"{name}\n{message[name]}\n" for name in _SIGNED if name in message and name not in left_out
    )


def fetch(url: str) -> bytes:
    """Return what stands at `url`, at most 64 KiB, within 5 s; OSError for anything else."""
    try:
        with (
            httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise OSError(f"SNS answered {answer.status_code}")
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise OSError("SNS answered with too much")
            return content
    except httpx.HTTPError as error:
        raise OSError(f"SNS cannot be reached: {type(error).__name__}") from None


def _at_sns(url: str, ending: str = "") -> str:
    """Return `url` if it is one of SNS itself: it is opened, so anything else would be an open door."""
    try:
        parts = urlsplit(url)
        is_ours = (
            url.isascii()
            and url.isprintable()
            and len(url) <= _LONGEST_URL
            and parts.scheme == "https"
            and _HOST.fullmatch(parts.netloc.lower()) is not None
            and parts.path.endswith(ending)
        )
    except ValueError:
        is_ours = False
    if not is_ours:
        raise ForgedError("it names a URL that is not one of SNS")
    return url
