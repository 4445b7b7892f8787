"""The way of receipts into the database: kept first, then applied to their jobs; the logic is in `sql/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.types.json import Jsonb

from jtd_worker.database import Link
from jtd_worker.foreign import clean, clean_json
from jtd_worker.link_pool import LinkPool
from jtd_worker.receipt import Receipt
from jtd_worker.result import Json

ACCEPT_SECONDS: Final = 3.0
"""How long a provider waits for the database before it is told to come again."""
ACCEPT: Final = "SELECT accepted, known FROM jtd.accept_receipts_v1(%s, %s, %s)"
APPLY: Final = "SELECT applied, ignored, parked, more FROM jtd.apply_receipts_v1(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of the receipts of one call."""

    new: int
    known: int
    """Those that had come before, or stood twice in the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one look at the receipts that are due did, see jtd.apply_receipts_v1."""

    applied: int
    ignored: int
    parked: int
    """Those that wait for their job, for the end of its attempt, or for who holds it now."""
    more: bool
    """Whether a next call has something to do now."""


class ReceiptsQueue:
    """Receipts as a web process sees them."""

    def __init__(self, pool: LinkPool, link: Link) -> None:
        """Receipts are kept over `pool`, side by side, and applied over `link`."""
        self._pool = pool
        self._link = link

    async def accept(self, channel: str, provider: str, receipts: Sequence[Receipt]) -> Accepted:
        """Keep `receipts` durably; only then may their provider be told that they arrived.

        `provider` is the family name, such as `sendgrid`. Raises TimeoutError after ACCEPT_SECONDS when they
        may not be kept; the provider then sends them again, and what is known is not kept twice. When
        cancelled they may have been kept.
        """
        told = [_json(receipt) for receipt in receipts]
        parameters = [channel, provider, Jsonb(told)]
        ((new, known),) = await self._pool.call(ACCEPT, parameters, seconds=ACCEPT_SECONDS)
        return Accepted(new=new, known=known)

    async def apply(self, limit: int) -> Applied:
        """Apply up to `limit` (1 to 5,000) receipts that are due; outages of the database are waited for.

        Any number of processes may do so at one time; what was interrupted is due again.
        """
        ((applied, ignored, parked, more),) = await self._link.call(APPLY, [limit])
        return Applied(applied=applied, ignored=ignored, parked=parked, more=more)


def _json(receipt: Receipt) -> dict[str, Json]:
    texts = {
        "provider_message_id": receipt.provider_message_id,
        "recipient": receipt.recipient,
        "code": receipt.code,
        "reason": receipt.reason,
    }
    return {
        "kind": receipt.kind.value,
        "event_key": clean(receipt.event_key),
        "reference": None if receipt.reference is None else str(receipt.reference),
        "at": None if receipt.at is None else receipt.at.isoformat(),
        "details": clean_json(dict(receipt.details)),
        **{name: None if text is None else clean(text) for name, text in texts.items()},
    }
