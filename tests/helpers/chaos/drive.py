"""The same command again and again: drives the study of a scene, as `stability sweep` does.

    python -m chaos.drive local|forked|slurm WORKERS [--retry-failed]

`forked` is what `stability sweep` does on a CPU: one parent forks all workers, and an errand beside
them. Without the command line's measurement of the machine and its picture, which take seconds.
Ends with 0 where all is trained, 1 where something is left, 2 where it refuses, STOPPED where it
cannot go on (which is 1 on the command line), UNEXPECTED where that would show a traceback.
"""

import os
import sys
import traceback
from pathlib import Path

from toys import HELPERS

from chaos.clock import fake_clock
from chaos.cutting import cut_replace
from sweeps.driver.adopt import adoptable
from sweeps.errors import ExecutorError, StabilityError
from sweeps.executors import LocalExecutor, SlurmExecutor
from sweeps.executors.base import Executor
from sweeps.executors.forked import SideTask
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.run import DispatchOptions, create, dispatch, prepare
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.study import Study

STOPPED, UNEXPECTED = 3, 70


def main() -> int:
    """Drive until all is done."""
    executor, workers = sys.argv[1], int(sys.argv[2])
    scene = Path(os.environ["CHAOS_SCENE"])
    cut_replace("driver")
    fake_clock()
    study = Study.read(scene / "study.toml")
    run = RunDirectory(scene / "disk" / "run")
    options = DispatchOptions(
        slots=tuple(f"cpu:{i}" for i in range(workers)),
        submission_folder=HELPERS,
        retry_failed="--retry-failed" in sys.argv,
    )
    try:
        return drive(study, run, options, executor)
    except (ExecutorError, OSError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        return 130
    except StabilityError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    except Exception:
        traceback.print_exc()
        return UNEXPECTED


def drive(study: Study, directory: RunDirectory, options: DispatchOptions, executor: str) -> int:
    """Train what is missing; the views are written however it ends."""
    adoptable(directory, draw_design(study), say=print)  # looks, as for a new study
    run = create(prepare(directory, study))
    dispatch(run, executor_of(directory, executor), options)
    run.tally.look()
    return 1 if run.tally.open else 0


def executor_of(run: RunDirectory, executor: str) -> Executor:
    """Who starts the workers."""
    if executor == "slurm":
        return SlurmExecutor(run, lambda: None, SlurmOptions(time=60))
    if executor == "forked":
        task = SideTask(function="chaos.objective:errand", question={"number": 21})
        return LocalExecutor(run, lambda: None, "chaos.objective", task)
    return LocalExecutor(run)


if __name__ == "__main__":
    sys.exit(main())
