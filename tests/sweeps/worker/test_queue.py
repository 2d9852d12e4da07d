"""What a worker takes next, and what finding it costs: counted, not timed."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import make_toy

from sweeps.store import claims, parts
from sweeps.store.owner import Owner
from sweeps.store.parts import EVER, ROWS_PER_PART, Ledger, PartWriter, Record, set_aside_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design, draw_design
from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import Result, Trial
from sweeps.worker.queue import TrialQueue
from sweeps.worker.worker import JobLifetime, WorkerSpec, cohorts

NOW = datetime.now(UTC)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    study = make_toy(draws=150)
    directory = RunDirectory(tmp_path / "run")
    directory.create(study, draw_design(study))
    return directory


class Counting(Ledger):
    """Counts how often it is asked for a trial."""

    asked = 0

    def __getitem__(self, trial: str) -> Record:
        self.asked += 1
        return super().__getitem__(trial)


def in_order(trials: Design, ledger: Ledger, *, failed_first: bool = False) -> list[str]:
    """The law: all open trials, stably sorted by their failures."""
    open_ = [t for t in trials if not ledger.is_trained(t.id) and ledger[t.id].failures_since <= 2]
    sign = -1 if failed_first else 1
    return [t.id for t in sorted(open_, key=lambda t: sign * ledger[t.id].failures_since)]


@pytest.mark.parametrize("failed_first", [False, True])
def test_the_order_is_that_of_failures_and_design(run: RunDirectory, failed_first: bool) -> None:
    rng = random.Random(1)
    trials, ledger = run.read_design(), Ledger(run)
    waiting = TrialQueue(trials, ledger, 2)
    for _ in range(40):
        for trial in rng.sample(trials, 5):
            known = ledger[trial.id]
            ledger.records[trial.id] = rng.choice(
                [Record(outcome="ok"), Record(failures=known.failures + 1,
                                              failures_since=known.failures_since + 1)]
            )  # fmt: skip
        turn = waiting.in_turn(failed_first=failed_first)
        expected = in_order(trials, ledger, failed_first=failed_first)
        some = [next(turn).id for _ in range(min(7, len(expected)))]
        assert some == expected[: len(some)]
    rest = dict.fromkeys(trial.id for trial in waiting.in_turn(failed_first=failed_first))
    assert list(rest) == in_order(trials, ledger, failed_first=failed_first)


def test_taking_all_trials_asks_for_each_a_few_times(run: RunDirectory) -> None:
    trials, ledger = run.read_design(), Counting(run)
    waiting = TrialQueue(trials, ledger, 2)
    taken = Counter[str]()
    while trial := next(waiting.in_turn(), None):
        attempt = taken[trial.id] = taken[trial.id] + 1
        fails = trial.draw % 3 == 0 and attempt < 3
        ledger.records[trial.id] = (
            Record(failures=attempt, failures_since=attempt) if fails else Record(outcome="ok")
        )
    assert taken == {t.id: 3 if t.draw % 3 == 0 else 1 for t in trials}
    assert ledger.asked <= 8 * taken.total()  # anew over all: 150 for each of them


def calls_of_twenty(
    run: RunDirectory, trials: Design, monkeypatch: pytest.MonkeyPatch
) -> Counter[str]:
    """What a worker calls while it takes 20 trials and finishes 19, after its first look."""
    calls: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            calls[name] += 1
            return real(*arguments)

        return call

    owner = Owner.this_process("worker")
    run.worker(owner.name).write_text(owner.to_json())
    order = WorkerSpec(
        run=str(run.path), name=owner.name, slot="cpu:0", max_failures=2,
        since=EVER, begun=NOW, submission_folder="",
    )  # fmt: skip
    writer, taken = PartWriter(run, owner.name), cohorts(run, trials, owner, order, JobLifetime())
    first = next(taken)
    with monkeypatch.context() as patched:
        patched.setattr(parts, "read_part", counted("files read", parts.read_part))
        patched.setattr(Ledger, "_take_in", counted("rows taken in", Ledger._take_in))
        patched.setattr(Ledger, "__getitem__", counted("asked for", Ledger.__getitem__))
        for cohort in islice(chain([first], taken), 19):
            (trial,) = cohort.trials
            writer.append(Result(trial=trial.id, outcome="ok", values={"error": 1.0}))
            claims.release(run, trial.id)
    return calls


def fill(run: RunDirectory, trials: list[Trial]) -> None:
    """Parts of earlier workers that have trained these."""
    hour_ago = NOW - timedelta(hours=1)
    rows = [{"trial": t.id, "outcome": "ok", "finished": hour_ago} for t in trials]
    for number, start in enumerate(range(0, len(rows), ROWS_PER_PART)):
        table = pa.Table.from_pylist(rows[start : start + ROWS_PER_PART], schema=PART_SCHEMA)
        pq.write_table(table, run.part("earlier", number))


def test_a_worker_does_for_each_trial_the_same_whatever_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files opened, rows taken in, records asked for: with 40 and with 1,400 trained trials."""
    study = make_toy(draws=720)
    calls = {}
    for known in (40, 1400):
        run = RunDirectory(tmp_path / str(known))
        run.create(study, draw_design(study))
        trials = run.read_design()
        fill(run, trials[:known])
        calls[known] = calls_of_twenty(run, trials, monkeypatch)
    assert calls[40] == calls[1400]
    assert calls[40]["files read"] == 18  # after each result that was waited for, its own part
    assert calls[40]["rows taken in"] == 18
    assert calls[40]["asked for"] < 8 * 19


def test_a_ledger_reads_what_changed_and_takes_in_what_is_new(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = run.read_design()
    writers = [PartWriter(run, name) for name in "abc"]
    for writer, trial in zip(writers, trials, strict=False):
        writer.append(Result(trial=trial.id, outcome="ok"))
    ledger = Ledger(run)
    ledger.refresh()
    read: list[str] = []
    real = parts.read_part
    monkeypatch.setattr(
        parts, "read_part", lambda path, *_: (read.append(path.name), real(path))[1]
    )
    known, place = ledger.arrived, len(ledger.arrived)
    ledger.refresh()
    assert (read, ledger.arrived[place:]) == ([], [])
    writers[1].append(Result(trial=trials[7].id, outcome="ok"))
    ledger.refresh()
    assert (read, ledger.arrived[place:]) == (["b-0000.parquet"], [trials[7].id])
    assert ledger.arrived is known
    set_aside_parts([run.part("b", 0)])
    ledger.refresh()
    assert ledger.arrived is not known  # rows have gone: who follows begins again
    assert sorted(ledger.arrived) == sorted(trials[i].id for i in (0, 2))


def test_a_trusting_ledger_does_not_look_at_full_parts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_toy(draws=300)
    run = RunDirectory(tmp_path / "run")
    run.create(study, draw_design(study))
    fill(run, run.read_design()[: ROWS_PER_PART + 10])
    looked: list[str] = []
    real = Ledger._look

    def look(self: Ledger, name: str, known: object) -> object:
        looked.append(name)
        return real(self, name, known)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "_look", look)
    for trusting, again in ((True, ["earlier-0001.parquet"]), (False, sorted(
        path.name for path in run.parts.iterdir()
    ))):  # fmt: skip
        ledger = Ledger(run, trusting=trusting)
        ledger.refresh()
        assert len(ledger.records) == ROWS_PER_PART + 10
        looked.clear()
        ledger.refresh()
        assert looked == again


def test_in_whatever_order_rows_are_read_the_same_is_known(run: RunDirectory) -> None:
    """Three writers whose rows come in between each other; one part vanishes on the way."""
    rng = random.Random(0)
    trials = run.read_design()[:6]
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in "abc"}
    ledger = Ledger(run, NOW)
    for step in range(60):
        name = rng.choice("abc")
        outcome = rng.choice(["ok", "crashed", "crashed", "diverged", "out_of_memory"])
        later = timedelta(seconds=rng.randrange(-500, 500), microseconds=step)
        rows[name].append(
            {"trial": rng.choice(trials).id, "outcome": outcome, "error": float(step),
             "seconds": 1.0 + step, "finished": NOW + later, "message": f"no. {step}", "host": name}
        )  # fmt: skip
        table = pa.Table.from_pylist(rows[name], schema=PART_SCHEMA)
        pq.write_table(table, run.part(name, 0))
        if step == 20:
            del rows["a"][0]  # another file of the same name, which is longer at its next look
            rows["a"] += rows["a"][-1:] * 3
        if step == 40:
            set_aside_parts([run.part("c", 0)])
            rows["c"] = []
        if rng.random() < 0.7:
            ledger.refresh()
    ledger.refresh()
    anew = Ledger(run, NOW)
    anew.refresh()
    assert ledger.records == anew.records
    assert ledger.rows == anew.rows == sorted(anew.rows, key=lambda row: row["finished"])
    assert (ledger.longest, ledger.hosts.bad) == (anew.longest, anew.hosts.bad)
    for trial in trials:
        mine = [row for row in anew.rows if row["trial"] == trial.id]
        trained = [row for row in mine if row["outcome"] in ("ok", "diverged")]
        failed = [row for row in mine if row["outcome"] in ("crashed", "out_of_memory")]
        record = anew[trial.id]
        assert (record.error, record.finished) == (trained[0]["error"], trained[0]["finished"])
        assert (record.failures, record.message) == (len(failed), failed[-1]["message"])
        assert record.failures_since == sum(row["finished"] >= NOW for row in failed)


def test_a_part_that_is_replaced_while_it_is_read_is_no_damage(run: RunDirectory) -> None:
    """Arrow opens a path more than once: half of one version and half of the next are garbage."""
    writer, versions = PartWriter(run, "worker"), []
    part = run.part("worker", 0)
    for trial in run.read_design()[:20]:
        writer.append(Result(trial=trial.id, outcome="ok"))
        versions.append(part.read_bytes())
    ended = threading.Event()

    def replace_again_and_again() -> None:
        while not ended.is_set():
            for number, version in enumerate(versions):
                temporary = part.with_name(f"{number}.tmp")
                temporary.write_bytes(version)
                temporary.replace(part)

    other = threading.Thread(target=replace_again_and_again)
    other.start()
    try:
        for _ in range(200):
            ledger = Ledger(run)
            ledger.refresh()
            assert ledger.damaged == []
            assert len(ledger.records) >= 1
    finally:
        ended.set()
        other.join()
