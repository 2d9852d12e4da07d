"""The exceptions of `sweeps`.

StabilityError
    SpecError           bad input, with every fault
    StoreError          a run directory cannot be read or written
    ExecutorError       workers cannot be started, or end without a result
        DisplacedError  the run directory was moved, removed or replaced during the sweep
    EvictedError        this worker was taken for dead, and other workers have its trials
    ChangedCodeError    the user's code is another version than the expected one
    SpoiltError         this process cannot train any more: another process continues
    AnswerError         the return value of an objective is no result
    UnitError           the unit of an objective's errors has to be named
"""


class StabilityError(Exception):
    """Base of all; the command line prints it without a traceback and exits with status 2."""


class SpecError(StabilityError):
    """Bad input, with every fault in `faults`."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
        super().__init__("\n".join([f"{count}:", *(f"  {fault}" for fault in faults)]))


class StoreError(StabilityError):
    """A run directory cannot be read or written."""


class ExecutorError(StabilityError):
    """Workers cannot be started, or end without a result."""


class DisplacedError(ExecutorError):
    """The run directory, or a part of it, was moved, removed or replaced during the sweep."""


class EvictedError(StabilityError):
    """This worker was taken for dead, and other workers have its trials."""


class ChangedCodeError(StabilityError):
    """The user's code is another version than the expected one."""


class AnswerError(StabilityError, TypeError):
    """The return value of an objective is no result; trained again, it would be the same."""


class UnitError(StabilityError):
    """The unit of an objective's errors has to be named before more is trained."""


class SpoiltError(StabilityError):
    """This process cannot train any more: another process continues."""
