"""What all tests share: no display, one thread, small studies.

Most of `sweeps` is imported where it is used: the tests on a GPU run without pydantic and optuna.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import matplotlib
import pytest
from toys import make_toy

import stability  # noqa: F401 - registers its objectives

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sweeps.study.study import Study

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
matplotlib.use("Agg")

# They need a cluster: `make test-slurm`.
collect_ignore = ["helpers"] if "STABILITY_SLURM" in os.environ else ["helpers", "slurm"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture
def toy_study() -> Study:
    """A study without torch: `objectives.quick`, two models, four draws."""
    return make_toy()


@pytest.fixture
def toy_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A log of the trainings; whatever a test leaves running is ended."""
    from sweeps.store import claims
    from sweeps.store.run_directory import RunDirectory

    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    yield
    for run in tmp_path.glob("run*"):
        for owner in claims.living_workers(RunDirectory(run)):
            if owner.is_here:
                with suppress(ProcessLookupError):
                    os.kill(owner.pid, signal.SIGKILL)
