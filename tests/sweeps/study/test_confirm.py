"""The best of each group again with fresh seeds: which is chosen, what is trained, what is said."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drivers import run_of
from scipy import stats
from toys import make_toy

from analysis import Estimand, TableError, samples
from analysis.comparison.confirmed import Confirmed, confirmed, peak_difference, peaks_of
from analysis.comparison.strata import compare_strata
from sweeps.confirm import best_rows, confirmation, fresh_seed
from sweeps.errors import SpecError
from sweeps.store import views
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design, training_seed

STABILITY = str(Path(sys.executable).with_name("stability"))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = run_of(make_toy(draws=16), tmp_path_factory.mktemp("swept") / "run")
    run_of(confirmation(run, 3), run.confirmation(3).path)
    return run


def row(**changes: object) -> dict[str, object]:
    plain = {"model": "a", "optim": "sgd", "epochs": 5, "draw": 0, "outcome": "ok", "error": 5.0}
    return {**plain, "val_error": 5.0, "loss": 1.0, **changes}


def test_the_best_is_chosen_in_validation_not_on_the_test_part() -> None:
    rows = [row(draw=0, val_error=6.0, error=1.0), row(draw=1, val_error=5.0, error=9.0)]
    assert [best["draw"] for best in best_rows(rows)] == [1]


def test_ties_go_to_the_lower_loss_and_then_to_the_earlier_draw() -> None:
    rows = [row(draw=0, loss=2.0), row(draw=1), row(draw=2)]
    assert best_rows(rows)[0]["draw"] == 1


def test_an_unusable_run_is_no_best_and_a_group_without_a_usable_one_has_none() -> None:
    rows = [row(outcome="collapsed", val_error=1.0), row(draw=1), row(model="b", outcome="crashed")]
    assert [(best["model"], best["draw"]) for best in best_rows(rows)] == [("a", 1)]


def test_without_a_validation_error_the_error_itself_chooses() -> None:
    rows = [row(val_error=None, loss=None), row(val_error=None, loss=None, draw=1, error=4.0)]
    assert best_rows(rows)[0]["draw"] == 1


def test_each_best_is_trained_with_seeds_that_the_sweep_never_used(swept: RunDirectory) -> None:
    design = pd.read_parquet(swept.confirmation(3).design)
    assert design.groupby("model")["seed"].nunique().tolist() == [3, 3]
    assert not set(design["seed"]) & set(pd.read_parquet(swept.design)["seed"])
    results = pd.read_parquet(swept.results)
    for model, part in design.groupby("model"):
        mine = results[results["model"] == model]
        assert set(part["lr"]) == {mine.sort_values(["error", "draw"])["lr"].iloc[0]}


def test_more_seeds_begin_with_the_same_ones(swept: RunDirectory) -> None:
    three, five = (draw_design(confirmation(swept, seeds)) for seeds in (3, 5))
    assert [trial.id for trial in five][: len(three)] == [trial.id for trial in three]
    assert three[0].seed == training_seed(fresh_seed(0), 0)


def test_a_listed_study_is_read_back_as_it_was_written(swept: RunDirectory) -> None:
    listed = confirmation(swept, 3)
    assert swept.confirmation(3).read_study() == listed
    assert listed.trials == len(swept.confirmation(3).read_design()) == 6


@pytest.mark.parametrize("fields", [{"sampler": "listed"}, {"configurations": True}])
def test_configurations_and_the_listed_sampler_go_together(
    fields: dict[str, object], swept: RunDirectory
) -> None:
    if "configurations" in fields:
        fields = {"configurations": confirmation(swept, 3).configurations}
    with pytest.raises(ValueError, match="listed"):
        make_toy(**fields)


def test_an_unfinished_sweep_has_no_best(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    study = make_toy()
    run.create(study, draw_design(study))
    views.rebuild(run)
    with pytest.raises(SpecError, match="0 of 8 trials"):
        confirmation(run, 3)


def test_the_peak_is_the_mean_over_the_fresh_seeds(swept: RunDirectory) -> None:
    peaks = confirmed(swept.path)
    again = pd.read_parquet(swept.confirmation(3).results)
    expected = again.groupby("model", sort=False)["error"].mean().tolist()
    assert [peak.mean for peak in peaks] == expected
    assert [peak.errors.size for peak in peaks] == [3, 3]


def test_of_several_confirmations_that_of_most_seeds_counts(tmp_path: Path) -> None:
    run = run_of(make_toy(), tmp_path / "run")
    for seeds in (10, 2):  # as names, 10 comes before 2
        run_of(confirmation(run, seeds), run.confirmation(seeds).path)
    assert {peak.errors.size for peak in confirmed(run.path)} == {10}


def test_a_group_with_an_unfinished_training_has_no_peak(tmp_path: Path) -> None:
    run = run_of(make_toy(), tmp_path / "run")
    again = run_of(confirmation(run, 2), run.confirmation(2).path)
    results = pd.read_parquet(again.results)
    results[results["model"] == "b"].to_parquet(again.results)
    assert [peak.group["model"] for peak in confirmed(run.path)] == ["b"]


def test_the_interval_of_a_peak_is_students_and_that_of_two_is_welchs() -> None:
    rng = np.random.default_rng(0)
    a, b = (Confirmed(errors=rng.normal(m, s, 5), group={}) for m, s in ((5, 1), (8, 3)))
    student = stats.ttest_1samp(a.errors, 0.0).confidence_interval(0.9)
    assert a.interval(0.9)[1:] == pytest.approx((student.low, student.high))
    welch = stats.ttest_ind(a.errors, b.errors, equal_var=False).confidence_interval(0.95)
    assert peak_difference(a, b)[1:] == pytest.approx((welch.low, welch.high))


def test_one_seed_or_equal_errors_are_no_accident() -> None:
    one, same = (Confirmed(errors=np.array(x), group={}) for x in ([5.0], [5.0, 5.0]))
    assert one.interval()[1:] == peak_difference(one, same)[1:] == (-np.inf, np.inf)
    assert peak_difference(same, same) == (0.0, 0.0, 0.0)


def two_strata() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = [
        pd.DataFrame({"model": m, "optim": o, "error": rng.uniform(5, 50, 30), "draw": range(30)})
        for o in ("sgd", "adamw")
        for m in ("a", "b")
    ]
    return pd.concat(parts, ignore_index=True)


def test_strata_are_compared_apart_and_by_the_first_column_that_varies() -> None:
    strata = compare_strata(two_strata(), Estimand())
    assert [[g.label for g in s.groups] for s in strata] == [["a", "b"], ["a", "b"]]
    assert [s.title for s in strata] == ["sgd", "adamw"]
    by_optim = compare_strata(two_strata(), Estimand(), by="optim")
    assert [(s.title, [g.label for g in s.groups]) for s in by_optim] == [
        ("a", ["sgd", "adamw"]),
        ("b", ["sgd", "adamw"]),
    ]


def test_confirmed_peaks_are_the_reference_where_every_group_has_one() -> None:
    table = two_strata()
    peaks = [
        Confirmed(errors=np.array([4.0, 6.0]), group={"model": m, "optim": "sgd"}) for m in "ab"
    ]
    sgd, adamw = compare_strata(table, Estimand(), peaks=peaks)
    assert sgd.pairs[0].estimand.reference == {"a": 5.0, "b": 5.0}
    assert sgd.pairs[0].decision.by == "pairs"  # a reference from elsewhere admits pairs
    assert "2 fresh seeds" in sgd.pairs[0].peak
    assert adamw.pairs[0].estimand.reference == "sample-min"
    with pytest.raises(TableError, match="nothing was confirmed for a, b"):
        compare_strata(table, Estimand(), peaks=peaks, reference="confirmed")
    asked = compare_strata(table, Estimand(), peaks=peaks, reference="sample-min")
    assert asked[0].pairs[0].estimand.reference == "sample-min"


def test_the_validation_error_is_a_view_where_the_reference_is_of_the_sample() -> None:
    table = two_strata().assign(outcome="ok", chance=90.0)
    table["val_error"] = table["error"] + 1.0
    seen = compare_strata(table, Estimand())[0].pairs[0].sensitivity
    assert seen.loc["validation error", "difference"] == pytest.approx(
        compare_strata(table, Estimand())[0].pairs[0].decision.difference.estimate
    )
    fixed = compare_strata(table, Estimand(reference=5.0))[0].pairs[0].sensitivity
    assert "validation error" not in fixed.index


def test_a_peak_of_another_group_is_not_taken() -> None:
    groups = samples(two_strata().query("optim == 'sgd'"))
    peak = Confirmed(errors=np.array([5.0]), group={"model": "a", "optim": "adamw"})
    assert peaks_of(groups, [peak]) == {}


def call(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [STABILITY, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_compare_says_it_in_80_columns_and_as_json(swept: RunDirectory) -> None:
    here = swept.path.parent
    said = call("compare", "run", cwd=here)
    assert said.returncode == 0, said.stderr
    assert "confirmed with 3 seeds" in " ".join(said.stdout.split())
    assert max(map(len, said.stdout.splitlines())) <= 80
    for heading in ("policy 'last'", "secondary, not adjusted", "tau-b"):
        assert heading in said.stdout
    (stratum,) = json.loads(call("compare", "run", "--json", cwd=here).stdout)
    assert [peak["seeds"] for peak in stratum["peaks"]] == [3, 3]
    assert stratum["pairs"][0]["verdict"] in ("A", "B", "unresolved")


def test_plan_takes_the_confirmed_peaks_as_references(swept: RunDirectory) -> None:
    found = json.loads(call("plan", "run", "--json", cwd=swept.path.parent).stdout)
    assert "confirmed with 3 seeds" in found["question"]
    assert found["fixed"]


def test_of_more_than_two_groups_all_pairs_stand_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [pd.DataFrame({"model": m, "error": rng.uniform(5, e, 64)}) for m, e in
             (("a", 8), ("b", 60), ("c", 60))]  # fmt: skip
    pd.concat(parts).to_csv(tmp_path / "three.csv", index=False)
    said = call("compare", "three.csv", "--reference", "5", cwd=tmp_path).stdout
    rows = [line.split() for line in said.splitlines() if line[:3] in ("a -", "b -")]
    assert [row[-1] for row in rows] == ["a", "a", "unresolved"]
    assert "together" in said


def test_bad_questions_are_answered_all_at_once(swept: RunDirectory) -> None:
    words = ["--within", "-1", "--policy", "bst", "--reference", "best", "--pilot", "x"]
    said = call("compare", "run", *words, "--confidence", "1", cwd=swept.path.parent)
    assert said.returncode == 2
    assert said.stdout == ""
    for option in words[::2]:
        assert f"  {option}: " in said.stderr
    assert "--confidence" in said.stderr


def test_a_column_that_is_not_there_or_does_not_vary_is_named(swept: RunDirectory) -> None:
    for column, word in (("colour", "not one of"), ("optim", "one value (sgd)")):
        said = call("compare", "run", "--by", column, cwd=swept.path.parent)
        assert said.returncode == 2
        assert word in said.stderr


@pytest.mark.slow
def test_the_sweep_confirms_at_its_end_and_again_for_free(tmp_path: Path) -> None:
    words = ["sweep", "--model", "vitc", "--optim", "sgd", "--trials", "2", "--epochs", "1"]
    words += ["--out", "run", "--executor", "inline", "--confirm", "2"]
    said = call(*words, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "with 2 fresh seeds" in said.stdout
    assert "run/confirm-r2/results.parquet" in said.stdout
    again = call(*words, cwd=tmp_path)
    assert again.stdout.count("finished already") == 2
    nested = call("resume", "run/confirm-r2", "--confirm", "2", cwd=tmp_path)
    assert nested.returncode == 2
    assert "a confirmation itself" in nested.stderr
