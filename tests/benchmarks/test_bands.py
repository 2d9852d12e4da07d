"""The matrix of coverage and size: a small part of it, its page, and proof that it can fail."""

import json

import numpy as np
import pytest
from toys import ROOT

from analysis import EDF, Interval, Share, count_bounds, exact_coverage
from benchmarks import coverage
from benchmarks.coverage_table import Row, broken, render
from benchmarks.laws import Law


@pytest.fixture(scope="module")
def small() -> list[Row]:
    cells = coverage.cells((16,), 800, shapes=(2,), steps=(coverage.STEP,))
    return [row for cell in cells for row in coverage.rows_of(cell)]


def test_every_promise_is_kept_in_a_small_part_of_the_matrix(small: list[Row]) -> None:
    assert broken(small) == []
    assert {row.promise for row in small} == {"band", "coverage", "size", "power", "none"}
    assert (
        len({(row.what, row.n, row.case) for row in small}) == len(small) == 3 + 6 + 4 + 2 + 1 + 11
    )


def test_the_committed_page_is_that_of_the_committed_cells_and_none_is_broken() -> None:
    found = json.loads((ROOT / "benchmarks" / "coverage.json").read_text())
    rows = [Row(**cell) for cell in found["rows"]]
    assert broken(rows) == []
    assert (ROOT / "docs" / "coverage.md").read_text() == render(found)
    assert found["draws"] >= 2000


def test_the_committed_cells_are_all_of_the_matrix_and_the_exact_ones_are_still_so() -> None:
    found = json.loads((ROOT / "benchmarks" / "coverage.json").read_text())
    rows = {(r["what"], r["n"], r["case"]): r["rate"] for r in found["rows"]}
    assert {(n, case) for _, n, case in rows} >= {
        (n, f"shapes {one}, {other}{grid}")
        for n in (16, 64, 256)
        for one, other in ((1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (4, 4))
        for grid in ("", ", ties")
    }
    for computed in (coverage.bands, coverage.pairs, coverage.shares):
        for row in computed(16):
            assert rows[row.what, 16, row.case] == pytest.approx(row.rate, abs=1e-7)


def test_exact_bands_are_exact() -> None:
    rows = {row.what: row.rate for n in (16, 64) for row in coverage.bands(n)}
    for method in ("ld", "ld-equal-tailed", "ks"):
        assert rows[f"band {method}"] == pytest.approx(0.95, abs=1e-9)
    assert rows["band dkw"] > 0.955


def test_cells_do_not_depend_on_each_other(small: list[Row]) -> None:
    """The stream of a cell comes from its name: a part of the matrix is that part of the whole."""
    alone = list(coverage.intervals(16, Law(5.0, 2, coverage.STEP), "shape 2, ties", 800, 0))
    rates = {(row.what, row.case): row.rate for row in small}
    assert [row.rate for row in alone] == [rates[row.what, row.case] for row in alone]


def test_each_cell_has_a_stream_of_its_own() -> None:
    drawn: list[float] = []

    def trial(rng: np.random.Generator) -> dict[str, bool]:
        drawn.append(rng.random())
        return {}

    for what, n, case in (
        ("a", 1, "x"),
        ("a", 1, "y"),
        ("b", 1, "x"),
        ("a", 2, "x"),
        ("a", 1, "x"),
    ):
        list(coverage.simulated(n, case, {what: "none"}, draws=1, trial=trial, seed=0))
    assert len(set(drawn)) == 4
    assert drawn[0] == drawn[4]


def test_an_interval_that_is_too_narrow_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrow(sample: object, p: float) -> Interval:
        middle = sample.edf().quantile(p)  # type: ignore[attr-defined]
        return Interval(middle, middle - 2, middle + 2)

    def half(a: Share, b: Share) -> Interval:
        middle = a.least - b.least
        return Interval(middle, middle - 0.2, middle + 0.2)

    monkeypatch.setattr(coverage, "quantile_interval", narrow)
    rows = {r.what: r for r in coverage.intervals(16, Law(5.0, 2), "shape 2", 150, 0)}
    assert not rows["median"].ok
    monkeypatch.setattr(coverage, "count_bounds", lambda n, c, m: count_bounds(n, 0.9, m))
    assert not any(row.ok for row in coverage.bands(16) if row.what != "band dkw")
    monkeypatch.setattr(coverage, "share_difference", half)
    assert [row.ok for row in coverage.shares(16)] == [False, False, True, True]
    monkeypatch.setattr(coverage, "paired_interval", lambda b, c, n: Interval(0.0, 0.01, 0.02))
    assert [row.ok for row in coverage.pairs(16)] == [False, False, True]


def test_statements_that_are_false_too_often_break_their_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The truth is taken one point further out than the question, and every statement is off."""
    laws = Law(5.0, 1), Law(8.0, 4)
    assert all(row.ok for row in coverage.verdicts(64, *laws, "x", 1000, 0))
    monkeypatch.setattr(coverage, "D", coverage.D + 1.0)
    bad = {row.what for row in coverage.verdicts(64, *laws, "x", 1000, 0) if not row.ok}
    assert bad == {coverage.KNOWN_BESTS, "difference of shares, pilot"}


def test_a_test_that_rejects_too_often_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "ks_permutation", lambda *a, **k: (0.1, 0.04))
    monkeypatch.setattr(coverage, "order_permutation", lambda *a, **k: 0.04)
    rows = coverage.secondary(16, Law(5.0, 2), "shape 2", 50, 0)
    assert [row.ok for row in rows] == [True, True, *[False] * 4]


@pytest.mark.parametrize("step", [0.0, 0.25])
@pytest.mark.parametrize("shape", [1, 4])
def test_the_laws_are_what_the_truths_are_computed_from(shape: int, step: float) -> None:
    law = Law(5.0, shape, step)
    edf = EDF.of(law.draw(np.random.default_rng(0), 40_000))
    x = np.array([5.6, 7.0, 8.13, 9.0, 11.0, 14.0])
    np.testing.assert_allclose(edf(x), law.share(x), atol=0.01)
    assert law.share(np.array([9.0]))[0] == pytest.approx(0.3)
    q = float(law.at(np.array([0.5]))[0])
    assert edf.quantile(0.5) == pytest.approx(q, abs=0.26)
    assert law.share(np.array([q + 1e-6]))[0] >= 0.5 > law.share(np.array([q - 1e-6]))[0] - 1e-3


def test_the_band_is_exact_for_any_continuous_law_and_more_with_ties() -> None:
    """Two halves of a law of two values: the band only has to hold at one height."""
    assert exact_coverage(*count_bounds(8, 0.8, "ld")) == pytest.approx(0.8, abs=1e-9)
    lower, upper = count_bounds(8, 0.8, "ld")
    heads = np.random.default_rng(1).binomial(8, 0.5, 4000)
    held = (lower[heads] <= 0.5) & (upper[heads] >= 0.5)
    assert held.mean() > 0.85
