"""Defects that were seen in workers of this kind, put back on purpose: a test must fail with each."""

from typing import Final

from tests.mutants import (
    channels,
    claim,
    fairness,
    lease,
    outage,
    provider,
    receipts,
    retry,
    settle,
    sweep,
    tenant,
)
from tests.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    sorted(
        (
            *channels.MUTANTS,
            *claim.MUTANTS,
            *fairness.MUTANTS,
            *lease.MUTANTS,
            *outage.MUTANTS,
            *provider.MUTANTS,
            *receipts.MUTANTS,
            *retry.MUTANTS,
            *settle.MUTANTS,
            *sweep.MUTANTS,
            *tenant.MUTANTS,
        ),
        key=lambda mutant: int(mutant.failure_mode.removeprefix("F")),
    )
)
"""In the order of the failure modes."""
