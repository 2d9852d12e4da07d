"""A user's code is edited between, before and during sweeps: results are never mixed in silence."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest
from command_line import call
from typer.testing import CliRunner

from stability.cli.app import app
from stability.cli.commands import conclusion, sweep
from stability.cli.site.machine import Machine
from sweeps.driver.driver import DispatchOptions, Driver
from sweeps.errors import ChangedCodeError, ExecutorError, StabilityError, StoreError
from sweeps.executors.inline import InlineExecutor
from sweeps.objective import imported
from sweeps.objective.user_code import UserCode
from sweeps.store import views
from sweeps.store.accepted import Accepted, CodeDecision, read_accepted, write_accepted
from sweeps.store.parts import read_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.worker.worker import WorkerSpec, work

pytestmark = pytest.mark.filterwarnings("ignore::analysis.MixedCodeWarning")

OBJECTIVE = '''
from edited_helper import base

def fit(trial):
    """Say how far C is from 0."""
    return base() + trial["C"]
'''
HELPER = "def base():\n    return 10\n"
MACHINE = Machine(slots=("cpu:0",), seconds=None)  # another process would be asked for it
MODULES = ("edited", "edited_helper", "edited_nets")


class Project:
    """A folder with an objective, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = RunDirectory(folder / "run")
        self.write("edited", OBJECTIVE)
        self.write("edited_helper", HELPER)

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(text)

    def call(self, *words: str) -> SimpleNamespace:
        """What a command says, as in a process of its own."""
        forget()
        found = CliRunner().invoke(app, words)
        error = found.exception
        if error is not None and not isinstance(error, SystemExit | StabilityError):
            raise error
        status = 2 if isinstance(error, StabilityError) else found.exit_code
        # A line is broken where a terminal ends.
        text = " ".join(f"{found.output} {error if status == 2 else ''}".split())
        return SimpleNamespace(status=status, said=text)

    def sweep(self, *more: str, draws: int = 2, out: str = "run") -> SimpleNamespace:
        words = ("sweep", "--objective", "edited:fit", "--vary", "C=0.1:3", "--model", "a,b")
        words += ("--out", out, "--trials", str(draws), "--executor", "inline")
        return self.call(*words, *more)

    def results(self, out: str = "run") -> pd.DataFrame:
        return pd.read_parquet(self.folder / out / "results.parquet")

    def lose(self, *, keep: int) -> None:
        """All but the first results, as if the sweep had been interrupted."""
        (part,) = self.run.parts.glob("*.parquet")
        pq.write_table(pq.read_table(part).slice(0, keep), part, write_page_checksum=True)
        views.rebuild(self.run)


def forget() -> None:
    for name in MODULES:
        sys.modules.pop(name, None)
        imported._FIRST_IMPORTED.pop(name, None)
    shutil.rmtree("__pycache__", ignore_errors=True)  # two edits within a second


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sweep, "machine_measured", lambda request: MACHINE)
    monkeypatch.setattr(conclusion, "write_picture", lambda table, path, *more: path)
    yield Project(tmp_path)
    forget()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which four trials were trained."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("trained")
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        patch.setattr(sweep, "machine_measured", lambda request: MACHINE)
        assert Project(folder).sweep().status == 0
    return folder


@pytest.fixture
def finished(project: Project, trained: Path) -> Project:
    shutil.copytree(trained, project.folder, dirs_exist_ok=True)
    path = project.run.provenance / "1.toml"
    path.write_text(path.read_text().replace(str(trained), str(project.folder)))
    return project


def edit(project: Project) -> None:
    project.write("edited_helper", HELPER.replace("10", "50"))


def test_an_edited_helper_stops_every_command_that_would_train(finished: Project) -> None:
    edit(finished)
    for said in (finished.sweep(), finished.call("resume", "run"), finished.sweep("--dry-run")):
        assert said.status == 2
        for words in (
            "edited_helper was edited: 4 of 4 results",
            "--retrain-changed",
            "--keep",
        ):
            assert words in said.said
    assert finished.results()["error"].max() < 14
    assert finished.sweep("--retrain-changed", "--keep-changed").status == 2


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "edited_helper",
            '"""Numbers."""\n\n\ndef base():\n    """Ten."""\n    return (10)  # ten\n',
        ),
        ("edited", OBJECTIVE + "\n\n# The end.\n"),
    ],
)
def test_comments_docstrings_and_layout_stop_nothing(
    finished: Project, module: str, text: str
) -> None:
    finished.write(module, text)
    said = finished.sweep()
    assert said.status == 0
    assert "4 of 4 trials finished already" in said.said
    assert "version" not in finished.call("status", "run").said


def test_every_command_that_shows_results_states_an_edit(finished: Project) -> None:
    edit(finished)
    words = "4 of 4 results come from another version of edited_helper than the current one"
    for command in (("status", "run"), ("edf", "run"), ("plan", "run"), ("compare", "run")):
        assert words in finished.call(*command).said
    assert words in finished.call("edf", "run", "--json", "-o", "edf.svg").said
    assert "come from another version" in Path("edf.svg").read_text()


def test_what_is_retrained_replaces_the_old_results_which_stay_on_disk(finished: Project) -> None:
    finished.call("resume", "run", "--confirm", "2", "--executor", "inline")
    edit(finished)
    before = set(finished.results()["code"])
    assert "training 4 trials" in finished.sweep("--retrain-changed", "--dry-run").said
    assert not finished.run.code.exists()
    said = finished.sweep("--retrain-changed")
    assert said.status == 0
    assert "4 results of another or an unknown" in said.said
    assert finished.results()["error"].min() > 50
    assert set(finished.results()["code"]).isdisjoint(before)
    assert len(read_parts(finished.run)) == 8
    assert not finished.run.confirmation(2).exists()  # its best was one of the old code
    assert list(finished.folder.glob("run/replaced-*"))
    assert "version" not in finished.sweep().said
    finished.write("edited_helper", HELPER)  # undone: what was trained then counts again
    assert finished.sweep().status == 2
    assert "4 of 4 trials finished" in finished.sweep("--retrain-changed").said
    assert finished.results()["error"].max() < 14
    assert len(read_parts(finished.run)) == 8


KILLED = """
import os
import signal
from pathlib import Path

def base():
    with Path("calls").open("a") as file:
        file.write("x")
    if Path("calls").stat().st_size > int(os.environ.get("EDITED_STOPS", "99")):
        os.kill(os.getpid(), signal.SIGINT)
    return 50
"""


def test_a_retraining_that_is_killed_goes_on_with_a_plain_resume(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(finished)
    with monkeypatch.context() as patch:
        patch.setenv("EDITED_STOPS", "2")
        finished.write("edited_helper", KILLED)
        assert finished.sweep("--retrain-changed").status == 130
    assert len(finished.results()) == 2  # the old results of the other two do not count
    assert "2 of 4 trials finished" in finished.call("status", "run").said
    said = finished.call("resume", "run", "--executor", "inline")
    assert said.status == 0
    assert finished.results()["error"].min() > 50
    assert "version" not in said.said


def test_what_is_kept_is_stated_for_ever_and_asked_once(finished: Project) -> None:
    finished.lose(keep=3)
    edit(finished)
    assert finished.sweep().status == 2  # nothing was trained
    assert len(finished.results()) == 3
    said = finished.sweep("--keep-changed")
    assert said.status == 0
    errors = finished.results()["error"]
    assert (errors < 14).tolist() == [True, True, True, False]
    assert finished.results()["code"].nunique() == 2
    for command in ("status", "edf", "compare", "sweep", "plan"):
        again = finished.sweep() if command == "sweep" else finished.call(command, "run")
        assert again.status == 0
        assert "results come from 2 versions of edited: 3 from" in again.said
        assert "(kept on purpose)" in again.said
    finished.write("edited_helper", HELPER.replace("10", "90"))
    assert finished.sweep().status == 2  # another version: asked again
    assert finished.sweep("--retrain-changed").status == 0
    assert finished.results()["error"].min() > 90


def test_results_of_an_unknown_version_are_accepted_and_stated(finished: Project) -> None:
    (part,) = finished.run.parts.glob("*.parquet")
    old = pq.read_table(part).drop_columns(["code"])  # as earlier versions wrote it
    pq.write_table(old.slice(0, 3), part, write_page_checksum=True)
    said = finished.sweep()
    words = "3 of 4 results come from an unknown version of edited"
    assert said.status == 0
    assert words in said.said
    for command in ("status", "edf", "compare", "plan"):
        assert words in finished.call(command, "run").said
    assert finished.results()["code"].isna().tolist() == [True, True, True, False]
    assert "3 results of another or an unknown" in finished.sweep("--retrain-changed").said
    assert finished.results()["code"].nunique() == 1
    assert "version" not in finished.call("status", "run").said


def test_a_neighbour_must_have_been_trained_with_the_same_code(finished: Project) -> None:
    edit(finished)
    assert "taken over" not in finished.sweep(draws=3, out="other").said
    assert finished.results("other")["error"].min() > 50
    finished.write("edited_helper", HELPER)
    shutil.rmtree("other")
    assert "4 trials taken over from run" in finished.sweep("--dry-run", draws=3, out="larger").said
    (part,) = finished.run.parts.glob("*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["code"]), part, write_page_checksum=True)
    said = finished.sweep(draws=3, out="larger").said
    assert "4 of them come from an unknown version of edited" in said
    assert "4 of 6 results come from an unknown version" in said
    # Nothing of an unknown version is taken then: two trials of `larger` have the current one.
    words = "2 trials taken over from larger"
    assert words in finished.sweep("--retrain-changed", draws=4, out="newest").said


# While a sweep runs.


def order(project: Project, code: UserCode | None) -> WorkerSpec:
    now = datetime.now(UTC)
    return WorkerSpec(
        run=str(project.run.path), name="late", slot="cpu:0", max_failures=2, since=now, begun=now,
        submission_folder=str(project.folder), code=code,
    )  # fmt: skip


def test_a_worker_that_starts_after_an_edit_trains_nothing(finished: Project) -> None:
    finished.lose(keep=2)
    dispatched = UserCode.search("edited:fit", ["a"], finished.folder)
    edit(finished)
    forget()
    with pytest.raises(ChangedCodeError, match="edited_helper was edited after the sweep had"):
        work(order(finished, dispatched))
    assert len(read_parts(finished.run)) == 2
    assert not list(finished.run.claims.iterdir())


def test_a_process_that_imported_the_code_before_the_edit_trains_nothing(finished: Project) -> None:
    finished.lose(keep=2)
    work(order(finished, None))
    for part in finished.run.parts.glob("late*"):
        part.unlink()
    edit(finished)
    with pytest.raises(ChangedCodeError, match="edited_helper was edited after this process"):
        work(order(finished, UserCode.search("edited:fit", ["a"], finished.folder)))


def test_a_result_of_a_module_that_was_edited_before_its_late_import_is_not_kept(
    finished: Project,
) -> None:
    finished.lose(keep=2)
    for text in (OBJECTIVE, LATE):  # what changes is written by the training itself
        finished.write("edited", text)
    with pytest.raises(ChangedCodeError, match="edited_helper was edited before the training"):
        work(order(finished, None))
    assert len(read_parts(finished.run)) == 2


LATE = """
from pathlib import Path

def fit(trial):
    Path(__file__).with_name("edited_helper.py").write_text("def base(): return 70")
    from edited_helper import base
    return base() + trial["C"]
"""


def test_results_that_do_not_count_any_more_are_not_trained_on(finished: Project) -> None:
    finished.lose(keep=2)
    now = Accepted(codes=frozenset({"0" * 12}), unknown=False)
    write_accepted(finished.run, CodeDecision(accepted=now, replaces_results=True))
    with pytest.raises(ChangedCodeError, match="do not count"):
        work(order(finished, None))


class Editing(InlineExecutor):
    """Whose first worker ends without a result, while somebody edits the code."""

    started = 0

    def start(self, orders: Sequence[WorkerSpec]) -> None:
        self.started += 1
        Path("edited_helper.py").write_text(HELPER.replace("10", "50"))


def test_a_driver_starts_no_worker_after_an_edit_and_says_how_to_go_on(finished: Project) -> None:
    finished.lose(keep=2)
    code = UserCode.search("edited:fit", ["a"], finished.folder)
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=finished.folder)
    dispatcher = Editing(finished.run, lambda: None)
    with pytest.raises(ExecutorError, match=r"edited while the sweep ran.*: 2 trials"):
        Driver(finished.run, finished.run.read_design(), dispatcher, plan, code=code).drive()
    assert dispatcher.started == 1


@pytest.mark.slow
def test_a_sweep_whose_worker_dies_after_an_edit_ends_and_asks(project: Project) -> None:
    text = "from pathlib import Path\nimport os\n" + OBJECTIVE
    text = text.replace("    return base", "    if trial['C'] > 1: edit()\n    return base")
    project.write("edited", text + EDITS)
    words = ("sweep", "--objective", "edited:fit", "--vary", "C=0.1:3", "--out", "run")
    said = call(*words, "--trials", "6", "--workers", "1", cwd=project.folder)
    assert said.returncode == 1
    assert "edited was edited while the sweep ran" in said.stderr
    again = project.call("resume", "run")
    assert again.status == 2
    assert "edited was edited: 1 of 1 result" in again.said


EDITS = '''
def edit():
    """Edit this file once, and die."""
    if not Path("edited.marker").exists():
        Path("edited.marker").touch()
        Path(__file__).write_text(Path(__file__).read_text() + "x = 1")
        os._exit(1)
'''


def test_what_is_accepted_must_be_readable(finished: Project) -> None:
    finished.run.code.write_text("accepted = 3")
    with pytest.raises(StoreError, match="whose results count"):
        read_accepted(finished.run)
    assert finished.sweep().status == 2
