"""What tells that a worker really works, not only that its process runs."""

from collections.abc import Iterable
from typing import Final

from jtd_worker.lease import Lease, elapsed

STALL: Final = 15.0
"""Seconds without a sign of progress after which a worker is not ready."""


class Progress:
    """The last signs of progress of one worker; times are durations, never the wall clock."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._ticked = elapsed()
        self._is_partitioned = True
        self._is_adopted = True
        self._unsettled_since: float | None = None
        self._readable_since: dict[str, float] = {}

    def ticked(self, readable: Iterable[str], *, is_partitioned: bool, is_adopted: bool) -> None:
        """A tick was answered: it named the queues where messages wait although their reader sleeps."""
        now = self._ticked = elapsed()
        self._is_partitioned = is_partitioned
        self._is_adopted = is_adopted
        self._readable_since = {name: self._readable_since.get(name, now) for name in readable}

    def claimed(self, queue: str) -> None:
        """A claim brought work."""
        self._readable_since.pop(queue, None)

    def settling(self) -> None:
        """Results are on their way to the database."""
        if self._unsettled_since is None:
            self._unsettled_since = elapsed()

    def settled(self) -> None:
        """The database took results over."""
        self._unsettled_since = None

    def hindrances(self) -> list[str]:
        """Say what is wrong, for a person; an empty list means ready."""
        now = elapsed()
        found = []
        if not self._is_adopted:
            found.append(
                "the database is a copy of the one its jobs were made in, and nothing of it is sent: "
                "see jtd-worker adopt"
            )
        if self._lease.is_over:
            found.append("the lease is over: the database cannot be reached, or is too slow to renew it")
        if now - self._ticked > STALL:
            found.append(f"no tick was answered for {now - self._ticked:.0f} s")
        if self._unsettled_since is not None and now - self._unsettled_since > STALL:
            found.append(f"results wait for the database for {now - self._unsettled_since:.0f} s")
        found += [
            f"messages wait in {queue} for {now - since:.0f} s and none is claimed"
            for queue, since in self._readable_since.items()
            if now - since > STALL
        ]
        if not self._is_partitioned:
            found.append("next month's partition of n_jtd_history is missing; see jtd.make_partitions")
        return found
