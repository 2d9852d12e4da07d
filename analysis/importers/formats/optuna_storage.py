"""An Optuna storage: one study is one group, every trial stays in the denominator.

What Optuna keeps of a trial (optuna/study/_tell.py): COMPLETE has a value, inf included; a value
of NaN and an exception both become FAIL, with nothing that tells them apart; PRUNED trials were
stopped because they looked bad, with the last reported value as theirs. The sampler is not kept;
the default, TPE, looks at the results of earlier trials, so that trials are not independent.
"""

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analysis.errors import TableError
from analysis.importers.cells import frame_of_rows
from analysis.importers.formats.text_files import read_head
from analysis.importers.source import SQLITE, Direction, ExternalSweep

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

NAN_SUFFIX = "_NAN"  # appended to a state: the last value that the trial reported is not finite
NOTE_SAMPLER = (
    "Optuna keeps no sampler, and its default (TPE) draws by earlier results, so no band is drawn; "
    "were the trials drawn by RandomSampler: --set sampler=random"
)
NOTE_FAIL = (
    "FAIL is of unknown error: Optuna keeps a returned NaN and an exception alike. Where the "
    "objective returned NaN: --map-outcome FAIL=diverged"
)


def read_optuna(source: str | Path, studies: tuple[str, ...] = ()) -> ExternalSweep:
    """Read studies of a storage, without writing to it.

    Args:
        source: a URL, an SQLite file, or a journal file.
        studies: their names; none for all.

    Raises:
        TableError: no storage of Optuna, none of this version, or no such study.

    """
    import optuna

    with _reading(source) as storage:
        names = optuna.get_all_study_names(storage)
        if absent := [name for name in studies if name not in names]:
            there = ", ".join(map(repr, names)) or "none"
            raise TableError([f"--study: no study {name!r}, there are: {there}" for name in absent])
        found = [optuna.load_study(study_name=n, storage=storage) for n in studies or names]
        rows = [row for study in found for row in _rows(study)]
        directions, notes = _directions(found)
    if not rows:
        raise TableError([f"{without_password(source)}: no trials"])
    frame = frame_of_rows(rows)
    if "attempt" in frame:
        notes.append("a trial that was retried counts once, with its last attempt")
    several = len(found) > 1
    return ExternalSweep(
        name=Path(str(source)).stem,
        format="optuna",
        is_ordered=True,
        frame=frame,
        places=[
            f"study {row['study']!r}, trial {row['number']}"
            if several
            else f"trial {row['number']}"
            for row in rows
        ],
        directions=directions,
        columns={"outcome": "state", "draw": "number", "study": "study"},
        constants={"sampler": "unknown"},
        notes=tuple(notes),
        state_notes={"FAIL": NOTE_FAIL},
        sampler_note=NOTE_SAMPLER,
    )


def without_password(source: str | Path) -> str:
    """A source as it may be printed: no password.

    >>> without_password("mysql://me:secret@host/studies")
    'mysql://me:***@host/studies'
    """
    from sqlalchemy.engine import make_url  # a dependency of Optuna

    text = str(source)
    return make_url(text).render_as_string(hide_password=True) if "://" in text else text


@contextmanager
def _reading(source: str | Path) -> "Iterator[BaseStorage]":
    """A storage that is only read: SQLite is opened so, a journal is copied first."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.exc import SQLAlchemyError

    try:
        text = str(source)
        if "://" in text and not text.startswith("sqlite"):
            yield RDBStorage(text)
        elif read_head(path := _file_of(text)).startswith(SQLITE):
            yield RDBStorage(_read_only(path))
        else:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder, "journal")
                shutil.copyfile(path, copy)  # the backend opens its file to append
                yield JournalStorage(JournalFileBackend(str(copy)))
    except TableError:
        raise
    except (SQLAlchemyError, RuntimeError, ValueError, KeyError, OSError, ImportError) as error:
        said = str(error).partition("\n")[0]
        raise TableError(
            [f"{without_password(source)} is no Optuna storage that can be read: {said}"]
        ) from error


def _read_only(path: Path) -> str:
    """URL of an SQLite file that is never written to, nor made (https://www.sqlite.org/uri.html).

    The path is quoted twice: SQLAlchemy takes its own layer off, SQLite the other; with one, a `#`
    in the name would end it, and another file would be opened, and made.
    """
    from sqlalchemy.engine import URL

    file = f"file:{quote(str(path.absolute()))}"
    url = URL.create("sqlite", database=file, query={"mode": "ro", "uri": "true"})
    return url.render_as_string()


def _file_of(text: str) -> Path:
    """The file of `sqlite:///FILE`, or of a plain path. Raises TableError where there is none."""
    from sqlalchemy.engine import make_url

    path = Path(make_url(text).database or "") if "://" in text else Path(text)
    if not path.is_file():
        raise TableError([f"{text}: no such file"])
    return path


def _directions(studies: "list[optuna.Study]") -> tuple[dict[str, Direction], list[str]]:
    """Direction of each objective, and what is said of those that studies disagree on."""
    found: dict[str, set[Direction]] = {}
    words: dict[str, Direction] = {"MINIMIZE": "minimize", "MAXIMIZE": "maximize"}
    for study in studies:
        for name, direction in zip(_value_names(study), study.directions, strict=True):
            if direction.name in words:
                found.setdefault(name, set()).add(words[direction.name])
    notes = [
        f"{name}: some studies minimize it, others maximize it; read one kind at a time (--study)"
        for name, ways in found.items()
        if len(ways) > 1
    ]
    return {name: ways.pop() for name, ways in found.items() if len(ways) == 1}, notes


def _rows(study: "optuna.Study") -> list[dict[str, Any]]:
    """A row for each configuration, in the order in which they were drawn."""
    trials = study.get_trials(deepcopy=False)
    # in the order of their numbers, so that of several attempts the last one stays
    rows = {(_history(trial) or [trial.number])[0]: _row(study, trial) for trial in trials}
    return [{**rows[n], "study": study.study_name, "number": n} for n in sorted(rows)]


def _history(trial: "FrozenTrial") -> list[int]:
    """Numbers of earlier attempts, the first one first, as Optuna's retry callback keeps them.

    The attribute is read, since the functions that read it have changed their names.
    """
    history: list[int] = trial.system_attrs.get("retry_history", [])
    return history


def _row(study: "optuna.Study", trial: "FrozenTrial") -> dict[str, Any]:
    names = _value_names(study)
    values = trial.values or [None] * len(names)
    row = {
        "study": "",
        "number": 0,
        "state": _state(trial),
        **dict(zip(names, values, strict=True)),
    }
    if history := _history(trial):
        row["attempt"] = len(history) + 1
    for prefix, cells in (("params_", trial.params), ("user_attrs_", trial.user_attrs)):
        for name, value in cells.items():  # Optuna's own prefix, where the bare name is taken
            row[prefix + name if name in row else name] = value
    return row


def _value_names(study: "optuna.Study") -> list[str]:
    """Names of the objectives, as in `Study.trials_dataframe`."""
    if len(study.directions) == 1 and study.metric_names is None:
        return ["value"]
    names = study.metric_names or [str(i) for i in range(len(study.directions))]
    return [f"values_{name}" for name in names]


def _state(trial: "FrozenTrial") -> str:
    state = trial.state.name
    if state in ("FAIL", "PRUNED") and trial.intermediate_values:
        last = trial.intermediate_values[max(trial.intermediate_values)]
        return state if math.isfinite(last) else state + NAN_SUFFIX
    return state
