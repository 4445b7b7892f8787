"""Push to browsers through their own push services (RFC 8030, 8291, 8292)."""

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import Field, SecretStr, field_validator

from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.device_adapter import (
    LONGEST_TTL,
    DeviceAdapter,
    action_url,
    device_of,
    extra_data,
    seconds_to_live,
)
from jtd_worker.http_adapter import SendSettings, is_loopback, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Device, Message
from jtd_worker.result import SendResult, Sent
from jtd_worker.verdict import Verdict, refusal
from jtd_worker.web_push import encrypt, from_base64url, private_key, vapid

# There is no key against duplicates; a second copy takes the place of the first on the device.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.RESEND, sureness=Sureness.VECTORS, devices="webpush"
)

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
_PROOF_SECONDS: Final = 12 * 3600
_RENEWED_BEFORE: Final = 6 * 3600
_MOST_ORIGINS: Final = 100


class Settings(SendSettings):
    """Who sends, and which push services may be asked."""

    private_key: SecretStr
    """The VAPID key whose public half the pages subscribe with: 32 bytes in base64url."""
    subject: str = Field(pattern=r"^(mailto:[^\s@]+@[^\s@]+|https://[^\s/]+\S*)$")
    """Whom a push service may turn to: `mailto:` or `https:`."""
    hosts: str = (
        "fcm.googleapis.com updates.push.services.mozilla.com *.notify.windows.com web.push.apple.com"
    )
    """The push services, separated by blanks: an endpoint comes from outside; not everyone may be asked."""
    ttl_seconds: int = Field(default=86_400, ge=0, le=LONGEST_TTL)
    """How long a device that is off may get it later; `expires_at` of the job shortens it."""

    @field_validator("private_key")
    @classmethod
    def _is_key(cls, given: SecretStr) -> SecretStr:
        private_key(given.get_secret_value())
        return given

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, hosts: str) -> str:
        if not hosts.split() or any(not _HOST.fullmatch(host) for host in hosts.split()):
            raise ValueError(
                "hosts are names in lower case, separated by blanks; `*.` stands for one label or more"
            )
        return hosts

    def serves(self, host: str) -> bool:
        """Whether `host` is one of `hosts`."""
        return any(
            host.endswith(known[1:]) if known.startswith("*.") else host == known
            for known in self.hosts.split()
        )


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    key = settings.private_key.get_secret_value()
    proofs = Proofs(private_key(key), settings.subject)
    return DeviceAdapter(settings, CAPABILITIES, partial(_write, settings, proofs), _read, secrets=[key])


class Proofs:
    """One proof of who sends for each push service, renewed in time."""

    def __init__(self, key: EllipticCurvePrivateKey, subject: str) -> None:
        self._key = key
        self._subject = subject
        self._known: dict[str, tuple[str, int]] = {}

    def of(self, origin: str) -> str:
        """Return the `Authorization` for requests to `origin`."""
        now = int(time.time())
        proof, expires_at = self._known.get(origin, ("", 0))
        if expires_at - now < _RENEWED_BEFORE:
            if len(self._known) >= _MOST_ORIGINS:
                self._known.clear()
            expires_at = now + _PROOF_SECONDS
            proof = vapid(self._key, origin, self._subject, expires_at)
            self._known[origin] = proof, expires_at
        return proof


def _write(settings: Settings, proofs: Proofs, message: Message) -> HttpRequest:
    device = device_of(message)
    url = _endpoint(settings, device)
    key = sha256(message.idempotency_key.encode()).digest()
    document = {
        "title": message.subject,
        "body": message.text,
        "url": action_url(message),
        "tag": message.idempotency_key,
        "data": {**extra_data(message), "jtd_id": str(message.jtd_id)},
    }
    return HttpRequest(
        url=url,
        headers={
            "authorization": proofs.of(f"{url.scheme}://{url.netloc.decode('ascii')}"),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(seconds_to_live(message, settings.ttl_seconds)),
            "urgency": _urgency(message.priority),
            "topic": urlsafe_b64encode(key).decode()[:32],
        },
        body=encrypt(json_body(document), _key(device.keys, "p256dh"), _key(device.keys, "auth")),
    )


def _endpoint(settings: Settings, device: Device) -> httpx.URL:
    """Return the endpoint if it may be asked, else ValueError: it comes from whoever subscribed."""
    try:
        url = httpx.URL(device.token)
    except httpx.InvalidURL:
        raise ValueError("the endpoint is no URL") from None
    is_own = is_loopback(url.host)
    if not settings.serves(url.host):
        raise ValueError(f"the push service {url.host} is not among JTD_PUSH_WEBPUSH_HOSTS")
    if url.userinfo or not (is_own or (url.scheme == "https" and url.port is None)):
        raise ValueError("an endpoint is https, on its usual port, without user and password")
    return url


def _key(keys: Mapping[str, object], name: str) -> bytes:
    value = keys.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the subscription has no key {name}")  # noqa: TRY004 - a device, not a bug
    return from_base64url(value)


def _urgency(priority: int) -> str:
    """Return what a device wakes for (RFC 8030, 5.3)."""
    if priority <= 2:
        return "very-low"
    if priority <= 4:
        return "low"
    return "normal" if priority <= 7 else "high"


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        # where the message can be looked up, if the service tells; the rest of that address names the device
        name = answer.headers.get("location", "").rstrip("/").rpartition("/")[2]
        return Sent(provider_message_id=name[:200] or None, response={"status": answer.status})
    return refusal(answer, _BY_STATUS.get(answer.status))


# The subscription is over (RFC 8030, 7.3).
_BY_STATUS: Final = {404: Verdict.RECIPIENT, 410: Verdict.RECIPIENT}
