"""One execution path: few frames from `main` to the objective; each file is parsed once."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from stability.cli import main
from sweeps.store import run_directory
from sweeps.store.run_directory import RunDirectory
from sweeps.study import design
from sweeps.study.study import Study

PACKAGES = [Path(__file__).parents[2] / name for name in ("stability", "sweeps", "analysis")]
AIM = 10
OBJECTIVE = """
import sys
paths = []

def fit(trial):
    frame, path = sys._getframe(1), []
    while frame is not None:
        path.append(frame.f_code)
        frame = frame.f_back
    paths.append(path)
    return {"error": 10 + trial["C"], "chance": 90.0}
"""


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of a command that runs in this process."""
    monkeypatch.setattr(sys, "argv", ["stability", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sweep of an objective that notes by whom it is called."""
    (tmp_path / "pathfit.py").write_text(OBJECTIVE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pathfit", raising=False)
    words = "sweep --objective pathfit:fit --vary C=1:3 --trials 3 --out run --executor inline"
    return words.split()


def test_few_frames_are_between_the_command_and_the_objective(
    sweep: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, *sweep) == 0
    paths = sys.modules["pathfit"].paths
    assert len(paths) == 3
    for path in paths:
        ours = [
            f"{Path(code.co_filename).stem}.{code.co_qualname}"
            for code in path[: path.index(main.__code__)]
            if any(Path(code.co_filename).is_relative_to(package) for package in PACKAGES)
        ]
        assert len(ours) <= AIM, ours
        assert "run.dispatch" in ours


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each study and each design is parsed."""
    counts: Counter[str] = Counter()
    read_study, read_parquet = Study.read, design.read_parquet

    def counting_study(path: Path) -> Study:
        counts[path.name] += 1
        return read_study(path)

    def counting_parquet(path: Path) -> object:
        counts[path.name] += 1
        return read_parquet(path)

    monkeypatch.setattr(Study, "read", counting_study)
    monkeypatch.setattr(design, "read_parquet", counting_parquet)
    return counts


def forget() -> None:
    """What a new process does not know."""
    for cache in (run_directory._study, run_directory._table, run_directory._design):
        cache.cache_clear()


def test_a_command_parses_study_and_design_once(
    sweep: list[str], parsed: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = {"study.toml": 1, "design.parquet": 1}
    assert run(monkeypatch, *sweep) == 0
    assert parsed == once
    for words in (sweep, ["resume", "run", "--executor", "inline"]):
        for lost in (False, True):
            forget()
            parsed.clear()
            if lost:
                next(Path("run/parts").glob("*.parquet")).unlink()
            assert run(monkeypatch, *words) == 0
            assert parsed == once, words
    assert len(sys.modules["pathfit"].paths) == 9


def test_a_study_that_is_replaced_is_parsed_again(
    sweep: list[str], parsed: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, *sweep) == 0
    assert run(monkeypatch, *sweep, "--unit", "percent") == 0
    assert parsed == {"study.toml": 2, "design.parquet": 1}
    assert RunDirectory(Path("run")).read_study().unit == "percent"
    Path("run/design.parquet").write_bytes(b"damaged")
    assert run(monkeypatch, *sweep) == 0
    assert len(RunDirectory(Path("run")).read_design()) == 3
    assert list(Path("run").glob("design.parquet.damaged*"))
