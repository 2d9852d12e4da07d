"""Lines about trials, when there may be 100,000 of them that say the same."""

from collections.abc import Iterable

from sweeps.store.failure_detection import error_kind

LINES, KINDS = 3, 5  # of each kind so many lines; so many kinds


def few(lines: Iterable[tuple[str, str | None]]) -> list[str]:
    r"""Of (line, error) the first lines of the first kinds of error, and how many more there are.

    >>> print("\n".join(few((f"failed: {i}: no file {i}", f"no file {i}") for i in range(9))))
    failed: 0: no file 0
    failed: 1: no file 1
    failed: 2: no file 2
      and 6 more alike
    """
    by_kind: dict[str, list[str]] = {}
    for line, error in lines:
        by_kind.setdefault(error_kind(error), []).append(line)
    shown = []
    for alike in list(by_kind.values())[:KINDS]:
        shown += alike[:LINES]
        if len(alike) > LINES:
            shown.append(f"  and {len(alike) - LINES} more alike")
    if others := list(by_kind.values())[KINDS:]:
        count = sum(map(len, others))
        shown.append(f"and {count} more with {len(others)} other errors (all: status --json)")
    return shown
