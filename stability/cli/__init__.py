"""The command line: the one place that knows what is trained, how it is swept, what it means.

Each command imports what it needs when it runs, so that `--help` starts at once.
"""

import gc
import io
import os
import sys
import traceback
import warnings
from pathlib import Path

from stability.cli.app import app

__all__ = ["app", "main"]

FAILED, BAD_INPUT = 1, 2
DEBUG = "STABILITY_DEBUG"
"""Name of the variable with which an unexpected error is raised, with its traceback."""


def say(message: Warning | str, *where: object, **more: object) -> None:
    """A warning of a library, for a person: what it says, not where."""
    if type(message).__name__ == "MixedCodeWarning":
        return  # tables and figures state it
    from sweeps.system.trust import printable

    print(f"note: {printable(str(message))}", file=sys.stderr)


def unexpected(error: Exception) -> str:
    """An error that no command foresees, in a sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return (
        f"unexpected {type(error).__name__} ({where}): {error}. Written results are kept. "
        f"Please report it: run export {DEBUG}=1, repeat the command, and include what it prints"
    )


def fault_of(error: Exception) -> str | None:
    """What to print of bad input that is no `StabilityError`: a table, a path; None of others.

    `analysis` is not loaded for this: without it no TableError can have been raised.
    """
    from sweeps.errors import SpecError

    analysis_errors = sys.modules.get("analysis.errors")
    if analysis_errors is not None and isinstance(error, analysis_errors.TableError):
        faults = str(SpecError(list(error.faults)))
        return (
            f"{faults}\nTo settle it, check that this is what you mean, and run:\n{error.hint}"
            if error.hint
            else faults
        )
    if isinstance(error, UnicodeEncodeError):  # of a path: output can be encoded, whatever it is
        return f"{error.object} is not valid UTF-8, take another name"
    return None


def main() -> None:
    """Run a command. Exit status: 0 done, 1 trials left failed, 2 bad input, 130 interrupted."""
    from sweeps.errors import StabilityError
    from sweeps.system.trust import printable

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in a pipe too, each line when it is said
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    warnings.showwarning = say
    try:
        app()
    except StabilityError as error:
        print(f"stability: {printable(str(error))}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except OSError as error:  # a disk that is full: what was trained is kept
        print(f"stability: {printable(str(error))}", file=sys.stderr)
        sys.exit(FAILED)
    except Exception as error:
        if (fault := fault_of(error)) is not None:
            print(f"stability: {printable(fault)}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        if os.environ.get(DEBUG):
            raise
        print(f"stability: {printable(unexpected(error))}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        gc.freeze()  # nobody needs the garbage of pandas and matplotlib: a quarter of a second
