"""On a GPU: what goes on from a checkpoint. Imports what `test_cuda` does."""

from dataclasses import replace

import pytest
from cuda_jobs import RECIPES, job, needs_cuda
from kept import InterruptedTraining, Kept

from stability.training.engines.train_with import train_with
from stability.training.loop import Epoch
from stability.training.tensors import TensorData

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("default"),  # of libraries that only a GPU machine has
    needs_cuda,
]


@pytest.mark.parametrize("engine", ["eager", "captured", "streams", "stacked"])
@pytest.mark.parametrize("name", ["averaged", "mixed", "batchnorm"])
def test_what_goes_on_from_a_checkpoint_ends_as_if_undisturbed(
    name: str,
    engine: str,
    data: TensorData,
) -> None:
    """In float32, whose kernels need not add up in one order: so to rounding, not to the bit.

    What is lost or doubled would show: after an epoch that is repeated, every number is another.
    """
    count = 1 if engine == "eager" else 3
    jobs = [replace(job(**RECIPES[name]), seed=seed, epochs=4) for seed in range(count)]

    def curves(saved: list[Kept]) -> list[list[Epoch]]:
        found: list[list[Epoch]] = [[] for _ in jobs]
        dict(train_with(engine, jobs, data, lambda i, row: found[i].append(row), saved))
        return found

    undisturbed = curves([Kept() for _ in jobs])
    places = [Kept(until=2 if i == 0 or engine == "streams" else None) for i in range(count)]
    with pytest.raises(InterruptedTraining):
        curves(places)
    again = [Kept(place.state) for place in places]
    found = curves(again)
    assert [place.refused for place in again] == [[]] * count
    for mine, theirs in zip(found, undisturbed, strict=True):
        assert [row.epoch for row in mine] == [0, 1, 2, 3, 4]
        assert mine[-1].lr == theirs[-1].lr
        near = 5e-2 if name == "batchnorm" else 5e-3
        assert mine[-1].train_loss == pytest.approx(theirs[-1].train_loss, rel=near)
        assert mine[-1].loss == pytest.approx(theirs[-1].loss, rel=near)
