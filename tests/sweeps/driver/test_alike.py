"""When everything fails in the same way, on all hosts or on one: stopped early, and left out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from objectives import result
from toys import HELPERS, make_run

from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import ExecutorError
from sweeps.executors import InlineExecutor
from sweeps.executors.slurm.jobs import Snapshot, Task
from sweeps.executors.slurm.lifetime import SlurmJobLifetime
from sweeps.store import claims
from sweeps.store.failure_detection import Hosts, Row, same_failure, suspected_error
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import Result, Trial
from sweeps.worker.worker import ClaimedCohort, WorkerSpec, cohorts, registered

NOW = datetime.now(UTC)
NAME = "stability-0123456789ab"
BROKEN = "OSError: the disk is full (train.py:12)"


def rows_of(*said: str) -> list[Row]:
    """Rows a second apart: trial, outcome, host, message."""
    rows = []
    for second, (trial, outcome, *rest) in enumerate(text.split(maxsplit=3) for text in said):
        host, message = rest[0] if rest else "a", rest[1] if len(rest) > 1 else BROKEN
        finished = NOW + timedelta(seconds=second)
        rows.append({"trial": trial, "outcome": outcome, "host": host, "message": message,
                     "finished": finished})  # fmt: skip
    return rows


def judged(rows: list[Row], begun: datetime = NOW) -> Hosts:
    """Whatever the order in which they are counted."""
    forwards, backwards = Hosts(begun), Hosts(begun)
    for hosts, ordered in ((forwards, rows), (backwards, rows[::-1])):
        for row in ordered:
            hosts.add(row)
    assert (forwards.bad, forwards.failed_last) == (backwards.bad, backwards.failed_last)
    return forwards


def same(rows: list[Row], begun: datetime = NOW) -> str | None:
    return same_failure(rows, judged(rows, begun))


THREE = ("1 crashed", "2 crashed", "3 crashed")
TWENTY = tuple(f"{100 + i} ok" for i in range(20))


def test_the_first_trials_are_alike_once_one_failed_twice() -> None:
    rows = rows_of(*THREE)
    assert suspected_error(rows, judged(rows)) == BROKEN
    assert same(rows) is None  # none was tried again yet
    assert same(rows_of(*THREE, "1 crashed")) == BROKEN
    assert same(rows_of(*THREE, "1 ok", "2 crashed")) is None
    assert same(rows_of(*THREE, "1 crashed a E: x (f.py:2)")) is None
    late = NOW + timedelta(seconds=2)
    assert suspected_error(rows, judged(rows, late)) is None


def test_the_last_trials_are_alike_where_there_are_more_than_chance_gives() -> None:
    needed = (*THREE, "4 crashed")
    assert same(rows_of(*TWENTY, *THREE, "1 crashed")) is None
    assert same(rows_of(*TWENTY, *needed)) is None
    assert same(rows_of(*TWENTY, *needed, "1 crashed")) == BROKEN
    assert same(rows_of(*TWENTY, *needed, "1 crashed", "200 ok")) is None
    assert same(rows_of(*TWENTY, *needed, "1 crashed a E: x (f.py:2)")) is None
    # Where more trials fail of themselves, more are needed.
    bad = [f"{i} crashed a E: y" for i in range(50, 60)]
    mixed = [text for pair in zip(TWENTY, bad * 2, strict=True) for text in pair]
    assert same(rows_of(*mixed, "99 ok", *needed, "1 crashed")) is None


def test_at_the_end_what_fails_of_itself_is_tried_again_and_stops_nothing() -> None:
    bad = [f"{i} crashed" for i in range(20)]
    mixed = [text for pair in zip(bad, TWENTY, strict=True) for text in pair]
    assert same(rows_of(*mixed, *bad, *bad)) is None
    spread = [f"{i} crashed b" for i in range(20)]
    assert judged(rows_of(*mixed, *spread, "300 ok", *spread)).bad == {}


def test_a_host_is_bad_where_its_last_trials_fail_and_another_is_sound() -> None:
    assert judged(rows_of(*THREE)).bad == {}  # nobody else has trained anything
    why = f"its last 3 trials failed, at last: {BROKEN}"
    assert judged(rows_of(*THREE, "9 ok b")).bad == {"a": why}
    assert judged(rows_of(*THREE, "9 ok b", "8 diverged a")).bad == {}
    assert judged(rows_of("1 crashed", "1 crashed", "1 crashed", "9 ok b")).bad == {}
    long = (*TWENTY, "9 ok b")
    assert judged(rows_of(*long, *THREE)).bad == {}
    assert list(judged(rows_of(*long, *THREE, "4 crashed")).bad) == ["a"]
    both = (*long, *THREE, "4 crashed", *(f"{i} crashed b" for i in (5, 6, 7, 8)))
    assert judged(rows_of(*both)).bad == {}  # it is not the hosts
    rows = rows_of(*long, *THREE, "4 crashed")
    assert judged(rows, NOW + timedelta(seconds=22)).bad == {}  # of an earlier dispatch


# --- with driver and workers ------------------------------------------------------------------


class Nodes(InlineExecutor):
    """Two nodes of a cluster; the workers of both train one trial each between two looks."""

    def __init__(self, run: RunDirectory, fails: Callable[[str, Trial, int], bool]) -> None:
        """`fails(node, trial, trained)`: whether it fails there after so many trained trials."""
        super().__init__(run, lambda: None)
        self.fails = fails
        self.avoided: list[str] = []
        self.said: list[str] = []
        self.trained = 0
        tasks = {(NAME, node): Task(job=node, state="RUNNING", node=node) for node in ("n1", "n2")}
        self.monitor.snapshot = Snapshot(began=0.0, cluster="c", asked=frozenset(), tasks=tasks)
        self._workers: dict[str, tuple[str, Iterator[None]]] = {}

    def start(self, orders: Sequence[WorkerSpec]) -> None:
        for order in orders:
            taken = {node for node, _ in self._workers.values()}
            free = [n for n in ("n1", "n2") if n not in taken and n not in self.avoided]
            if free:
                self._workers[order.slot] = (free[0], self._work(order, free[0]))

    def _work(self, order: WorkerSpec, node: str) -> Iterator[None]:
        place = {"node": node, "job": "7", "submission": NAME}
        owner = Owner(**{**Owner.this_process(order.name, order.slot).__dict__, **place})
        writer, shift = PartWriter(self.run, order.name), SlurmJobLifetime(None, node)
        with registered(self.run, owner):
            trials = self.run.read_design()
            for cohort in cohorts(self.run, trials, owner, order, shift):
                self._train(cohort, node, writer, shift)
                yield

    def _train(
        self, cohort: ClaimedCohort, node: str, writer: PartWriter, shift: SlurmJobLifetime
    ) -> None:
        (trial,) = cohort.trials
        fails = self.fails(node, trial, self.trained)
        self.trained += not fails
        said = Result(trial=trial.id, outcome="crashed") if fails else result(trial)
        writer.append(said, host=node, message=BROKEN if fails else None,
                      attempt=1 + cohort.failures[trial.id])  # fmt: skip
        claims.release(self.run, trial.id)
        shift.end(said)

    def rest(self, seconds: float) -> None:
        for slot, (_, worker) in list(self._workers.items()):
            if next(worker, "end") == "end":
                del self._workers[slot]

    def busy(self) -> set[str]:
        return set(self._workers)

    def avoid(self, hosts: Sequence[str]) -> None:
        self.avoided = list(hosts)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run", draws=60)


def drive(run: RunDirectory, fails: Callable[[str, Trial, int], bool]) -> Nodes:
    dispatcher = Nodes(run, fails)
    plan = DispatchOptions(slots=("cpu:0", "cpu:1"), submission_folder=HELPERS)
    Driver(run, run.read_design(), dispatcher, plan, say=dispatcher.said.append).drive()
    return dispatcher


def failures(run: RunDirectory) -> tuple[Counter[str], Counter[str]]:
    """By host, and by trial."""
    ledger = Ledger(run)
    ledger.refresh()
    failed = [row for row in ledger.rows if row["outcome"] == "crashed"]
    return Counter(row["host"] for row in failed), Counter(row["trial"] for row in failed)


def trained(run: RunDirectory) -> int:
    ledger = Ledger(run)
    ledger.refresh()
    return sum(ledger.is_trained(trial.id) for trial in run.read_design())


def test_a_node_that_goes_bad_is_left_out_and_named_once(run: RunDirectory) -> None:
    """Of 120 trials, few meet it, and all are trained."""
    dispatcher = drive(run, lambda node, trial, trained: node == "n2" and trained >= 30)
    assert trained(run) == 120
    assert set(failures(run)[0]) == {"n2"}
    assert failures(run)[0]["n2"] == 3
    assert dispatcher.avoided == ["n2"]
    assert dispatcher.said == [f"n2 left out: its last 3 trials failed, at last: {BROKEN}"]


def test_in_another_dispatch_the_node_has_another_chance(run: RunDirectory) -> None:
    def interrupted(node: str, trial: Trial, trained: int) -> bool:
        if trained == 60:
            raise KeyboardInterrupt
        return node == "n2" and trained >= 30

    with pytest.raises(KeyboardInterrupt):
        drive(run, interrupted)
    assert drive(run, lambda node, trial, trained: False).avoided == []
    assert trained(run) == 120


def test_where_all_nodes_go_bad_the_sweep_stops(run: RunDirectory) -> None:
    with pytest.raises(ExecutorError, match=r"^the last trials all fail alike: OSError: the disk"):
        drive(run, lambda node, trial, trained: trained >= 30)
    assert trained(run) == 30
    assert sum(failures(run)[0].values()) <= 10
    assert max(failures(run)[1].values()) <= 2


@pytest.mark.parametrize("one_in", [3, 5, 20])
def test_a_few_bad_trials_stop_nothing_and_leave_no_node_out(
    run: RunDirectory, one_in: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(node: str, trial: Trial, trained: int) -> bool:
        return int(trial.id[-4:], 16) % one_in == 0

    bad = [trial for trial in run.read_design() if fails("", trial, 0)]
    assert len(bad) >= 120 // one_in - 12
    assert drive(run, fails).avoided == []
    assert set(failures(run)[1].values()) == {3}
    assert trained(run) == 120 - len(bad)
    assert capsys.readouterr().err == ""


def test_only_nodes_of_the_cluster_can_be_left_out(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slurm refuses a name that it does not know: here the host of a worker without a job."""
    writer, trials = PartWriter(run, "w"), run.read_design()

    def fails(node: str, trial: Trial, trained: int) -> bool:
        if trained == 10:
            for local in trials[-4:]:
                writer.append(
                    Result(trial=local.id, outcome="crashed"), host="laptop", message=BROKEN
                )
        return False

    assert drive(run, fails).avoided == []
    ledger = Ledger(run)
    ledger.refresh()
    assert list(ledger.hosts.bad) == ["laptop"]
    assert capsys.readouterr().err == ""
