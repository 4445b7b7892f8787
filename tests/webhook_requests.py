"""Requests as a provider sends them, for tests of what reads receipts."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jtd_worker.receipt import WebhookRequest

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When requests come in, unless said otherwise."""


def request(
    body: bytes | str | Mapping[str, Any] | list[Any] = b"",
    headers: Mapping[str, str] | None = None,
    *,
    url: str = "https://jtd.example/webhooks/provider",
    at: datetime = AT,
    method: str = "POST",
) -> WebhookRequest:
    """Return a request; a mapping or list becomes JSON."""
    match body:
        case bytes():
            raw = body
        case str():
            raw = body.encode()
        case _:
            raw = json.dumps(body).encode()
    return WebhookRequest(method=method, url=url, headers=headers or {}, body=raw, received_at=at)
