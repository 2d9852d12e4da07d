"""How bad input is answered: every fault at once, with what was got and what is allowed."""

from collections.abc import Sequence
from difflib import get_close_matches


class TableError(ValueError):
    """A table that cannot be analysed; the message lists every fault that was found.

    >>> print(TableError(["a.csv: no column 'error'", "b.csv: no rows"]))
    2 problems: a.csv: no column 'error'; b.csv: no rows
    """

    def __init__(self, faults: Sequence[str], hint: str = "") -> None:
        self.faults = tuple(faults)
        self.hint = hint
        """A command that would settle the faults; empty where there is none."""
        count = f"{len(self.faults)} problem" + ("s" if len(self.faults) != 1 else "")
        text = f"{count}: " + "; ".join(self.faults)
        super().__init__(f"{text}. Try: {hint}" if hint else text)


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless a confidence level is between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: got {confidence}, allowed: between 0 and 1, both excluded")


def invalid_choice(name: str, got: object, allowed: Sequence[str]) -> str:
    """Say that `got` is not allowed for `name`, which values are, and which is nearest.

    >>> invalid_choice("policy", "chanse", ("chance", "last"))
    "policy: 'chanse' is not one of 'chance', 'last' (did you mean 'chance'?)"
    """
    near = get_close_matches(str(got), allowed, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{name}: {got!r} is not one of {', '.join(map(repr, allowed))}{hint}"
