"""A small part of the faults of `make chaos` that need a Slurm."""

import pytest
from chaos.campaign import Campaign
from chaos.local_faults import needs
from chaos.slurm_faults import KINDS

QUICK = (
    "scancel",
    "Slurm: kill -9 of the driver",
    "Slurm: kill -9 of a worker",
    "kill -9 of slurmd",
)


def test_a_few_faults_lose_nothing_and_change_nothing() -> None:
    tally = Campaign({kind: KINDS[kind] for kind in QUICK}, 1, "slurm").run(4, 1, mixed=True)
    assert tally.complaints == []
    assert set(tally.kinds) == set(QUICK)


@pytest.mark.slow
def test_a_fault_of_each_kind_loses_nothing_and_changes_nothing() -> None:
    kinds = {kind: fault for kind, fault in KINDS.items() if needs(kind) is None}
    tally = Campaign(kinds, 2, "slurm").run(len(kinds), 1, mixed=True)
    assert tally.complaints == []
    assert tally.kinds == dict.fromkeys(kinds, 1)
