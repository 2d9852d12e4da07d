"""A small part of `make chaos`, and that its verdict can be a bad one."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from chaos.campaign import Campaign, Tally, executor_of, planned
from chaos.local_faults import FORKED_ALONE, KILLED, KINDS, Fault, kill_driver, needs
from chaos.objective import noted
from chaos.report import PAGE, TALLY, rows, sentences
from chaos.scene import Scene, study_of
from chaos.slurm_faults import KINDS as SLURM_KINDS
from chaos.verdict import Verdict, judge

pytestmark = pytest.mark.slow


def test_a_fault_of_each_kind_loses_nothing_and_changes_nothing() -> None:
    kinds = {kind: fault for kind, fault in KINDS.items() if needs(kind) is None}
    assert len(kinds) >= 18
    tally = Campaign(kinds, seed=1).run(len(kinds), at_a_time=4, mixed=True)
    assert tally.complaints == []
    assert sum(tally.kinds.values()) == len(kinds)
    assert set(tally.kinds) == set(kinds)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("u"), study_of(0, 4), np.random.default_rng(0))
    scene.resume_until_done()
    yield scene
    scene.close()


def spoilt(undisturbed: Scene, folder: Path) -> Scene:
    """A copy of its folder, to be spoilt."""
    shutil.copytree(undisturbed.folder, folder / "there")
    for name in ("failed", "training"):
        shutil.rmtree(folder / "there" / name)
    return Scene(folder / "there", undisturbed.study, np.random.default_rng(0))


def test_an_undisturbed_study_is_clean(undisturbed: Scene, tmp_path: Path) -> None:
    verdict = judge(spoilt(undisturbed, tmp_path), undisturbed)
    assert verdict == Verdict()
    assert verdict.is_clean


@pytest.mark.parametrize(
    ("view", "change", "lost", "wrong"),
    [
        ("results", lambda table: table.slice(1), 1, 3),
        ("results", lambda table: pa.concat_tables([table, table.slice(0, 1)]), 0, 1),
        ("results", lambda table: changed(table, "error", 1.5), 0, 1),
        ("results", lambda table: changed(table, "outcome", "collapsed"), 0, 1),
        ("results", lambda table: changed(table, "attempt", 9), 0, 0),
        ("curves", lambda table: changed(table, "loss", 1.5), 0, 1),
    ],
)
def test_what_is_lost_or_wrong_is_seen(
    undisturbed: Scene, tmp_path: Path, view: str, change: object, lost: int, wrong: int
) -> None:
    scene = spoilt(undisturbed, tmp_path)
    path = getattr(scene.run, view)
    pq.write_table(change(pq.read_table(path)), path)  # type: ignore[operator]
    verdict = judge(scene, undisturbed)
    assert (len(verdict.lost), len(verdict.wrong)) == (lost, wrong)


@pytest.mark.parametrize(
    ("column", "value", "explained", "wrong", "twice"),
    [
        ("attempt", 9, set(), 1, 1),
        ("attempt", 9, {"twice"}, 0, 1),
        ("error", 1.5, {"twice"}, 1, 1),
        ("outcome", "crashed", set(), 0, 0),
        ("trial", "of another study", set(), 1, 0),
    ],
)
def test_a_row_that_the_results_leave_out_is_seen(
    undisturbed: Scene, tmp_path: Path, column: str, value: object, explained: set[str],
    wrong: int, twice: int,
) -> None:  # fmt: skip
    scene = spoilt(undisturbed, tmp_path)
    scene.explained = explained
    path = next(iter(scene.run.parts.glob("*.parquet")))
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["outcome"], "ok")).slice(0, 1)
    pq.write_table(changed(table, column, value), scene.run.part("zz", 0))
    verdict = judge(scene, undisturbed)
    assert (len(verdict.lost), len(verdict.wrong), verdict.twice) == (0, wrong, twice)


@pytest.mark.parametrize(("explained", "wrong"), [(set(), 1), ({"beside"}, 0)])
def test_two_trainings_of_a_trial_at_a_time_are_seen(
    undisturbed: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    explained: set[str],
    wrong: int,
) -> None:
    scene = spoilt(undisturbed, tmp_path)
    scene.explained = explained
    monkeypatch.setenv("CHAOS_SCENE", str(scene.folder))
    with noted(scene.folder, scene.trials[0]), noted(scene.folder, scene.trials[1]):
        assert judge(scene, undisturbed).beside == 0
        with noted(scene.folder, scene.trials[0]):
            pass
    verdict = judge(scene, undisturbed)
    assert (len(verdict.wrong), verdict.beside, verdict.repeated) == (wrong, 1, 3)


def changed(table: pa.Table, column: str, value: object) -> pa.Table:
    """One cell is another."""
    rows = table.to_pylist()
    rows[0][column] = value
    return pa.Table.from_pylist(rows, schema=table.schema)


def test_what_is_left_over_is_seen(undisturbed: Scene, tmp_path: Path) -> None:
    scene = spoilt(undisturbed, tmp_path)
    trial = scene.trials[0].id
    scene.run.claim(trial).write_text("{}")
    (scene.run.parts / ".x.k3.tmp").touch()
    (scene.run.parts / "x-0000.parquet").write_bytes(b"PAR1")
    (scene.run.parts / "y-0000.parquet.damaged").write_bytes(b"PAR1")  # by design
    with (scene.folder / "log").open("a") as log:
        log.write(f"{trial} {os.getpid()} start 0.0\n")
    verdict = judge(scene, undisturbed)
    kinds = [line.partition(":")[0].partition(" ")[0] for line in verdict.litter]
    assert len(kinds) == 4
    assert {"unreadable", "status"} <= set(kinds)
    assert (verdict.repeated, verdict.set_aside) == (1, 1)


def throw(fault: Fault, seed: int = 0) -> Tally:
    """One study with one fault of a kind that tests alone know."""
    return Campaign({"own": fault}, seed).run(1, at_a_time=1)


def test_a_study_that_hangs_is_told_apart_and_its_faults_do_not_count() -> None:
    def hang(scene: Scene) -> None:
        scene.wait(lambda: False, patience=0.1)

    tally = throw(hang)
    count = tally.counts["own"]
    assert (count.hung, count.odd, count.studies, count.faults) == (1, 0, 1, 0)
    assert tally.kinds == {}
    assert "waited 0.1 s in vain" in tally.complaints[0]


def test_what_breaks_while_a_fault_is_thrown_is_no_hang() -> None:
    def fail(scene: Scene) -> None:
        raise AssertionError("so not")

    tally = throw(fail)
    count = tally.counts["own"]
    assert (count.hung, count.odd, count.studies, count.faults) == (0, 1, 1, 0)
    assert "so not" in tally.complaints[0]


def test_a_driver_that_ends_as_no_fault_explains_is_seen() -> None:
    def kill_without_a_word(scene: Scene) -> None:
        kill_driver(scene)
        scene.expected.remove(KILLED)

    tally = throw(kill_without_a_word)
    count = tally.counts["own"]
    assert (count.hung, count.odd, count.lost, count.wrong, count.faults) == (0, 1, 0, 0, 1)
    assert "a driver ended with -9" in tally.complaints[0]


def test_about_half_of_the_studies_fork_their_workers_and_where_it_matters_all_do() -> None:
    def ways(kind: str) -> dict[str, int]:
        executors = [executor_of("local", [kind], np.random.default_rng(n)) for n in range(100)]
        return Counter(executors)

    assert 30 < ways("two drivers")["forked"] < 70
    assert ways(FORKED_ALONE) == {"forked": 100}
    assert executor_of("slurm", ["scancel"], np.random.default_rng(0)) == "slurm"


def test_each_kind_has_its_turn_before_any_has_a_second() -> None:
    rng = np.random.default_rng(0)
    scenes = planned("abcdef", 34, rng, mixed=False)
    assert [len(scene) for scene in scenes] == [6] * 5 + [4]
    alone = [scene[0] for number, scene in enumerate(scenes) if number % 4 != 3]
    assert len(set(alone)) == len(alone) == 5
    together = planned("abcdef", 8, rng, mixed=True)
    assert sorted({kind for scene in together for kind in scene}) == list("abcdef")


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    """The tally of the last whole run."""
    tally: dict[str, Any] = json.loads(TALLY.read_text())
    return tally


def test_the_page_has_the_tally_that_is_committed(committed: dict[str, Any]) -> None:
    page = PAGE.read_text()
    assert rows(committed) in page
    assert all(sentence in page for sentence in sentences(committed))


def test_what_is_committed_is_a_whole_run_in_which_nothing_was_amiss(
    committed: dict[str, Any],
) -> None:
    total = committed["total"]
    assert {total[what] for what in ("lost", "wrong", "litter", "hung", "odd")} == {0}
    assert (committed["complaints"], committed["left_out"]) == ([], {})
    assert sum(committed["faults"].values()) == total["faults"] >= 600
    assert set(committed["faults"]) == {*KINDS, *SLURM_KINDS}
    assert min(committed["faults"][kind] for kind in SLURM_KINDS) >= 2
    assert committed["executors"]["forked"] >= 20


def test_the_faults_that_are_promised_are_thrown() -> None:
    """Here, and on Slurm what concerns it."""
    promised = {
        "kill -9 of the driver", "kill -9 of a worker", "kill -9 of the workers' parent",
        "disk full", "read-only file system", "clock set forward", "clock set back",
        "damaged part", "damaged claim", "damaged checkpoint", "damaged worker file",
        "damaged study.toml", "damaged design.parquet", "two drivers",
        "worker killed before os.replace", "driver killed before os.replace", "out of memory",
    }  # fmt: skip
    assert promised <= set(KINDS)
    assert {
        "kill -9 of slurmd", "kill -9 of slurmctld", "kill -9 of slurmdbd", "damaged slurm.json",
        "Slurm: two drivers", "Slurm: damaged part", "Slurm: damaged checkpoint",
        "Slurm: read-only file system",
    } <= set(SLURM_KINDS)  # fmt: skip
