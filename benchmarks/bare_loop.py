"""The rival of `overhead`: every k-th trial of the main job, one after the other, no more.

python -m benchmarks.bare_loop TRIALS FIRST STEP: prints the seconds of training.
"""

import sys
import time

from stability.cli.site.cluster import SiteOptions
from stability.cli.study.options import StudyOptions
from stability.cli.study.request import read_request
from stability.objective import train_images
from sweeps.study.design import draw_design
from sweeps.study.trial import Cohort, Trial


def design(trials: str) -> list[Trial]:
    """The first `trials` trials of the main job."""
    options = StudyOptions(model="vitc", optim="sgd", draws=trials)
    return draw_design(read_request(options, SiteOptions()).study)


def main() -> None:
    """Train and print."""
    mine = design(sys.argv[1])[int(sys.argv[2]) :: int(sys.argv[3])]
    start = time.perf_counter()
    for _ in train_images(Cohort(trials=tuple(mine), device="cpu")):
        pass
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
