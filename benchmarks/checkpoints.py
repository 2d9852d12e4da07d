"""What a checkpoint costs: its size, and the seconds to make and write it, and to go on from it.

    python -m benchmarks.checkpoints [--models vitc-nano,vitc-micro] [--folder PATH]

Of a training on the CPU with AdamW and averaged weights, the largest state there is: four numbers a
parameter. Medians of five. It judges nothing and exits 0.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import torch

from stability.models import config_of
from stability.training.loop import Job, StepRunner, initial_state
from stability.training.settings import Recipe
from stability.training.state import History, TrainState
from stability.training.tensors import TensorData, TensorPart
from sweeps.store.checkpoints import Checkpoint, Checkpoints
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory

TIMES = 5
CLASSES = 10


def main() -> None:
    """Measure each model and print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="vitc-nano,vitc-micro,vitp-1gf,vitp-18gf")
    parser.add_argument("--folder", help="where it is written; default: the system's for such")
    arguments = parser.parse_args()
    print("model         parameters       bytes  write s  restore s")
    for model in arguments.models.split(","):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            print(f"{model:12}", measured(model, Path(folder)), flush=True)


def measured(model: str, folder: Path) -> str:
    """Parameters, bytes, seconds to write, seconds to go on."""
    state, place = after_one_step(model), place_in(folder)
    write = median_seconds(lambda: place.offer(lambda: state.serialize(History())))
    with redirect_stderr(io.StringIO()):  # it says so each time
        restore = median_seconds(lambda: state.restore(place.load() or b""))
    parameters = sum(p.numel() for p in state.model.parameters())
    return f"{parameters:11} {place.path.stat().st_size:11} {write:8.3f} {restore:10.3f}"


def after_one_step(model: str) -> TrainState:
    """A training whose optimizer has something to remember."""
    side = config_of(model).image
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    part = TensorPart(images, torch.arange(2), torch.zeros(3, 1, 1), torch.full((3, 1, 1), 255.0))
    data = TensorData((3, side, side), CLASSES, part, part, part)
    recipe = Recipe(lr=1e-3, weight_decay=0.1, batch_size=2, ema=1e-5)
    job = Job(model=model, optimizer="adamw", recipe=recipe, epochs=100, seed=0)
    state = initial_state(job, data, StepRunner())
    StepRunner().epoch(state, data, [1e-3])
    return state


def place_in(folder: Path) -> Checkpoint:
    """Where a worker that keeps every epoch would keep it."""
    run, owner = RunDirectory(folder), Owner.this_process("benchmark")
    run.claims.mkdir()
    run.claim("trial").write_text(owner.to_json())
    all_of_them = Checkpoints(
        run=run,
        owner=owner,
        code=None,
        every=0.0,
        on_save=lambda: None,
        on_epoch=lambda: False,
    )
    return Checkpoint(all_of_them, "trial", 1, "none")


def median_seconds(do: Callable[[], object]) -> float:
    """Of some times."""
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
