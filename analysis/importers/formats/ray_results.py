"""Results of Ray Tune: an experiment folder, or the file of one trial.

Written by Ray (python/ray/tune: logger/json.py, logger/csv.py, result.py, tune_controller.py):
each trial has a folder with `result.json` (an object in each line, with `config`), `progress.csv`
(the same without `config`), `params.json` and, after a failure, `error.txt` and `error.pkl`. One
trial is one row: its last line. The experiment folder has `experiment_state-*.json` with the status
of each trial. It decides, since a training function that returns leaves `done` false in its last
line, and `error.txt` stays after a retry that went well. Nothing is unpickled.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.importers.cells import flatten, frame_of_rows
from analysis.importers.formats.delimited import read_csv
from analysis.importers.formats.raw_table import RawTable
from analysis.importers.formats.text_files import (
    JsonLines,
    ending_of,
    parse_json_lines,
    read_json,
    read_text,
    stem_of,
)
from analysis.importers.source import ExternalSweep

RESULT_FILES = ("result.json", "progress.csv")
TRIAL_FILES = (*RESULT_FILES, "params.json", "error.txt", "error.pkl")
STATE_FILES = "experiment_state-*.json"
IDENTITY = {"trial_id", "training_iteration"}
NOTE_RUNNING = (
    "RUNNING: nothing says that the trial ended. A training function that returns leaves done = "
    "false in its last line, and only the experiment folder (experiment_state-*.json) says that it "
    "ended. Where all have ended: --map-outcome RUNNING=ok"
)
NOTE_LAST = "of each trial the last line counts, not the best"
NOTE_SAMPLER = (
    "the files do not say how configurations were drawn, so no band is drawn; were they drawn at "
    "random, independently: --set sampler=random"
)


@dataclass(frozen=True)
class _Trial:
    """What is known of a trial; keys of nested objects are joined by dots."""

    result: dict[str, Any]
    """Its last line; empty where there is none."""
    config: dict[str, Any]
    state: str
    place: str


def is_trial(content: Any) -> bool:
    """Whether the content of a JSON file is a `result.json`.

    >>> line = {"trial_id": "a_00000", "training_iteration": 1, "loss": 0.5}
    >>> is_trial(JsonLines([line, line], [1, 2])), is_trial(line), is_trial([line])
    (True, True, False)
    """
    rows = content.values if isinstance(content, JsonLines) else [content]
    if not all(isinstance(row, dict) and row.keys() >= IDENTITY for row in rows):
        return False
    ids = {row["trial_id"] if isinstance(row["trial_id"], str) else None for row in rows}
    return len(ids) == 1 and None not in ids


def is_progress(frame: pd.DataFrame) -> bool:
    """Whether a table is a `progress.csv`: lines of one trial.

    >>> lines = pd.DataFrame({"trial_id": ["a", "a"], "training_iteration": ["1", "2"]})
    >>> is_progress(lines), is_progress(lines.assign(trial_id=["a", "b"]))
    (True, False)
    """
    names = {str(name) for name in frame}
    return (
        names >= IDENTITY
        and frame["trial_id"].nunique(dropna=False) == 1
        and (len(frame) > 1 or "done" in names)
    )


def is_experiment(folder: Path) -> bool:
    """Whether a folder is an experiment, or the folder of a trial with results."""
    return _result_file(folder) is not None or any(
        _result_file(inner) is not None for inner in _trial_folders(folder)
    )


def read_ray(path: Path) -> ExternalSweep:
    """Read an experiment folder, the folder of a trial, or the file of a trial.

    Raises:
        TableError: no result, or every file that cannot be read.

    """
    if not path.is_dir():
        own = path.name in RESULT_FILES
        folder = path.absolute().parent
        states = _states(folder.parent) if own else {}
        trial = _read_trial(path, folder if own else None, states)
        return _sweep([trial], (folder.parent if own else folder).name or stem_of(path), parts=True)
    if (file := _result_file(path)) is not None:
        return read_ray(file)
    states = _states(path)
    trials: list[_Trial] = []
    faults: list[str] = []
    for folder in _trial_folders(path):
        try:
            trials.append(_trial_of_folder(folder, states))
        except TableError as error:
            faults += error.faults
    if faults or not trials:
        raise TableError(faults or [f"{path}: no folder of a trial of Ray Tune in it"])
    order = {trial_id: place for place, trial_id in enumerate(states)}
    trials.sort(key=lambda trial: order.get(str(trial.result["trial_id"]), len(order)))
    return _sweep(trials, path.absolute().name, parts=False)


def _sweep(trials: list[_Trial], name: str, *, parts: bool) -> ExternalSweep:
    frame = frame_of_rows([_row(trial) for trial in trials])
    return ExternalSweep(
        name=name,
        format="ray",
        is_ordered=True,
        frame=frame,
        places=tuple(trial.place for trial in trials),
        experiment=name if parts else "",
        columns={"trial": "trial_id", "outcome": "state"},
        constants={"sampler": "unknown"},
        notes=(NOTE_LAST, *_stopped_early(trials)),
        state_notes={"RUNNING": NOTE_RUNNING},
        sampler_note=NOTE_SAMPLER,
    )


def _row(trial: _Trial) -> dict[str, Any]:
    """Identity and state, then the results, then hyperparameters by their names where free."""
    row: dict[str, Any] = {"trial_id": trial.result.get("trial_id"), "state": trial.state}
    for prefix, cells in (("result.", trial.result), ("config.", trial.config)):
        for name, cell in cells.items():
            if name != "trial_id" or prefix == "config.":
                row[prefix + name if name in row else name] = cell
    return row


def _stopped_early(trials: list[_Trial]) -> list[str]:
    """Say that trials which ended have different lengths, as after a scheduler that stops some."""
    lengths = {
        str(trial.result["training_iteration"])
        for trial in trials
        if trial.state == "TERMINATED" and "training_iteration" in trial.result
    }
    if len(lengths) < 2:
        return []
    shown = sorted(lengths, key=lambda text: (len(text), text))
    return [
        f"trials ended after {shown[0]} to {shown[-1]} iterations: if a scheduler stopped some "
        "because they looked bad (ASHA, median stopping), their last values belong to shorter "
        "trainings, and Ray does not say which these are"
    ]


def _read_trial(file: Path, folder: Path | None, states: dict[str, str]) -> _Trial:
    """A trial by its results; its folder is where its configuration and its error lie."""
    result, line = _last_line(file)
    config = result.pop("config", None)
    slashed = [name for name in result if name.startswith("config/")]  # of ResultGrid's dataframe
    if slashed:
        config = {name.removeprefix("config/"): result.pop(name) for name in slashed}
    if not isinstance(config, dict):
        config = _parameters(folder)
    state = states.get(str(result.get("trial_id")))
    if state is None and str(result.get("done")).lower() == "true":
        state = "TERMINATED"
    if state is None:
        state = "ERROR" if folder is not None and _has_error(folder) else "RUNNING"
    try:
        flat, config = flatten(result), flatten(config)
    except ValueError as error:
        raise TableError([f"{file}, line {line}: {error}"]) from error
    # numpy's NaN is written as a text (SafeFallbackEncoder)
    flat = {name: math.nan if cell == "null" else cell for name, cell in flat.items()}
    return _Trial(flat, config, state, f"line {line}")


def _last_line(file: Path) -> tuple[dict[str, Any], int]:
    """The last result of a file, and its line. Raises TableError."""
    if ending_of(file) in (".json", ".jsonl"):
        content = parse_json_lines(file, read_text(file))
        if not is_trial(content):
            raise TableError([f"{file} has no lines of one trial of Ray Tune (trial_id)"])
        return dict(content.values[-1]), content.lines[-1]
    table: RawTable = read_csv(file)
    if not is_progress(table.frame):
        raise TableError([f"{file} has no lines of one trial of Ray Tune (trial_id)"])
    last = {str(name): cell for name, cell in table.frame.iloc[-1].items()}
    return last, int(table.places[-1].split()[-1])


def _trial_of_folder(folder: Path, states: dict[str, str]) -> _Trial:
    file = _result_file(folder)
    if file is not None:
        return replace(_read_trial(file, folder, states), place=f"trial {folder.name}")
    trial_id = _id_of(folder, states)
    state = states.get(trial_id, "ERROR" if _has_error(folder) else "PENDING")
    return _Trial({"trial_id": trial_id}, _parameters(folder), state, f"trial {folder.name}")


def _id_of(folder: Path, states: dict[str, str]) -> str:
    """The id of a trial without results: Ray writes it into the name of the folder."""
    known = [trial_id for trial_id in states if f"_{trial_id}_" in f"_{folder.name}_"]
    found = re.search(r"_([0-9a-f]{5,8}_[0-9]{5})(_|$)", f"_{folder.name}")
    return known[0] if known else found[1] if found else folder.name


def _trial_folders(experiment: Path) -> list[Path]:
    """Folders of trials by their names, which hold the number of the trial."""
    try:
        inner = sorted(path for path in experiment.iterdir() if path.is_dir())
        return [path for path in inner if any((path / name).exists() for name in TRIAL_FILES)]
    except OSError as error:
        raise TableError([f"{experiment}: cannot be read: {error.strerror}"]) from error


def _result_file(folder: Path) -> Path | None:
    """Results of a trial; Ray makes empty files at its start."""
    for name in RESULT_FILES:
        if (folder / name).is_file() and (folder / name).stat().st_size:
            return folder / name
    return None


def _has_error(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("error.txt", "error.pkl"))


def _parameters(folder: Path | None) -> dict[str, Any]:
    """The configuration of a trial as `params.json` has it; empty where there is none."""
    if folder is None or not (folder / "params.json").is_file():
        return {}
    content = read_json(folder / "params.json")
    try:
        return flatten(content) if isinstance(content, dict) else {}
    except ValueError as error:
        raise TableError([f"{folder / 'params.json'}: {error}"]) from error


def _states(experiment: Path) -> dict[str, str]:
    """Status of each trial by its id, in the order of their making; empty where none is kept.

    Raises:
        TableError: the newest state is no JSON.

    """
    files = sorted(experiment.glob(STATE_FILES))  # the names hold the time
    content = read_json(files[-1]) if files else {}
    if not isinstance(content, dict):
        return {}
    found: dict[str, str] = {}
    entries = content.get("trial_data", content.get("checkpoints"))
    for entry in entries if isinstance(entries, list) else []:
        trial = entry[0] if isinstance(entry, list) and entry else entry
        try:
            trial = json.loads(trial) if isinstance(trial, str) else trial
        except ValueError:
            continue
        if isinstance(trial, dict) and {"trial_id", "status"} <= trial.keys():
            found[str(trial["trial_id"])] = str(trial["status"])
    return found
