"""The rival of `overhead`: every k-th trial of the main job, one after the other, no more.

python -m benchmarks.bare_loop TRIALS FIRST STEP: prints the seconds of training.
"""

import sys
import time

from stability.cli.request import Options, Where, read
from stability.objective import train_images
from sweeps.design import draw_design
from sweeps.trial import Cohort


def main() -> None:
    """Train and print."""
    trials, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    options = Options(
        model="vitc",
        optim="sgd",
        data="digits",
        epochs="5",
        trials=trials,
        sampler="random",
        seed="0",
        lr=[],
        weight_decay=[],
        vary=[],
    )
    mine = draw_design(read(options, Where()).study)[first::step]
    start = time.perf_counter()
    for _ in train_images(Cohort(trials=tuple(mine), device="cpu")):
        pass
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
