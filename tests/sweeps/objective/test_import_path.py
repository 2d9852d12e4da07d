"""Nothing of the current folder is imported, unless the study names code of the user."""

import subprocess
import sys
from pathlib import Path

import pytest

from stability.probe import answer
from sweeps.objective.imported import import_objective

POISON = ("random", "torch", "numpy", "submitit", "triton", "opt_einsum", "psutil", "sitecustomize")


def test_the_folder_is_searched_last_and_for_code_of_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", before.copy())
    monkeypatch.chdir(tmp_path)
    import_objective("objectives:quick", "")
    answer({"device": "cpu", "jobs": []})
    assert sys.path == before
    import_objective("objectives:quick", str(tmp_path))
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.slow
def test_a_sweep_of_built_in_models_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    """In no process: the command, the measurement, workers."""
    text = "from pathlib import Path\nPath({!r}).joinpath(__name__ + '.met').touch()\n"
    for name in POISON:
        (tmp_path / f"{name}.py").write_text(text.format(str(tmp_path)))
    for name in ("sweeps", "stability", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text.format(str(tmp_path)))
    stability = Path(sys.executable).with_name("stability")
    words = ["sweep", "--model", "vitp", "--optim", "sgd", "--trials", "1", "--epochs", "1"]
    done = subprocess.run(
        [stability, *words, "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.glob("*.met")] == []
