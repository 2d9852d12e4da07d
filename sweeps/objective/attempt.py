"""One attempt at a cohort: calls the objective and yields a result for each trial in any case.

An objective may be the user's code. It may raise anything, yield anything, close the standard
output, catch a request to end, or fork a process that returns from it. None of this may end a
sweep, lose an earlier result, or leave a trial without a recorded attempt.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

from sweeps.study.trial import Cohort, Objective, Result
from sweeps.study.values import as_text, fault_of_result, short_repr
from sweeps.system import interrupts
from sweeps.system.interrupts import AskedToEnd, Interrupted, OutOfTimeError


def run_attempt(objective: Objective, cohort: Cohort) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Yield each trial's result with its cost; after an exception the trials that are left fail.

    The seconds include earlier parts of the training that a checkpoint kept.
    Raises AskedToEnd or Interrupted if this process was asked to end.
    """
    size, start = len(cohort.trials), perf_counter()
    left = {trial.id: None for trial in cohort.trials}

    def cost(trial: str) -> dict[str, Any]:
        earlier = cohort.saved[trial].seconds_before if trial in cohort.saved else 0.0
        return {"seconds": earlier + (perf_counter() - start) / size, "cohort_size": size}

    error: BaseException | None = None
    with ObjectiveCall(objective, cohort) as call:
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
        print(
            f"after its last result the objective raised {describe_error(error)}", file=sys.stderr
        )
    if error is None and left:
        error = RuntimeError(f"the objective gave no result for {', '.join(left)}")
    for trial in left:
        assert error is not None
        outcome, message = failure_of(error)
        yield Result(trial=trial, outcome=outcome), {"message": message, **cost(trial)}


def check_expected(result: Any, left: dict[str, None]) -> None:
    """Raise TypeError or ValueError unless it is a usable result of a trial that has none yet."""
    if not isinstance(result, Result):
        raise TypeError(f"the objective gave {short_repr(result)}, expected a sweeps.Result")
    if not isinstance(result.trial, str) or result.trial not in left:
        raise TypeError(
            f"the objective gave a result for {short_repr(result.trial)}, expected one of the "
            f"trials that have none yet: {', '.join(left)[:200] or 'none is left'}"
        )
    if fault := fault_of_result(result):
        raise ValueError(f"the objective's result cannot be used: {fault}")


class ObjectiveCall:
    """A call of the objective for one cohort."""

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

    def __enter__(self) -> "ObjectiveCall":
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
        interrupts.raise_pending()


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
        """Close the copies."""
        for copy in self.copies.values():
            os.close(copy)


def is_same_file(one: int, other: int) -> bool:
    """Whether two file descriptors are open and lead to the same file."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def failure_of(error: BaseException) -> tuple[str, str]:
    """Return outcome and message of a trial whose training raised `error`."""
    if isinstance(error, OutOfTimeError):
        return "timed_out", str(error)
    out_of_memory = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return "out_of_memory" if out_of_memory else "crashed", describe_error(error)


def describe_error(error: BaseException) -> str:
    """Describe an error in one line, with the place where it was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})" if last else ""
    return as_text(f"{type(error).__name__}: {' '.join(as_text(error).split())[:500]}{where}")
