"""What a provider saw of each job: the record outside the system, against which its rows are judged."""

import hashlib
import time
from collections import Counter, defaultdict
from enum import Enum
from uuid import UUID


class Treatment(Enum):
    """What a provider does with one message."""

    TAKE = "takes it"
    SLOW = "takes it after a moment"
    LATE = "takes it after seconds"
    LATER = "refuses it for now"
    THROTTLE = "asks for a pause"
    NEVER = "refuses it for good"
    DROP_BEFORE = "drops the connection and has not taken it"
    DROP_AFTER = "takes it and drops the connection"
    HANG_BEFORE = "hangs and has not taken it"
    HANG_AFTER = "takes it and hangs"
    GARBAGE_AFTER = "takes it and answers garbage"
    GATEWAY_BEFORE = "a gateway answers in its place, and it has not taken it"
    GATEWAY_AFTER = "takes it, and a gateway answers in its place"


TAKES = frozenset(
    {
        *(Treatment.TAKE, Treatment.SLOW, Treatment.LATE),
        *(Treatment.DROP_AFTER, Treatment.HANG_AFTER, Treatment.GARBAGE_AFTER, Treatment.GATEWAY_AFTER),
    }
)
HANGS = frozenset({Treatment.HANG_BEFORE, Treatment.HANG_AFTER})


class Ledger:
    """One channel's messages by the id of their job."""

    def __init__(self) -> None:
        self.calls: Counter[UUID] = Counter()
        self.accepted: Counter[UUID] = Counter()
        self.digests: defaultdict[UUID, set[bytes]] = defaultdict(set)
        """Of what came: one job sends the same bytes each time."""
        self.mistakes: list[str] = []
        """Messages that contradict themselves, e.g. one job's text to another's recipient."""
        self._story: defaultdict[UUID, list[str]] = defaultdict(list)
        self._begun = time.monotonic()

    def note(self, jtd: UUID, daemon: str, treatment: Treatment, content: bytes) -> None:
        """Write down one message that came in whole, and whether it was taken."""
        self.calls[jtd] += 1
        self.accepted[jtd] += treatment in TAKES
        self.digests[jtd].add(hashlib.sha256(content).digest())
        self._story[jtd].append(f"{time.monotonic() - self._begun:.2f} s: {daemon}, {treatment.value}")

    def story(self, jtd: UUID) -> str:
        """Return what happened to this job's messages, for a failure's report."""
        return "; ".join(self._story[jtd]) or "never came"
