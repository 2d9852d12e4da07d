"""The benchmark of many trials runs against the program as it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toys import ROOT

from benchmarks.scale import STEPS

TRIALS = 12


@pytest.mark.slow
def test_each_step_does_its_share_of_the_trials(tmp_path: Path) -> None:
    """A worker trains half of those that are open, a driver the rest."""
    found = {}
    for step in STEPS:
        command = [sys.executable, "-m", "benchmarks.scale_steps", step, str(tmp_path / "run")]
        done = subprocess.run(
            [*command, str(TRIALS)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found[step] = json.loads(done.stdout.splitlines()[-1])
    assert (found["work"]["trials"], found["drive"]["trials"]) == (TRIALS / 2, TRIALS / 2)
