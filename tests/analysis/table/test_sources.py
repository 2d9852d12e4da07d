"""Several sources: what is one sample, what is told apart, what is refused."""

import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from toys import ROOT

from analysis import ImportOptions, TableError, compare_all, group_columns, load, samples
from analysis.comparison.estimand import Estimand
from analysis.comparison.strata import compare_strata
from analysis.importers import convert_sweep, read_sweep
from analysis.table.groups import describe, grouping_faults
from stability.cli.commands.import_table import write_table

FINISHED = ROOT / "tests" / "fixtures" / "finished"


def faults_of(*paths: Path, pool: bool = False) -> list[str]:
    with pytest.raises(TableError) as caught:
        load(paths, pool=pool)
    return list(caught.value.faults)


def copy_of(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A run directory like the fixture, with other trials and an edited study.toml."""
    run = folder / name
    shutil.copytree(FINISHED, run)
    text = (run / "study.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    tomllib.loads(text)
    (run / "study.toml").write_text(text)
    for file in ("design.parquet", "results.parquet"):
        table = pd.read_parquet(run / file)
        table["trial"] = [f"{trial}{name}" for trial in table["trial"]]
        table["study"] = name
        table.to_parquet(run / file)
    return run


CHANGES = {
    "lr": (("low = 0.0125", "low = 0.001"), "lr 0.001:0.4"),
    "recipe": (("batch_size = 64", "batch_size = 32"), "batch_size 32"),
    "data": (('fingerprint = "d751e24d3ba6"', 'fingerprint = "000000000000"'), "data 000000000000"),
    "seed": (("seed = 5", "seed = 6"), "seed 6"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_runs_of_one_model_that_differ_are_groups_of_their_own(tmp_path: Path, name: str) -> None:
    change, label = CHANGES[name]
    table = load([FINISHED, copy_of(tmp_path, "other", change)])
    sgd = [
        s for s in samples(table) if s.group["optim"] == "sgd" and s.group["model"] == "vitc-nano"
    ]
    assert [s.n for s in sgd] == [3, 3]
    assert label in sgd[1].label
    assert label not in sgd[0].label


def test_only_seeds_are_pooled(tmp_path: Path) -> None:
    seed = copy_of(tmp_path, "seed", CHANGES["seed"][0])
    lr = copy_of(tmp_path, "lr", CHANGES["lr"][0], CHANGES["seed"][0])
    table = load([FINISHED, seed], pool=True)
    assert [s.n for s in samples(table)] == [6] * 4
    assert table["sweep"].isna().all()
    assert table.attrs["notes"] == ["pooled as one sample: finished, seed (--pool)"]
    others = samples(load([FINISHED, lr], pool=True))
    assert [s.n for s in others if s.group["optim"] == "sgd"] == [3] * 4
    assert [s.n for s in others if s.group["optim"] == "adamw"] == [6] * 2


def test_pooled_tables_are_cut_each_in_its_own_order(tmp_path: Path) -> None:
    states = ["done"] * 10 + ["running"] + ["done"] * 20
    rows = "".join(f"{8 + i * 7 % 31},{state}\n" for i, state in enumerate(states))
    (tmp_path / "p.csv").write_text("error,state\n" + rows)
    (tmp_path / "q.csv").write_text(
        "error,state\n" + "".join(f"{9 + i * 7 % 31},done\n" for i in range(50))
    )
    paths = [tmp_path / "p.csv", tmp_path / "q.csv"]
    for order in (paths, paths[::-1]):
        table = load(order, ImportOptions(constants={"model": "vit"}), pool=True)
        assert [s.n for s in samples(table)] == [60]


def test_what_differs_in_more_than_the_seed_is_not_pooled(tmp_path: Path) -> None:
    seed = copy_of(tmp_path, "seed", CHANGES["seed"][0])
    lr = copy_of(tmp_path, "lr", CHANGES["lr"][0])
    table = load([FINISHED, seed, lr], pool=True)
    sgd = [s for s in samples(table) if s.group["optim"] == "sgd" and "vitc" in s.label]
    assert [(s.n, "0.001" in s.label) for s in sgd] == [(6, False), (3, True)]
    pooled, apart = table.attrs["notes"]
    assert pooled == "pooled as one sample: finished, seed, lr (--pool)"  # lr has AdamW too
    assert apart == "not pooled, since not the seed alone differs: lr"


def test_a_table_and_its_import_are_the_same_content(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("model,lr,error\n" + "".join(f"vit,{i},{8 + i}\n" for i in range(9)))
    imported = convert_sweep(read_sweep(str(path)))
    write_table(imported.table, [], tmp_path / "q.parquet")
    assert "its rows are in" in faults_of(path, tmp_path / "q.parquet", pool=True)[0]


@pytest.mark.parametrize("name", ["x.tsv", "x.json", "shuffled.csv", "index.csv", "first.csv"])
def test_a_copy_in_another_form_is_the_same_content(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"model": "vit", "lr": [0.1 * i for i in range(1, 25)]})
    table["error"] = [8.0 + i * 7 % 31 for i in range(24)]
    table.to_csv(tmp_path / "x.csv", index=False)
    table.to_csv(tmp_path / "x.tsv", index=False, sep="\t")
    table.to_json(tmp_path / "x.json", orient="records")
    table.iloc[::-1].to_csv(tmp_path / "shuffled.csv", index=False)
    table.to_csv(tmp_path / "index.csv")
    table.iloc[:20].to_csv(tmp_path / "first.csv", index=False)
    assert "its rows are in" in faults_of(tmp_path / "x.csv", tmp_path / name, pool=True)[0]


def test_a_view_of_a_run_is_the_run(tmp_path: Path) -> None:
    run = copy_of(tmp_path, "run")
    pd.read_parquet(run / "results.parquet").iloc[:5].to_parquet(run / "results.parquet")
    assert len(load(run / "results.parquet")) == len(load(run)) == 12


def test_pooled_sweeps_are_cut_each_in_its_own_order(tmp_path: Path) -> None:
    seed = copy_of(tmp_path, "seed", CHANGES["seed"][0])
    results = pd.read_parquet(FINISHED / "results.parquet")
    first = copy_of(tmp_path, "first", ("seed = 5", "seed = 7"))
    part = pd.read_parquet(first / "results.parquet")
    part[part["draw"] != 1].to_parquet(first / "results.parquet")
    assert len(results) == 12
    assert [s.n for s in samples(load([first, seed], pool=True))] == [1 + 3] * 4


def test_runs_of_other_models_are_labelled_where_their_laws_differ(tmp_path: Path) -> None:
    other = copy_of(tmp_path, "other", CHANGES["lr"][0], CHANGES["seed"][0])
    for file in ("design.parquet", "results.parquet"):
        table = pd.read_parquet(other / file)
        table.assign(model="new-" + table["model"]).to_parquet(other / file)
    table = load([FINISHED, other])
    labels = [s.label for s in samples(table) if s.group["optim"] == "sgd"]
    assert labels == [
        "vitp-nano sgd lr 0.0125:0.4",
        "vitc-nano sgd lr 0.0125:0.4",
        "new-vitp-nano sgd lr 0.001:0.4",
        "new-vitc-nano sgd lr 0.001:0.4",
    ]
    sgd = table[table["optim"] == "sgd"]
    (stratum,) = compare_strata(sgd, Estimand(), by="model")
    assert len(stratum.groups) == 4


def test_a_source_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("model,error\nvit,12\nvit,9\n")
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    for twice in ([a, a], [a, b], [FINISHED, FINISHED]):
        (fault,) = faults_of(*twice)
        same = twice[0] == twice[1]
        assert ("named twice" if same else f"its rows are in {twice[0]} too") in fault


def test_a_trial_counts_once(tmp_path: Path) -> None:
    """A larger study holds the trials that it took over: both together hold them twice."""
    (fault,) = faults_of(FINISHED, FINISHED / "results.parquet")
    assert "and 11 more are in" in fault
    assert "leave one source out" in fault


def test_numbers_of_trials_are_those_of_their_model(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("model,trial,error\nvit,0,12\nvit,1,9\n")
    (tmp_path / "b.csv").write_text("model,trial,error\nresnet,0,13\nresnet,1,8\n")
    (tmp_path / "c.csv").write_text("model,trial,error\nvit,1,13\nvit,2,8\n")
    table = load([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [(s.label, s.n) for s in samples(table)] == [("vit", 2), ("resnet", 2)]
    (fault,) = faults_of(tmp_path / "a.csv", tmp_path / "c.csv")
    assert "trial '1' is in" in fault


def test_tables_that_say_the_same_model_are_told_apart_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("model,error\nvit,12\nvit,9\n")
    (tmp_path / "b.csv").write_text("model,error\nvit,13\nvit,8\nvit,7\n")
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert [(s.label, s.n) for s in samples(load(paths))] == [("a", 2), ("b", 3)]
    assert [(s.label, s.n) for s in samples(load(paths, pool=True))] == [("vit", 5)]


def test_studies_in_one_table_are_told_apart() -> None:
    table = pd.DataFrame({"model": "a", "study": ["s", "s", "t"], "error": [5.0, 6.0, 7.0]})
    assert group_columns(table) == ["model", "study"]
    assert [s.n for s in samples(table)] == [2, 1]
    assert len(compare_all(samples(table))) == 1


def test_a_hyperparameter_is_no_grouping(tmp_path: Path) -> None:
    rows = "".join(f"a,{5 + i % 37},{i + 10}\n" for i in range(80))
    (tmp_path / "a.csv").write_text("model,epochs,error\n" + rows)
    (fault,) = faults_of(tmp_path / "a.csv")
    assert "'epochs' cuts 80 rows into 37 groups" in fault
    assert "--map drawn_epochs=epochs" in fault
    table = pd.DataFrame({"model": ["a", "b"] * 20, "lr": range(40), "error": range(40)})
    with pytest.raises(TableError, match="'lr' cuts 40 rows into 40 groups"):
        samples(table, by=["lr"])
    with pytest.raises(TableError, match="'lr' cuts"):
        compare_strata(table, Estimand(), by="lr")


def test_designed_groups_stay_however_small_they_are() -> None:
    crossed = pd.DataFrame({"model": ["a", "b"] * 6, "epochs": [5, 5, 15, 15, 50, 50] * 2})
    assert grouping_faults(crossed) == []
    assert grouping_faults(crossed.assign(epochs=[*range(11), 10])) != []
    assert grouping_faults(pd.DataFrame({"model": [f"run-{i}" for i in range(12)]})) != []


def test_a_group_without_a_name_says_so() -> None:
    groups = [{"model": "a", "optim": "sgd"}, {"model": "a"}]
    assert describe(groups) == ("a", ["sgd", "no optim"])
    drawn = pd.DataFrame({"model": "a", "epochs": [5, 6, 7, 8, 9, 10, 11, 5, 6, 7, 5, 9]})
    assert "'epochs' cuts 12 rows into 7 groups" in grouping_faults(drawn)[0]
