"""When the machines are to blame, not the trials: a sweep stops, a node is left out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import TESTS, make_toy

from sweeps import alike
from sweeps.design import draw_design
from sweeps.dispatch import InlineDispatcher
from sweeps.driver import Driver, Plan
from sweeps.errors import DispatchError
from sweeps.parts import Ledger
from sweeps.run_directory import RunDirectory


def drive(run: RunDirectory) -> list[dict[str, object]]:
    chosen = Plan(slots=("cpu:0",), submission_folder=TESTS)
    Driver(run, run.read_design(), InlineDispatcher(run, lambda: None), chosen).drive()
    return rows(run)


def rows(run: RunDirectory) -> list[dict[str, object]]:
    ledger = Ledger(run)
    ledger.refresh()
    return ledger.rows


def test_trials_that_all_fail_alike_stop_the_sweep_after_one_more_try(tmp_path: Path) -> None:
    study = make_toy(objective="objectives:broken", draws=50)
    run = RunDirectory(tmp_path / "broken")
    run.create(study, draw_design(study))
    with pytest.raises(DispatchError, match=r"all fail alike.*ValueError: no such file"):
        drive(run)
    tried = [row["trial"] for row in rows(run)]
    assert len(tried) == 4
    assert len(set(tried)) == 3
    with pytest.raises(DispatchError, match="all fail alike"):  # looked at anew, not remembered
        drive(run)
    assert len(rows(run)) > 4


def test_what_is_alike() -> None:
    now = datetime.now(UTC)

    def row(trial: str, outcome: str, host: str = "a", message: str = "E: x (f.py:1)") -> alike.Row:
        finished = now + timedelta(seconds=1)
        return {"trial": trial, "outcome": outcome, "host": host, "message": message,
                "finished": finished}  # fmt: skip

    failed = [row(trial, "crashed") for trial in "123"]
    assert alike.suspicion(failed, now)
    assert alike.same_failure(failed, now) is None  # none was tried again yet
    assert alike.same_failure([*failed, row("1", "crashed")], now)
    assert alike.same_failure([*failed, row("1", "ok"), row("2", "crashed")], now) is None
    other = row("1", "crashed", message="E: x (f.py:2)")
    assert alike.same_failure([*failed, other], now) is None
    assert alike.suspicion(failed, now + timedelta(seconds=2)) is None


def bad_hosts(*told: tuple[str, str, str]) -> list[str]:
    """Of trial, outcome and host, a second after the other; in whatever order they are counted."""
    now = datetime.now(UTC)
    rows = [
        {"trial": trial, "outcome": outcome, "host": host, "finished": now + timedelta(seconds=i)}
        for i, (trial, outcome, host) in enumerate(told)
    ]
    found = []
    for ordered in (rows, rows[::-1]):
        hosts = alike.Hosts()
        for one in ordered:
            hosts.add(one)
        assert hosts.bad(now + timedelta(seconds=len(rows))) == []  # a dispatch that began later
        found.append(hosts.bad(now))
    assert found[0] == found[1]
    return found[0]


FAILS = [(trial, "crashed", "a") for trial in "123"]


def test_a_host_is_bad_where_trials_fail_in_a_row_while_others_train() -> None:
    assert bad_hosts(*FAILS) == []  # nobody else has trained anything
    assert bad_hosts(*FAILS, ("4", "ok", "b")) == ["a"]
    assert bad_hosts(("0", "ok", "a"), *FAILS, ("4", "ok", "b")) == ["a"]  # in mid-sweep
    assert bad_hosts(("4", "ok", "b"), *FAILS) == []  # since then it may be everywhere
    assert bad_hosts(*FAILS, ("4", "ok", "b"), ("5", "diverged", "a")) == []
    again = [(trial, "crashed", "b") for trial in "123"]
    assert bad_hosts(*FAILS, ("4", "ok", "b"), *again, ("5", "ok", "c")) == ["a"]  # first there


@pytest.mark.parametrize(
    ("told", "stops"),
    [
        (["ok", *["crashed"] * alike.OUTAGE], True),
        (["ok", *["crashed"] * (alike.OUTAGE - 1)], False),
        ([*["crashed"] * alike.OUTAGE, "diverged"], False),
        (["ok", *["crashed"] * (alike.OUTAGE - 1), "out_of_memory"], False),  # of another kind
    ],
)
def test_a_sweep_in_which_suddenly_everything_fails_alike_stops(
    told: list[str], stops: bool
) -> None:
    now = datetime.now(UTC)
    rows = [
        {"trial": str(i), "outcome": outcome, "host": "a", "finished": now,
         "message": f"{outcome} (f.py:1)", "cohort_size": 1}
        for i, outcome in enumerate(told)
    ]  # fmt: skip
    assert (alike.outage(rows, now, lambda trial: 1) is not None) is stops
    assert alike.outage(rows, now, lambda trial: 2) is None  # tried again: they come last
    assert alike.outage(rows, now + timedelta(seconds=1), lambda trial: 1) is None
