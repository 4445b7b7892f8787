"""Measures how fast webhooks are taken: `python -m tests.bench.intake`.

One `jtd-worker serve`, and a client that posts signed reports, many at a time: one event a request, as most
providers send them, and then a hundred, as SendGrid bundles them up. Requests and receipts a second, and how
long an answer takes; each answer means that it is on record. Client and server share the machine. A minute.
"""

import asyncio
import json
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from jtd_worker.embedded import embedded_postgres
from jtd_worker.migrate import migrate
from jtd_worker.standard_webhooks import parse_secrets, sign
from tests.daemon import serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REQUESTS = 2_000
AT_ONCE = 32
BUNDLE = 100

Call = tuple[str, bytes, dict[str, str]]
"""Path, body and headers."""


def single() -> Call:
    """Return one signed report of one event."""
    event, seconds = str(uuid4()), int(time.time())
    body = json.dumps({"type": "jtd.receipt", "data": {"id": str(uuid4()), "kind": "delivered"}}).encode()
    signature = sign(parse_secrets(SECRET)[0], event, seconds, body)
    headers = {"webhook-id": event, "webhook-timestamp": str(seconds), "webhook-signature": signature}
    return "/webhooks/webhook", body, headers


def bundles() -> tuple[str, Callable[[], Call]]:
    """Return a key as SendGrid shows it, and what makes a signed bundle of events."""
    key = generate_private_key(SECP256R1())
    shown = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def bundle() -> Call:
        events = [
            {"event": "delivered", "sg_event_id": str(uuid4()), "jtd_id": str(uuid4()), "timestamp": 1}
            for _ in range(BUNDLE)
        ]
        body, seconds = json.dumps(events).encode(), str(int(time.time()))
        signature = b64(key.sign(seconds.encode() + body, ECDSA(SHA256())))
        name = "x-twilio-email-event-webhook"
        return "/webhooks/sendgrid", body, {f"{name}-signature": signature, f"{name}-timestamp": seconds}

    return b64(shown), bundle


def b64(raw: bytes) -> str:
    return b64encode(raw).decode()


async def post(url: str, calls: Sequence[Call]) -> list[float]:
    """Post all, so many at a time; return the milliseconds of each."""
    taken: list[float] = []
    left = list(calls)
    async with httpx.AsyncClient(
        base_url=url, timeout=30, limits=httpx.Limits(max_connections=AT_ONCE)
    ) as client:

        async def go_on() -> None:
            while left:
                path, body, headers = left.pop()
                begun = time.perf_counter()
                answer = await client.post(path, content=body, headers=headers)
                assert answer.status_code == 200, answer.text
                taken.append((time.perf_counter() - begun) * 1000)

        await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    return taken


def measure(url: str, what: str, calls: Sequence[Call], receipts: int) -> None:
    """Print the figures of one kind of request."""
    begun = time.perf_counter()
    taken = asyncio.run(post(url, calls))
    seconds = time.perf_counter() - begun
    p99 = statistics.quantiles(taken, n=100)[98]
    print(
        f"{what}: {len(calls) / seconds:6.0f} requests/s, {receipts * len(calls) / seconds:7.0f} receipts/s,"
        f" answers p50 {statistics.median(taken):5.1f} ms, p99 {p99:5.1f} ms"
    )


def main() -> None:
    """Print the figures."""
    key, bundle = bundles()
    settings = {
        "receipts": "sms:webhook,email:sendgrid",
        "receipts_sms_webhook_secrets": SECRET,
        "receipts_email_sendgrid_secrets": key,
    }
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "data") as dsn:
        migrate(dsn)
        with serving(dsn, Path(folder), **settings) as (_, url):
            measure(url, "one event a request ", [single() for _ in range(REQUESTS)], 1)
            measure(url, f"{BUNDLE} events a request", [bundle() for _ in range(REQUESTS // 10)], BUNDLE)


if __name__ == "__main__":
    main()
