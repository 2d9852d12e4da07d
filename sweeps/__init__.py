"""Which trials, where they run, what came back. Knows nothing of what is trained.

What an objective of the user's own may import is here: `from sweeps import Cohort, Result`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.study.trial import Cohort, Result, Saved, Trial

__all__ = ["Cohort", "Result", "Saved", "Trial"]


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used: `import sweeps` alone loads nothing more."""
    if name not in __all__:
        raise AttributeError(f"module 'sweeps' has no attribute {name!r}")
    from sweeps.study import trial

    return getattr(trial, name)
