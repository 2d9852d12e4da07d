"""Files of run directories are read with limits, whatever somebody has put there."""

import ast
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drivers import run_of
from toys import HELPERS, ROOT, make_toy

from analysis import TableError, load, read_search_space
from analysis.axes.convergence import load_curves
from stability.cli.commands.status import describe_state, state_of
from sweeps.confirm import confirmation
from sweeps.driver.driver import DispatchOptions, Driver, sole_driver
from sweeps.errors import StabilityError
from sweeps.executors import InlineExecutor
from sweeps.store import claims, provenance, views
from sweeps.store.checkpoints import Checkpoints
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger, set_aside_parts
from sweeps.store.repair import trials_in_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import read_design_table
from sweeps.study.schema import PART_SCHEMA
from sweeps.study.trial import Cohort
from sweeps.system.files import parse_json, parse_toml, read_bytes, read_text
from sweeps.worker import engine

READS = {
    "open", "fdopen", "read_text", "read_bytes", "read_table", "ParquetFile", "read_schema",
    "read_metadata", "read_parquet", "read_csv", "read_json", "memory_map", "copyfile", "copy2",
}  # fmt: skip
PARSERS = {"tomllib", "json", "pickle", "np", "torch"}
GUARDS = {"sweeps/system/files.py", "analysis/table/guarded_reading.py"}
"""Modules that may open files, with limits."""
ALLOWED = {
    # Writers, and locks, whose content is not read.
    "sweeps/store/claims.py": {"open", "fdopen"},
    "sweeps/worker/engine.py": {"open"},
    "sweeps/system/locks.py": {"open"},
    "sweeps/store/checkpoints.py": {"open"},
    "sweeps/system/trust.py": {"open"},
    "sweeps/executors/forked.py": {"open"},
    "sweeps/executors/local.py": {"open"},
    "stability/cli/commands/status.py": {"open"},
    # What is no file of a run directory: /proc, a module of the user.
    "sweeps/system/processes.py": {"read_text"},
    "sweeps/objective/user_code.py": {"read_bytes"},
    "sweeps/objective/attempt.py": {"open"},
    # Of bytes that were read with limits, and of our own text.
    "analysis/table/run_directory.py": {"read_parquet", "read_schema"},
    "analysis/axes/convergence.py": {"read_csv", "read_parquet"},
    "stability/cli/commands/edf.py": {"json.loads"},
}


def test_no_other_module_opens_files_of_run_directories() -> None:
    commands = ("status", "cancel", "remembered", "study_file", "sweep", "edf", "progress",
                "engine", "peaks")  # fmt: skip
    modules = [*(ROOT / "sweeps").rglob("*.py"), ROOT / "analysis" / "axes" / "convergence.py"]
    modules += [*ROOT.glob("analysis/table/*.py"), *ROOT.glob("analysis/space/*.py")]
    modules += [path for name in commands for path in ROOT.glob(f"stability/cli/*/{name}.py")]
    assert len(modules) > 40
    found = {}
    for module in modules:
        name = str(module.relative_to(ROOT))
        if name not in GUARDS:
            found[name] = set(unguarded(module.read_text())) - ALLOWED.get(name, set())
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_an_unguarded_read_would_be_seen() -> None:
    assert list(unguarded("import tomllib\ntomllib.loads(path.read_text())")) == [
        "tomllib.loads", "read_text",
    ]  # fmt: skip
    assert list(unguarded("from sweeps.system.files import read_text\nread_text(path)")) == []
    assert list(unguarded("open(path).read()")) == ["open"]


def unguarded(source: str) -> Iterator[str]:
    """Calls that read or parse files, other than of functions of these packages."""
    tree = ast.parse(source)
    ours = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(("sweeps", "analysis"))
        for alias in node.names
    }
    ours |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for call in (node.func for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call, ast.Name) and call.id in READS - ours:
            yield call.id
        elif isinstance(call, ast.Attribute):
            owner = call.value.id if isinstance(call.value, ast.Name) else ""
            if call.attr in READS:
                yield call.attr
            elif owner in PARSERS and call.attr in ("load", "loads"):
                yield f"{owner}.{call.attr}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = run_of(make_toy(), tmp_path_factory.mktemp("here") / "run")
    provenance.write_provenance(run, {"own": {}})
    engine.write_engine_file(run.engine, engine.EngineDecision(device="cpu"))
    (run.checkpoints / f"{run.read_design()[0].id}.pt").write_bytes(b"x")
    return run.path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(finished, tmp_path / "run"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def itself(path: Path) -> None:
    path.symlink_to(path)


def folder(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # of holes


def nested(path: Path) -> None:
    path.write_text("a = " * path.name.endswith(".toml") + "[" * 50_000)


def nested_and_closed(path: Path) -> None:
    """Deep, and sound: a reader that goes down by itself would come to its limit."""
    text = "[" * 200 + "]" * 200
    path.write_text(f"own = {text}" if path.name.endswith(".toml") else text)


def another_encoding(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" * 100)


def wrong_types(path: Path) -> None:
    path.write_text(
        'own = {a = 1979-05-27}\nversions = "1"\ngit = 5\nslurm = [1]\ndevice = []\n'
        'models = 5\nways = {a = {engine = 5, trials = "many", measured = [1]}}\n'
        if path.name.endswith(".toml")
        else '{"name": [], "pid": "1", "slots": 5, "workers": {"a": 1}, "cluster": null}'
    )


ODD = (
    pipe,
    endless,
    itself,
    folder,
    huge,
    nested,
    nested_and_closed,
    another_encoding,
    wrong_types,
)
STOPPING = ("study.toml", "design.parquet", "engine.toml", "driver.lock")
"""Where something odd may keep a study from going on, until a person has looked."""
OTHERS = (
    "provenance/2.toml", "claims/{trial}.json", "workers/w.json", "parts/w-0000.parquet",
    "jobs/0123456789ab/slurm.json", "checkpoints/{trial}.pt", "results.parquet", "curves.parquet",
    "cancel",
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_odd_files_are_answered_and_most_keep_nothing_from_going_on(
    run: RunDirectory, odd: Callable[[Path], None]
) -> None:
    trial = run.read_design()[0].id
    for place in OTHERS:
        put(odd, run.path / place.format(trial=trial))
    state = state_of(run)
    assert "w-0000.parquet" in describe_state(state)
    for look in (load, load_curves):
        with pytest.raises(TableError, match=r"results\.parquet|curves\.parquet"):
            look(run.path)
    with pytest.raises(StabilityError, match=r"results\.parquet cannot be read"):
        confirmation(run, 2)
    assert provenance.changed_program(run) is None
    load_checkpoint(run, trial)
    go_on(run)


def put(odd: Callable[[Path], None], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    odd(path)


@pytest.mark.parametrize("place", STOPPING)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)
def test_odd_files_that_stop_a_study_are_named(
    run: RunDirectory, place: str, odd: Callable[[Path], None]
) -> None:
    put(odd, run.path / place)
    looks: list[Callable[[], object]] = [lambda: state_of(run), lambda: go_on_quickly(run)]
    if place == "study.toml" and odd is not wrong_types:  # only names of columns are read there
        looks += [lambda: load(run.path), lambda: read_search_space(run.path)]
    answers = [answer_of(look) for look in looks]
    # Only what is in a lock is unimportant.
    expected = answers if place == "driver.lock" else [place for _ in answers]
    for answer, place_or_answer in zip(answers, expected, strict=True):
        assert place_or_answer in answer or "not a run directory" in answer


def answer_of(look: Callable[[], object]) -> str:
    """What a person is told; empty where nothing is amiss. Raises what nobody foresaw."""
    try:
        look()
    except (StabilityError, TableError) as error:
        return str(error)
    return ""


def go_on_quickly(run: RunDirectory) -> None:
    """As far as what stops a study is met."""
    with sole_driver(run):
        run.read_design()
        engine.read_engine_file(run.engine)


def load_checkpoint(run: RunDirectory, trial: str) -> None:
    kept = Checkpoints.here(run, Owner.this_process("w"))
    cohort = Cohort(trials=tuple(t for t in run.read_design() if t.id == trial), device="cpu")
    assert kept.of(cohort)[trial].load() is None


def go_on(run: RunDirectory) -> None:
    """As `stability resume` does, without what it prints."""
    plan = DispatchOptions(slots=("cpu:0",), submission_folder=HELPERS)
    with sole_driver(run):
        ledger = Ledger(run)
        ledger.refresh()
        set_aside_parts(ledger.damaged)
        Driver(run, run.read_design(), InlineExecutor(run, lambda: None), plan).drive()
        views.rebuild(run)
    assert load(run.path)["outcome"].eq("ok").all()
    assert claims.held(run) == {}


FAR = datetime(9999, 12, 31, tzinfo=UTC)
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


def like_a_part(**changes: object) -> pa.Table:
    """Two rows of a part, with other columns in place of its own."""
    columns = {"trial": ["x", "y"], "outcome": ["ok"] * 2, "finished": [WRITTEN] * 2}
    table = pa.Table.from_pydict(columns, schema=pa.schema([PART_SCHEMA.field(n) for n in columns]))
    for name, values in changes.items():
        index = table.column_names.index(name) if name in columns else -1
        if index >= 0:
            table = table.remove_column(index)
        if values is not None:
            table = table.append_column(name, values)
    return table


ODD_PARTS = {
    "other columns": pa.table({"a": [1], "b": ["x"]}),
    "no columns": pa.table({}),
    "no trial": like_a_part(trial=None),
    "no finished": like_a_part(finished=None),
    "null finished": like_a_part(
        finished=pa.array([None, WRITTEN], PART_SCHEMA.field("finished").type)
    ),
    "far-future finished": like_a_part(
        finished=pa.array([FAR, WRITTEN], PART_SCHEMA.field("finished").type)
    ),
    "beyond all calendars": like_a_part(
        finished=pa.array([2**62, 0]).cast(PART_SCHEMA.field("finished").type)
    ),
    "finished as text": like_a_part(finished=pa.array(["today", "now"])),
    "finished without a zone": like_a_part(finished=pa.array([WRITTEN] * 2, pa.timestamp("us"))),
    "null trial": like_a_part(trial=pa.array(["x", None])),
    "trial as numbers": like_a_part(trial=pa.array([1, 2])),
    "outcome as a list": like_a_part(outcome=pa.array([["ok"], ["ok"]])),
    "outcome that there is not": like_a_part(outcome=pa.array(["ok", "splendid"])),
    "null outcome": like_a_part(outcome=pa.array(["ok", None])),
    "error as text": like_a_part(error=pa.array(["1", "2"])),
    "error as a list": like_a_part(error=pa.array([[1.0], [2.0]])),
    "curve as text": like_a_part(curve=pa.array(["", ""])),
    "curve of other columns": like_a_part(curve=pa.array([[{"epoch": "x"}], []])),
    "metrics as numbers": like_a_part(metrics=pa.array([1.0, 2.0])),
    "message as bytes": like_a_part(message=pa.array([b"\xff", b""])),
    "a column twice": like_a_part().append_column("trial", pa.array(["x", "y"])),
}


@pytest.mark.parametrize("odd", ODD_PARTS)
def test_a_part_with_an_odd_schema_is_set_aside_like_a_damaged_one(
    run: RunDirectory, odd: str
) -> None:
    path = run.part("odd", 0)
    pq.write_table(ODD_PARTS[odd], path)
    ledger = Ledger(run)
    ledger.refresh()
    assert ledger.damaged == [path]
    before = pq.read_table(run.results)
    views.rebuild(run)
    assert pq.read_table(run.results).equals(before)
    assert trials_in_parts(run.parts) == set(run.read_design().ids)
    assert [moved.name for moved in set_aside_parts(ledger.damaged)] == ["odd-0000.parquet.damaged"]


@pytest.mark.parametrize("name", [None, "error", "trial", "lr"])
def test_a_metric_without_a_name_or_with_that_of_a_column_has_no_column(
    run: RunDirectory, name: str | None
) -> None:
    metrics = [[{"name": name, "value": 1.0}, {"name": "mine", "value": 2.0}], []]
    table = like_a_part(trial=pa.array([run.read_design().ids[0], "y"]))
    table = table.append_column("metrics", pa.array(metrics, PART_SCHEMA.field("metrics").type))
    for part in run.parts.iterdir():
        part.unlink()
    pq.write_table(table, run.part("odd", 0))
    views.rebuild(run)
    (row,) = pq.read_table(run.results).to_pylist()
    assert (row["mine"], row["error"]) == (2.0, None)


@pytest.mark.parametrize(
    ("column", "value"),
    [("draw", -1), ("draw", 2**62), ("optim", "none"), ("model", "c"), ("epochs", -3)],
)
def test_a_design_of_the_right_types_with_other_values_is_refused(
    run: RunDirectory, column: str, value: object
) -> None:
    table = read_design_table(run.design)
    rows = table.to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), run.design)
    with pytest.raises(StabilityError, match=r"not the design of the study"):
        list(run.read_design())


def test_what_is_read_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 11)
    assert read_bytes(path, 11) == b"x" * 11
    assert read_bytes(path, 10, only_last=True) == b"x" * 10
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_text(path, 10)
    for parse in (parse_json, parse_toml):
        text = "a = " if parse is parse_toml else ""
        parse(text + "[" * 20 + "]" * 20)
        with pytest.raises(ValueError, match="levels deep"):
            parse(text + "[" * 200 + "]" * 200)
        with pytest.raises(ValueError, match="nested too deeply"):
            parse(text + "[" * 50_000 + "]" * 50_000)
