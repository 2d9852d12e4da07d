"""Combine several sources into one table."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import TableError
from analysis.table.checks import trial_keys
from analysis.table.groups import GROUPS, SWEEP
from analysis.table.run_directory import law_of
from analysis.table.units import unit_of

SAMPLE_COLUMNS = tuple(name for name in GROUPS if name != SWEEP)
NOT_COMPARED = ("index", "study", SWEEP)
"""Columns that may differ between copies of a table."""
FEWEST_COPIES = 8
"""Rows that are in another table by chance, with rounded errors, in fewer cases."""
MOST_ITEMS = 3
"""Items of a law in a label."""
NOT_ACROSS_MODELS = ("seed", "code")
"""Items that need not be named where sources have different models."""
Group = tuple[Hashable, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table and where it is from."""

    name: str
    """As it was given."""
    table: pd.DataFrame
    study: Mapping[str, Any] = field(default_factory=dict)
    """Content of study.toml; empty where the law of the table is not known."""
    experiment: str = ""
    """What several sources are trials of; empty where a source is a sweep."""
    notes: tuple[str, ...] = ()

    def law(self, group: Group) -> dict[str, str]:
        """What decides the results of a group; empty where it is not known."""
        if not self.study:
            return {}
        law = law_of(self.study, str(group[0]), str(group[1]))
        codes = sorted(set(self.table["code"].dropna())) if "code" in self.table else []
        return {**law, "code": f"code {', '.join(codes)}"} if codes else law


def combine(sources: Sequence[Source], *, pool: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """Put tables together, with the column `sweep` where sweeps of one model differ.

    Args:
        sources: checked tables.
        pool: take sources that differ in their seed alone, or whose law is not known, as one.

    Returns:
        (the rows of all sources in their order, what was assumed).

    Raises:
        TableError: units that differ, a file, a source or a trial that is there twice.

    >>> tables = [pd.DataFrame({"model": ["vit"], "error": [error]}) for error in (5.0, 6.0)]
    >>> a, b = (Source(name=f"{x}.csv", table=t) for x, t in zip("ab", tables, strict=True))
    >>> combine([a, b])[0]["sweep"].tolist(), combine([a, b], pool=True)[0]["sweep"].tolist()
    (['a', 'b'], [None, None])

    """
    faults = [*_unit_faults(sources), *_duplicate_faults(sources)]
    if faults:
        raise TableError(faults)
    sources = _experiments(sources)
    if len(sources) == 1:
        return _pooled(sources[0].table) if pool else (sources[0].table, [])
    labels, notes = _labels(sources, pool=pool)
    names = short_names([source.name for source in sources])
    tables = [
        _labelled(source, name, label, pooled=pool)
        for source, name, label in zip(sources, names, labels, strict=True)
    ]
    together = pd.concat(tables, ignore_index=True)
    spaces = [table.attrs.get("search_space") for table in tables]
    together.attrs = {"search_space": spaces[0]} if spaces.count(spaces[0]) == len(spaces) else {}
    return together, notes


def group_keys(table: pd.DataFrame) -> list[Group]:
    """Model, optim, epochs and data of each row, None where a table does not say.

    >>> group_keys(pd.DataFrame({"model": ["vit"], "epochs": [5]}))
    [('vit', None, 5, None)]
    """
    columns = [table.get(c, pd.Series(None, table.index, dtype=object)) for c in SAMPLE_COLUMNS]
    rows = pd.concat([column.astype(object) for column in columns], axis=1)
    return list(rows.where(rows.notna(), None).itertuples(index=False, name=None))


def _pooled(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A table of several sweeps as one sample."""
    if SWEEP not in table or table[SWEEP].nunique(dropna=False) < 2:
        return table, ["nothing was pooled: one sweep (--pool)"]
    names = ", ".join(map(str, table[SWEEP].drop_duplicates()))
    own = {} if "study" in table else {"study": table[SWEEP]}
    return table.assign(**own, **{SWEEP: None}), [f"pooled as one sample: {names} (--pool)"]


def _labelled(
    source: Source, name: str, labels: Mapping[Group, str], *, pooled: bool
) -> pd.DataFrame:
    """The table of a source, with the label of each group in the column `sweep`."""
    table = source.table
    if pooled and "study" not in table:
        table = table.assign(study=name)  # each file has its own draws and its own unfinished runs
    if not labels and not pooled:
        return table
    own = table[SWEEP] if SWEEP in table else pd.Series(None, table.index, dtype=object)
    found = [
        " ".join(str(x) for x in (labels.get(key), mine) if pd.notna(x)) or None
        for key, mine in zip(group_keys(table), own, strict=True)
    ]
    return table.assign(**{SWEEP: pd.Series(found, table.index, dtype=object)})


def _labels(sources: Sequence[Source], *, pool: bool) -> tuple[list[dict[Group, str]], list[str]]:
    """For each source, what tells each of its groups from the same group of other sources."""
    groups = [list(dict.fromkeys(group_keys(source.table))) for source in sources]
    names = short_names([source.name for source in sources])
    labels: list[dict[Group, str]] = [{} for _ in sources]
    pooled: dict[str, None] = {}
    apart: dict[str, None] = {}
    for group in dict.fromkeys(group for found in groups for group in found):
        holders = [i for i, found in enumerate(groups) if group in found]
        laws = [sources[i].law(group) for i in holders]
        for i, text, is_pooled in _tell_apart(laws, holders, names, pool=pool):
            (pooled if is_pooled else apart)[names[i]] = None
            if text:
                labels[i][group] = text
    _label_across_models(sources, groups, labels)
    notes = [f"pooled as one sample: {', '.join(pooled)} (--pool)"] if pooled else []
    if pool and apart:
        notes.append(f"not pooled, since not the seed alone differs: {', '.join(apart)}")
    return labels, notes


def _tell_apart(
    laws: Sequence[Mapping[str, str]], holders: Sequence[int], names: Sequence[str], *, pool: bool
) -> list[tuple[int, str, bool]]:
    """For each source of one group: (its number, its label, whether it is pooled with another).

    No label where all are one sample.
    """
    if len(holders) < 2:
        return []
    if pool:
        laws = [{name: text for name, text in law.items() if name != "seed"} for law in laws]
    differ = _differing(laws) if all(laws) else []
    if not pool or any(laws) != all(laws):
        samples: list[Hashable] = list(holders)
    else:
        samples = [tuple(law.items()) for law in laws]
    sizes = Counter(samples)
    texts = [_label(law, differ) or names[i] for i, law in zip(holders, laws, strict=True)]
    # One text for two samples says too little.
    vague = {
        text
        for text in texts
        if len({k for t, k in zip(texts, samples, strict=True) if t == text}) > 1
    }
    full = [
        f"{text} {names[i]}" if text in vague and text != names[i] else text
        for i, text in zip(holders, texts, strict=True)
    ]
    return [
        (i, "" if len(sizes) == 1 else text, sizes[key] > 1)
        for i, text, key in zip(holders, full, samples, strict=True)
    ]


def _label_across_models(
    sources: Sequence[Source], groups: Sequence[Sequence[Group]], labels: list[dict[Group, str]]
) -> None:
    """Label sources of different models whose laws differ, in place: the curves are not alike."""
    by_optim: dict[Hashable, list[tuple[int, Group]]] = {}
    for i, found in enumerate(groups):
        for group in found:
            by_optim.setdefault(group[1], []).append((i, group))
    for places in by_optim.values():
        laws = [sources[i].law(group) for i, group in places]
        if len({i for i, _ in places}) < 2 or not all(laws):
            continue
        differ = [name for name in _differing(laws) if name not in NOT_ACROSS_MODELS]
        for (i, group), law in zip(places, laws, strict=True):
            if differ and group not in labels[i]:
                labels[i][group] = _label(law, differ)


def _differing(laws: Sequence[Mapping[str, str]]) -> list[str]:
    """Items that are not the same in all laws, in the order of the first."""
    names = dict.fromkeys(name for law in laws for name in law)
    return [name for name in names if len({law.get(name) for law in laws}) > 1]


def _label(law: Mapping[str, str], differ: Sequence[str]) -> str:
    said = [law[name] for name in differ if name in law]
    more = f" and {len(said) - MOST_ITEMS} more" if len(said) > MOST_ITEMS else ""
    return ", ".join(said[:MOST_ITEMS]) + more


def short_names(names: Sequence[str]) -> list[str]:
    """Names of files without folders and endings, as far as they stay different.

    >>> short_names(["runs/a.csv", "runs/b.csv"]), short_names(["x/a.csv", "y/a.csv"])
    (['a', 'b'], ['x/a', 'y/a'])
    """
    parts = [
        Path(name).with_suffix("").parts if Path(name).suffix else Path(name).parts
        for name in names
    ]
    for count in range(1, max(map(len, parts), default=1) + 1):
        short = ["/".join(part[-count:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(names)


def _experiments(sources: Sequence[Source]) -> list[Source]:
    """Put the trials of one experiment together."""
    found: dict[str, Source] = {}
    for i, source in enumerate(sources):
        key = source.experiment or f"\0{i}"
        if key in found:
            table = pd.concat([found[key].table, source.table], ignore_index=True)
            found[key] = replace(found[key], table=table)
        else:
            found[key] = replace(source, name=source.experiment or source.name)
    return list(found.values())


def _unit_faults(sources: Sequence[Source]) -> list[str]:
    units = [unit_of(source.table) for source in sources]
    if len(set(units)) < 2:
        return []
    listed = ", ".join(f"{s.name}: {unit}" for s, unit in zip(sources, units, strict=True))
    return [f"errors in different units cannot be put together ({listed})"]


def _duplicate_faults(sources: Sequence[Source]) -> list[str]:
    """Faults of sources that are there twice, or hold rows of each other."""
    faults, trials = [], dict[tuple[Hashable, ...], str]()
    for i, source in enumerate(sources if len(sources) > 1 else ()):
        earlier = sources[:i]
        before = next((other for other in earlier if _are_copies(source, other)), None)
        if before is not None:
            faults.append(
                f"{source.name}: its rows are in {before.name} too; name each source once"
                if source.name != before.name
                else f"{source.name}: named twice"
            )
            continue
        mine = trial_keys(source.table)
        shared = [key for key in mine if key in trials]
        if shared:
            more = f" and {len(shared) - 1} more are" if len(shared) > 1 else " is"
            faults.append(
                f"{source.name}: trial {shared[0][-1]!r}{more} in {trials[shared[0]]} too. A trial "
                "counts once: leave one source out (a larger study holds the trials that it took "
                "over); where they are different runs, leave the ids out: --map source_trial=trial"
            )
        trials |= dict.fromkeys((key for key in mine if key not in trials), source.name)
    return faults


def _are_copies(a: Source, b: Source) -> bool:
    """Whether two sources are the same file, or all rows of one are in the other."""
    if Path(a.name).resolve() == Path(b.name).resolve():
        return True
    if a.study and b.study:
        return False  # of trials, which have ids
    small, large = sorted((a.table, b.table), key=len)
    names = [name for name in small if name in large and name not in NOT_COMPARED]
    if len(small) < min(FEWEST_COPIES, len(large)) or "error" not in names:
        return False
    return not Counter(row_hashes(small[names])) - Counter(row_hashes(large[names]))


def row_hashes(table: pd.DataFrame) -> list[int]:
    """A number for each row, equal for equal cells, whatever kind of file they are from.

    >>> first, second = row_hashes(pd.DataFrame({"error": [5.0, 5], "lr": [0.1, 0.1]}))
    >>> first == second
    True
    """
    cells = table.astype(object)
    cells = cells.where(cells.notna(), None).map(lambda x: f"{x:.9g}" if is_number(x) else str(x))
    return list(map(int, pd.util.hash_pandas_object(cells, index=False)))


def is_number(cell: object) -> bool:
    """Whether a cell is a number, and no yes or no."""
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
