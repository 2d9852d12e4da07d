"""Planning: trials for a width in closed form, exact power, cost with its spread, the command."""

import json
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from toys import ROOT

from analysis import (
    Estimand,
    Sample,
    TableError,
    count_bounds,
    half_width,
    share_difference,
    share_of,
)
from analysis.comparison.shares import near_difference
from analysis.planning import (
    cost,
    power,
    power_from_pilot,
    seconds_by_group,
    trials_for,
    trials_for_power,
)
from stability.cli.app import app

RUNS = re.MULTILINE | re.DOTALL
PAGE = ROOT / "docs" / "planning.md"


def sample(label: str, good: int, n: int, **fields: object) -> Sample:
    errors = np.where(np.arange(n) < good, 5.0, 60.0)
    return Sample(label=label, errors=errors, chance=90.0, **fields)  # type: ignore[arg-type]


# --- trials for a width


@pytest.mark.parametrize("width", [0.3, 0.1, 0.05, 0.02, 0.001])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_dkw_has_a_closed_form(width: float, confidence: float) -> None:
    expected = math.ceil(math.log(2 / (1 - confidence)) / (2 * width**2))
    assert trials_for(width, "dkw", confidence) == expected


def test_published_numbers() -> None:
    assert (trials_for(0.1), trials_for(0.05)) == (185, 738)


@pytest.mark.parametrize("width", [0.2, 0.1, 0.06])
def test_one_trial_fewer_is_too_few(width: float) -> None:
    def ld(n: int) -> float:
        lower, upper = count_bounds(n, 0.95, "ld")
        return float(np.max(upper - lower)) / 2

    def one(n: int) -> float:
        share = share_of(n // 2, n)
        return (share.high - share.low) / 2

    def two(n: int) -> float:
        _, low, high = share_difference(share_of(n // 2, n), share_of(n // 2, n))
        return (high - low) / 2

    for of, reached in (("ks", half_width), ("ld", ld), ("share", one), ("difference", two)):
        n = trials_for(width, of)  # type: ignore[arg-type]
        assert reached(n) <= width < reached(n - 1)


def test_a_width_that_one_trial_has_needs_one() -> None:
    assert trials_for(0.98, "ks") == trials_for(0.5, "share") == 1


# --- power


@pytest.mark.parametrize(("p", "q"), [(0.6, 0.2), (0.3, 0.3), (0.1, 0.5), (1.0, 0.0)])
def test_power_is_the_sum_over_all_counts(p: float, q: float) -> None:
    n = 12
    each = [share_of(k, n) for k in range(n + 1)]
    total = sum(
        math.comb(n, i) * p**i * (1 - p) ** (n - i) * math.comb(n, j) * q**j * (1 - q) ** (n - j)
        for i in range(n + 1)
        for j in range(n + 1)
        if share_difference(each[i], each[j]).low > 0
    )
    assert power(p, q, n) == pytest.approx(total, abs=1e-9)


def test_power_at_equal_shares_is_half_the_size_and_grows_with_n_and_distance() -> None:
    assert 0.015 < power(0.5, 0.5, 128) <= 0.025
    for larger in (power(0.5, 0.3, 128), power(0.6, 0.3, 64), power(0.5, 0.3, 64, 0.9)):
        assert larger > power(0.5, 0.3, 64)


@pytest.mark.parametrize(("p", "q", "wanted"), [(0.55, 0.15, 0.8), (0.5, 0.3, 0.9)])
def test_trials_reach_the_power_and_one_fewer_does_not(p: float, q: float, wanted: float) -> None:
    n = trials_for_power(p, q, wanted)
    assert n is not None
    assert power(p, q, n) >= wanted > power(p, q, n - 1)


def test_no_number_of_trials_shows_what_is_not_there() -> None:
    assert trials_for_power(0.5, 0.5) is trials_for_power(0.4, 0.5) is None
    assert trials_for_power(0.5, 0.5, wanted=0.01) is None  # false verdicts are no power
    assert trials_for_power(0.501, 0.5) is None  # about 4 million
    assert trials_for_power(1.0, 0.0) == 4


def test_the_pilot_is_planned_from_over_its_interval() -> None:
    a, b = sample("a", 24, 32), sample("b", 12, 32)
    found = power_from_pilot(a, b, 100)
    low, high = near_difference(a, b, Estimand())[1:]
    ends = [found[name].share_a - found[name].share_b for name in ("pessimistic", "optimistic")]
    assert ends == pytest.approx([low, high])
    assert found["pilot"][:2] == (0.75, 0.375)
    assert found["pessimistic"].power < found["pilot"].power < found["optimistic"].power
    assert found["pilot"].power == power(0.75, 0.375, 100)
    assert found["pessimistic"].trials > found["pilot"].trials > found["optimistic"].trials  # type: ignore[operator]


def test_exchanging_the_pilots_exchanges_the_shares() -> None:
    a, b = sample("a", 24, 32), sample("b", 12, 20)
    one, other = power_from_pilot(a, b, 50), power_from_pilot(b, a, 50)
    for name, scenario in one.items():
        swapped = (scenario.share_b, scenario.share_a, scenario.power, scenario.trials)
        assert other[name] == swapped


def test_a_pilot_that_leaves_the_order_open_gives_no_number_in_the_worst_case() -> None:
    found = power_from_pilot(sample("a", 9, 16), sample("b", 7, 16), 64)
    assert found["pessimistic"].trials is None
    assert found["pessimistic"].power < 0.025
    assert found["pilot"].trials is not None


@pytest.mark.parametrize(
    ("call_it", "said"),
    [
        (lambda: trials_for(0.1, "kss"), "'kss' is not one of .*did you mean 'ks'"),  # type: ignore[arg-type]
        (lambda: trials_for(0.0), "width: got 0.0, allowed: from 0.001, below 1"),
        (lambda: trials_for(0.1, confidence=1.0), "confidence: got 1.0"),
        (lambda: trials_for(0.01, "ld"), "'ld' for 18[0-9]{3} values, allowed up to 10000"),
        (lambda: power(1.1, 0.5, 10), "share_a: got 1.1"),
        (lambda: power(0.5, 0.5, 0), "n at least 1"),
        (lambda: trials_for_power(0.6, 0.5, wanted=1.0), "wanted: got 1.0"),
        (lambda: cost(pd.DataFrame(), 0), "got 0 draws"),
    ],
)
def test_bad_arguments_are_refused(call_it: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call_it()  # type: ignore[operator]


# --- cost


def pilot_table(seconds: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"model": m, "draw": i, "error": 5.0 + i, "seconds": s}
        for m, some in seconds.items()
        for i, s in enumerate(some)
    ]
    return pd.DataFrame(rows)


def test_the_cost_has_a_closed_form() -> None:
    table = seconds_by_group(pilot_table({"a": [1.0, 3.0], "b": [10.0, 10.0, 13.0]}))
    assert table["mean"].tolist() == [2.0, 11.0]
    found = cost(table, 100, workers=4)
    variance = 100 * (2 + 3) + 100**2 * (2 / 2 + 3 / 3)
    assert found.estimate == pytest.approx(1300 / 4)
    assert found.high - found.estimate == pytest.approx(1.959964 * math.sqrt(variance) / 4)
    assert math.isnan(cost(seconds_by_group(pilot_table({"a": [1.0]})), 10).low)


def test_the_cost_of_a_study_lies_in_its_interval_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        pilot = rng.gamma(4.0, 1.0, 48)
        table = pd.DataFrame({"timed": [48], "mean": [pilot.mean()], "sd": [pilot.std(ddof=1)]})
        _, low, high = cost(table, 96)
        inside += low <= rng.gamma(4.0, 1.0, 96).sum() <= high
    assert inside / 400 == pytest.approx(0.95, abs=3.5 * math.sqrt(0.05 * 0.95 / 400))


def test_an_unfinished_pilot_is_timed_by_its_complete_prefix() -> None:
    """Long trials end last: those behind the first that is missing would make it look fast."""
    table = pilot_table({"a": [9.0, 8.0, 1.0, 1.0]}).assign(outcome=["ok", "ok", "missing", "ok"])
    table.loc[2, ["error", "seconds"]] = None
    found = seconds_by_group(table).loc["a"]
    assert (found["timed"], found["mean"], found["trials"]) == (2, 8.5, 4)


def test_a_table_without_seconds_has_no_cost() -> None:
    table = pilot_table({"a": [1.0]})
    with pytest.raises(TableError, match="no column 'seconds'"):
        seconds_by_group(table.drop(columns="seconds"))
    with pytest.raises(TableError, match="group 'a': no trial with its seconds"):
        seconds_by_group(table.assign(seconds=None))


# --- the command


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints, in this process."""

    def run(*arguments: str) -> str:
        app(arguments, standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_page_shows_what_the_commands_print(
    printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each `stability plan` of docs/planning.md prints, in docs/, the block that follows it."""
    monkeypatch.chdir(PAGE.parent)
    found = re.findall(r"^    stability (plan[^\n]*)\n\n```text\n(.*?)```", PAGE.read_text(), RUNS)
    assert len(found) == PAGE.read_text().count("    stability plan") >= 2
    for command, shown in found:
        assert printed(*shlex.split(command)) == shown
        assert max(map(len, shown.splitlines())) <= 80


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parent.parent)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["widths"] == (181, 104)


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    wrong = "plan --half-width .1,x,.001 --confidence 2 --policy bst --within -1 --draws 0 --by a"
    done = call(*wrong.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "stability: 8 problems:",
        "  --half-width: got 'x', allowed is a number from 0.02 to 0.5",
        "  --half-width: got '.001', allowed is a number from 0.02 to 0.5",
        "  --confidence: got '2', allowed is a number from 0.5 to 0.9999",
        "  --within: got '-1', allowed is a number from 0",
        "  --policy: 'bst' is not one of chance, last, best, drop, beyond (did you mean 'best'?)",
        "  --draws: got '0', allowed is a whole number from 1 to 2147483647",
        "  --draws: got '0', but no pilot run to plan from",
        "  --by: got 'a', but no pilot run to plan from",
    ]


def test_a_pilot_that_cannot_be_planned_from_says_why(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pilot_table({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    table.assign(sampler="sobol").drop(columns="seconds").to_csv("q.csv", index=False)
    shown = printed("plan", "q.csv", "--half-width", ".2")
    assert "power: no interval: the points of a sobol design are not independent" in shown
    assert "cost: no column 'seconds'" in shown
    with pytest.raises(TableError, match=r"none\.csv: no such file or folder"):
        printed("plan", "q.csv", "none.csv")
    with pytest.raises(TableError, match="by: 'modle' is not one of"):
        printed("plan", "q.csv", "--by", "modle")
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


def test_one_group_and_one_trial_are_said_as_they_are(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pilot_table({"a": [1.5]}).to_csv("one.csv", index=False)
    lines = printed("plan", "one.csv", "--draws", "4").splitlines()
    assert "power: one group: no difference to look for" in lines
    end = lines.index("Assumed:")
    assert lines[end - 3 : end] == [
        "training 4 draws of each takes 6 s with 1 worker, if a trial takes as long as in",
        "the pilot:",
        "  a: 1.50 s a trial (1 timed)",
    ]


def test_a_pilot_that_leaves_the_order_open_says_so(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pilot_table({"a": [1.0] * 8, "b": [1.0] * 8}).to_csv("p.csv", index=False)
    shown = printed("plan", "p.csv")
    assert re.search(r"pessimistic +.+ +none\n", shown)
    assert "none: the pilot leaves open who has more" in " ".join(shown.split())


def test_json_holds_all_numbers(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pilot_table({"a": [1.0, 2.0], "b": [1.0, 3.0]}).to_csv("p.csv", index=False)
    arguments = ["--json", "--half-width", ".2", "--draws", "10", "--workers", "2"]
    found = json.loads(printed("plan", "p.csv", *arguments))
    assert found["half_widths"][0] == {
        "half_width": 0.2,
        **{of: trials_for(0.2, of) for of in ("share", "difference", "ks", "dkw", "ld")},  # type: ignore[arg-type]
    }
    assert found["power"][0]["pilot"]["power"] == power(1.0, 1.0, 10)
    assert found["cost"]["seconds"]["estimate"] == 17.5
    assert [group["group"] for group in found["cost"]["groups"]] == ["a", "b"]
