"""Real sweeps, where the environment names their folder: 2 x 1024 fine-tuning runs on MultiNLI.

Learning curves of DeBERTa and DeBERTaV3 by Nicholas Lourie (github.com/nicholaslourie/opda,
CC BY-SA 4.0), collapsed to `final_err`: row i of both tables has the same hyperparameters.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import Estimand, Sample, compare, load, samples
from analysis.importers import ChanceLevel, ImportOptions, convert_sweep, read_sweep
from stability.cli.commands.import_table import write_table

FOLDER = os.environ.get("STABILITY_TABLES", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="STABILITY_TABLES names no folder")

CLASS_COUNTS = (3479, 3123, 3213)
"""Entailment, neutral, contradiction in the 9815 examples of MultiNLI's matched validation part."""
CONSTANT = {64.5543: (76, 56), 67.2644: (100, 87), 68.1814: (86, 90)}
"""Errors of constant predictions, and how many runs of each table end there."""
WISH = ImportOptions(
    columns={"error": "final_err", "draw": "iteration"}, chance=ChanceLevel.of_counts(CLASS_COUNTS)
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Both tables, imported, written and loaded again."""
    folder = tmp_path_factory.mktemp("tables")
    paths = []
    for name in ("deberta-base", "deberta-v3-base"):
        imported = convert_sweep(read_sweep(str(Path(FOLDER, f"{name}.csv"))), WISH)
        paths.append(folder / f"{name}.parquet")
        write_table(imported.table, imported.notes, paths[-1])
    return load(paths)


@pytest.fixture
def both(table: pd.DataFrame) -> tuple[Sample, Sample]:
    base, v3 = samples(table)
    assert (base.label, v3.label) == ("deberta-base", "deberta-v3-base")
    return base, v3


def test_v3_is_better_in_most_pairs(table: pd.DataFrame) -> None:
    errors = table.pivot(index="draw", columns="model", values="error")
    gain = errors["deberta-base"] - errors["deberta-v3-base"]
    assert len(gain) == 1024
    assert f"{100 * (gain > 0).mean():.1f}" == "81.5"
    assert f"{gain.median():.2f}" == "1.86"


def test_every_kind_of_constant_prediction_is_collapsed(table: pd.DataFrame) -> None:
    for error, counts in CONSTANT.items():
        here = table[table["error"] == error]
        assert tuple(here.groupby("model").size()) == counts
        assert set(here["outcome"]) == {"collapsed"}
    collapsed = table[table["outcome"] == "collapsed"]
    others = sorted(collapsed["error"][~collapsed["error"].isin(CONSTANT)])
    assert others == [63.8105, 64.5644, 65.1758, 67.2542]  # no better than a guess, all four
    assert table["error"][table["outcome"] == "ok"].max() < 57
    assert table["wrong"].notna().all()


def test_failures_tie_and_the_comparison_says_what_it_hangs_on(both: tuple[Sample, Sample]) -> None:
    base, v3 = both
    assert (base.n, base.collapsed, v3.n, v3.collapsed) == (1024, 264, 1024, 235)
    assert base.points == v3.points
    tied = (base.errors == base.chance) & (v3.errors == v3.chance)
    assert int(tied.sum()) == int(((base.errors == v3.errors) & tied).sum()) == 219
    found = compare(base, v3)
    # of its own best v3 is more often within 4 points, by 6 points of share: no verdict about
    # stability with this reference, and none is given
    assert found.decision.verdict == "B"
    assert "Which is more stable needs a reference from elsewhere" in found.verdict
    better = found.secondary.loc["p_a_better"]
    assert better["high"] < 0.5
    # against one fixed error the pairs decide
    fixed = compare(base, v3, Estimand(reference=9.0, named="given"))
    assert (fixed.decision.by, fixed.decision.verdict) == ("pairs", "B")


def test_without_class_shares_the_heaps_are_named() -> None:
    source = read_sweep(str(Path(FOLDER, "deberta-base.csv")))
    imported = convert_sweep(source, ImportOptions(columns={"error": "final_err"}))
    assert set(imported.table["outcome"]) == {"ok"}
    (note,) = [note for note in imported.notes if "many runs have the same error" in note]
    assert "76 at 64.5543%, 100 at 67.2644%, 86 at 68.1814%" in note
    assert np.isclose(ChanceLevel.of_counts(CLASS_COUNTS).error, 64.5543, atol=5e-5)
