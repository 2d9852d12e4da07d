"""What Weights & Biases exports: the CSV of the runs table, and files of its API's runs.

Its columns are those that the person had chosen to see: `Name`, `State`, `Created` and others of
the run itself begin with a capital, then come the keys of its config and of its summary, which
holds the last value logged of each metric. The states are those of
https://docs.wandb.ai/models/runs/run-states, in small letters.

The example of https://docs.wandb.ai/models/track/public-api-guide writes a CSV with the columns
`summary`, `config` and `name`, the first two holding dicts; JSON files of runs have the same keys.
"""

from pathlib import Path

import pandas as pd

from analysis.errors import TableError
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.text_files import stem_of
from analysis.importers.source import ExternalSweep

ALWAYS = {"Name", "State"}
ONE_OF = {"Created", "Runtime", "User", "Sweep", "ID"}

WANDB_STATES = {
    *("finished", "crashed", "failed", "killed", "preempted", "preempting", "running", "pending")
}
"""Crashed: no more heartbeats; failed: exit status not 0; killed: stopped by hand or the sweep."""
LAST_VALUE_NOTE = (
    "the export has the last value that each run logged; of runs that did not finish it is left "
    "out, since it belongs to a shorter training"
)
NO_STATE_NOTE = (
    "the file has no state of the runs: those that failed or still run count as finished, with the "
    "last value that they logged; write run.state into the file, and import it again"
)
TAKEN_ORDER = "rows are taken to stand oldest first"
FAILED_NOTE = (
    "a 'failed' run is of unknown error: an exception of any cause ends so. Where it was that of a "
    "divergence: --map-outcome failed=diverged"
)
CHART_FAULT = (
    "a chart of W&B, which is the history of one metric by step and not a table of runs; export "
    "the runs table"
)
SAMPLER_NOTE = (
    "the file does not say how configurations were drawn, so no band is drawn; were they drawn at "
    "random, independently: --set sampler=random"
)


def is_export(frame: pd.DataFrame) -> bool:
    """Whether a table is an export of the runs table, or of runs of the API.

    >>> runs = pd.DataFrame({"Name": ["a"], "State": ["finished"], "lr": ["0.1"]})
    >>> is_export(runs), is_export(runs.assign(State="done")), is_export(runs.drop(columns="State"))
    (True, False, False)
    """
    names = {str(name) for name in frame}
    if names >= ALWAYS:
        states = {str(state).strip().lower() for state in frame["State"]}
        return bool(ONE_OF & names) or states <= WANDB_STATES
    parts = {name.partition(".")[0] for name in names if "." in name}
    return "name" in names and parts >= {"summary", "config"}


def is_chart(frame: pd.DataFrame) -> bool:
    """Whether a table is what a chart of W&B exports: a line for each step.

    >>> is_chart(pd.DataFrame(columns=["Step", "a - loss", "a - loss__MIN", "a - loss__MAX"]))
    True
    """
    names = {str(name) for name in frame}
    return any(" - " in n and {f"{n}__MIN", f"{n}__MAX"} <= names for n in names)


def read_wandb(path: Path, table: RawTable) -> ExternalSweep:
    """Read an export, oldest run first.

    Raises:
        TableError: nothing says how runs ended, or it is the export of a chart.

    """
    if is_chart(table.frame):
        raise TableError([f"{path}: {CHART_FAULT}"])
    frame = table.frame.copy()
    state, created, trial = (
        next((name for name in names if name in frame), None)
        for names in (("State", "state"), ("Created", "created_at"), ("ID", "id"))
    )
    if state is None and not is_export(frame):
        raise TableError([f"{path}: no column 'State': show it in the runs table and export again"])
    notes = [*table.notes, LAST_VALUE_NOTE if state else NO_STATE_NOTE]
    missing = [] if created is None else [i for i in frame.index if frame[created][i] is None]
    if created is None:
        notes.append(f"no column 'Created': {TAKEN_ORDER}")
    elif missing:
        notes.append(f"a run has no {created!r} ({table.places[missing[0]]}): {TAKEN_ORDER}")
    else:
        # Exports begin with the newest run; times are ISO 8601 and sort as text.
        frame = frame.sort_values(created, kind="stable", key=lambda cells: cells.map(str))
    if state is not None:
        frame[state] = [None if s is None else str(s).strip().lower() for s in frame[state]]
    ours = {"outcome": state, "trial": trial}
    return ExternalSweep(
        name=stem_of(path),
        format="wandb",
        frame=frame,
        places=table.places,
        is_ordered=created is not None and not missing,
        columns={our: their for our, their in ours.items() if their is not None},
        constants={"sampler": "unknown"},
        notes=tuple(notes),
        state_notes={"failed": FAILED_NOTE},
        sampler_note=SAMPLER_NOTE,
    )
