"""The points of a job's way at which its daemon can be struck, and what lies there waiting for it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

STATEMENTS = ("claim", "hand_off", "settle")
MOMENTS = ("before", "during", "after")
"""Before the server has the statement; while it works on it; when it has committed and not yet answered."""
STEPS = (
    *(f"{statement} {moment}" for statement in STATEMENTS for moment in MOMENTS),
    *(
        f"{provider} {moment}"
        for provider in ("smtp", "webhook")
        for moment in ("received", "accepted", "answered")
    ),
)
"""Every step of a job's way. A message received is not accepted yet; one accepted is not answered yet."""


class Blow(Enum):
    KILL = "SIGKILL"
    FREEZE = "SIGSTOP"
    CUT = "its connection is cut, and the answer with it"


@dataclass(slots=True, kw_only=True)
class Trap:
    point: str
    blow: Blow
    jtd: UUID | None = None
    """Only for what concerns this job."""
    is_lasting: bool = False
    struck: list[str] = field(default_factory=list)
    """The daemons that it struck."""
    sprung: threading.Event = field(default_factory=threading.Event)

    def fits(self, point: str, content: bytes) -> bool:
        if point != self.point or (self.sprung.is_set() and not self.is_lasting):
            return False
        return self.jtd is None or any(
            name in content for name in (self.jtd.bytes, self.jtd.hex.encode(), str(self.jtd).encode())
        )


class Traps:
    """What the proxies and the providers ask at every point."""

    def __init__(self, strike: Callable[[str, Blow], bool]) -> None:
        """`strike` kills or freezes a daemon by its name; False if it does not run."""
        self._strike = strike
        self._lock = threading.Lock()
        self._set: list[Trap] = []

    def set(self, trap: Trap) -> Trap:
        with self._lock:
            self._set.append(trap)
        return trap

    def remove(self, trap: Trap) -> None:
        with self._lock:
            if trap in self._set:
                self._set.remove(trap)

    def spring(self, point: str, daemon: str, content: bytes = b"") -> bool:
        """Strike the daemon if a trap lies here; True if its connection must end now.

        `content` are the bytes that pass this point. The blow has fallen when this returns.
        """
        with self._lock:
            trap = next((trap for trap in self._set if trap.fits(point, content)), None)
            if trap is None or (trap.blow is not Blow.CUT and not self._strike(daemon, trap.blow)):
                return False
            trap.struck.append(daemon)
            trap.sprung.set()
            return trap.blow is not Blow.FREEZE
