"""Size, power and coverage of every band, interval and test of the analysis, as a table.

    python -m benchmarks.coverage

Exact where an exact computation exists (bands, shares, pairs), simulated elsewhere. Laws: 40% of
mass at chance, usable errors with tail shapes 1, 2 and 4 above unequal peaks but with equal shares
within 4 points of them, and the same with ties (errors of an evaluation on 400 images). The
statistics of a cell share its samples; every cell has a stream of its own, so that a part of the
matrix is that part of the whole.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import get_args

import numpy as np
from scipy.stats import binom, chi2, multinomial

from analysis import (
    Estimand,
    Sample,
    area_interval,
    brunner_munzel,
    clopper_pearson,
    compare_all,
    count_bounds,
    exact_coverage,
    ks_permutation,
    order_permutation,
    paired_interval,
    quantile_interval,
    share_difference,
    share_of,
    within_interval,
)
from analysis.arrays import FloatArray
from analysis.comparison.compare import after_pilot, decide_primary
from analysis.edf.bands import Method
from benchmarks.coverage_table import Row, broken, machine, write
from benchmarks.laws import CHANCE, STEP, D, Law

PEAKS = (5.0, 8.0)
SIZES = (16, 64, 256)
SHAPES = (1, 2, 4)
DRAWS = 10_000
TRUTHS = np.unique(np.concatenate((np.linspace(0.0, 1.0, 41), [0.003, 0.01, 0.99, 0.997])))
NULLS = np.linspace(0.0, 1.0, 201)
KNOWN_BESTS = "difference of shares, sample-min"


Answers = Mapping[str, bool]
Trial = Callable[[np.random.Generator], Answers]


def simulated(
    n: int, case: str, promises: Mapping[str, str], *, draws: int, trial: Trial, seed: int
) -> Iterator[Row]:
    """Count how often each answer of a trial is true; an answer that is missing is no answer."""
    rng = np.random.default_rng([seed, n, *"|".join([case, *promises]).encode()])
    counts = dict.fromkeys(promises, 0)
    asked = dict.fromkeys(promises, 0)
    for _ in range(draws):
        for what, answer in trial(rng).items():
            counts[what] += answer
            asked[what] += 1
    for what, promise in promises.items():
        low, high = clopper_pearson(counts[what], max(asked[what], 1))
        rate = counts[what] / max(asked[what], 1)
        yield Row(what, n, case, "simulated", asked[what], rate, low, high, promise)


def exact(what: str, n: int, case: str, promise: str, rate: float) -> Row:
    """Make a row of a rate that was computed."""
    return Row(what, n, case, "exact", 0, rate, rate, rate, promise)


def bands(n: int) -> Iterator[Row]:
    """Exact coverage of each band."""
    for method in get_args(Method):
        covered = exact_coverage(*count_bounds(n, 0.95, method))
        yield exact(f"band {method}", n, "continuous", "band", covered)


def shares(n: int) -> Iterator[Row]:
    """Exact coverage, size and power of the difference of two shares with a reference elsewhere."""
    each = [share_of(k, n) for k in range(n + 1)]
    ends = np.array([[share_difference(a, b)[1:] for b in each] for a in each])
    low, high = ends[..., 0], ends[..., 1]
    law = {p: binom.pmf(np.arange(n + 1), n, p) for p in (*TRUTHS, *NULLS)}
    worst, at = 1.0, ""
    for p in TRUTHS:
        for q in TRUTHS:
            held = (low <= p - q + 1e-12) & (p - q - 1e-12 <= high)
            covered = float(law[p] @ held @ law[q])
            if covered < worst:
                worst, at = covered, f"shares {p:g}, {q:g}: worst of {TRUTHS.size**2}"
    decided = ((low > 0) | (high < 0)).astype(float)
    size = max(float(law[p] @ decided @ law[p]) for p in NULLS)
    yield exact("difference of shares, reference elsewhere", n, at, "coverage", worst)
    yield exact(
        "verdict by shares, reference elsewhere", n, f"worst of {NULLS.size} nulls", "size", size
    )
    for p, q in ((0.5, 0.3), (0.55, 0.15)):
        first, second = (binom.pmf(np.arange(n + 1), n, x) for x in (p, q))
        power = float(first @ (low > 0) @ second)
        yield exact(f"verdict by shares at {p:g}, {q:g}", n, "", "power", power)


def pairs(n: int) -> Iterator[Row]:
    """Exact coverage and size of the paired interval, worst of a grid of truths."""
    counts = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    ends = np.array([paired_interval(b, c, n)[1:] for b, c in counts])
    low, high = ends[:, 0], ends[:, 1]
    cells = np.column_stack((np.array(counts), n - np.sum(counts, axis=1)))
    differ = cells[:, :2].sum(axis=1)
    score = (cells[:, 0] - cells[:, 1]) ** 2 > chi2.ppf(0.95, 1) * differ
    worst, size, of_score = 1.0, 0.0, 0.0
    for p, q in combinations_with_replacement((0.02, 0.1, 0.25, 0.4, 0.5), 2):
        law = multinomial.pmf(cells, n, [p, q, max(1.0 - p - q, 0.0)])
        held = (low <= p - q + 1e-12) & (p - q <= high + 1e-12)
        worst = min(worst, float(law[held].sum()))
        if p == q:
            size = max(size, float(law[(low > 0) | (high < 0)].sum()))
            of_score = max(of_score, float(law[score].sum()))
    yield exact("difference by pairs", n, "worst of 15 truths", "coverage", worst)
    yield exact("verdict by pairs", n, "worst of 5 nulls", "size", size)
    yield exact("score test of pairs, not used", n, "worst of 5 nulls", "none", of_score)


def intervals(n: int, law: Law, case: str, draws: int, seed: int) -> Iterator[Row]:
    """Intervals of one sample: shares and areas at the observed best, quantiles."""
    distances = np.arange(0.0, 10.0, STEP / 5) + STEP / 10
    middle = float(law.at(np.array([0.5]))[0])

    def trial(rng: np.random.Generator) -> Answers:
        sample = _sample("a", law.draw(rng, n))
        best = sample.best
        _, low, high = quantile_interval(sample, 0.5)
        answers = {"median": low <= middle <= high}
        if not np.isnan(best):
            _, low, high = within_interval(sample, D)
            answers["share within 4, sample-min"] = low <= law.share_at(best + D) <= high
            _, low, high = area_interval(sample)
            area = float(law.share(best + distances).mean())
            answers["area, sample-min"] = low <= area <= high
        return answers

    names = ("median", "share within 4, sample-min", "area, sample-min")
    promises = dict.fromkeys(names, "coverage")
    yield from simulated(n, case, promises, draws=draws, trial=trial, seed=seed)


def verdicts(n: int, a: Law, b: Law, case: str, draws: int, seed: int) -> Iterator[Row]:
    """Statements at equal stability with unequal peaks and tails, 40% at chance."""
    known = Estimand(reference={"a": a.peak, "b": b.peak})

    def trial(rng: np.random.Generator) -> Answers:
        two = _sample("a", a.draw(rng, n)), _sample("b", b.draw(rng, n))
        fixed, own = decide_primary(*two, known), decide_primary(*two, Estimand())
        answers = {
            "verdict by shares, simulated": fixed.verdict != "unresolved",
            "verdict by shares, sample-min": own.verdict != "unresolved",
            **_held(KNOWN_BESTS, (a, b), two, Estimand()),
        }
        try:
            *rest, question = after_pilot(*two, Estimand(pilot=n // 4))
        except ValueError:  # a pilot without a usable run gives no answer
            return answers
        return {**answers, **_held("difference of shares, pilot", (a, b), rest, question)}

    promises = {
        "verdict by shares, simulated": "size",
        "verdict by shares, sample-min": "none",
        KNOWN_BESTS: "coverage",
        "difference of shares, pilot": "coverage",
    }
    yield from simulated(n, case, promises, draws=draws, trial=trial, seed=seed)


def dependent(n: int, a: Law, b: Law, case: str, draws: int, seed: int) -> Iterator[Row]:
    """Statements about two samples of the same configurations, alike and opposed."""
    points = tuple(range(n))

    def trial(rng: np.random.Generator) -> Answers:
        u = rng.random(n)
        other = np.where(rng.random(n) < 0.2, rng.random(n), u)  # one in five goes its own way
        answers: dict[str, bool] = {}
        for name, v in (("alike", other), ("opposed", 1.0 - other)):
            two = _sample("a", a.at(u), points), _sample("b", b.at(v), points)
            answers |= _held(f"{KNOWN_BESTS}, {name} pairs", (a, b), two, Estimand())
        return answers

    names = [f"{KNOWN_BESTS}, {name} pairs" for name in ("alike", "opposed")]
    promises = dict.fromkeys(names, "coverage")
    yield from simulated(n, case, promises, draws=draws, trial=trial, seed=seed)


def _held(what: str, laws: Sequence[Law], two: Sequence[Sample], question: Estimand) -> Answers:
    """Whether the true difference at the references that were used is in the interval."""
    references = [question.reference_of(sample) for sample in two]
    known = [r for r in references if r is not None]
    if len(known) < len(references):
        return {}
    truth = [law.share_at(r + D) for law, r in zip(laws, known, strict=True)]
    _, low, high = decide_primary(two[0], two[1], question).difference
    return {what: low <= truth[0] - truth[1] <= high}


def several(n: int, draws: int, seed: int) -> Iterator[Row]:
    """Any false verdict among the pairs of three equally stable groups."""
    laws = {x: Law(5.0 + shape, shape) for x, shape in zip("abc", SHAPES, strict=True)}
    known = Estimand(reference={label: law.peak for label, law in laws.items()})
    what = "any verdict among 3 pairs"

    def trial(rng: np.random.Generator) -> Answers:
        groups = [_sample(label, law.draw(rng, n)) for label, law in laws.items()]
        return {what: bool(compare_all(groups, known)["verdict"].ne("unresolved").any())}

    yield from simulated(n, "shapes 1, 2, 4", {what: "size"}, draws=draws, trial=trial, seed=seed)


def secondary(n: int, law: Law, case: str, draws: int, seed: int) -> Iterator[Row]:
    """Tests of equal laws: by permutation they are exact; Student's approximation is not used."""
    names = ("order by Student's t, not used", "order by Student's t within pairs, not used")

    def order(rng: np.random.Generator) -> Answers:
        two = law.draw(rng, n), law.draw(rng, n)
        found = brunner_munzel(*two)[1], brunner_munzel(*two, paired=True)[1]
        return {name: p <= 0.05 for name, p in zip(names, found, strict=True)}

    def largest(rng: np.random.Generator) -> Answers:
        two = law.draw(rng, n), law.draw(rng, n)
        test = partial(ks_permutation, *two, rng, permutations=99)
        swapped = partial(order_permutation, *two, rng, permutations=99)
        return {
            "ks by permutation": test()[1] <= 0.05,
            "ks by permutation within pairs": test(paired=True)[1] <= 0.05,
            "order by permutation": swapped() <= 0.05,
            "order by permutation within pairs": swapped(paired=True) <= 0.05,
        }

    promises = dict.fromkeys(names, "none")
    yield from simulated(n, case, promises, draws=draws, trial=order, seed=seed)
    tests = ("ks by permutation", "order by permutation")
    promises = {f"{test}{how}": "size" for test in tests for how in ("", " within pairs")}
    fewer = max(draws // 5, 1)  # 99 permutations each
    yield from simulated(n, case, promises, draws=fewer, trial=largest, seed=seed)


def _sample(label: str, errors: FloatArray, points: tuple[int, ...] = ()) -> Sample:
    return Sample(label=label, errors=errors, chance=CHANCE, points=points)


Cell = Callable[[], Iterator[Row]]


def cells(
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    seed: int = 0,
    shapes: Sequence[int] = SHAPES,
    steps: Sequence[float] = (0.0, STEP),
) -> Iterator[Cell]:
    """List the matrix, the costly cells first.

    Args:
        sizes: numbers of configurations n.
        draws: of each simulated cell (a fifth of them for permutation tests).
        seed: of all streams.
        shapes: of the tails, see `Law`.
        steps: grids of the errors in points, 0 for a continuous law.

    """
    for n in sorted(sizes, reverse=True):
        for step in steps:
            grid = ", ties" if step else ""
            for shape in shapes:
                law, case = Law(PEAKS[0], shape, step), f"shape {shape}{grid}"
                for bundle in (intervals, secondary):
                    yield partial(bundle, n, law, case, draws, seed)
            for one, other in combinations_with_replacement(shapes, 2):
                laws = Law(PEAKS[0], one, step), Law(PEAKS[1], other, step)
                for compared in (verdicts, dependent):
                    yield partial(compared, n, *laws, f"shapes {one}, {other}{grid}", draws, seed)
        yield partial(several, n, draws, seed)
        for computed in (pairs, shares, bands):
            yield partial(computed, n)


def rows_of(cell: Cell) -> list[Row]:
    """Work out a cell."""
    return list(cell())


def main() -> int:
    """Write the table; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/coverage.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/coverage.md"))
    given = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(rows_of, cells(given.sizes, given.draws, given.seed))
        rows = [row for part in found for row in part]
    minutes = (time.perf_counter() - start) / 60.0
    facts = {"draws": given.draws, "seed": given.seed, "machine": machine(), "minutes": minutes}
    write(rows, facts, given.output, given.page)
    bad = broken(rows)
    print("\n".join(map(str, bad)) or f"all {len(rows)} cells keep their promise")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
