"""Comparisons keep their promises: sizes, exact intervals, named references, honest sentences."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis import (
    Estimand,
    Sample,
    TableError,
    clopper_pearson,
    compare,
    compare_all,
    compare_table,
    dominance,
    holm,
    paired_interval,
    samples,
)
from analysis.comparison.compare import decide_primary
from analysis.comparison.pairs import pair_up

CHANCE = 90.0


def sample(label: str, errors: object, **fields: object) -> Sample:
    return Sample(
        label=label,
        errors=np.asarray(errors, dtype=float),
        **{"chance": CHANCE, **fields},  # type: ignore[arg-type]
    )


def paired(label: str, errors: object, **fields: object) -> Sample:
    values = np.asarray(errors, dtype=float)
    points = tuple((i,) for i in range(values.size + int(str(fields.get("unknown", 0)))))
    return sample(label, values, points=points, **fields)


STABLE = sample("s", np.linspace(5, 8, 64))
SHAKY = sample("t", np.linspace(4, 64, 64))


# --- the primary estimand


def test_the_difference_comes_from_two_shares_squared_and_added() -> None:
    """The best run, which is always near itself, is left out of the lower limits."""
    found = compare(STABLE, SHAKY).decision
    (_, high_s), (_, high_t) = clopper_pearson(64, 64), clopper_pearson(5, 64)
    low_s, low_t = clopper_pearson(63, 63)[0], clopper_pearson(4, 63)[0]
    p, q = 1.0, 5 / 64
    assert found.share_a == (p, low_s, high_s)
    assert found.difference == pytest.approx(
        (p - q, p - q - math.hypot(p - low_s, high_t - q), p - q + math.hypot(0, q - low_t))
    )
    assert (found.verdict, found.by) == ("A", "shares")
    fixed = compare(STABLE, SHAKY, Estimand(reference=4.0)).decision
    assert fixed.share_b == (q, *clopper_pearson(5, 64))


def test_dependent_samples_are_never_surer_than_independent_ones() -> None:
    """Those of the same configurations that are alike count as independent, opposed ones less."""
    near, far = np.where(np.arange(40) < 24, 5.0, 50.0), np.where(np.arange(40) < 16, 50.0, 5.0)
    alone = decide_primary(sample("a", near), sample("b", far), Estimand()).difference
    alike = decide_primary(paired("a", near), paired("b", far[::-1]), Estimand()).difference
    opposed = decide_primary(paired("a", near), paired("b", far), Estimand()).difference
    assert alone == alike
    assert opposed.low < alone.low < alone.high < opposed.high
    x, y = 0.6 - clopper_pearson(23, 39)[0], clopper_pearson(24, 40)[1] - 0.6
    correlation = (8 / 40 - 0.6 * 0.6) / (0.6 * 0.4)
    assert opposed.low == pytest.approx(-math.sqrt(x**2 + y**2 - 2 * correlation * x * y))
    points = [(0,), *((i,) for i in range(101, 120)), (30,), *((i,) for i in range(121, 140))]
    few = replace(paired("b", far), points=tuple(points))
    barely = decide_primary(paired("a", near), few, Estimand()).difference
    assert opposed.low < barely.low < alone.low


def test_exchanging_the_samples_exchanges_the_answer() -> None:
    one, other = compare(STABLE, SHAKY), compare(SHAKY, STABLE)
    assert other.decision.verdict == "B"
    assert other.decision.difference == pytest.approx(
        [-x for x in np.array(one.decision.difference)[[0, 2, 1]]]
    )
    assert (other.dominance.verdict, other.dominance.b_above) == ("B", one.dominance.a_above)


def test_a_shift_of_all_errors_changes_the_peak_and_not_the_stability() -> None:
    """A model that is one point better everywhere is not more stable."""
    better = sample("u", STABLE.errors - 1.0)
    found = compare(STABLE, better)
    assert found.decision.difference.estimate == 0.0
    assert found.decision.verdict == "unresolved"
    assert "5.00%, that of u (n = 64) 4.00%, 1.00 points less" in found.peak


def test_failures_are_never_near_the_best_even_where_the_best_is_near_chance() -> None:
    late = sample("l", [88.0] + [CHANCE] * 9)
    assert compare(late, STABLE).decision.share_a.estimate == 0.1
    none = sample("n", [CHANCE] * 10)
    found = compare(none, STABLE)
    assert found.decision.share_a.estimate == found.decision.share_a.low == 0.0
    assert 0 < found.decision.share_a.high < 0.6
    assert found.peak == "Peak: no run of n is better than chance."


def test_unknown_errors_are_in_the_interval() -> None:
    half = sample("h", STABLE.errors[:60], unknown=4)
    worst = sample("h", [*STABLE.errors[:60], *[CHANCE] * 4])
    full = compare(STABLE, SHAKY).decision.difference
    got, low = (compare(s, SHAKY).decision.difference for s in (half, worst))
    assert got.low == low.low
    assert got.high == full.high
    assert got.estimate == low.estimate


@pytest.mark.parametrize("shapes", [(1, 1), (1, 4)])
def test_at_equal_stability_few_verdicts_are_false(shapes: tuple[int, int]) -> None:
    """Equal F(r + d), other peaks and tails, 40% at chance; references from elsewhere."""
    rng = np.random.default_rng(shapes[1])
    false, rounds = 0, 200
    for _ in range(rounds):
        pair = []
        for label, shape, peak in zip("ab", shapes, (5.0, 9.0), strict=True):
            # a power law that has the same share, 0.3, within 4 points of its end
            wide = 4.0 * 2.0 ** (1 / shape)
            errors = peak + wide * rng.random(24) ** (1 / shape)
            pair.append(sample(label, np.where(rng.random(24) < 0.4, CHANCE, errors)))
        truth = Estimand(reference={"a": 5.0, "b": 9.0})
        false += decide_primary(*pair, truth).verdict != "unresolved"
    assert stats.binomtest(false, rounds, 0.05, alternative="greater").pvalue > 0.01


# --- dominance


def test_curves_that_cross_are_seen_where_they_do() -> None:
    near = sample("n", [*np.linspace(5, 6, 100), *[60.0] * 100])
    far = sample("f", [5.0, *np.linspace(9, 12, 199)])
    found = dominance(near, far, Estimand())
    assert found.verdict == "cross"
    (start, end), (begin, stop) = found.a_above[0], found.b_above[0]
    assert 0 < start < end < begin < stop == 20.0
    middle = (start + end) / 2
    assert near.edf().delta(5)(middle) > far.edf().delta(5)(middle)
    text = str(compare(near, far))
    assert f"they cross: n is above f at {start:.2f} to {end:.2f}, f above n at" in text


def test_unresolved_curves_are_called_so() -> None:
    few = sample("a", [5.0, 6.0]), sample("b", [5.0, 60.0])
    assert dominance(*few, Estimand()).verdict == "unresolved"
    assert "neither a nor b is shown to be above the other" in str(compare(*few))


# --- more than two groups


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_steps_down(p: list[float]) -> None:
    """Rejecting at alpha what is adjusted is the step-down procedure itself."""
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.5):
        rejected = set()
        for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[i] * (len(p) - rank) > alpha:
                break
            rejected.add(i)
        assert {i for i, x in enumerate(adjusted) if x <= alpha} == rejected


def test_all_pairs_share_one_level() -> None:
    groups = [STABLE, SHAKY, sample("u", np.linspace(4, 66, 64))]
    table = compare_all(groups)
    assert table[["a", "b"]].values.tolist() == [["s", "t"], ["s", "u"], ["t", "u"]]
    assert table["verdict"].tolist() == ["A", "A", "unresolved"]
    at_level = Estimand(confidence=1 - 0.05 / 3)
    expected = decide_primary(STABLE, SHAKY, at_level).difference
    assert table.loc[0, ["difference", "low", "high"]].tolist() == pytest.approx(list(expected))
    two = compare_all(groups[:2]).loc[0, ["difference", "low", "high"]].tolist()
    assert two == pytest.approx(list(compare(*groups[:2]).decision.difference))


def test_decided_groups_leave_the_rest_a_higher_level() -> None:
    """The third group is far from both; the pair of the others is then asked alone."""
    gained = 0
    fixed = Estimand(reference=4.0)
    for good in range(24, 64, 2):
        a, b, c = (
            sample(x, [5.0] * k + [50.0] * (64 - k)) for x, k in (("a", 64), ("b", good), ("c", 0))
        )
        table = compare_all([a, b, c], fixed)
        assert table["verdict"][1:].tolist() == ["A", "A" if good > 12 else "unresolved"]
        assert table.loc[0, "verdict"] == compare(a, b, fixed).decision.verdict
        gained += table.loc[0, "verdict"] == "A" and table.loc[0, "low"] <= 0
    assert gained


def test_paired_groups_are_adjusted_by_holm() -> None:
    i = np.arange(40)
    errors = [np.where(good, 5.0, 50.0) for good in (i < 38, i % 2 == 0, i % 2 == 1)]
    groups = [paired(x, e) for x, e in zip("abc", errors, strict=True)]
    table = compare_all(groups, Estimand(reference=4.0))
    assert table["p_holm"].tolist() == holm(table["p"].tolist())
    assert table["verdict"].tolist() == ["A", "A", "unresolved"]
    assert "Holm" in table.attrs["by"]
    only = [(errors[0] < 9) & (errors[1] > 9), (errors[1] < 9) & (errors[0] > 9)]
    counts = [int(x.sum()) for x in only]
    expected = paired_interval(counts[0], counts[1], 40, confidence=1 - 0.05 / 3)
    assert table.loc[0, ["difference", "low", "high"]].tolist() == pytest.approx(list(expected))


def test_a_p_value_that_is_small_only_by_itself_decides_nothing_among_three() -> None:
    i = np.arange(40)
    better, worse = np.where(i < 30, 5.0, 50.0), np.where((i >= 10) & (i < 32), 5.0, 50.0)
    groups = [paired("a", better), paired("b", worse), paired("c", worse)]
    table = compare_all(groups, Estimand(reference=4.0))
    assert table["p"].tolist() == pytest.approx([0.0386, 0.0386, 1.0], abs=5e-5)
    assert table["verdict"].tolist() == ["unresolved"] * 3


# --- sentences and tables


def views_table() -> pd.DataFrame:
    """Two models; a is stable but for diverged runs, which only the policy 'drop' forgives."""
    a = [5.0 + i / 50 for i in range(60)] + [None] * 140
    b = [5.0 + i / 50 for i in range(140)] + [60.0] * 60
    rows = [
        {"model": m, "error": e, "chance": CHANCE} for m, es in (("a", a), ("b", b)) for e in es
    ]
    return pd.DataFrame(rows)


def test_a_verdict_that_flips_says_so_in_its_sentence() -> None:
    (found,) = compare_table(views_table())
    assert found.sensitivity.loc["policy 'drop'", "verdict"] == "A"
    assert found.verdict == (
        "Verdict: more of b than of a is near the best of its own sample (95% interval of two "
        "shares), but this flips: under policy 'drop': more of a than of b is near the best of "
        "its own sample. Which is more stable needs a reference from elsewhere."
    )


def test_a_verdict_that_holds_everywhere_says_where() -> None:
    table = views_table().assign(error=lambda t: t["error"].fillna(80.0))
    (found,) = compare_table(table, Estimand(reference=5.0, named="tuned"))
    assert found.sensitivity["verdict"].tolist() == ["B", "B"]
    assert found.verdict == (
        "Verdict: b is more stable than a (95% interval of two shares); so under each of: "
        "policy 'last', policy 'drop'."
    )


def test_a_verdict_that_another_view_does_not_resolve_depends_on_the_view() -> None:
    few = sample("s", STABLE.errors[:3]), sample("t", SHAKY.errors[:3])
    found = compare(STABLE, SHAKY, views={"smaller box": few})
    assert "but this depends on the view: under smaller box: not resolved. W" in found.verdict
    gone = compare(STABLE, SHAKY, views={"other metric": (few[0], sample("t", []))})
    assert gone.sensitivity.loc["other metric", "verdict"].startswith("no answer: ")
    assert gone.verdict == (
        "Verdict: more of s than of t is near the best of its own sample (95% interval of two "
        "shares). Which is more stable needs a reference from elsewhere."
    )


def test_a_verdict_names_its_interval_and_claims_stability_only_with_a_fixed_reference() -> None:
    i = np.arange(40)
    a, b = paired("a", np.where(i < 38, 5.0, 50.0)), paired("b", np.where(i % 2, 5.0, 50.0))
    fixed = compare(a, b, Estimand(reference=4.0, confidence=0.9))
    assert fixed.verdict == "Verdict: a is more stable than b (90% interval of pairs)."
    equal = compare(a, replace(a, label="c"), Estimand(reference=4.0))
    assert "no difference in stability of a and c is resolved (95% interval of" in equal.verdict
    own = compare(a, replace(a, label="c"))
    assert "is not resolved (95% interval of two shares). Which is more stable" in own.verdict
    assert "more stable than" not in own.verdict


def test_peak_and_stability_are_two_sentences_that_name_their_reference() -> None:
    found = compare(STABLE, SHAKY)
    assert found.stability.startswith(
        "Stability: 100.0% of s and 7.8% of t are within 4 points of the best of its own sample "
        "(sample-min); difference +92.2 points of share, 95% interval +"
    )
    assert "stable" not in found.peak
    assert any(note.startswith("reference 'sample-min'") for note in found.notes)
    text = str(found).split("\n")
    assert [line.split(":")[0] for line in text[:5]] == [
        "Peak", "Stability", "Curves", "Verdict", "Note",
    ]  # fmt: skip
    fixed = compare(STABLE, SHAKY, Estimand(reference={"s": 5, "t": 4}, named="confirmed"))
    assert "its reference (confirmed: s 5%, t 4%)" in fixed.stability
    assert not any("sample-min" in note for note in fixed.notes)


def test_unequal_sizes_unknown_and_unfinished_trials_are_noted() -> None:
    small = sample("u", STABLE.errors[:30], unknown=1, ok=30, trials=64)
    notes = " ".join(compare(small, SHAKY).notes)
    assert "the samples differ in size" in notes
    assert "u: first 31 of 64 trials, 1 of 31 unknown" in notes
    large = sample("x", np.linspace(5, 60, 10_001))
    assert "two simultaneous bands (ks, ld)" in compare(large, SHAKY).notes[0]


def test_everything_can_be_written_as_json() -> None:
    found = compare_table(views_table(), rng=np.random.default_rng(0))[0].to_dict()
    read = json.loads(json.dumps(found, allow_nan=False))
    assert read["verdict"] == "B"
    assert read["secondary"][0]["statistic"] == "area"
    assert read["sensitivity"][0]["view"] == "policy 'last'"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d": -1.0}, "d: got -1"),
        ({"confidence": 1.0}, "confidence: got 1.0"),
        ({"pilot": -1}, "pilot: got -1"),
        ({"pilot": 3, "reference": 5.0}, "no other reference beside them"),
        ({"reference": "minimum"}, "reference: got 'minimum'"),
    ],
)
def test_a_question_checks_itself(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Estimand(**change)  # type: ignore[arg-type]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="labels: got 's' twice"):
        compare(STABLE, STABLE)
    with pytest.raises(ValueError, match="reference: got None for 't'"):
        compare(STABLE, SHAKY, Estimand(reference={"s": 5.0}))
    with pytest.raises(ValueError, match="sobol design are not independent"):
        compare(STABLE, sample("q", [1.0, 2.0], sampler="sobol"))
    with pytest.raises(ValueError, match="got 1 groups"):
        compare_all([STABLE])
    with pytest.raises(ValueError, match="groups: got 1"):
        compare_table(pd.DataFrame({"model": ["a"], "error": [1.0]}))
    with pytest.raises(TableError, match="no column 'error'"):
        compare_table(pd.DataFrame({"model": ["a", "b"]}))


@pytest.mark.skipif("STABILITY_TABLES" not in os.environ, reason="names a folder of real tables")
def test_real_paired_tables() -> None:
    """Published: v3 is better in 81.5% of 1024 pairs, by 1.86 points in the median."""
    folder = Path(os.environ["STABILITY_TABLES"])
    parts = [
        pd.read_csv(folder / f"{name}.csv").assign(model=name)
        for name in ("deberta-v3-base", "deberta-base")
    ]
    table = pd.concat(parts).assign(error=lambda t: t["final_err"], draw=lambda t: t["iteration"])
    v3, base = samples(table, by=["model"])
    pairs = pair_up(v3, base)
    assert pairs is not None
    gap = base.errors[pairs.b] - v3.errors[pairs.a]
    assert (gap > 0).mean() == pytest.approx(0.815, abs=5e-4)
    assert np.median(gap) == pytest.approx(1.86, abs=5e-3)
    found = compare(v3, base, Estimand(reference={v3.label: 6.0, base.label: 8.0}))
    assert found.decision.by == "pairs"
