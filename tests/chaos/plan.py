"""Which faults a run injects, side by side in lanes, and on how much work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.faults import database, jobs, processes, providers, queues
from tests.chaos.faults.fault import Fault

PROCESSES = (
    *(processes.sigkill, processes.sigkill_of_all_at_once, processes.sigstop_past_the_lease),
    processes.sigterm_under_load,
)
OUTAGES = (
    *(database.postgres_immediate_stop_and_start, database.postgres_down_past_the_lease),
    database.postgres_down_with_all_slots_sending,
    *(database.pg_terminate_backend_of_some, database.pg_terminate_backend_of_the_listeners),
    *(database.database_read_only, *database.LOST_ANSWERS),
)
CUTS = (database.connections_cut, database.connections_stalled)
PROVIDERS = (
    *(providers.a_provider_down, providers.a_provider_restarted, providers.all_providers_slow_then_all_down),
    *(providers.HANGS, providers.THROTTLES, providers.REFUSES, providers.DROPS, providers.UNRULY),
)
USERS = (database.a_row_locked_by_a_user, database.a_long_snapshot)
QUEUES = (queues.notifications_lost, queues.a_queue_purged, queues.triggers_disabled_during_inserts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Faults that follow one another, each as often as the others, in an order drawn by the seed."""

    faults: Sequence[Fault]
    pause: tuple[float, float] = (0.0, 0.2)
    """Seconds between two, at the least and at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    lanes: Sequence[Lane]
    jobs: int
    seconds: float
    """How long jobs come in."""
    rounds: bool = False
    """Whether lanes begin again and again until the time is over, or take each fault once."""
    lease: int = 2
    slots: int = 16
    daemons: int = 2
    beside_previous: bool = False
    """Whether one daemon is of the version tagged before this one."""


PLANS: Mapping[str, Plan] = {
    "steps": Plan(lanes=[Lane(faults=processes.KILLS)], jobs=200, seconds=15, slots=8),
    "silences": Plan(
        lanes=[
            Lane(
                faults=(
                    *(processes.sigstop_past_the_lease, processes.freeze_at("hand_off after"), *CUTS),
                    *(processes.sigkill_of_all_at_once, jobs.OVERTAKEN[0]),
                )
            ),
            Lane(faults=jobs.POISONS[:1]),
        ],
        jobs=200,
        seconds=15,
    ),
    # no daemon is silenced here, so no attempt may become unknown with one
    "outages": Plan(
        lanes=[Lane(faults=OUTAGES), Lane(faults=(*USERS, *QUEUES), pause=(0.5, 1.5))],
        jobs=200,
        seconds=20,
        lease=3,
    ),
    "providers": Plan(
        lanes=[
            Lane(faults=PROVIDERS),
            Lane(faults=[processes.sigterm_under_load], pause=(5, 10)),
        ],
        jobs=200,
        seconds=15,
    ),
    "all": Plan(
        lanes=[
            Lane(
                faults=(*PROCESSES, *processes.KILLS, *processes.KILLS_ASIDE, *processes.FREEZES),
                pause=(0.5, 4),
            ),
            Lane(faults=(*OUTAGES, *CUTS), pause=(1, 6)),
            Lane(faults=PROVIDERS, pause=(1, 6)),
            Lane(faults=(*USERS, *QUEUES), pause=(1, 5)),
            Lane(faults=(*jobs.POISONS, *jobs.OVERTAKEN), pause=(3, 10)),
        ],
        jobs=10_000,
        seconds=300,
        rounds=True,
        lease=3,
        daemons=3,
        beside_previous=True,
    ),
}
