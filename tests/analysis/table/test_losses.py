"""Raw losses of an objective are analysed in their own unit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drivers import asking
from drivers import drive_in_unit as drive

from analysis import Estimand, TableError, compare, load, samples, save_edf, summarise
from sweeps.store.run_directory import RunDirectory


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    values: list[Any] = [-3.2, -3.1, -2.0, float("nan"), 7.5, 1.0, -3.0, None]
    run = asking(tmp_path_factory.mktemp("losses") / "run", values)
    drive(run, "raw", 0.25)
    return run


def test_failures_of_a_loss_lie_beyond_every_distance(losses: RunDirectory, tmp_path: Path) -> None:
    table = load(losses.path)
    (sample,) = samples(table)
    assert (sample.unit, sample.policy, sample.diverged, sample.best) == ("raw", "beyond", 2, -3.2)
    assert sample.share_within(1e9) == (0.75, 0.75)
    summary = summarise(table, within=0.25)
    assert summary[["within_0.25", "within_0.625"]].values.tolist() == [[0.375, 0.375]]
    assert not [name for name in summarise(table) if name.startswith("within")]
    # The unit is in the table itself, also where it is alone or written as text.
    load(losses.results).to_csv(tmp_path / "losses.csv", index=False)
    for path in (losses.results, tmp_path / "losses.csv"):
        assert [s.unit for s in samples(load(path))] == ["raw"]


def test_percent_and_losses_are_not_put_together(losses: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("model,error\nb,12\nb,13\n")
    with pytest.raises(TableError, match="different units"):
        load([losses.path, tmp_path / "runs.csv"])


def test_a_comparison_of_losses_needs_its_own_distance() -> None:
    a, b = (
        sample_of(label, np.linspace(low, high, 16))
        for label, low, high in (("a", -3.0, -2.0), ("b", -3.0, 40.0))
    )
    with pytest.raises(ValueError, match="within: a loss has no default"):
        compare(a, b)
    with pytest.raises(ValueError, match="the question in percent"):
        compare(a, b, Estimand(d=0.5))
    estimand = Estimand(d=0.5, unit="raw")
    assert (estimand.area_limit, estimand.limit) == (1.25, 2.5)
    assert (Estimand().area_limit, Estimand().limit) == (10.0, 20.0)
    found = compare(a, b, estimand)
    assert found.secondary.loc["area", "estimate"] > 0
    said = str(found)
    assert "has -3, that of b (n = 16) -3" in said
    assert "within 0.5 of the best" in said
    assert "points of share" in said
    assert said.count("points") == 1


def sample_of(label: str, errors: "np.ndarray[Any, np.dtype[np.float64]]") -> Any:
    table = pd.DataFrame({"model": label, "error": errors, "error_unit": "raw"})
    return samples(table)[0]


def test_a_figure_of_losses_names_no_percent(losses: RunDirectory, tmp_path: Path) -> None:
    groups = samples(load(losses.path))
    for delta in (False, True):
        path = save_edf(groups, tmp_path / "edf.svg", delta=delta, within=0.25)
        lines = [line.strip() for line in path.read_text().splitlines()]
        text = "\n".join(line for line in lines if line.startswith("<!--"))
        assert ("<!-- loss above best of sample -->" if delta else "<!-- loss -->") in text
        assert "%" not in text
        assert "Policy 'beyond'" in text
