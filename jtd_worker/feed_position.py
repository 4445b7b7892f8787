"""How far a stream has come: what stands in the ids of its events, so that it goes on without gap or double.

Ids of rows cannot tell: they are given out before others can see the row, and a row with a lower id may be
committed later. A snapshot of Postgres (`xmin:xmax:xip`) tells of every transaction whether it had ended.
"""

import re
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

LONGEST: Final = 8_192
"""Characters of an id that are read; a snapshot lists the transactions that run, usually few."""

_SNAPSHOT: Final = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):((?:[0-9]{1,18}(?:,[0-9]{1,18})*)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Which transactions had ended at one moment (PostgreSQL documentation, pg_snapshot Components)."""

    text: str
    xmax: int
    active: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `xmin:xmax:xip,xip`; ValueError for what Postgres would not read either."""
        found = _SNAPSHOT.fullmatch(text)
        if found is None:
            raise ValueError("not of the form xmin:xmax:xip,xip")
        xmin, xmax = int(found[1]), int(found[2])
        active = [int(xid) for xid in found[3].split(",") if xid]
        if not (0 < xmin <= xmax and active == sorted(active) and all(xmin <= xid < xmax for xid in active)):
            raise ValueError("its transactions are in no order")
        return cls(text=text, xmax=xmax, active=frozenset(active))

    def sees(self, transaction: int) -> bool:
        """Whether what `transaction` wrote can be seen."""
        return transaction < self.xmax and transaction not in self.active


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Everything that `since` sees was delivered; of what only `then` sees, up to the row `last`."""

    since: Snapshot
    then: Snapshot | None = None
    last: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the id of an event; None where it is none of ours: the stream then begins with what comes."""
        if len(text) > LONGEST:
            return None
        try:
            match text.split("/"):
                case [since]:
                    return cls(since=Snapshot.parse(since))
                case [since, then, last]:
                    return cls(since=Snapshot.parse(since), then=Snapshot.parse(then), last=UUID(last))
        except ValueError:
            pass
        return None

    def __str__(self) -> str:
        if self.then is None:
            return self.since.text
        return f"{self.since.text}/{self.then.text}/{self.last}"
