"""What the webhooks of MSG91 send, for tests of its parsers."""

from collections.abc import Mapping, Sequence
from typing import Any

from jtd_worker.receipt import Handshake, Receipt, ReceiptParser, WebhookRequest
from tests import webhook_requests

SECRET = "planted-secret-of-a-url-0123456789"
URL = f"https://jtd.example/webhooks/msg91/{SECRET}"


def request(body: Any, headers: Mapping[str, str] | None = None, *, url: str = URL) -> WebhookRequest:
    """Return a POST to the secret URL."""
    return webhook_requests.request(body, headers, url=url)


def read(parser: ReceiptParser, given: WebhookRequest) -> Sequence[Receipt]:
    """Return the receipts of a request that is no handshake."""
    found = parser(given)
    assert not isinstance(found, Handshake)
    return found
