"""What is trained: models, data, the training loop, the command line and the Python API.

`stability.sweep(...)`, `stability.open_run(path)` and `stability.Run` are those of `stability.api`,
which is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from stability.registration import OBJECTIVES
from sweeps.study.objectives import register_objectives

if TYPE_CHECKING:
    from stability.api import Run, open_run, sweep

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "open_run", "sweep"]

register_objectives(OBJECTIVES)


def __getattr__(name: str) -> Any:
    if name not in ("Run", "open_run", "sweep"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stability import api

    return getattr(api, name)
