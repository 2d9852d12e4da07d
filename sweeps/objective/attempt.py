"""One attempt at a cohort: calls the objective, and gives a result for each trial whatever it does.

An objective is somebody's code. It may raise anything, yield anything, close the standard output,
catch a request to end, or fork a process that comes back out of it. None of this may end a sweep,
lose a result that was given before, or leave a trial without a recorded attempt.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

from sweeps.study.trial import Cohort, Objective, Result
from sweeps.study.values import as_text, fault_of, shown
from sweeps.system import interrupts
from sweeps.system.interrupts import AskedToEnd, Interrupted, OutOfTimeError


def outcomes(objective: Objective, cohort: Cohort) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Each trial's result with its cost and circumstances; an exception fails what is left.

    The seconds are of all pieces of the training; what an interruption lost is not among them.
    Raises AskedToEnd or Interrupted where this process was asked to end.
    """
    size, start = len(cohort.trials), perf_counter()
    left = {trial.id: None for trial in cohort.trials}

    def cost(trial: str) -> dict[str, Any]:
        earlier = cohort.saved[trial].earlier if trial in cohort.saved else 0.0
        return {"seconds": earlier + (perf_counter() - start) / size, "cohort_size": size}

    error: BaseException | None = None
    with Call(objective, cohort) as call:
        while error is None:
            try:
                try:
                    result = next(call.results())
                finally:
                    call.come_back()
                check_expected(result, left)
            except StopIteration:
                break
            except (AskedToEnd, Interrupted):
                raise
            except BaseException as raised:  # whatever it is: the trial is tried again
                error = raised
            else:
                del left[result.trial]
                yield result, cost(result.trial)
    if error is not None and not left:
        print(f"after its last result the objective raised {described(error)}", file=sys.stderr)
    if error is None and left:
        error = RuntimeError(f"the objective gave no result for {', '.join(left)}")
    for trial in list(left):
        assert error is not None
        said = str(error) if isinstance(error, OutOfTimeError) else described(error)
        yield Result(trial=trial, outcome=outcome_of(error)), {"message": said, **cost(trial)}


def check_expected(result: Any, left: dict[str, None]) -> None:
    """Raise TypeError or ValueError unless this is a usable result of a trial that has none yet."""
    if not isinstance(result, Result):
        raise TypeError(f"the objective gave {shown(result)}, expected a sweeps.study.trial.Result")
    if not isinstance(result.trial, str) or result.trial not in left:
        raise TypeError(
            f"the objective gave a result for {shown(result.trial)}, expected one of the trials "
            f"that have none yet: {', '.join(left)[:200] or 'none is left'}"
        )
    if fault := fault_of(result):
        raise ValueError(f"the objective's result cannot be used: {fault}")


class Call:
    """The objective, as it is called for one cohort."""

    def __init__(self, objective: Objective, cohort: Cohort) -> None:
        self.objective, self.cohort = objective, cohort
        self._results: Iterator[Result] | None = None
        self._process = os.getpid()
        self._streams = StandardStreams()

    def results(self) -> Iterator[Result]:
        """What the objective gives; it is called the first time."""
        if self._results is None:
            self._results = iter(self.objective(self.cohort))
        return self._results

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with suppress(BaseException):  # what it raises at its end changes no result
                getattr(self._results, "close", lambda: None)()
        finally:
            self.come_back()
            self._streams.close()

    def come_back(self) -> None:
        """Be as before the call: this process, its output, and what it was asked to do."""
        if os.getpid() != self._process:
            os._exit(0)  # a process forked by the objective must not continue as a second worker
        self._streams.restore()
        interrupts.check()


class StandardStreams:
    """Standard output and error, as they were before an objective ran."""

    def __init__(self) -> None:
        self.copies: dict[int, int] = {}
        for number in (1, 2):
            with suppress(OSError):  # a process may have none
                self.copies[number] = os.dup(number)
        self.objects = {"stdout": sys.stdout, "stderr": sys.stderr}

    def restore(self) -> None:
        """Undo what closed or replaced them."""
        for number, copy in self.copies.items():
            if not is_same_file(number, copy):
                os.dup2(copy, number)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = self.objects[name]
            if getattr(stream, "closed", False) and number in self.copies:
                stream = open(number, "w", buffering=1, closefd=False)  # noqa: SIM115
                self.objects[name] = stream
            setattr(sys, name, stream)

    def close(self) -> None:
        """Give the copies back."""
        for copy in self.copies.values():
            os.close(copy)


def is_same_file(one: int, other: int) -> bool:
    """Whether two file descriptors are open and lead to the same file."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def outcome_of(error: BaseException) -> str:
    """Outcome of a trial whose training raised `error`."""
    if isinstance(error, OutOfTimeError):
        return "timed_out"
    out_of_memory = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return "out_of_memory" if out_of_memory else "crashed"


def described(error: BaseException) -> str:
    """The error in one line, and where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
    return as_text(f"{type(error).__name__}: {' '.join(as_text(error).split())[:500]}{where}")
