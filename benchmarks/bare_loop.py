"""The rival of `overhead`: every k-th trial of a run, trained one after the other, no more.

python -m benchmarks.bare_loop RUN FIRST STEP: prints the seconds of training.
"""

import sys
import time
from pathlib import Path

from stability.objective import train_images
from sweeps.run_directory import RunDirectory
from sweeps.trial import Cohort


def main() -> None:
    """Train and print."""
    run, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    trials = RunDirectory(run).read_design()[first::step]
    start = time.perf_counter()
    for _ in train_images(Cohort(trials=tuple(trials), device="cpu")):
        pass
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
