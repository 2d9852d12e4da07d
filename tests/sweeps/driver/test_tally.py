"""How far a study is, and what is said of many failures: the same as counting anew, for less."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import HELPERS, make_toy

from stability.cli.commands.status import in_words, state_of
from stability.cli.output.failures import few
from stability.cli.output.progress import Display
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.driver.tally import RETRIES, Tally
from sweeps.errors import StoreError
from sweeps.executors import InlineExecutor
from sweeps.store import views
from sweeps.store.parts import Ledger, PartWriter, set_aside_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design, draw_design
from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import FAILED, Result, trial_id

NOW = datetime.now(UTC)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    study = make_toy(draws=10, epochs=(2, 5))
    directory = RunDirectory(tmp_path / "run")
    directory.create(study, draw_design(study))
    return directory


def assert_counted(tally: Tally, run: RunDirectory) -> None:
    """As somebody counts who goes through all trials."""
    ledger, trials = Ledger(run), list(run.read_design())
    ledger.refresh()
    open_ = [t.id for t in trials if ledger[t.id].outcome is None]
    done = [t for t in trials if ledger[t.id].outcome is not None]
    errors = [ledger[t.id].error for t in done if ledger[t.id].outcome == "ok"]
    assert list(tally.open) == open_
    assert set(tally.failed) == {t for t in open_ if ledger[t].failures}
    assert (tally.done, tally.trials, tally.best) == (len(done), 40, min(errors, default=None))  # type: ignore[type-var]
    left = [t for t in open_ if ledger[t].failures <= RETRIES]
    assert tally.left() == len(left)
    assert tally.left(claimed=[trials[0].id, trials[1].id, "stranger"]) == len(
        set(left) - {trials[0].id, trials[1].id}
    )
    epochs = sum(t.epochs for t in done)
    spent = sum(ledger[t.id].seconds or 0.0 for t in done)
    remain = sum(t.epochs for t in trials) - epochs
    expected = remain * spent / epochs / 2 if epochs else None
    assert tally.seconds_left(2) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("computed", "said"), [(0.5, True), (1.0, False), (None, False)])
def test_status_says_what_the_diverged_of_a_stack_did_not_take(
    run: RunDirectory, computed: float | None, said: bool
) -> None:
    first = next(iter(run.read_design()))
    values = {"computed": computed and computed * first.epochs}
    PartWriter(run, "w").append(Result(trial=first.id, outcome="diverged", values=values))
    line = "50.0% of the epochs of trials trained as one were not computed: these had diverged"
    assert (line in in_words(state_of(run)).splitlines()) == said
    assert ("not computed" in in_words(state_of(run))) == said


def test_a_tally_counts_as_somebody_who_counts_anew(run: RunDirectory) -> None:
    rng = random.Random(0)
    ids = run.read_design().ids
    writers = [PartWriter(run, name) for name in "ab"]
    tally = Tally(run.read_design(), Ledger(run))
    for step in range(60):
        outcome = rng.choice(["ok", *["crashed"] * 12, "diverged"])
        values = {"error": rng.random()} if outcome == "ok" else {}
        result = Result(trial=rng.choice([*ids[:12], "stranger"]), outcome=outcome, values=values)
        rng.choice(writers).append(result, seconds=rng.random())
        if step % 5 == 0:
            tally.look()
        if step == 30:
            set_aside_parts([run.part("a", 0)])
            writers[0] = PartWriter(run, "c")
    tally.look()
    assert_counted(tally, run)


def counted(calls: list[str], real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, which notes that it was called."""

    def call(*arguments: Any) -> Any:
        calls.append(real.__name__)
        return real(*arguments)

    return call


def test_a_look_of_the_driver_asks_only_for_what_is_new(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = run.read_design()
    display = Display(design, 1)
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    dispatcher = InlineExecutor(run, lambda: None)
    driver = Driver(run, design, dispatcher, plan, display.update)
    writer = PartWriter(run, "worker")
    for trial in design.ids[:20]:
        writer.append(Result(trial=trial, outcome="ok", values={"error": 1.0}))
    writer.append(Result(trial=design.ids[20], outcome="crashed"))
    driver._look()
    calls: list[str] = []
    monkeypatch.setattr(Ledger, "__getitem__", counted(calls, Ledger.__getitem__))
    monkeypatch.setattr(Design, "__getitem__", counted(calls, Design.__getitem__))
    monkeypatch.setattr(Design, "__iter__", counted(calls, Design.__iter__))
    driver._look()
    assert calls == []
    writer.append(Result(trial=design.ids[30], outcome="ok", values={"error": 1.0}))
    driver._look()
    assert calls == ["__getitem__"] * 3  # the ledger's own, the driver's tally, the display's
    assert driver._tally.done == 21


def test_only_the_trials_that_are_asked_for_are_made(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, design = draw_design(run.read_study()), run.read_design()
    made: list[str] = []
    monkeypatch.setattr("sweeps.study.design.trial_id", counted(made, trial_id))
    assert design.ids == [trial.id for trial in drawn]
    assert design.epochs == [trial.epochs for trial in drawn]
    monkeypatch.undo()
    assert made == []
    assert (design[3], design[-1], design[2:5]) == (drawn[3], drawn[-1], drawn[2:5])
    assert list(design) == drawn
    with pytest.raises(IndexError):
        design[40]


def test_a_row_that_is_not_the_trial_of_its_id_is_refused(run: RunDirectory) -> None:
    """When it is asked for, and when the design is taken for the one to go on with."""
    table = pq.read_table(run.design).to_pydict()
    table["lr"][7] *= 2
    pq.write_table(pa.table(table, schema=pq.read_schema(run.design)), run.design)
    design = run.read_design()
    assert design[6].id == design.ids[6]
    with pytest.raises(StoreError, match="not the design of the study"):
        design[7]
    with pytest.raises(StoreError, match="not the design of the study"):
        run.create(run.read_study(), design)
    with pytest.raises(StoreError, match="is that of another study"):
        run.create(run.read_study(), draw_design(run.read_study())[:-1])


def test_views_are_what_going_through_the_rows_gives(run: RunDirectory) -> None:
    """First complete result, else last failure; design order; metrics and curves beside it."""
    rng = random.Random(3)
    ids = [*run.read_design().ids, "stranger"]
    rows: list[dict[str, Any]] = []
    for name in "ab":
        mine = [random_row(rng, rng.choice(ids)) for _ in range(50)]
        pq.write_table(pa.Table.from_pylist(mine, schema=PART_SCHEMA), run.part(name, 0))
        rows += pq.read_table(run.part(name, 0)).to_pylist()
    views.rebuild(run)
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["finished"]):
        if row["trial"] not in best or best[row["trial"]]["outcome"] in FAILED:
            best[row["trial"]] = row
    ended = [best[trial] for trial in run.read_design().ids if trial in best]
    results = pq.read_table(run.results).to_pylist()
    own = {m["name"]: None for row in ended for m in row["metrics"] or []}
    assert list(results[0])[-len(own) :] == list(own)
    for row, result in zip(ended, results, strict=True):
        metrics = {m["name"]: m["value"] for m in row.pop("metrics") or []}
        assert {name: result[name] for name in own} == {name: metrics.get(name) for name in own}
        curve = [{"trial": row["trial"], **epoch} for epoch in row.pop("curve") or []]
        row |= {"expected": curve, "error_unit": "percent"}
        assert {name: result[name] for name in row if name != "expected"} == {
            name: value for name, value in row.items() if name != "expected"
        }
    curves = pq.read_table(run.curves).to_pylist()
    assert curves == [epoch for row in ended for epoch in row["expected"]]


def random_row(rng: random.Random, trial: str) -> dict[str, Any]:
    """Of a part."""
    outcome = rng.choice(["ok", "crashed", "crashed", "diverged"])
    names = rng.sample("zyx", rng.randrange(4))
    return {
        "trial": trial,
        "outcome": outcome,
        "finished": NOW + timedelta(seconds=rng.randrange(10**6)),
        "error": rng.random() if outcome == "ok" else None,
        "curve": rng.choice([None, [{"epoch": e, "loss": e / 7} for e in range(rng.randrange(3))]]),
        "metrics": rng.choice([None, [{"name": name, "value": rng.random()} for name in names]]),
    }


def test_of_many_failures_a_few_lines_are_said() -> None:
    same = [(f"failed: {i}", f"ValueError: {i} (x.py:1)") for i in range(100_000)]
    assert few(same) == ["failed: 0", "failed: 1", "failed: 2", "  and 99997 more alike"]
    assert few(same[:3]) == ["failed: 0", "failed: 1", "failed: 2"]
    all_different = [(f"failed: {i}", f"ValueError: no (x.py:{i})") for i in range(1000)]
    assert few(all_different) == [
        *(f"failed: {i}" for i in range(5)),
        "and 995 more with 995 other errors (all: status --json)",
    ]
    assert few([]) == []
