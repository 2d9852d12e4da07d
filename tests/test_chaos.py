"""A small part of `make chaos`, and that its verdict can be a bad one."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from chaos.campaign import Campaign, planned
from chaos.local_faults import KINDS, needs
from chaos.report import rows, sentences
from chaos.scene import Scene, study_of
from chaos.slurm_faults import KINDS as SLURM_KINDS
from chaos.verdict import Verdict, judge

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def test_twenty_faults_of_all_kinds_lose_nothing_and_change_nothing() -> None:
    kinds = {kind: fault for kind, fault in KINDS.items() if needs(kind) is None}
    assert len(kinds) >= 17
    tally = Campaign(kinds, seed=1).run(20, at_a_time=4, mixed=True)
    assert tally.complaints == []
    assert sum(tally.kinds.values()) == 20
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
    shutil.rmtree(folder / "there" / "failed")
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


def test_a_wrong_row_and_a_double_are_seen_where_the_views_leave_them_out(
    undisturbed: Scene, tmp_path: Path
) -> None:
    scene = spoilt(undisturbed, tmp_path)
    part = next(path for path in sorted(scene.run.parts.iterdir()) if len(trained(path)))
    later = trained(part).slice(0, 1)
    pq.write_table(later, scene.run.part("late", 0), write_page_checksum=True)
    assert judge(scene, undisturbed) == Verdict(doubled=1)
    pq.write_table(changed(later, "chance", 1.5), scene.run.part("late", 0))
    verdict = judge(scene, undisturbed)
    assert (len(verdict.wrong), verdict.doubled) == (1, 1)


def trained(path: Path) -> pa.Table:
    """Rows of a part with a result."""
    table = pq.read_table(path)
    return table.filter(pc.is_in(table["outcome"], pa.array(["ok", "diverged"])))


def test_each_kind_has_its_turn_before_any_has_a_second() -> None:
    rng = np.random.default_rng(0)
    scenes = planned("abcdef", 34, rng, mixed=False)
    assert [len(scene) for scene in scenes] == [6] * 5 + [4]
    alone = [scene[0] for number, scene in enumerate(scenes) if number % 4 != 3]
    assert len(set(alone)) == len(alone) == 5
    together = planned("abcdef", 8, rng, mixed=True)
    assert sorted({kind for scene in together for kind in scene}) == list("abcdef")


def test_the_page_has_the_tally_that_is_committed() -> None:
    tally = json.loads((ROOT / "tests" / "chaos" / "tally.json").read_text())
    page = (ROOT / "docs" / "chaos.md").read_text()
    assert rows(tally) in page
    assert all(sentence in page for sentence in sentences(tally))
    assert sum(tally["faults"].values()) == tally["total"]["faults"] >= 600
    assert len(tally["faults"]) >= 10
    assert {tally["total"][name] for name in ("lost", "wrong", "litter", "hung")} == {0}
    assert tally["complaints"] == []
    assert tally["left_out"] == {}
    assert set(tally["faults"]) == {*KINDS, *SLURM_KINDS}
