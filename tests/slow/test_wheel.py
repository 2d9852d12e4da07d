"""The wheel: it holds every package and notebook, and the main job runs from it alone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from toys import ROOT

PACKAGES = ("stability", "sweeps", "analysis")
SWEEP = "sweep --model vitc --optim sgd --trials 2 --epochs 1 --device cpu --workers 1 --out run"

pytestmark = pytest.mark.slow


def pip(*arguments: str | Path) -> None:
    """Run pip without the network."""
    options = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", *map(str, arguments), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the tree: a build leaves folders behind."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    (tree / "tests").mkdir()
    for path in (ROOT / "tests" / "slow").glob("*.py"):
        shutil.copy(path, tree / "tests")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", out, tree)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_package_and_notebook_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for pattern in ("*.py", "*.ipynb")
        for path in (ROOT / name).rglob(pattern)
    }
    assert held == expected


def test_the_main_job_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """Also in a folder of a user who has folders of the same names as our packages."""
    target, here = tmp_path / "installed", tmp_path / "here"
    pip("install", "--target", target, wheel)
    for name in ("sweeps", "analysis"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        whole = [sys.executable, *command]
        return subprocess.run(
            whole, cwd=here, env=environment, capture_output=True, text=True, check=False
        )

    found = run("-P", "-c", f"import {', '.join(PACKAGES)}; print(analysis.__path__)")
    assert str(target) in found.stdout, found.stderr
    done = run(str(target / "bin" / "stability"), *SWEEP.split())
    assert done.returncode == 0, done.stderr
    for name in ("results.parquet", "edf.png"):
        assert (here / "run" / name).stat().st_size > 0
