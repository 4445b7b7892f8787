"""One end for a message of which several providers have a part, each for other devices of one user."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from jtd_worker.outcome import Failed, Outcome, Release, Retry, Sent, Snooze, Unknown, gone_devices
from jtd_worker.result import Json
from jtd_worker.result import Sent as Result

End: TypeAlias = tuple[Outcome, str | None]
"""How a part ended, and the provider that said so."""

# What may have left decides, since it must not be done again unseen; then what costs no attempt, since a part
# that only waits must not use up the attempts of the whole.
_BEST_FIRST: Final[Sequence[type[Outcome]]] = (Sent, Unknown, Release, Snooze, Retry, Failed)


class Joint:
    """Collects the ends of `parts` parts for `devices` devices, and settles once, with the best of them."""

    def __init__(self, parts: int, devices: int, settle: Callable[[Outcome, str | None], None]) -> None:
        self._parts = parts
        self._devices = devices
        self._settle = settle
        self._ends: list[End] = []

    def settle(self, ended: Outcome, provider: str | None) -> None:
        """Take over the end of one part; it is called once for each."""
        self._ends.append((ended, provider))
        if len(self._ends) == self._parts:
            self._settle(*best(self._ends, self._devices))


def best(ends: Sequence[End], devices: int) -> End:
    """Return the best of at least one end, with what all say of the devices, so many."""
    ended, provider = min(ends, key=lambda end: _BEST_FIRST.index(type(end[0])))
    if len(ends) == 1:
        return ended, provider
    gone = tuple(device for end, _ in ends for device in gone_devices(end))
    sent = sum(_sent_to(end) for end, _ in ends)
    counts: dict[str, Json] = {"sent": sent, "gone": len(gone), "failed": devices - sent - len(gone)}
    match ended:
        case Sent(result=result):
            response = {**result.response, "devices": counts}
            return Sent(result=replace(result, response=response, gone_devices=gone)), provider
        case Retry() | Failed():
            return replace(ended, response={**ended.response, "devices": counts}, gone_devices=gone), provider
        case _:
            return ended, provider


def _sent_to(ended: Outcome) -> int:
    """Return how many devices have it, as adapters count them."""
    match ended:
        case Sent(result=Result(response={"devices": {"sent": int(number)}})):
            return number
        case _:
            return 0
