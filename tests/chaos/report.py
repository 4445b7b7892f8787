"""What a run did and found, for people."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.oracle import RULES, Evidence, states


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    repeat: str
    """The command that runs it again."""
    seconds: float
    injected: Counter[str]
    starts: int
    silenced: int
    evidence: Evidence
    notes: Sequence[str]
    failures: Sequence[str]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.repeat}   ({self.seconds:.0f} s, {self.starts} processes started)"
        yield "Faults injected:"
        yield from (f"  {count:5}  {name}" for name, count in sorted(self.injected.items()))
        yield f"Messages in: {len(self.evidence.jobs)}, and {len(self.evidence.ghosts)} rolled back"
        yield "Out:"
        for (channel, status, error), count in sorted(states(self.evidence).items()):
            yield f"  {count:5}  {channel:9} {status}{' ' + error if error else ''}"
        yield "Seen by the providers:"
        for channel, ledger in self.evidence.ledgers.items():
            taken = ledger.accepted
            again = sum(times - 1 for times in taken.values() if times > 1)
            told = "dropped by their key" if RULES[channel] == "idempotent_retry" else "duplicates"
            yield (
                f"  {channel:9} {RULES[channel]:16} {ledger.calls.total():5} calls, "
                f"{len(+taken):5} jobs taken, {again:3} {told}, "
                f"{self._admitted(channel):3} possible duplicates on record"
            )
        lost = self.evidence.lost_with_daemon
        yield (
            f"Attempts that became unknown with their daemons: {lost()}, of which resend {lost('resend')}, "
            f"hold {lost('hold')}, idempotent_retry {lost('idempotent_retry')}; "
            f"{self.silenced} daemons silenced, so at most {self.evidence.allowance}"
        )
        yield f"Jobs found on no list and put back: {self.evidence.found()}"
        yield from self.notes
        if self.failures:
            yield f"BROKEN: {len(self.failures)} promises"
            yield from self.failures
            yield f"To repeat: {self.repeat}"
        else:
            yield "Every promise held."

    def _admitted(self, channel: str) -> int:
        return sum(
            self.evidence.remarks(jtd, "possible_duplicate", "duplicate_known")
            for jtd, at in self.evidence.jobs.items()
            if at == channel
        )
