"""Run directory, claims, parts and views: what is on the disk, and what survives."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from objectives import result
from toys import FIXTURES, make_toy

from sweeps.driver.tally import Tally
from sweeps.errors import SpecError, StoreError
from sweeps.store import claims, views
from sweeps.store.owner import Owner
from sweeps.store.parts import ROWS_PER_PART, Ledger, PartWriter, read_parts, set_aside_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import Design, draw_design
from sweeps.study.schema import CURVES_SCHEMA, MEASURED_COLUMNS, PART_SCHEMA, results_schema
from sweeps.study.study import Study
from sweeps.study.trial import Result
from sweeps.system.files import atomic_write
from sweeps.worker.worker import registered


@pytest.fixture
def run(tmp_path: Path, toy_study: Study) -> RunDirectory:
    directory = RunDirectory(tmp_path / "a run, with 'odd' characters")
    directory.create(toy_study, draw_design(toy_study))
    return directory


@pytest.fixture
def trials(run: RunDirectory) -> Design:
    return run.read_design()


def test_atomic_write_leaves_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_creating_twice_changes_nothing(run: RunDirectory, toy_study: Study) -> None:
    before = run.study.read_bytes(), run.design.read_bytes()
    run.create(toy_study, draw_design(toy_study))
    assert (run.study.read_bytes(), run.design.read_bytes()) == before


def test_another_study_is_refused_and_the_difference_shown(run: RunDirectory) -> None:
    other = make_toy(seed=1, draws=8)
    with pytest.raises(SpecError) as error:
        run.create(other, draw_design(other))
    assert "seed: 0 there, 1 asked for" in str(error.value)
    assert "draws: 4 there, 8 asked for" in str(error.value)
    assert len(error.value.faults) == 2


def test_folders_that_cannot_be_a_run_directory(tmp_path: Path, toy_study: Study) -> None:
    file = tmp_path / "file"
    file.touch()
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").touch()
    for path, words in (
        (file, "is a file"),
        (file / "below", "is a file"),
        (full, "no study.toml"),
        (Path("/proc/nowhere"), "cannot be written"),
        (tmp_path / ("long" * 100), "cannot be written"),
    ):
        (fault,) = RunDirectory(path).faults(toy_study)
        assert words in fault
    assert RunDirectory(tmp_path / "new" / "deep").faults(toy_study) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_what_is_no_run_directory_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / ("long" * 100)):
        with pytest.raises(StoreError, match="is not a run directory: there is no study"):
            RunDirectory(path).read_study()


def test_of_two_claims_one_is_had(run: RunDirectory, trials: Design) -> None:
    first, second = (Owner.this_process(name) for name in ("first", "second"))
    with registered(run, first), registered(run, second):
        assert claims.acquire(run, trials[0].id, first)
        assert not claims.acquire(run, trials[0].id, second)
        assert claims.held(run) == {trials[0].id: first}
        claims.release(run, trials[0].id)
        assert claims.acquire(run, trials[0].id, second)


def test_a_worker_that_ends_gives_back_what_it_holds(run: RunDirectory, trials: Design) -> None:
    owner = Owner.this_process("worker")

    def be_stopped() -> None:
        with registered(run, owner):
            claims.acquire(run, trials[0].id, owner)
            assert claims.held(run) == {trials[0].id: owner}
            raise SystemExit

    with pytest.raises(SystemExit):
        be_stopped()
    assert claims.held(run) == {}
    assert claims.living_workers(run) == []


def test_claims_work_without_hard_links(
    run: RunDirectory, trials: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    owner = Owner.this_process("worker")
    with registered(run, owner):
        assert claims.acquire(run, trials[0].id, owner)
        assert not claims.acquire(run, trials[0].id, owner)
        assert claims.held(run) == {trials[0].id: owner}


def test_a_claim_is_void_only_when_its_owner_is_gone(run: RunDirectory, trials: Design) -> None:
    """A living owner, one on another host and one that cannot be judged keep theirs."""
    living = Owner.this_process("living")
    ended = subprocess.run(
        [sys.executable, "-c", "from sweeps.store.owner import Owner; "
         "print(Owner.this_process('ended').to_json())"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    fields = json.loads(living.to_json())
    owners = {
        "living": (fields, False),
        "ended": (json.loads(ended), True),
        "elsewhere": ({**fields, "host": "another"}, False),
        "pid used again": ({**fields, "started": "1"}, True),
        "before the reboot": ({**fields, "boot": "another"}, True),
        "in another container": ({**fields, "namespace": "pid:[1]", "pid": 1}, False),
    }
    for trial, (content, _) in zip(trials, owners.values(), strict=False):
        run.claim(trial.id).write_text(json.dumps(content))
    expected = [t.id for t, (_, gone) in zip(trials, owners.values(), strict=False) if gone]
    assert sorted(claims.orphaned_claims(run)) == sorted(expected)
    claims.release_orphaned(run)
    assert not set(claims.held(run)) & set(expected)


def test_who_gave_a_claim_back_and_ended_while_it_was_looked_at_has_lost_nothing(
    run: RunDirectory, trials: Design
) -> None:
    """And what another has taken since stays his."""
    given, taken, kept, garbage = (run.claim(trial.id) for trial in trials[:4])
    ending, next_one = (replace(Owner.this_process(name), pid=1) for name in ("ending", "next"))
    for path in (given, taken, kept):
        path.write_text(ending.to_json())
    garbage.write_text("{")
    looks: list[Owner] = []

    def gone(owner: Owner) -> bool:
        if not looks:
            given.unlink()
            taken.write_text(next_one.to_json())
            garbage.unlink()
        looks.append(owner)
        return True

    assert claims.orphaned_claims(run, gone) == {kept.stem: ending}
    assert looks


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = Owner.this_process("child")
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    held = Owner(**{**owner.__dict__, "pid": child.pid, "started": started})
    assert not held.is_gone
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not reaped
    assert held.is_gone
    child.wait()
    assert held.is_gone


def test_a_garbage_claim_is_void_once_no_worker_lives(run: RunDirectory, trials: Design) -> None:
    run.claim(trials[0].id).write_text('{"name": "trunc')
    with registered(run, Owner.this_process("worker")):
        assert claims.orphaned_claims(run) == {}
    assert claims.orphaned_claims(run) == {trials[0].id: None}
    claims.release_orphaned(run)
    assert claims.held(run) == {}


def test_a_result_is_on_the_disk_when_append_returns(run: RunDirectory, trials: Design) -> None:
    writer = PartWriter(run, "worker")
    for trial in trials[:3]:
        writer.append(result(trial), attempt=1, seconds=2.0)
        ledger = Ledger(run)
        ledger.refresh()
        assert ledger.is_trained(trial.id)
    (part,) = run.parts.iterdir()
    assert pq.read_schema(part).equals(PART_SCHEMA, check_metadata=True)
    assert len(pq.read_table(part)) == 3


def test_parts_roll_over(run: RunDirectory) -> None:
    writer = PartWriter(run, "worker")
    rows = [{"trial": "x", "outcome": "ok", "finished": datetime.now(UTC)}] * (ROWS_PER_PART - 1)
    writer._rows = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
    for name in ("last of the first", "first of the second"):
        writer.append(Result(trial=name, outcome="ok"))
    lengths = [len(pq.read_table(path)) for path in sorted(run.parts.iterdir())]
    assert lengths == [ROWS_PER_PART, 1]


def test_a_value_that_is_no_column_is_named(run: RunDirectory, trials: Design) -> None:
    bad = Result(trial=trials[0].id, outcome="ok", values={"accuracy": 0.9, "error": 1.0})
    assert PartWriter(run, "worker").append(bad).outcome == "ok"
    (row,) = read_parts(run).to_pylist()
    assert row["message"] == "not stored: 'accuracy': not a column of the results"


def test_the_first_complete_result_wins(run: RunDirectory, trials: Design) -> None:
    """Failures before it count as attempts; a second result later changes nothing."""
    id_ = trials[0].id
    PartWriter(run, "z").append(Result(trial=id_, outcome="crashed"), message="first")
    PartWriter(run, "m").append(Result(trial=id_, outcome="ok", values={"error": 1.0}))
    PartWriter(run, "a").append(Result(trial=id_, outcome="ok", values={"error": 2.0}))
    ledger = Ledger(run)
    ledger.refresh()
    assert (ledger[id_].error, ledger[id_].failures, ledger[id_].outcome) == (1.0, 1, "ok")
    views.rebuild(run)
    table = pq.read_table(run.results).to_pylist()
    assert [(row["trial"], row["error"], row["worker"]) for row in table] == [(id_, 1.0, "m")]


def test_a_damaged_part_is_named_set_aside_and_not_read(run: RunDirectory, trials: Design) -> None:
    for trial, worker in zip(trials, ("good", "bad"), strict=False):
        PartWriter(run, worker).append(result(trial))
    damaged = run.part("bad", 0)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    ledger = Ledger(run)
    ledger.refresh()
    assert ledger.damaged == [damaged]
    assert [ledger.is_trained(t.id) for t in trials[:2]] == [True, False]
    (moved,) = set_aside_parts(ledger.damaged)
    assert moved.name == "bad-0000.parquet.damaged"
    ledger.refresh()
    assert ledger.damaged == []
    views.rebuild(run)
    assert len(pq.read_table(run.results)) == 1


def test_a_flipped_bit_in_any_column_is_damage(run: RunDirectory, trials: Design) -> None:
    """Also in one that only the views read: a part is believed whole or not at all."""
    PartWriter(run, "worker").append(result(trials[0]))
    (part,) = run.parts.iterdir()
    sound = part.read_bytes()
    metadata = pq.read_metadata(part).row_group(0)
    columns = [metadata.column(i) for i in range(metadata.num_columns)]
    assert any("curve" in column.path_in_schema for column in columns)
    for column in columns:
        place = column.data_page_offset + column.total_compressed_size - 1
        broken = bytearray(sound)
        broken[place] ^= 0b100
        part.write_bytes(broken)
        ledger = Ledger(run)
        ledger.refresh()
        assert ledger.damaged == [part], column.path_in_schema
        assert len(read_parts(run)) == 0
    part.write_bytes(sound)
    assert len(read_parts(run)) == 1


def test_a_second_damage_of_the_same_part_does_not_replace_the_first(run: RunDirectory) -> None:
    for content in (b"first", b"second"):
        run.part("worker", 0).write_bytes(content)
        set_aside_parts([run.part("worker", 0)])
    assert sorted(path.read_bytes() for path in run.parts.iterdir()) == [b"first", b"second"]


def test_failures_before_since_are_forgiven(run: RunDirectory, trials: Design) -> None:
    writer = PartWriter(run, "worker")
    writer.append(Result(trial=trials[0].id, outcome="crashed"), message="before")
    since = datetime.now(UTC)
    writer.append(Result(trial=trials[0].id, outcome="crashed"), message="after")
    ledger = Ledger(run, since)
    ledger.refresh()
    record = ledger[trials[0].id]
    assert (record.failures, record.failures_since, record.message) == (2, 1, "after")


def test_views_are_rebuilt_from_parts_in_design_order(
    run: RunDirectory, trials: Design, toy_study: Study
) -> None:
    writer = PartWriter(run, "worker")
    for trial in reversed(trials):
        writer.append(result(trial), attempt=1)
    writer.append(Result(trial="stranger", outcome="ok"))
    views.rebuild(run)
    run.results.unlink()
    run.curves.unlink()
    views.rebuild(run)
    results, curves = pq.read_table(run.results), pq.read_table(run.curves)
    assert results.schema.equals(results_schema(toy_study.space), check_metadata=True)
    assert curves.schema.equals(CURVES_SCHEMA, check_metadata=True)
    assert results["trial"].to_pylist() == [trial.id for trial in trials]
    assert results["lr"].to_pylist() == [trial.hyperparameters["lr"] for trial in trials]
    assert len(curves) == 2 * len(trials)
    assert len({column.name for column in MEASURED_COLUMNS}) == len(MEASURED_COLUMNS)


BEFORE_SIGNALS = FIXTURES / "parts" / "before-signals.parquet"


def test_a_part_of_an_older_version_is_read_and_gone_on_with(
    run: RunDirectory, trials: Design
) -> None:
    """Written for the toy study before the curves had signals of instability."""
    run.part("host-1-abc", 0).write_bytes(BEFORE_SIGNALS.read_bytes())
    assert "grad_norm" not in str(pq.read_schema(BEFORE_SIGNALS))
    ledger = Ledger(run)
    ledger.refresh()
    assert [ledger.is_trained(trial.id) for trial in trials[:3]] == [True, True, False]
    signals = {"grad_norm": 2.5, "grad_norm_max": 3.0, "loss_spikes": 1, "diverged_at": 7}
    curve = [{"epoch": 1, "loss": 1.0, "val_error": 50.0, **signals}]
    PartWriter(run, "new").append(Result(trial=trials[2].id, outcome="ok", curve=curve))
    views.rebuild(run)
    assert pq.read_table(run.results)["outcome"].to_pylist() == ["ok", "diverged", "ok"]
    curves = pq.read_table(run.curves)
    assert curves.schema.equals(CURVES_SCHEMA, check_metadata=True)
    *old, new = curves.to_pylist()
    assert [row["val_error"] for row in old] == [90.0, 80.0] * 2
    assert {row[name] for row in old for name in signals} == {None}
    assert {name: new[name] for name in signals} == signals


def test_epochs_that_were_not_computed_are_counted_over_all_cohorts(
    run: RunDirectory, trials: Design
) -> None:
    """Of a part of an older version, and of trials trained one by one, nothing is known."""
    run.part("host-1-abc", 0).write_bytes(BEFORE_SIGNALS.read_bytes())
    ledger = Ledger(run)
    tally = Tally(trials, ledger)
    tally.look()
    assert (tally.done, tally.spared) == (2, None)
    epochs = trials[2].epochs
    for trial, computed in ((trials[2], None), (trials[3], 1.25 * epochs), (trials[4], 0.25)):
        values = {"computed": computed}
        PartWriter(run, trial.id).append(Result(trial=trial.id, outcome="ok", values=values))
    tally.look()
    assert tally.spared == pytest.approx(1 - (1.25 + 0.25 / epochs) / 2)


def test_seconds_left_goes_by_epochs(run: RunDirectory, trials: Design) -> None:
    ledger = Ledger(run)
    tally = Tally(trials, ledger)
    assert tally.seconds_left(2) is None
    writer = PartWriter(run, "worker")
    for trial in trials[:2]:
        writer.append(result(trial), seconds=10.0)
    ledger.refresh()
    tally.update()
    assert tally.seconds_left(2) == pytest.approx(6 * 10.0 / 2)


def test_a_damaged_confirmation_does_not_block_its_study(run: RunDirectory) -> None:
    confirmation = run.confirmation(2)
    confirmation.path.mkdir(parents=True)
    confirmation.study.write_text("[")
    named = run.read_study().in_unit("fraction", run.read_study().primary.within)
    run.name_unit(named)
    assert run.read_study().unit == "fraction"
