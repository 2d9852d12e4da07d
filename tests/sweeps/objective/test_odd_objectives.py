"""Whatever an objective returns, yields, raises or does ends in a row; no trial is met for ever."""

import os
import signal
import sys
from collections import UserDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from toys import HELPERS, make_run

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.driver.tally import Tally
from sweeps.executors import InlineExecutor
from sweeps.objective.function_objective import from_function
from sweeps.store import claims, views
from sweeps.store.parts import EVER, Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import Cohort, Objective, Result
from sweeps.system.interrupts import Interrupted, as_interrupts
from sweeps.worker.worker import WorkerSpec, work

Row = dict[str, Any]


def worked(folder: Path, objective: Objective, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows of a study of one trial after a worker has done all that it can."""
    run = make_run(folder / "run", models=("a",), draws=1)
    monkeypatch.setattr("sweeps.objective.imported.import_objective", lambda *_: objective)
    now = datetime.now(UTC)
    order = WorkerSpec(run=str(run.path), name="w", slot="cpu:0", max_failures=2, since=EVER,
                  begun=now, submission_folder="")  # fmt: skip
    work(order)
    views.rebuild(run)
    assert claims.held(run) == {}
    tally = Tally(run.read_design(), Ledger(run))
    tally.look()
    assert tally.left() == 0, "the next command would meet this trial again"
    rows: list[Row] = pq.read_table(run.results).to_pylist()
    return rows


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class MuteError(Exception):
    __str__ = None  # type: ignore[assignment]


class Fatal(BaseException):
    pass


RAISED: dict[str, Callable[[], BaseException]] = {
    r"not found: caf\udce9": lambda: FileNotFoundError("not found: " + os.fsdecode(b"caf\xe9")),
    r"zero \x00 byte": lambda: ValueError("zero \0 byte"),
    "UnprintableError": UnprintableError,
    "MuteError": MuteError,
    "KeyboardInterrupt: mine": lambda: KeyboardInterrupt("mine"),
    "SystemExit: 3": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "Fatal": Fatal,
    "RecursionError": RecursionError,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "xxx": lambda: ValueError("x" * 10**7),
}


@pytest.mark.parametrize("message", RAISED)
@pytest.mark.parametrize("is_plain", [True, False])
def test_whatever_is_raised_is_the_message_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, is_plain: bool
) -> None:
    def fit(trial: object) -> float:
        raise RAISED[message]()

    def generator(cohort: Cohort) -> Iterator[Result]:
        raise RAISED[message]()
        yield

    (row,) = worked(tmp_path, from_function(fit) if is_plain else generator, monkeypatch)
    assert message in row["message"]
    assert row["outcome"] == ("out_of_memory" if message == "MemoryError" else "crashed")
    assert row["attempt"] == 3


@pytest.mark.parametrize(
    ("answer", "error", "metrics"),
    [
        (np.float32(7.5), 7.5, {}),
        (np.array(7.5), 7.5, {}),
        (np.array([7.5]), 7.5, {}),
        (torch.tensor(7.5, requires_grad=True), 7.5, {}),
        (torch.tensor([7.5], dtype=torch.bfloat16), 7.5, {}),
        (Decimal("7.5"), 7.5, {}),
        (Fraction(15, 2), 7.5, {}),
        (UserDict(error=7.5, size=3), 7.5, {"size": 3.0}),
        ({"error": 7.5, "caf\udce9": 1}, 7.5, {"caf\\udce9": 1.0}),
        ({"error": 7.5, "nul\0": True}, 7.5, {"nul\\x00": 1.0}),
        ({"error": 7.5, "draw_": np.int8(3), "gone": None}, 7.5, {"draw_": 3.0}),
    ],
)
def test_numbers_of_any_kind_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object, error: float, metrics: Row
) -> None:
    (row,) = worked(tmp_path, from_function(lambda trial: answer), monkeypatch)
    assert (row["outcome"], row["error"], row["message"]) == ("ok", error, None)
    assert {name: row.get(name) for name in metrics} == metrics


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"error": 5.0, "n_eval": 10**30}, "n_eval is 1000000"),
        ({"error": 10**400}, "error is "),
        ({"error": 10**5000}, "error is "),
        ({"error": 1 + 2j}, "error is (1+2j)"),
        ({"error": np.complex64(1 + 2j)}, "error is "),
        ({"error": np.array([1.0, 2.0])}, "error is "),
        ({"error": torch.ones(2, requires_grad=True)}, "error is "),
        ({"error": "7.5"}, "error is '7.5'"),
        ({"error": b"7.5"}, "error is b'7.5'"),
        ({"error": 5.0, "n_eval": 3.5}, "n_eval"),
        ({"error": 5.0, "curve": [{3: 1.0, "loss": 1.0}]}, "curve: 3"),
        ({"error": 5.0, "curve": [{"\udce9": 1.0}]}, "\\udce9"),
        ({"error": 5.0, "curve": 3}, "curve"),
        ({"error": 5.0, "curve": [{"loss": "abc"}]}, "loss is 'abc'"),
        ({"error": 5.0, 3: 4.0}, "3 is a int"),
        ({"error": 5.0, "size": "big\udce9"}, "size is 'big\\udce9'"),
        ({("a", 1): 5.0, 3: 1}, "needed is 'error'"),
        ({"error": 5.0, "n_eval": float("nan")}, ""),
        ([5.0], "error is [5.0]"),
        (lambda: 5.0, "error is <function"),
        ((n for n in range(3)), "error is <generator"),
        (type("Odd", (), {"__repr__": lambda self: 1 / 0})(), "error is <Odd>"),
    ],
)
def test_what_cannot_be_stored_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object, named: str
) -> None:
    (row,) = worked(tmp_path, from_function(lambda trial: answer), monkeypatch)
    if named:
        assert row["outcome"] == "crashed"
        assert named in row["message"]


def test_a_result_is_kept_without_the_part_that_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = [{"loss": "abc"}, {"loss": np.float16(1.5), "val_error": 10**400}, {"epoch": None}]
    metrics = [{"name": f"m{i}", "value": i} for i in range(1200)]

    def objective(cohort: Cohort) -> Iterator[Result]:
        yield of(cohort, values={"error": 5.0, "metrics": metrics}, curve=curve)

    (row,) = worked(tmp_path, objective, monkeypatch)
    assert (row["outcome"], row["error"], row["m3"]) == ("ok", 5.0, 3.0)
    for words in ("loss = 'abc'", "val_error = 1000", "200 metrics beyond the first 1000"):
        assert words in row["message"]
    loss = pq.read_table(tmp_path / "run" / "curves.parquet")["loss"].to_pylist()
    assert loss == [None, 1.5, None]


def of(cohort: Cohort, **changes: Any) -> Result:
    fields = {"trial": cohort.trials[0].id, "outcome": "ok", "values": {"error": 5.0}}
    return Result(**{**fields, **changes})


YIELDED: dict[str, Callable[[Cohort], list[Any]]] = {
    "gave 3": lambda cohort: [3],
    "gave None": lambda cohort: [None],
    "result for 'elsewhere'": lambda cohort: [of(cohort, trial="elsewhere")],
    "result for ['a']": lambda cohort: [of(cohort, trial=["a"])],
    "outcome is 'great'": lambda cohort: [of(cohort, outcome="great")],
    "outcome is None": lambda cohort: [of(cohort, outcome=None)],
    "error is None": lambda cohort: [of(cohort, values={})],
    "error is nan": lambda cohort: [of(cohort, values={"error": float("nan")})],
    "values is 3": lambda cohort: [of(cohort, values=3)],
    "n_eval is 0": lambda cohort: [of(cohort, values={"error": 5.0, "n_eval": 0})],
    "is np.datetime64": lambda c: [of(c, values={"error": np.datetime64("2026-01-01")})],
    "gave no result": lambda cohort: [],
    "object is not iterable": lambda cohort: None,  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("message", YIELDED)
def test_what_a_generator_yields_amiss_fails_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    (row,) = worked(tmp_path, lambda cohort: iter(YIELDED[message](cohort)), monkeypatch)
    assert message in row["message"]
    attempts = 1 if message == "n_eval is 0" else 3  # it would only come again
    assert (row["outcome"], row["attempt"]) == ("crashed", attempts)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"colour": 1}, "'colour': not a column"),
        ({"trial": "other", "worker": 3, "finished": 0, "attempt": 7, "lr": 3.0}, "'trial': not a"),
        ({3: 1}, "3: not a column"),
        ({"peak_memory": 2**70}, "peak_memory = "),
        ({"metrics": [{"name": "lr", "value": 9.0}, {"name": "x", "value": 1.0}]}, None),
        ({"metrics": [{"name": "outcome", "value": 9.0}, 3, {"name": "x"}]}, "metric 'outcome'"),
        ({"metrics": {"a": 1}}, "metrics is {'a': 1}"),
        ({"engine": 3, "device": "cpu\udce9"}, None),
    ],
)
def test_other_values_of_a_result_never_block_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Row, named: str | None
) -> None:
    def objective(cohort: Cohort) -> Iterator[Result]:
        yield of(cohort, values={"error": 5.0, **values})

    (row,) = worked(tmp_path, objective, monkeypatch)
    assert (row["outcome"], row["error"], row["attempt"]) == ("ok", 5.0, 1)
    assert 0 < row["lr"] < 1  # the hyperparameter, not a metric of this name
    assert (named in row["message"]) if named else row["message"] is None


def test_a_second_result_of_a_trial_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def objective(cohort: Cohort) -> Iterator[Result]:
        while True:
            yield of(cohort)

    (row,) = worked(tmp_path, objective, monkeypatch)
    assert (row["outcome"], row["attempt"]) == ("ok", 1)
    assert "none is left" in capsys.readouterr().err


def test_an_objective_may_close_or_replace_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fit(trial: object) -> float:
        os.close(2)
        os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)  # takes the number that is free
        sys.stdout = None  # type: ignore[assignment]
        return 5.0

    worked(tmp_path, from_function(fit), monkeypatch)
    print("still here")
    os.write(2, b"here too")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("still here\n", "here too")


def test_a_process_forked_in_an_objective_never_becomes_a_second_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[int] = []

    def fit(trial: object) -> float:
        for error in (None, SystemExit(0), KeyboardInterrupt()):
            if pid := os.fork():
                children.append(pid)
            elif error is not None:
                raise error
            else:
                return 6.0  # as the child
        return 5.0

    (row,) = worked(tmp_path, from_function(fit), monkeypatch)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert (row["error"], row["attempt"]) == (5.0, 1)
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 1


def inline(run: RunDirectory) -> None:
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()


@pytest.mark.parametrize("caught", [False, True])
def test_a_real_ctrl_c_interrupts_even_an_objective_that_catches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caught: bool
) -> None:
    """What it then returns is of a training that was cut short, and no result."""

    def fit(trial: Row) -> float:
        if (tmp_path / "second").exists():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if not caught:
                    raise
        (tmp_path / "second").touch()
        return 5.0

    run = make_run(tmp_path / "run", models=("a",), draws=3)
    monkeypatch.setattr("sweeps.objective.imported.import_objective", lambda *_: from_function(fit))
    with pytest.raises(Interrupted), as_interrupts():
        inline(run)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ledger = Ledger(run)
    ledger.refresh()
    assert [record.outcome for record in ledger.records.values()] == ["ok"]
    assert claims.held(run) == {}


def test_a_trial_that_ends_the_process_of_an_inline_worker_counts_as_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", models=("a",), draws=2)
    first = run.read_design()[0].id

    def objective(cohort: Cohort) -> Iterator[Result]:
        if cohort.trials[0].id == first:
            os._exit(7)
        yield of(cohort)

    monkeypatch.setattr("sweeps.objective.imported.import_objective", lambda *_: objective)
    for _ in range(4):
        if (pid := os.fork()) == 0:
            inline(run)
            os._exit(0)
        os.waitpid(pid, 0)
    ledger = Ledger(run)
    ledger.refresh()
    assert ledger[first].failures == 3
    assert "ended" in str(ledger[first].message)
    assert sum(ledger.is_trained(trial.id) for trial in run.read_design()) == 1
