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
from sweeps.driver.driver import Driver, Plan, sole_driver
from sweeps.errors import DisplacedError, ExecutorError, StabilityError
from sweeps.executors import LocalExecutor, SlurmExecutor
from sweeps.executors.base import Executor
from sweeps.executors.forked import SideTask
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import views
from sweeps.store.parts import Ledger, set_aside
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.study import Study
from sweeps.system.interrupts import as_interrupts

STOPPED, UNEXPECTED = 3, 70


def main() -> int:
    """Drive until all is done."""
    executor, workers = sys.argv[1], int(sys.argv[2])
    scene = Path(os.environ["CHAOS_SCENE"])
    cut_replace("driver")
    fake_clock()
    study = Study.read(scene / "study.toml")
    run = RunDirectory(scene / "disk" / "run")
    plan = Plan(
        slots=tuple(f"cpu:{i}" for i in range(workers)),
        submission_folder=HELPERS,
        retry_failed="--retry-failed" in sys.argv,
    )
    try:
        return drive(study, run, plan, executor)
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


def drive(study: Study, run: RunDirectory, plan: Plan, executor: str) -> int:
    """Train what is missing; the views are written however it ends."""
    adoptable(run, draw_design(study), say=print)  # looks, as for a new study beside the others
    trials = run.create(study, run.readable_design() or draw_design(study))
    with sole_driver(run), as_interrupts():
        ledger = Ledger(run)
        ledger.refresh()
        set_aside(ledger.damaged)
        is_in_place = True
        try:
            Driver(run, trials, dispatcher_of(run, executor), plan).drive()
        except DisplacedError:
            is_in_place = False
            raise
        finally:
            if is_in_place:
                ledger.refresh()
                set_aside(ledger.damaged)
                views.rebuild(run)
    ledger.refresh()
    return 0 if all(ledger.is_trained(trial.id) for trial in trials) else 1


def dispatcher_of(run: RunDirectory, executor: str) -> Executor:
    """Who starts the workers."""
    if executor == "slurm":
        return SlurmExecutor(run, lambda: None, SlurmOptions(time=60))
    if executor == "forked":
        errand = SideTask(function="chaos.objective:errand", question={"number": 21})
        return LocalExecutor(run, lambda: None, "chaos.objective", errand)
    return LocalExecutor(run, lambda: None)


if __name__ == "__main__":
    sys.exit(main())
