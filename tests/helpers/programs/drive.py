"""Drives the study of a run directory with local workers, as a process that a test can kill.

python tests/helpers/programs/drive.py RUN WORKERS
"""

import sys
from pathlib import Path

import stability  # noqa: F401 - registers its objective
from sweeps.executors import LocalExecutor
from sweeps.run import DispatchOptions, dispatch, resume
from sweeps.store.run_directory import RunDirectory


def main() -> None:
    """Drive until all is done."""
    run = resume(RunDirectory(Path(sys.argv[1])))
    slots = tuple(f"cpu:{i}" for i in range(int(sys.argv[2])))
    options = DispatchOptions(slots=slots, submission_folder=Path(__file__).parent.parent)
    dispatch(run, LocalExecutor(run.directory), options)


if __name__ == "__main__":
    main()
