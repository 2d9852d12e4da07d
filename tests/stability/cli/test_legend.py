"""What the table of a sweep calls its columns, and that its legend says what they are."""

from pathlib import Path

import pandas as pd
import pytest

from stability.cli import app

COLUMNS = {"model": "a", "outcome": ["ok", "ok", "diverged", "crashed"], "chance": 90.0}
TABLE = pd.DataFrame({**COLUMNS, "error": [10.0, 20.0, None, None], "best_val_error": [8.0] * 4})


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    TABLE.to_csv("t.csv", index=False)
    app(["edf", "t.csv", *options], standalone_mode=False)
    return capsys.readouterr().out


def test_the_legend_defines_best_median_and_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the figure is written
    said = printed(capsys)
    row = next(line.split() for line in said.splitlines() if line.split()[:2] == ["a", "4"])
    assert row[:8] == ["a", "4", "2", "0", "1", "1", "10.00", "55.00"]  # median of 10, 20, 90, 90
    assert "best: smallest test error (%); med: median of all n" in said
    assert "fail: failed (crashed, out of memory or timed out): no result" in said
    of_epochs = printed(capsys, "--policy", "best")
    assert "best: smallest best validation error of all epochs (%)" in of_epochs
