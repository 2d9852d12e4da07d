"""Run directories of somebody who means ill: read, never run; nothing beside them is touched."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drivers import IS_ROOT, ORDER, SOMEBODY
from toys import HELPERS, make_toy

from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.errors import StoreError
from sweeps.executors import InlineExecutor, LocalExecutor, SlurmExecutor
from sweeps.executors.slurm.jobs import Submission, name_of, new_token, submissions
from sweeps.executors.slurm.options import SlurmOptions
from sweeps.store import views
from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.study.schema import PART_SCHEMA
from sweeps.system import trust

WATCHED = HELPERS / "programs" / "watched.py"
LOOKING = ("status", "edf", "compare", "cancel")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.sign}'",)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a result for each trial, and somebody's folder beside it."""
    folder = tmp_path_factory.mktemp("here")
    run = RunDirectory(folder / "run")
    study = make_toy()
    run.create(study, draw_design(study))
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    with sole_driver(run):
        Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()
    views.rebuild(run)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunDirectory:
    shutil.copytree(finished / "run", tmp_path / "run", copy_function=shutil.copy2)
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.json").write_text("years of work")
    return RunDirectory(tmp_path / "run")


def watched(run: RunDirectory, *commands: str) -> tuple[list[str], list[dict[str, Any]]]:
    """What happened, and what the commands said."""
    done = subprocess.run(
        [sys.executable, str(WATCHED), str(run.path.parent), str(run.path), *commands],
        capture_output=True, text=True, timeout=120, check=False, cwd=run.path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["events"], answer["said"]


def assert_untouched(run: RunDirectory) -> None:
    precious = run.path.parent / "precious"
    assert [path.name for path in precious.iterdir()] == ["thesis.json"]
    assert (precious / "thesis.json").read_text() == "years of work"


def assert_orderly(said: list[dict[str, Any]], *statuses: int) -> None:
    """Ends as the command line promises, and says nothing that a terminal would obey."""
    for answer in said:
        assert answer["status"] in statuses, answer
        assert "Traceback" not in answer["words"]
        assert answer["words"].replace("\n", "").isprintable(), answer


def test_what_is_looked_for_would_be_seen(run: RunDirectory) -> None:
    events, _ = watched(run, "prove")
    kinds = {event.split()[0] for event in events}
    assert {"pickle.find_class", "os.system", "subprocess.Popen", "os.kill"} <= kinds
    assert {"exec", "open", "os.remove"} <= kinds


def test_pickles_in_every_place_stay_closed(run: RunDirectory) -> None:
    sign = run.path.parent / "opened"
    poison = pickle.dumps(Evil(sign))
    for name in (
        "parts/evil-0000.parquet", "parts/evil.pkl", f"claims/{run.read_design()[0].id}.json",
        "workers/evil.json", "provenance/2.toml", "jobs/0123/5_submitted.pkl",
        "jobs/0123/5_0_result.pkl", "jobs/0123/slurm.json", "results.parquet", "curves.parquet",
        "edf.png", "confirm-r3/study.toml", "confirm-r3/results.parquet", "checkpoints/a.pt",
        "driver.lock",
    ):  # fmt: skip
        path = run.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(poison)
    (run.path / "sitecustomize.py").write_text(f"open({str(sign)!r}, 'w')")
    (run.path / "torch.py").write_text(f"open({str(sign)!r}, 'w')")
    events, said = watched(run, *LOOKING)
    assert events == []
    assert_orderly(said, 0, 2)  # who compares is told that the confirmation cannot be read
    assert not sign.exists()
    assert "parts/evil-0000.parquet cannot be read" in said[0]["words"]


@pytest.mark.parametrize("place", ["study.toml", "design.parquet"])
def test_a_pickle_as_study_or_design_is_refused(run: RunDirectory, place: str) -> None:
    sign = run.path.parent / "opened"
    (run.path / place).write_bytes(pickle.dumps(Evil(sign)))
    events, said = watched(run, "status", "compare", "cancel")
    assert events == []
    assert_orderly(said, 2)
    assert all(f"{place} cannot be read" in answer["words"] for answer in said)
    assert not sign.exists()


def test_a_pickle_in_the_schema_of_a_part_stays_closed(run: RunDirectory) -> None:
    """As pyarrow before 14.0.1 opened them (CVE-2023-47248)."""
    sign = run.path.parent / "opened"
    poison = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil(sign)),
    }
    part = pq.read_table(next(run.parts.glob("*.parquet")))
    fields = [field.with_metadata(poison) for field in part.schema]
    for path in (run.parts / "evil-0000.parquet", run.design):
        table = pq.read_table(path if path.exists() else next(run.parts.glob("*.parquet")))
        fields = [field.with_metadata(poison) for field in table.schema]
        pq.write_table(pa.Table.from_arrays(table.columns, schema=pa.schema(fields)), path)
    events, said = watched(run, "status", "compare")
    assert events == []
    assert_orderly(said, 0)
    assert not sign.exists()


@pytest.mark.parametrize("place", ["parts", "claims", "workers", "provenance", "jobs"])
def test_a_folder_that_leads_elsewhere_is_refused(run: RunDirectory, place: str) -> None:
    shutil.rmtree(run.path / place)
    (run.path / place).symlink_to(run.path.parent / "precious")
    assert [f"{place} is a link" in fault for fault in run.faults(make_toy())] == [True]
    with pytest.raises(StoreError, match=f"{place} is a link"):
        run.read_study()
    if place == "claims":
        events, said = watched(run, "status", "cancel", "resume")
        assert events == []
        assert_orderly(said, 2)
    assert_untouched(run)


def test_files_that_lead_elsewhere_are_not_followed(run: RunDirectory) -> None:
    target = run.path.parent / "precious" / "thesis.json"
    places = ("driver.lock", "results.parquet", "curves.parquet", "edf.png", "cancel")
    trials = [trial.id for trial in run.read_design()]
    names = (*places, "parts/x.parquet", f"claims/{trials[0]}.json", "workers/x.json",
             "provenance/7.toml")  # fmt: skip
    for name in names:
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).symlink_to(target)
    events, said = watched(run, "status", "edf", "cancel")
    assert events == []
    assert_orderly(said[:2], 0)
    assert_orderly(said[2:], 2)  # who cancels must hold the lock
    assert "cannot be written" in said[2]["words"]
    assert_untouched(run)


def test_pipes_and_huge_and_nested_files_are_not_read(run: RunDirectory) -> None:
    trial = run.read_design()[0].id
    for name in ("parts/p.parquet", f"claims/{trial}.json", "workers/p.json", "provenance/8.toml"):
        os.mkfifo(run.path / name)
    for name in ("workers/h.json", "provenance/7.toml", "driver.lock"):
        with (run.path / name).open("wb") as file:
            file.truncate(1 << 40)  # of holes
    (run.path / "workers/n.json").write_text("[" * 50_000)
    (run.path / "provenance/9.toml").write_text("a = " + "[" * 50_000)
    (run.path / "jobs/0123").mkdir()
    (run.path / "jobs/0123/slurm.json").write_text("[" * 50_000)
    events, said = watched(run, "status", "cancel")
    assert events == []
    assert_orderly(said, 0)


@pytest.mark.parametrize("how", ["pipe", "huge", "nested", "folder"])
def test_a_study_that_is_no_study_is_refused(run: RunDirectory, how: str) -> None:
    run.study.unlink()
    if how == "pipe":
        os.mkfifo(run.study)
    elif how == "folder":
        run.study.mkdir()
    elif how == "huge":
        with run.study.open("wb") as file:
            file.truncate(1 << 40)
    else:
        run.study.write_text("a = " + "[" * 50_000)
    with pytest.raises(StoreError, match="cannot be read"):
        run.read_study()
    run.design.unlink()
    os.mkfifo(run.design)
    with pytest.raises(StoreError):
        RunDirectory(run.path).read_design()


def test_what_a_terminal_would_obey_is_written_out(run: RunDirectory) -> None:
    escape = "\x1b]0;yours\x07\x1b[2J[bold]\x9b5m\u202e"
    trial = run.read_design()[0].id
    for part in run.parts.glob("*.parquet"):
        rows = [row for row in pq.read_table(part).to_pylist() if row["trial"] != trial]
        rows.append({**rows[0], "trial": trial, "outcome": "crashed", "message": escape})
        pq.write_table(pa.Table.from_pylist(rows, schema=PART_SCHEMA), part)
    (run.parts / f"{escape}.parquet").write_bytes(b"")
    owner = replace(Owner.this_process("x", "cpu:0"), host=f"far{escape}")
    run.worker("x").write_text(owner.to_json())
    events, said = watched(run, *LOOKING)
    assert events == []
    assert_orderly(said, 0)
    assert r"\x1b]0;yours\x07\x1b[2J[bold]" in said[0]["words"]
    assert r"damaged: parts/\x1b]0" in said[0]["words"]


def test_names_of_models_are_written_out_too(tmp_path: Path) -> None:
    study = make_toy(models=("a\x1b[2J[red]", "b\x07"), origin="\x1b[31m")
    run = RunDirectory(tmp_path / "run")
    run.create(study, draw_design(study))
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()
    events, said = watched(run, "edf", "compare")
    assert events == []
    assert_orderly(said, 0)
    assert r"a\x1b[2J[red]" in said[0]["words"]


@pytest.mark.parametrize("place", [".", "study.toml"])
def test_resume_imports_nothing_that_others_can_name(run: RunDirectory, place: str) -> None:
    (run.path / "evil.py").write_text("raise SystemExit('imported')")
    text = run.study.read_text().replace("objectives:quick", "evil:train")
    run.study.write_text("\n".join(text.splitlines()[1:]))
    run.design.unlink()
    (run.path / place).chmod(0o777)
    events, said = watched(run, "resume")
    assert events == []
    assert_orderly(said, 2)
    assert "can be written by others, and what study.toml names is imported" in said[0]["words"]


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_resume_of_somebody_elses_run_directory_is_refused(run: RunDirectory) -> None:
    os.chown(run.study, SOMEBODY, SOMEBODY)
    _, said = watched(run, "resume")
    assert_orderly(said, 2)
    assert "study.toml can be written by others" in said[0]["words"]


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_cancel_ends_only_workers_that_we_started(run: RunDirectory) -> None:
    """A worker's file can name any process of ours, and anybody can see when that started."""
    victim = subprocess.Popen(["sleep", "60"])
    try:
        there = Owner.this_process("x", "cpu:0", run.identity)
        stat = Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()
        named = replace(there, pid=victim.pid, started=stat[19])
        run.worker("x").write_text(named.to_json())
        os.chown(run.worker("x"), SOMEBODY, SOMEBODY)
        run.lock.write_text(named.to_json())
        os.chown(run.lock, SOMEBODY, SOMEBODY)
        assert not named.is_gone
        start = time.monotonic()
        LocalExecutor(run, lambda: None).stop()
        assert time.monotonic() - start < 5
        assert victim.poll() is None
        os.chown(run.worker("x"), os.geteuid(), os.getegid())
        LocalExecutor(run, lambda: None).stop()
        assert victim.wait(5) == -15
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_only_jobs_that_we_wrote_down_are_cancelled(run: RunDirectory) -> None:
    folder = run.jobs / new_token(run)
    folder.mkdir()
    record = Submission(name=name_of(folder.name), cluster="c", slots=(), workers=())
    record.write(folder)
    assert submissions(run, own=True) == submissions(run) == [record]
    copy = RunDirectory(shutil.copytree(run.path, run.path.with_name("copy")))
    assert (submissions(copy, own=True), submissions(copy)) == ([], [record])
    moved = RunDirectory(run.path.rename(run.path.with_name("moved")))
    assert submissions(moved, own=True) == [record]
    folder = moved.jobs / folder.name
    os.chown(folder / "slurm.json", SOMEBODY, SOMEBODY)
    assert (submissions(moved, own=True), submissions(moved)) == ([], [record])


def test_pickles_of_jobs_are_in_folders_for_us_alone(tmp_path: Path) -> None:
    made = trust.private_folder(tmp_path / "run" / "jobs" / "a", tmp_path / "run")
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o750)
    with pytest.raises(StoreError, match="cannot be kept for you alone"):
        trust.private_folder(made, tmp_path / "run")
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(StoreError, match=r"run can be written by others.*chmod go-w"):
        trust.private_folder(tmp_path / "run" / "jobs" / "b", tmp_path / "run")
    for kind in (LocalExecutor, partial(SlurmExecutor, options=SlurmOptions())):
        with pytest.raises(StoreError, match=r"run can be written by others"):
            kind(RunDirectory(tmp_path / "run"), lambda: None).start([ORDER])


def test_what_is_made_is_for_nobody_else_to_write(tmp_path: Path) -> None:
    code = (
        "import os; os.umask(0); from pathlib import Path; from toys import make_toy\n"
        "from sweeps.study.design import draw_design\n"
        "from sweeps.store.run_directory import RunDirectory\n"
        f"RunDirectory(Path({str(tmp_path / 'run')!r})).create(make_toy(), draw_design(make_toy()))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HELPERS, check=True)
    made = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    assert len(made) >= 8
    assert trust.first_writable_by_others(*made) is None


def test_a_group_of_one_is_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o664)
    group = (tmp_path / "file").stat().st_gid
    monkeypatch.setattr(trust, "is_private_group", lambda gid: gid == group)
    assert trust.first_writable_by_others(tmp_path / "file") is None
    monkeypatch.setattr(trust, "is_private_group", lambda gid: False)
    assert trust.first_writable_by_others(tmp_path / "file") == tmp_path / "file"


@pytest.mark.parametrize(
    "change",
    [
        {"pid": -1},
        {"pid": "1"},
        {"pid": True},
        {"host": "a\x1b[2J"},
        {"slot": None},
        {"restarts": 0.5},
    ],
)
def test_an_owner_that_is_none_is_garbage(tmp_path: Path, change: dict[str, object]) -> None:
    owner = asdict(Owner.this_process("x"))
    (tmp_path / "x.json").write_text(json.dumps(owner))
    assert Owner.read(tmp_path / "x.json") is not None
    (tmp_path / "x.json").write_text(json.dumps({**owner, **change}))
    assert Owner.read(tmp_path / "x.json") is None
