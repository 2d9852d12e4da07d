"""What the words of other programs for how a run ended mean, and which column has them."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.importers.cells import is_finite, parse_cell, text_cell
from analysis.importers.source import ExternalSweep, ImportOptions, count_runs, join_names
from analysis.table.outcomes import OUTCOMES, UNKNOWN

WORDS: Mapping[str, tuple[str, ...]] = {
    "ok": ("complete", "completed", "finished", "done", "success", "succeeded", "successful"),
    "diverged": ("nan", "inf", "fail_nan", "pruned_nan"),
    "crashed": (
        *("fail", "failed", "failure", "error", "exception", "crash", "invalid"),
        *("node_fail", "boot_fail", "launch_failed", "special_exit", "revoked"),
    ),
    "out_of_memory": ("oom", "out_of_memory_error", "cuda_oom"),
    "timed_out": (
        *("timeout", "deadline", "killed", "preempted", "aborted"),
        *("cancelled", "canceled", "interrupted"),
    ),
    "missing": (
        *("running", "waiting", "pending", "queued", "scheduled", "idle", "paused", "unfinished"),
        *("preempting", "suspended", "requeued", "requeue_hold", "resizing", "configuring"),
        *("completing", "signaling", "stage_out", "submitted", "not_started"),
    ),
}
"""Words of Optuna (`TrialState`), Weights & Biases (run states), MLflow (`RunStatus`), Ray Tune
(`Trial.status`), Keras Tuner (`TrialStatus`) and Slurm (`sacct`, JOB STATE CODES), in small
letters, and what people write; a word means the same in all of them."""
RAY_STATES = frozenset({"pending", "running", "paused", "terminated", "error"})
REFUSED_STATES = {
    "pruned": "stopped because they looked bad, so that their last value belongs to a shorter "
    "training and those that ended are a biased sample; allowed: {word}=timed_out, which counts "
    "them as unknown (shares become bounds)",
}
DOUBTFUL_STATES = {
    "stopped": "ended early by a scheduler or a person, or as planned",
    "early_stopped": "ended early: their value belongs to a shorter training",
    "terminated": "ended as planned, or were killed",
}
"""Words that mean different things; the person says which: any outcome is allowed."""
STATE_NAMES = frozenset(
    {
        *("state", "status", "outcome", "run_state", "run_status", "trial_state", "trial_status"),
        *("job_state", "jobstate", "exit_state", "exit_status", "job_status"),
    }
)
ENDING_NAMES = frozenset(
    {
        *("result", "termination", "ended", "ending", "end_state", "final_state", "exit_reason"),
        *("stop_reason", "termination_reason", "finish_reason", "reason"),
    }
)
"""Names of columns that may say how a run ended, but may also say something else."""
EXIT_NAMES = frozenset({"exit_code", "exitcode", "returncode", "return_code"})
YES, NO = {"true", "yes", "y", "1", "1.0"}, {"false", "no", "n", "0", "0.0"}
MOST_STATES = 12
"""A column with more distinct texts than this says something else than how a run ended."""
NO_STATE = "(empty)"
"""Stands for an empty cell of the column of states."""
SHORTER = "shorter"
"""Stands for finished runs that were trained less than the others."""


def outcome_of_word(word: str) -> str | None:
    """The outcome that a word means by itself, None for one that is not known.

    >>> [outcome_of_word(w) for w in ("TrialState.COMPLETE", "CANCELLED by 1000", "ok", "fine")]
    ['ok', 'timed_out', 'ok', None]
    """
    return _MEANING.get(_plain(word))


def find_state_column(frame: pd.DataFrame, used: Iterable[str]) -> tuple[str | None, list[str]]:
    """The column that says how each run ended: (its name, faults where a person has to say).

    A column is taken by its name where its texts are words of `WORDS`; a further column that only
    looks like one is asked about.

    Args:
        frame: of a reader.
        used: columns that have another meaning already.

    >>> find_state_column(pd.DataFrame({"Status": ["FINISHED", "KILLED"]}), ())
    ('Status', [])
    """
    free = [name for name in map(str, frame) if name not in set(used)]
    named = [name for name in free if _last_part(name) in STATE_NAMES]
    named = [name for name in named if frame[name].notna().any()]
    if len(named) == 1:
        return named[0], []
    if named:
        return None, [
            f"{join_names(named)} may each say how the runs ended: --map outcome=COLUMN takes one, "
            "--set outcome=ok none"
        ]
    alike = [name for name in free if _looks_like_states(name, frame[name])]
    return None, [
        f"column {name!r} looks like how the runs ended "
        f"({join_names(str(c) for c in frame[name].drop_duplicates() if c is not None)}): "
        f"--map outcome={name} takes it so, --set outcome=ok does not"
        for name in alike
    ]


def disagreements(frame: pd.DataFrame, outcome: str, used: Iterable[str]) -> list[str]:
    """A fault where a column of outcomes and a column of states contradict each other."""
    other, _ = find_state_column(frame, {*used, outcome})
    if other is None:
        return []
    pairs = [
        (outcome_of_word(str(a)), outcome_of_word(str(b)))
        for a, b in zip(frame[outcome], frame[other], strict=True)
        if a is not None and b is not None
    ]
    differ = sum(a is not None and b is not None and a != b for a, b in pairs)
    if not differ:
        return []
    return [
        f"{outcome} and {other} contradict each other in {count_runs(differ)}: "
        f"--map outcome={outcome}, or --map outcome={other}"
    ]


def outcomes_of_states(
    cells: "pd.Series[Any]", sweep: ExternalSweep, options: ImportOptions
) -> tuple[list[str], list[str]]:
    """What the values of the outcome's column mean: (outcome of each run, faults).

    As the person says, else as the format does, else as the word does; in any letter case.
    """
    texts = [text_cell(cell) or NO_STATE for cell in cells]
    counts = dict(pd.Series(texts, dtype=object).value_counts(sort=False))
    asked = {_plain(state): outcome for state, outcome in options.outcomes.items()}
    known = {_plain(value) for value in counts} | {*_MEANING, *REFUSED_STATES, SHORTER}
    known |= {_plain(state) for state in sweep.outcomes}
    faults = [
        f"--map-outcome {state}=...: there is no such value, there are: {join_names(counts)}"
        for state in options.outcomes
        if _plain(state) not in known
    ]
    meanings = state_meanings(counts, sweep)
    meaning: dict[str, str] = {}
    for value, count in counts.items():
        key = _plain(value)
        is_refused = key in REFUSED_STATES and asked.get(key) not in UNKNOWN
        found = None if is_refused else asked.get(key) or meanings.get(key)
        if found is None:
            faults.append(_question(value, count))
        else:
            meaning[value] = found
    return [meaning.get(text, "") for text in texts], faults


def state_meanings(texts: Iterable[str], sweep: ExternalSweep) -> dict[str, str]:
    """Outcomes of the words of a source, by the word in small letters."""
    is_ray = {_plain(text) for text in texts} <= RAY_STATES
    of_format = {_plain(state): outcome for state, outcome in sweep.outcomes.items()}
    return {**_MEANING, **({"terminated": "ok"} if is_ray else {}), **of_format}


def unknown_states(
    cells: "pd.Series[Any]", sweep: ExternalSweep, asked: Iterable[str]
) -> list[str]:
    """Texts of a column of states that a person has to explain, each once."""
    texts = [text_cell(cell) or NO_STATE for cell in cells.drop_duplicates()]
    known = {*state_meanings(texts, sweep), *map(_plain, asked)}
    return [text for text in texts if _plain(text) not in known]


def suggested_outcome(word: str, column: str = "") -> str:
    """The outcome to propose for a word: that of the nearest known word, else `OUTCOME`.

    Yes and no are answers to the name of the column.

    >>> suggested_outcome("oom-killed"), suggested_outcome("exploded"), suggested_outcome("PRUNED")
    ('out_of_memory', 'OUTCOME', 'timed_out')
    >>> suggested_outcome("True", "diverged"), suggested_outcome("no", "diverged")
    ('diverged', 'ok')
    """
    plain = _plain(word)
    asked = _MEANING.get(_flag_name(column), "")
    if asked and plain in YES | NO:
        is_good = (plain in YES) == (asked == "ok")
        return "ok" if is_good else "OUTCOME" if asked == "ok" else asked
    if plain in (*REFUSED_STATES, *DOUBTFUL_STATES):
        return "timed_out"
    parts = [part for part in re.split("[^a-z]+", plain) if part in _MEANING]
    near = parts or difflib.get_close_matches(plain, list(_MEANING), n=1, cutoff=0.75)
    return _MEANING[near[0]] if near else "OUTCOME"


def _question(value: str, count: int) -> str:
    """Ask what a state means, with what can be answered."""
    runs = count_runs(count)
    said = f"{runs} {'is' if count == 1 else 'are'} {value}"
    if (key := _plain(value)) in REFUSED_STATES:
        return f"{said}: {REFUSED_STATES[key].format(word=value)}"
    if value == NO_STATE:
        said = f"{runs} without a state"
    else:
        said += f": {DOUBTFUL_STATES.get(key, 'not a known state')}"
    hint = f"--map-outcome '{value}={suggested_outcome(value)}'"
    return f"{said}; say what it means: {hint} (OUTCOME is one of {', '.join(OUTCOMES)})"


def _looks_like_states(name: str, cells: "pd.Series[Any]") -> bool:
    """Whether a column seems to say how the runs ended.

    A flag such as `crashed` or `done` with an answer that is bad news; an exit code that is not 0;
    a few texts, half of them words for it, or under a name such as `result`.
    """
    plain = _flag_name(name)
    distinct = {str(cell).strip().lower() for cell in cells.drop_duplicates() if cell is not None}
    if not distinct or len(distinct) > MOST_STATES:
        return False
    if plain in EXIT_NAMES:
        return distinct - {"0", "0.0"} != set()
    if plain in _MEANING and plain != "error" and distinct <= YES | NO:
        return bool(distinct & (NO if _MEANING[plain] == "ok" else YES))
    texts = _texts(cells)
    words = [text for text in texts if _has_word(text)]
    return bool(texts) and (plain in ENDING_NAMES or 2 * len(words) >= len(texts))


def _has_word(text: str) -> bool:
    """Whether a text is a word for how a run ended, or one of several in it is."""
    known = {*_MEANING, *REFUSED_STATES, "early"}
    return _plain(text) in known or any(part in known for part in re.split("[^a-z]+", text.lower()))


def _texts(cells: "pd.Series[Any]") -> list[str]:
    """The distinct texts of a column that has few of them, and no number."""
    distinct = [str(c) if isinstance(c, bool) else c for c in cells.drop_duplicates()]
    if len(distinct) > MOST_STATES + 1 or any(is_finite(parse_cell(cell)) for cell in distinct):
        return []
    return [text for cell in distinct if (text := text_cell(cell)) is not None]


def _last_part(name: str) -> str:
    """The name of a column without what tools put before it: `info/Status` is `status`."""
    return re.split(r"[./]", name)[-1].strip().lower().replace(" ", "_").replace("-", "_")


def _flag_name(name: str) -> str:
    """The word that a flag is about: `is_diverged` asks for `diverged`."""
    return re.sub("^(is|has|was)_", "", _last_part(name))


def _plain(word: str) -> str:
    """A word in small letters, without the name of its class and what `sacct` adds."""
    text = re.sub(r"^trial_?(state|status)\.", "", word.strip().lower())
    return re.sub(r"[ -]+", "_", re.sub(r"(\+| by \d+)$", "", text))


def _meanings(rows: Mapping[str, Sequence[str]]) -> dict[str, str]:
    found = {outcome: outcome for outcome in OUTCOMES}
    return found | {word: outcome for outcome, words in rows.items() for word in words}


_MEANING = _meanings(WORDS)
