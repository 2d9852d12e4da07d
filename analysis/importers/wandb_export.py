"""The CSV that the runs table of Weights & Biases exports.

Its columns are those that the person had chosen to see: `Name`, `State`, `Created` and others of
the run itself begin with a capital, then come the keys of its config and of its summary, which
holds the last value logged of each metric. The states are those of
https://docs.wandb.ai/models/runs/run-states, in small letters.
"""

from collections.abc import Sequence
from pathlib import Path

from analysis.errors import TableError
from analysis.importers.flat_table import read_csv
from analysis.importers.source import ExternalSweep

ALWAYS = {"Name", "State"}
ONE_OF = {"Created", "Runtime", "User", "Sweep", "ID"}

WANDB_OUTCOMES = {
    "finished": "ok",
    "crashed": "crashed",  # no more heartbeats: the machine, or a kill
    "failed": "crashed",  # exit status not 0: an exception, of whatever cause
    "killed": "timed_out",  # stopped before its end, by hand or by the sweep
    "preempted": "timed_out",
    "preempting": "missing",
    "running": "missing",
    "pending": "missing",
}
LAST_VALUE_NOTE = (
    "the export has the last value that each run logged; of runs that did not finish it is left "
    "out, since it belongs to a shorter training"
)
NOT_SORTED_NOTE = "no column 'Created': the rows are taken to stand oldest first"
FAILED_NOTE = (
    "a 'failed' run is of unknown error: an exception of any cause ends so. Where it was that of a "
    "divergence: --map-outcome failed=diverged"
)
SAMPLER_NOTE = (
    "the file does not say how configurations were drawn, so no band is drawn; were they drawn at "
    "random, independently: --set sampler=random"
)


def is_export(names: Sequence[str]) -> bool:
    """Whether a CSV with these columns is such an export.

    >>> is_export(["Name", "State", "Created", "lr"]), is_export(["Name", "lr"])
    (True, False)
    """
    return set(names) >= ALWAYS and bool(ONE_OF & set(names))


def read_wandb(path: Path) -> ExternalSweep:
    """Read an export, oldest run first. Raises TableError where there is no `State`."""
    frame = read_csv(path)
    if "State" not in frame:
        raise TableError([f"{path}: no column 'State': show it in the runs table and export again"])
    notes = [LAST_VALUE_NOTE]
    if "Created" in frame and frame["Created"].notna().all():
        # Exports begin with the newest run; times are ISO 8601 and sort as text.
        frame = frame.sort_values("Created", kind="stable", ignore_index=True)
    else:
        notes.append(NOT_SORTED_NOTE)
    frame["State"] = [None if s is None else str(s).lower() for s in frame["State"]]
    identity = {"trial": "ID"} if "ID" in frame else {}
    return ExternalSweep(
        name=path.stem,
        format="wandb",
        frame=frame,
        columns={"outcome": "State", **identity},
        outcomes=WANDB_OUTCOMES,
        constants={"sampler": "unknown"},
        notes=tuple(notes),
        state_notes={"failed": FAILED_NOTE},
        sampler_note=SAMPLER_NOTE,
    )
