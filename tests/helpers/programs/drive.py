"""Drives the study of a run directory with local workers, as a process that a test can kill.

python tests/helpers/programs/drive.py RUN WORKERS [ENGINE]
"""

import sys
from pathlib import Path

import stability  # noqa: F401 - registers its objective
from sweeps.executors import LocalExecutor
from sweeps.run import DispatchOptions, dispatch, resume
from sweeps.store.run_directory import RunDirectory
from sweeps.worker.engine import AUTO


def main() -> None:
    """Drive until all is done."""
    run = resume(RunDirectory(Path(sys.argv[1])))
    slots = tuple(f"cpu:{i}" for i in range(int(sys.argv[2])))
    engine = sys.argv[3] if len(sys.argv) > 3 else AUTO
    folder = Path(__file__).parent.parent
    options = DispatchOptions(slots=slots, submission_folder=folder, engine=engine)
    dispatch(run, LocalExecutor(run.directory), options)


if __name__ == "__main__":
    main()
