"""Drives the study of a run directory with local workers, as a process that a test can kill.

python tests/drive.py RUN WORKERS
"""

import sys
from pathlib import Path

from sweeps import views
from sweeps.design import draw_design
from sweeps.dispatch import LocalDispatcher
from sweeps.driver import Driver, Plan, sole_driver
from sweeps.interrupts import as_interrupts
from sweeps.run_directory import RunDirectory


def main() -> None:
    """Drive until all is done."""
    run = RunDirectory(Path(sys.argv[1]))
    slots = tuple(f"cpu:{i}" for i in range(int(sys.argv[2])))
    study = run.read_study()
    trials = run.create(study, draw_design(study))
    plan = Plan(slots=slots, submission_folder=Path(__file__).parent)
    with sole_driver(run), as_interrupts():
        Driver(run, trials, LocalDispatcher(run, lambda: None), plan).drive()
        views.rebuild(run)


if __name__ == "__main__":
    main()
