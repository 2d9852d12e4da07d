"""What is left in a run directory by damage and by killed writers, and how it is put right."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import HELPERS, make_toy

from stability.cli.commands.sweep import run_request
from stability.cli.site.cluster import SiteOptions
from stability.cli.study.request import reopen
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import SpecError, StoreError
from sweeps.executors import InlineExecutor
from sweeps.store import claims
from sweeps.store.cleanup import remove_leftovers
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, PartWriter
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design, read_design
from sweeps.study.study import Study
from sweeps.study.trial import Result

STUDY = make_toy()
DESIGN = draw_design(STUDY)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """With a result for each trial, and no views."""
    made = RunDirectory(tmp_path / "run")
    made.create(STUDY, DESIGN)
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    Driver(made, DESIGN, InlineExecutor(made, lambda: None), plan).drive()
    return made


def trained(run: RunDirectory) -> int:
    ledger = Ledger(run)
    ledger.refresh()
    return len(ledger.records)


def damages(path: Path) -> list[bytes]:
    """What can become of a file."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    return [b"", whole[:middle], whole[: middle - 8] + os.urandom(16) + whole[middle + 8 :]]


@pytest.mark.parametrize("how", [0, 1, 2])
def test_a_damaged_study_is_written_again_by_the_same_command(run: RunDirectory, how: int) -> None:
    run.study.write_bytes(damages(run.study)[how])
    with pytest.raises(StoreError, match="stability sweep command that made it"):
        run.read_design()
    assert run.faults(STUDY) == []
    assert list(run.create(STUDY, DESIGN)) == DESIGN
    assert run.read_study() == STUDY
    assert trained(run) == 8
    assert [path.name for path in run.path.glob("*.damaged*")] == ["study.toml.damaged"]


@pytest.mark.parametrize("how", [0, 1, 2])
def test_a_damaged_design_is_drawn_again(run: RunDirectory, how: int) -> None:
    run.design.write_bytes(damages(run.design)[how])
    with pytest.raises(StoreError, match="stability resume"):
        run.read_design()
    assert run.readable_design() is None
    assert list(run.create(STUDY, DESIGN)) == DESIGN == list(run.read_design())
    assert trained(run) == 8
    run.design.write_bytes(b"")
    run.create(STUDY, DESIGN)
    names = sorted(path.name for path in run.path.glob("*.damaged*"))
    assert names == ["design.parquet.damaged", "design.parquet.damaged1"]


def test_damage_gives_nobody_elses_study_away(run: RunDirectory) -> None:
    other = make_toy(seed=1)
    run.study.write_bytes(b"")
    (fault,) = run.faults(other)
    assert "design.parquet is that of another study" in fault
    run.design.write_bytes(b"")
    (fault,) = run.faults(other)
    assert "8 trials in parts/ are of another study" in fault
    with pytest.raises(SpecError):
        run.create(other, draw_design(other))
    STUDY.write(run.study)
    with pytest.raises(StoreError, match="are of another study"):
        run.create(STUDY, draw_design(other))
    assert run.study.read_text().startswith(f"# Study {STUDY.hash}")


def test_a_study_that_was_cut_short_and_still_reads_is_noticed(run: RunDirectory) -> None:
    """Without its last tables it is a sound study of one hyperparameter."""
    text = run.study.read_text()
    run.study.write_text(text[: text.rindex("[[space]]")])
    assert len(Study.read(run.study).space) == 1
    with pytest.raises(
        (StoreError, SpecError), match=f"was study {STUDY.hash} when it was written"
    ):
        run.read_study()
    run.create(STUDY, DESIGN)
    assert run.read_study() == STUDY


def test_a_table_that_is_no_design_is_refused(run: RunDirectory) -> None:
    table = pq.read_table(run.design)
    pq.write_table(table.drop_columns(["draw"]), run.design)
    with pytest.raises(StoreError, match="no column draw"):
        run.read_design()
    texts = pa.array(["x"] * table.num_rows)
    pq.write_table(table.set_column(2, "draw", texts), run.design)
    with pytest.raises(StoreError, match="draw has another type or empty values"):
        read_design(STUDY, run.design)


def test_what_killed_writers_left_is_swept_once_nobody_writes(run: RunDirectory) -> None:
    left = [folder / f".{name}.k3_x9abc.tmp" for folder, name in (
        (run.parts, "cpu0-1-0000.parquet"), (run.workers, "x.json"), (run.path, "results.parquet"),
        (run.claims, "a.json"), (run.provenance, "1.toml"),
    )]  # fmt: skip
    for path in left:
        path.touch()
    (run.path / ".mine").touch()
    run.worker("x").write_text(Owner.this_process("x").to_json())
    remove_leftovers(run)
    assert all(path.exists() for path in left)
    run.worker("x").unlink()
    remove_leftovers(run)
    assert not any(path.exists() for path in left)
    assert (run.path / ".mine").exists()


def test_a_driver_sweeps_up_before_and_after(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create(STUDY, DESIGN)
    early, late, seen = run.parts / ".early.tmp", run.path / ".late.tmp", []
    early.touch()

    def after_each() -> None:
        seen.append(early.exists())
        late.touch()

    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    Driver(run, DESIGN, InlineExecutor(run, after_each), plan).drive()
    assert seen == [False] * 8
    assert not late.exists()


def test_a_lost_trial_is_free_only_when_its_failure_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another worker takes it in between, and counts its attempt as the first."""
    run = RunDirectory(tmp_path / "run")
    run.create(STUDY, DESIGN)
    gone = replace(Owner.this_process("x"), started="0")
    run.worker("x").write_text(gone.to_json())
    assert claims.acquire(run, DESIGN[0].id, gone)
    held, append = [], PartWriter.append

    def spied(self: PartWriter, result: Result, **more: Any) -> None:
        held.append(run.claim(result.trial).exists())
        append(self, result, **more)

    monkeypatch.setattr(PartWriter, "append", spied)
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    driver = Driver(run, DESIGN, InlineExecutor(run, lambda: None), plan)
    monkeypatch.setattr(driver.executor, "fault", lambda owner: ("crashed", "killed"))
    driver._record_losses()
    assert held == [True]
    assert claims.held(run) == {}
    driver.ledger.refresh()
    assert driver.ledger[DESIGN[0].id].failures == 1


def test_a_workers_file_that_cannot_be_read_goes_once_none_lives(run: RunDirectory) -> None:
    run.worker("x").write_text("{")
    run.worker("y").write_text(Owner.this_process("y").to_json())
    claims.release_orphaned(run)
    assert run.worker("x").exists()
    run.worker("y").unlink()
    claims.release_orphaned(run)
    assert not run.worker("x").exists()


def test_a_finished_study_is_put_in_order_by_its_command(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(HELPERS)
    (run.path / ".results.parquet.x.tmp").touch()
    (run.parts / "cpu0-zzz-0000.parquet").write_bytes(b"PAR1")
    asked = reopen(run.path, SiteOptions(executor="inline"))
    assert run_request(asked, retry_failed=False, dry_run=False) == 0
    assert "set aside as" in capsys.readouterr().err
    assert list(run.path.rglob(".*.tmp")) == []
    assert [path.name for path in run.parts.glob("*.damaged")] == ["cpu0-zzz-0000.parquet.damaged"]
