"""The notebooks run from top to bottom on a run directory, and are stored without outputs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys import ROOT

NOTEBOOKS = sorted((ROOT / "analysis" / "notebooks").glob("*.ipynb"))


def trial(model: str, optim: str, draw: int) -> dict[str, object]:
    """Make up a result with the shape of a real one: an optimum in lr, failures at its end."""
    u, v, noise = np.random.default_rng((0, draw)).random(3)
    distance = abs(u - 0.5) * (1.8 if model == "vitp-nano" else 1.0)
    distance *= 1.2 if optim == "sgd" else 1.0
    outcome = "diverged" if u > 0.92 else "collapsed" if distance > 0.85 else "ok"
    wrong = 360 if outcome == "collapsed" else int(12 + 300 * distance**2 + 20 * noise)
    return {
        "trial": f"{model}-{optim}-e5-{draw:08x}",
        "study": "made-up",
        "draw": draw,
        "model": model,
        "optim": optim,
        "epochs": 5,
        "seed": draw,
        "data": "digits",
        "lr": 10 ** (3 * u - 3),
        "weight_decay": 10 ** (4 * v - 5),
        "outcome": outcome,
        "error": None if outcome == "diverged" else wrong / 4,
        "wrong": None if outcome == "diverged" else wrong,
        "n_eval": 400,
        "chance": 89.75,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write a run directory whose last two trials are not finished yet."""
    models, optims = ("vitp-nano", "vitc-nano"), ("sgd", "adamw")
    rows = pd.DataFrame([trial(m, o, i) for m in models for o in optims for i in range(32)])
    rows.loc[:, "trial":"weight_decay"].to_parquet(tmp_path / "design.parquet")
    rows.iloc[:-2].to_parquet(tmp_path / "results.parquet")
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_without_a_warning(path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("STABILITY_RUN", str(run))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4


def test_there_are_notebooks() -> None:
    """Without this the parametrized tests above would pass by having nothing to do."""
    assert [path.stem for path in NOTEBOOKS] == ["01_first_look", "02_what_it_depends_on"]
