"""Tables of any origin become one validated table, or an answer that names every fault."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import (
    TableError,
    as_table,
    complete_prefix,
    describe,
    group_columns,
    load,
    samples,
    subspace,
)


def results(n: int = 4, **columns: object) -> pd.DataFrame:
    """Make n finished trials; further columns replace or add to the usual ones."""
    usual = {
        "trial": [f"t{i}" for i in range(n)],
        "study": "s",
        "draw": range(n),
        "model": "vitc-nano",
        "optim": "sgd",
        "epochs": 5,
        "data": "digits",
        "outcome": "ok",
        "error": [10.0 + i for i in range(n)],
        "chance": 90.0,
    }
    return pd.DataFrame({**usual, **columns})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write a run of four trials in which t2 and t1 are finished, in this order."""
    table = results()
    table.drop(columns=["outcome", "error", "chance"]).to_parquet(tmp_path / "design.parquet")
    table.loc[[2, 1]].to_parquet(tmp_path / "results.parquet")
    return tmp_path


def faults(frame: pd.DataFrame) -> list[str]:
    with pytest.raises(TableError) as caught:
        as_table(frame)
    return list(caught.value.faults)


def test_a_run_shows_unfinished_trials_in_the_order_of_the_design(run: Path) -> None:
    table = load(run)
    assert table["trial"].tolist() == ["t0", "t1", "t2", "t3"]
    assert table["outcome"].tolist() == ["missing", "ok", "ok", "missing"]
    assert table["error"].tolist()[1:3] == [11.0, 12.0]


def test_a_run_without_results_is_all_missing(run: Path) -> None:
    (run / "results.parquet").unlink()
    assert set(load(run)["outcome"]) == {"missing"}


def test_a_run_with_an_empty_view_is_all_missing(run: Path) -> None:
    results().iloc[:0].to_parquet(run / "results.parquet")
    assert set(load(run)["outcome"]) == {"missing"}


def test_a_run_without_a_design_is_its_results(run: Path) -> None:
    (run / "design.parquet").unlink()
    assert load(str(run))["trial"].tolist() == ["t2", "t1"]


def test_the_sampler_is_read_from_the_study(run: Path) -> None:
    assert "sampler" not in load(run)
    (run / "study.toml").write_text('sampler = "sobol"\n')
    assert set(load(run)["sampler"]) == {"sobol"}
    (run / "study.toml").write_text("sampler = \n")
    with pytest.raises(TableError, match=r"study\.toml: cannot be read"):
        load(run)


def test_results_that_are_not_of_the_design_are_named(run: Path) -> None:
    results(trial=["t0", "t0", "x", "y"]).to_parquet(run / "results.parquet")
    with pytest.raises(TableError) as caught:
        load(run)
    assert [fault.removeprefix(f"{run}: ") for fault in caught.value.faults] == [
        "results.parquet: trial 'x' is not in the design",
        "results.parquet: trial 'y' is not in the design",
        "results.parquet: trial 't0' has several results",
    ]


def test_a_design_or_results_without_their_columns_are_named(run: Path) -> None:
    results().drop(columns="trial").to_parquet(run / "design.parquet")
    results().drop(columns="error").to_parquet(run / "results.parquet")
    with pytest.raises(TableError, match=r"2 problems: .*design.*'trial'.*results.*'error'"):
        load(run)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    table = results(outcome=["ok", "ok", "diverged", "crashed"], error=[1.5, 2.0, None, None])
    path = tmp_path / f"table{suffix}"
    match suffix:
        case ".csv":
            table.to_csv(path, index=False)
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, table.to_dict("records"))) + "\n\n")
        case _:
            table.to_parquet(path)
    pd.testing.assert_frame_equal(load(path), as_table(table), check_dtype=False)


def test_a_bare_table_of_models_and_errors_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("model,error\na,12.5\na,\nb,nan\nb,inf\nb,0\n")
    table = load(path)
    assert table["outcome"].tolist() == ["ok", "diverged", "diverged", "diverged", "ok"]


def test_a_million_rows_are_read_counted_and_banded(tmp_path: Path) -> None:
    n = 1_000_000
    errors = np.arange(n) / n * 50.0
    errors[::4] = np.nan  # diverged
    table = pd.DataFrame({"model": "a", "draw": np.arange(n), "error": errors, "chance": 90.0})
    table.to_parquet(tmp_path / "large.parquet")
    (sample,) = samples(load(tmp_path / "large.parquet"))
    lower, upper = sample.band(method="ks")
    assert (sample.n, sample.diverged) == (n, n // 4)
    assert sample.edf()([25.0, 89.9, 90.0]) == pytest.approx([0.375, 0.75, 1.0], abs=2e-6)
    assert upper(25.0) - lower(25.0) == pytest.approx(2 * 1.358 / 1000, rel=1e-3)


def test_sources_of_every_kind_are_one_table_whose_unfinished_trials_are_cut_or_bounded(
    run: Path,
) -> None:
    """Of the run t1 and t2 are finished, of the other tables everything."""
    results(model="csv", trial=list("abcd")).to_csv(run / "a.csv", index=False)
    rows = results(model="jsonl", trial=list("efgh")).to_dict("records")
    (run / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    results(model="parquet", trial=list("ijkl")).to_parquet(run / "c.parquet")
    table = load([run, *(run / name for name in ("a.csv", "b.jsonl", "c.parquet"))])
    cut, bounded = (samples(table, unfinished=how) for how in ("prefix", "bounds"))
    assert [s.label for s in cut] == ["vitc-nano", "csv", "jsonl", "parquet"]
    assert [(s.n, s.unknown, s.unfinished) for s in cut] == [(0, 0, 2), *[(4, 0, 0)] * 3]
    assert [(s.n, s.unknown, s.unfinished) for s in bounded] == [(4, 2, 2), *[(4, 0, 0)] * 3]
    assert bounded[0].share_within(4.0) == (0.5, 1.0)  # [k/N, (k + missing)/N]
    assert bounded[0].share_within(0.5) == (0.25, 0.75)
    assert bounded[0].note == "2 of 4 unknown"
    assert bounded[0].points == (("s", 1), ("s", 2), ("s", 0), ("s", 3))
    lower, upper = bounded[0].band(method="ks")
    assert lower(12.0) < 0.5 < upper(12.0)
    assert upper(10.0) > samples(table[table["model"] == "csv"])[0].band(method="ks")[1](9.0)


def test_another_way_with_unfinished_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="unfinished: 'finished' is not one of 'prefix', 'bounds'"):
        samples(results(), unfinished="finished")  # type: ignore[arg-type]


def test_every_fault_of_every_source_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("modle,error\nx,-1\n")
    (tmp_path / "b.csv").write_text("model,error,outcome\nx,1,divergd\nx,abc,ok\n")
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "d.parquet").write_bytes(b"not parquet")
    (tmp_path / "e.jsonl").write_text('{"model": 1}\n[1]\n')
    (tmp_path / "f").mkdir()
    (tmp_path / "g.csv").write_text("")
    names = ["a.csv", "b.csv", "c.txt", "d.parquet", "e.jsonl", "f", "g.csv", "h"]
    with pytest.raises(TableError) as caught:
        load([tmp_path / name for name in names])
    said = [fault.removeprefix(f"{tmp_path}/") for fault in caught.value.faults]
    assert said[:3] == [
        "a.csv: no column 'model' (got 'modle'): --map model=modle, or --set model=NAME",
        "b.csv, line 3: error is 'abc', expected a number, nan, inf or an empty cell. If it says "
        "how a run ended: --map outcome=COLUMN",
        "c.txt: no rows, the file is empty",
    ]
    assert said[3].startswith("d.parquet: cannot be read: ")
    assert said[4].startswith("e.jsonl, line 2: a list; allowed is one object for each run")
    assert said[5].startswith("f: a folder without design.parquet")
    assert said[6] == "g.csv: no rows, the file is empty"
    assert said[7] == "h: no such file or folder"
    assert str(caught.value).startswith("8 problems: ")


def test_no_source_is_a_fault() -> None:
    with pytest.raises(TableError, match="no run directory or file was given"):
        load([])


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (results(0), "no rows"),
        (results().drop(columns="error"), "no column 'error' (got "),
        (results(error=[1.0, -1.0, -2.0, 0.0]), "error: row 2 is -1.0 (and 1 more), allowed: 0 to"),
        (results(error=[1.0, None, 2.0, 3.0]), "error: row 2 is nan, allowed where the outcome"),
        (results(error=[1.0, math.inf, 2.0, 3.0]), "error: row 2 is inf, allowed where the outc"),
        (results(outcome=["ok", None, "ok", "ok"]), "outcome: None is not one of 'ok'"),
        (results(chance=[0.0] * 4), "chance: row 1 is 0.0 (and 3 more), allowed: above 0, at most"),
        (results(chance=[0.9, 0.9, 90.0, 90.0]), "chance: 2 values in the group"),
        (results(model=["a", None, "a", "a"]), "model: row 2 is "),
        (results(trial=["a", "b", "a", "c"]), "trial: 'a' appears more than once"),
        (results(wrong=40, n_eval=400), "error: row 2 is 11.0 (and 2 more), allowed where counts"),
        (results(n_eval=0), "n_eval: row 1 is 0 (and 3 more), allowed: 1 or more"),
    ],
)
def test_each_fault_is_named(frame: pd.DataFrame, said: str) -> None:
    assert faults(frame)[0].startswith(said)


def test_checking_leaves_the_argument_alone_and_repeats_itself() -> None:
    frame = pd.DataFrame({"model": ["a", "b"], "error": [1, 2]}, index=[7, 7])
    once = as_table(frame)
    assert list(frame.columns) == ["model", "error"]
    pd.testing.assert_frame_equal(as_table(once), once)


def test_dtypes_are_plain() -> None:
    """Categories would make groups of models that are not there."""
    frame = results(
        model=pd.Categorical(["a", "a", "b", "b"], categories=["a", "b", "c"]),
        wrong=pd.array([40, None, 48, 52], dtype="Int64"),
        error=pd.array([10.0, 11.0, None, 13.0], dtype="Float64"),
        outcome=pd.array(["ok", "ok", "diverged", "ok"], dtype="string"),
    )
    table = as_table(frame)
    assert len(table.groupby("model", observed=False)) == 2
    assert table["wrong"].dtype == table["error"].dtype == np.float64
    assert table["outcome"].tolist() == ["ok", "ok", "diverged", "ok"]


def test_groups_are_the_model_and_what_varies() -> None:
    assert group_columns(results()) == ["model"]
    assert group_columns(results(epochs=[5, 5, 15, 15], optim=list("abab"))) == [
        "model",
        "optim",
        "epochs",
    ]
    assert group_columns(pd.DataFrame({"model": ["a"]})) == ["model"]


def test_labels_show_only_what_differs() -> None:
    groups = [
        {"model": "vitc", "optim": optim, "epochs": epochs, "data": "digits"}
        for optim in ("sgd", "adamw")
        for epochs in (5, 15)
    ]
    assert describe(groups) == (
        "digits, vitc",
        ["sgd 5 epochs", "sgd 15 epochs", "adamw 5 epochs", "adamw 15 epochs"],
    )
    assert describe(groups[:1]) == ("digits, sgd, 5 epochs", ["vitc"])
    assert describe([{"model": "a", "depth": 2}, {"model": "a", "depth": 3}]) == ("a", ["2", "3"])
    assert describe([{}]) == ("", [""])


@pytest.mark.parametrize(
    ("outcomes", "kept"),
    [
        (["ok", "diverged", "missing", "ok"], 2),
        (["crashed", "timed_out", "out_of_memory", "missing"], 3),
        (["missing", "ok", "ok", "ok"], 0),
        (["ok", "ok", "ok", "collapsed"], 4),
    ],
)
def test_the_complete_prefix_ends_at_the_first_missing_trial(
    outcomes: list[str], kept: int
) -> None:
    group = results(outcome=outcomes)
    assert complete_prefix(group).index.tolist() == list(range(kept))


def test_all_names_exactly_what_the_package_exports() -> None:
    names = {name for name in analysis.__all__ if hasattr(analysis, name)}
    assert names == set(analysis.__all__)
    assert len(names) == len(analysis.__all__)
    public = {n for n, v in vars(analysis).items() if callable(v) and not n.startswith("_")}
    assert public - {"import_module", "Any"} <= set(analysis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'draw_edfs'"):
        _ = analysis.draw_edfs  # type: ignore[attr-defined]


HEAVY = ("matplotlib", "seaborn", "scipy", "torch", "optuna", "submitit", "stability", "sweeps")


@pytest.mark.parametrize(
    ("code", "loaded"), [("analysis.plot_edfs", []), ("analysis.half_width(5)", ["scipy"])]
)
def test_reading_and_counting_load_no_drawing_and_no_training(code: str, loaded: list[str]) -> None:
    """The second case shows that the first can fail."""
    script = f"import sys, analysis; {code}; print([m for m in {HEAVY} if m in sys.modules])"
    root = Path(analysis.__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(loaded)


def test_earlier_names_still_work_and_are_not_listed() -> None:
    aliases = analysis._ALIASES
    assert aliases
    for earlier, name in aliases.items():
        assert getattr(analysis, earlier) is getattr(analysis, name)
        assert name in analysis.__all__
        assert earlier not in analysis.__all__
    assert analysis.smaller_box is subspace
    with pytest.raises(AttributeError, match="'analysis' has no attribute 'no_name'"):
        _ = analysis.no_name


def test_every_listed_name_is_there() -> None:
    assert [name for name in analysis.__all__ if not hasattr(analysis, name)] == []
