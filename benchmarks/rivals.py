"""Other ways to train the trials of the main job, each as its documentation shows it.

python -m benchmarks.rivals submitit|optuna|ray plain|ours TRIALS

All train the same configurations, with the plain loop or with our objective, and print the best
error.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bare_loop import design
from sweeps.study.trial import Cohort, Trial

CORES = len(os.sched_getaffinity(0))
ErrorOf = Callable[[Trial], float]


def ours(trial: Trial) -> float:
    """Train one trial by our objective; its error, infinite where it diverged."""
    from stability.objective import train_images

    (result,) = train_images(Cohort(trials=(trial,), device="cpu"))
    error = result.values.get("error")
    return float("inf") if error is None else float(error)


def plain(trial: Trial) -> float:
    """Train one trial by the plain loop; its error, infinite where it diverged."""
    from benchmarks.plain_loop import error_of

    return error_of(trial)


def with_submitit(error_of: ErrorOf, trials: list[Trial]) -> list[float]:
    """One local job a trial, as many at a time as there are cores: pycls's way."""
    import submitit

    executor = submitit.LocalExecutor(folder=tempfile.mkdtemp())
    executor.update_parameters(timeout_min=60)
    jobs: list[Any] = []
    for trial in trials:
        while sum(not job.done() for job in jobs) >= CORES:
            time.sleep(0.05)
        jobs.append(executor.submit(error_of, trial))
    return [job.result() for job in jobs]


def with_optuna(error_of: ErrorOf, trials: list[Trial]) -> list[float]:
    """`study.optimize` in one process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    waiting = iter(trials)
    study = optuna.create_study()
    study.optimize(lambda _: error_of(next(waiting)), n_trials=len(trials))
    return [found.value for found in study.trials if found.value is not None]


def with_ray(error_of: ErrorOf, trials: list[Trial]) -> list[float]:
    """Ray Tune, a core a trial."""
    import ray
    from ray import tune

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init(num_cpus=CORES, log_to_driver=False, include_dashboard=False)

    def trainable(config: dict[str, Any]) -> None:
        tune.report({"error": error_of(trials[config["number"]])})

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(len(trials))))},
        run_config=tune.RunConfig(verbose=0, storage_path=tempfile.mkdtemp()),
    )
    return [result.metrics["error"] for result in tuner.fit() if result.metrics]


RIVALS = {"submitit": with_submitit, "optuna": with_optuna, "ray": with_ray}
LOOPS = {"plain": plain, "ours": ours}


if __name__ == "__main__":
    rival, loop, trials = sys.argv[1:]
    errors = RIVALS[rival](LOOPS[loop], design(trials))
    if len(errors) != int(trials):
        sys.exit(f"{len(errors)} of {trials} trials came back")
    print(min(errors))
