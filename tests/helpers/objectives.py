"""Objectives of the tests, imported by workers as a user's own would be."""

import math
import os
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps.study.trial import Cohort, Result, Trial
from sweeps.worker.engine import EnginePlan, Engines, trained_by


def quick(cohort: Cohort) -> Iterator[Result]:
    """Take a moment, then give an error that lr decides; says when it began and ended."""
    for trial in cohort.trials:
        _note(trial, "start")
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        _note(trial, "end")
        yield result(trial)


def result(trial: Trial) -> Result:
    """What the toy says of a trial."""
    wrong = round(100 * min(float(trial.hyperparameters["lr"]), 0.9))
    values = {"error": float(wrong), "wrong": wrong, "n_eval": 100, "chance": 90.0, "loss": 1.0}
    rows = [{"epoch": epoch, "loss": 1.0, "val_error": 90.0 - epoch} for epoch in (0, 1)]
    return Result(trial=trial.id, outcome="ok", values=values, curve=rows)


def fails_once(cohort: Cohort) -> Iterator[Result]:
    """Raise the first time that a trial is tried."""
    for trial in cohort.trials:
        marker = Path(os.environ["TOY_LOG"]).with_name(f"{trial.id}.tried")
        if not marker.exists():
            marker.touch()
            raise ConnectionError("the file server\nwent away")
        yield result(trial)


def always_fails(cohort: Cohort) -> Iterator[Result]:
    """Raise for the draws 1 and 2."""
    for trial in cohort.trials:
        if trial.draw == 1:
            raise ValueError(f"no luck with {trial.model}")
        if trial.draw == 2:
            raise MemoryError
        yield result(trial)


def forgets(cohort: Cohort) -> Iterator[Result]:
    """Give no result at all."""
    yield from ()


def dies(cohort: Cohort) -> Iterator[Result]:
    """Kill the worker the first time that the second draw is tried."""
    for trial in cohort.trials:
        marker = Path(os.environ["TOY_LOG"]).with_name(f"{trial.id}.tried")
        if trial.draw == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
        yield result(trial)


def _note(trial: Trial, event: str) -> None:
    if "TOY_LOG" in os.environ:
        line = f"{trial.id} {os.getpid()} {event} {time.monotonic()}\n"
        with Path(os.environ["TOY_LOG"]).open("a") as log:
            log.write(line)  # shorter than a pipe's buffer: appended whole


def sees_gpus(cohort: Cohort) -> Iterator[Result]:
    """Say which GPUs this process sees."""
    for trial in cohort.trials:
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        values = {"error": 1.0, "device": f"{cohort.device} {visible}"}
        yield Result(trial=trial.id, outcome="ok", values=values)


def broken(cohort: Cohort) -> Iterator[Result]:
    """Fail always, in the same way."""
    for trial in cohort.trials:
        raise ValueError(f"no such file: data/{trial.draw}")
    yield from ()


def fails_on_n2(cohort: Cohort) -> Iterator[Result]:
    """Fail on one node of a cluster, once there is `TOY_FULL`; elsewhere take a moment."""
    for trial in cohort.trials:
        is_full = Path(os.environ.get("TOY_FULL", "/")).exists()
        if is_full and os.environ.get("SLURMD_NODENAME") == "n2":
            raise OSError("the disk of this node is full")
        time.sleep(0.2)
        yield result(trial)


class ToyEngines(Engines):
    """Trials of a model are alike; `TOY_COHORT` of them are trained as one.

    Choosing takes `TOY_CHOOSING` seconds, and spoils the process where there is `TOY_SPOILT`;
    `TOY_CHOICES` has the processes that chose.
    """

    def kind(self, trial: Trial) -> str:
        return trial.model

    def cohort_key(self, trial: Trial, engine: str) -> Hashable:
        return trial.model

    def ways(self, trials: Sequence[Trial], device: str, asked: str) -> dict[str, EnginePlan]:
        if "TOY_CHOICES" in os.environ:
            with Path(os.environ["TOY_CHOICES"]).open("a") as log:
                log.write(f"{os.getpid()}\n")
        time.sleep(float(os.environ.get("TOY_CHOOSING", "0")))
        way = EnginePlan(
            engine="stacked", trials=int(os.environ["TOY_COHORT"]), measured={"eager": 1.5}
        )
        return {self.kind(trial): way for trial in trials}

    @property
    def is_spoilt(self) -> bool:
        return "TOY_SPOILT" in os.environ


@trained_by(ToyEngines())
def together(cohort: Cohort) -> Iterator[Result]:
    """Say who is trained with whom; `TOY_FITS` fit into the memory, draw `TOY_POISON` fails all."""
    draws = ",".join(str(trial.draw) for trial in cohort.trials)
    note = f"{cohort.trials[0].model} {draws} {cohort.engine} {os.getpid()}\n"
    with Path(os.environ["TOY_LOG"]).open("a") as log:
        log.write(note)
    time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
    if len(cohort.trials) > int(os.environ.get("TOY_FITS", "99")):
        raise MemoryError("no room for so many")
    for trial in cohort.trials:
        if os.environ.get("TOY_POISON") == str(trial.draw):
            raise ValueError(f"poison: {trial.draw}")
        yield result(trial)


ANSWERS: dict[int, Any] = {}
"""What `answered` returns, by the value that is drawn."""
ASKED: list[int] = []
"""The values that `answered` was called with."""


def answered(trial: dict[str, Any]) -> Any:
    """Return what a test has written down."""
    ASKED.append(trial["which"])
    return ANSWERS[trial["which"]]


def bowl(trial: dict[str, Any]) -> float:
    """Return an error that is smallest at C = 1."""
    return 5.0 + 20.0 * abs(math.log10(trial["C"]))


def yielded(cohort: Cohort) -> Iterator[Result]:
    """The same as an objective of cohorts, which says the outcome itself."""
    for trial in cohort.trials:
        which = int(trial.hyperparameters["which"])
        ASKED.append(which)
        yield Result(trial=trial.id, outcome="ok", values=dict(ANSWERS[which]))


def kills(cohort: Cohort) -> Iterator[Result]:
    """Kill the worker, always."""
    os.kill(os.getpid(), 9)
    yield from ()


def exits(cohort: Cohort) -> Iterator[Result]:
    """End the process in the middle of a training, as a script would."""
    sys.exit(2)
    yield from ()


def double(question: dict[str, float]) -> dict[str, float]:
    """Answer a question beside the workers."""
    return {"twice": 2 * question["number"]}
