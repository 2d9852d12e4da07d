"""The benchmarks that no other test runs, each on the least that it can do."""

from pathlib import Path

import pytest

from benchmarks import checkpoints, parity, signals


def test_signals_are_measured_in_pairs() -> None:
    row = signals.measured("vitp-nano", "cpu", pairs=signals.FEWEST, steps=1)
    assert (row.model, row.batch) == ("vitp-nano", 64)
    assert 0 < row.low <= row.ratio <= row.high
    assert row.without > 0


def test_a_checkpoint_is_written_and_gone_on_from(tmp_path: Path) -> None:
    parameters, size, *_ = map(float, checkpoints.measured("vitp-nano", tmp_path).split())
    assert size > 16 * parameters  # weights, their average, AdamW's two memories


def test_both_stems_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    place = parity.Place(device="cpu", precision="float32")
    row = parity.row("nano", 2, place)
    assert row["ratio"] > 0
    parity.show([row], place)
    assert "nano" in capsys.readouterr().out
