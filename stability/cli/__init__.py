"""The command line: the one place that knows what is trained, how it is swept, what it means.

Each command imports what it needs when it runs, so that `--help` starts at once.
"""

import sys

from stability.cli.commands import app

__all__ = ["app", "main"]

BAD_INPUT = 2


def main() -> None:
    """Run a command. Exit status: 0 done, 1 trials left failed, 2 bad input, 130 interrupted."""
    from sweeps.errors import StabilityError

    try:
        app()
    except StabilityError as error:
        print(f"stability: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:  # `stability status | head`
        sys.stderr.close()
