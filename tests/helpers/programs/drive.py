"""Drives the study of a run directory with local workers, as a process that a test can kill.

python tests/helpers/programs/drive.py RUN WORKERS
"""

import sys
from pathlib import Path

from sweeps.driver.driver import Driver, Plan, sole_driver
from sweeps.executors import LocalExecutor
from sweeps.store import views
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.system.interrupts import as_interrupts


def main() -> None:
    """Drive until all is done."""
    run = RunDirectory(Path(sys.argv[1]))
    slots = tuple(f"cpu:{i}" for i in range(int(sys.argv[2])))
    study = run.read_study()
    trials = run.create(study, draw_design(study))
    plan = Plan(slots=slots, submission_folder=Path(__file__).parent.parent)
    with sole_driver(run), as_interrupts():
        Driver(run, trials, LocalExecutor(run, lambda: None), plan).drive()
        views.rebuild(run)


if __name__ == "__main__":
    main()
