"""The benchmark of coverage and size: a small part of its matrix, and proof that it can fail."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from analysis import EDF, Interval, count_bounds, exact_coverage

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    """Load the script; its name is that of a well-known package, so it gets another."""
    spec = importlib.util.spec_from_file_location("coverage_matrix", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def small(coverage: ModuleType) -> pd.DataFrame:
    table: pd.DataFrame = coverage.matrix((16,), 80, shapes=(2,), steps=(coverage.STEP,))
    return table


def test_every_promise_is_kept_in_a_small_part_of_the_matrix(small: pd.DataFrame) -> None:
    assert small[~small["ok"]].empty
    assert {"coverage", "size", "power", "none"} == set(small["promise"])
    assert len(small) == 6 + 3 + 4 + 4 + 1 + 2


def test_exact_bands_are_exact(coverage: ModuleType) -> None:
    rows = {row.what: row.rate for n in (16, 64) for row in coverage.bands(n)}
    for method in ("ld", "ld-equal-tailed", "ks"):
        assert rows[f"band {method}"] == pytest.approx(0.95, abs=1e-9)
    assert rows["band dkw"] > 0.955


def test_cells_do_not_depend_on_each_other(coverage: ModuleType, small: pd.DataFrame) -> None:
    """The stream of a cell comes from its name: a part of the matrix is that part of the whole."""
    law = coverage.Law(5.0, 2, coverage.STEP)
    alone = list(coverage.intervals(16, law, "shape 2, ties", 80, 0))
    rates = small.set_index(["what", "case"])["rate"]
    assert [row.rate for row in alone] == [rates[row.what, row.case] for row in alone]


def test_each_cell_has_a_stream_of_its_own(coverage: ModuleType) -> None:
    drawn: list[float] = []

    def trial(rng: np.random.Generator) -> bool:
        drawn.append(rng.random())
        return True

    for what, n, case in (
        ("a", 1, "x"),
        ("a", 1, "y"),
        ("b", 1, "x"),
        ("a", 2, "x"),
        ("a", 1, "x"),
    ):
        coverage.simulated(what, n, case, "none", draws=1, trial=trial, seed=0)
    assert len(set(drawn)) == 4
    assert drawn[0] == drawn[4]


def test_an_interval_that_is_too_narrow_breaks_its_promise(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(sample: object, p: float) -> Interval:
        middle = sample.edf().quantile(p)  # type: ignore[attr-defined]
        return Interval(middle, middle - 2, middle + 2)

    monkeypatch.setattr(coverage, "quantile_interval", narrow)
    rows = {r.what: r for r in coverage.intervals(16, coverage.Law(5.0, 2), "shape 2", 150, 0)}
    assert not rows["median"].ok
    monkeypatch.setattr(coverage, "count_bounds", lambda n, c, m: count_bounds(n, 0.9, m))
    assert not any(row.ok for row in coverage.bands(16) if row.what != "band dkw")


def test_a_test_that_rejects_too_often_breaks_its_promise(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "ks_permutation", lambda *a, **k: (0.1, 0.04))
    rows = coverage.secondary(16, coverage.Law(5.0, 2), "shape 2", 50, 0)
    assert [row.ok for row in rows] == [False, False, True, True]


@pytest.mark.parametrize("step", [0.0, 0.25])
@pytest.mark.parametrize("shape", [1, 4])
def test_the_laws_are_what_the_truths_are_computed_from(
    coverage: ModuleType, shape: int, step: float
) -> None:
    law = coverage.Law(5.0, shape, step)
    edf = EDF.of(law.draw(np.random.default_rng(0), 40_000))
    x = np.array([5.6, 7.0, 8.13, 9.0, 11.0, 14.0])
    np.testing.assert_allclose(edf(x), law.share(x), atol=0.01)
    assert law.share(np.array([9.0]))[0] == pytest.approx(0.3)
    assert edf.quantile(0.5) == pytest.approx(law.quantile(0.5), abs=0.26)
    q = law.quantile(0.5)
    assert law.share(np.array([q + 1e-6]))[0] >= 0.5 > law.share(np.array([q - 1e-6]))[0] - 1e-3


def test_the_band_is_exact_for_any_continuous_law_and_more_with_ties() -> None:
    """Two halves of a law of two values: the band only has to hold at one height."""
    assert exact_coverage(*count_bounds(8, 0.8, "ld")) == pytest.approx(0.8, abs=1e-9)
    lower, upper = count_bounds(8, 0.8, "ld")
    heads = np.random.default_rng(1).binomial(8, 0.5, 4000)
    held = (lower[heads] <= 0.5) & (upper[heads] >= 0.5)
    assert held.mean() > 0.85
