"""The worker's lease: a send starts only while enough of it is left."""

import time


def elapsed() -> float:
    """Return seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """When the lease of this worker ends, by a clock of durations, on the safe side of the database's."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._ends = 0.0
        self.term = 0
        """Rises with each lease that was over before it was renewed: what was granted in another is void."""

    def renewed(self, asked_at: float) -> None:
        """Count from when the renewal was asked for: the database granted it later than that."""
        self.term += self.is_over
        self._ends = max(self._ends, asked_at + self.seconds)

    @property
    def is_over(self) -> bool:
        """Whether others may by now take back what this worker holds."""
        return elapsed() >= self._ends

    @property
    def allows_start(self) -> bool:
        """Whether a send may start: half the lease is left."""
        return elapsed() < self._ends - self.seconds / 2
