"""What can go wrong, as a tree.

StabilityError
    SpecError      what was asked for is wrong: every fault at once
    StoreError     a run directory cannot be read or written
    DispatchError  workers cannot be started, or end without doing anything
        DisplacedError  the run directory was moved, removed or replaced while it was driven
    EvictedError   this worker was taken for dead, and others have its work
    ChangedCodeError  the user's code is not what the results are to come from
    SpoiltError    this process should train nothing: another one goes on
    AnswerError    what an objective returned is no result
    UnitError      the unit of an objective's errors has to be named
"""


class StabilityError(Exception):
    """Base of all; the command line prints it without a traceback and exits with status 2."""


class SpecError(StabilityError):
    """What was asked for is wrong."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
        super().__init__("\n".join([f"{count}:", *(f"  {fault}" for fault in faults)]))


class StoreError(StabilityError):
    """A run directory cannot be read or written."""


class ExecutorError(StabilityError):
    """Workers cannot be started, or end without doing anything."""


class DisplacedError(ExecutorError):
    """The run directory, or something in it, was moved, removed or replaced meanwhile."""


class EvictedError(StabilityError):
    """This worker was taken for dead, and others have its work."""


class ChangedCodeError(StabilityError):
    """The user's code is another version than the one that results are to come from."""


class AnswerError(StabilityError, TypeError):
    """What an objective returned is no result; trained again, it would return the same."""


class UnitError(StabilityError):
    """The unit of an objective's errors has to be named before more is trained."""


class SpoiltError(StabilityError):
    """This process should train nothing: another one goes on."""
