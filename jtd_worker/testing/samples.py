"""A message of each channel to send in a test; its contacts are reserved for examples."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from jtd_worker.message import Message

_TO: Final = {
    "email": "zoe@customer.example",
    "sms": "+14155550123",
    "whatsapp": "+14155550123",
    "push": "01890000-0000-7000-8000-0000000000bb",
    "inapp": "01890000-0000-7000-8000-0000000000bb",
}


def sample(channel: str, **changes: Any) -> Message:
    """Return a rendered message for `channel`, the same each time; `changes` replace its fields."""
    message = Message(
        jtd_id=UUID("01890000-0000-7000-8000-000000000001"),
        tenant_id=UUID("01890000-0000-7000-8000-0000000000aa"),
        channel=channel,
        event_type="notification",
        source_type="payment_received",
        idempotency_key="01890000-0000-7000-8000-000000000001",
        created_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        to=_TO.get(channel, "zoe@customer.example"),
        name="Zoë",
        subject="Paid",
        text="Your payment of 5 € arrived.",
        html="<p>Your payment of 5&nbsp;€ arrived.</p>" if channel == "email" else None,
        variables={"amount": 5, "currency": "EUR"},
        locale="en-IE",
    )
    return replace(message, **changes)
