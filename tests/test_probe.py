"""What a study costs, found out without ever training for long."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stability.cli.cluster import Where
from stability.cli.machine import machine_of, question
from stability.cli.request import Options, read
from stability.cli.sweep import machine_measured
from stability.training import probe


def asked() -> dict[str, Any]:
    """What the probe is asked for a study of digits."""
    return question(read(Options(model="vitp", optim="sgd"), Where()).study, "cpu")


def test_whole_steps_are_not_waited_for_where_two_images_say_how_long_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a model that this machine was not made for: a step of it may take an hour."""
    sizes: list[int] = []

    def batch(part: object, rows: torch.Tensor, *more: object) -> object:
        sizes.append(len(rows))
        return taken(part, rows, *more)  # type: ignore[arg-type]

    taken = probe.training_batch
    monkeypatch.setattr(probe, "training_batch", batch)
    (whole,) = probe.answer(asked())["seconds"]
    assert max(sizes) == 64
    sizes.clear()
    monkeypatch.setattr(probe, "PATIENCE_SECONDS", 0.0)
    (guessed,) = probe.answer(asked())["seconds"]
    assert set(sizes) == {probe.FEW}
    assert guessed["step"] > whole["step"] / 3  # fewer images take no less each
    assert guessed["image"] == pytest.approx(guessed["step"] / 64 / 3)


def test_gpus_elsewhere_ask_nothing_of_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login node would train the largest model of the study on its one core."""
    given: list[bool] = []
    monkeypatch.setattr(
        "stability.cli.sweep.measure", lambda study, device, timed: given.append(timed)
    )
    request = read(Options(model="vitp", optim="sgd"), Where())
    for device in ("cuda", "cpu"):
        site = replace(request.site, executor="slurm", device=device)
        machine_measured(replace(request, site=site))
    assert given == [False, True]
    untimed = question(request.study, "cpu", timed=False)
    assert untimed["jobs"] == []
    machine = machine_of(request.study, probe.answer(untimed), timed=False)
    assert machine.seconds is None
    assert machine.slots


def test_a_model_of_ones_own_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.py").write_text(
        "from torch import nn\n"
        "def three(classes, shape):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    job = {**asked()["jobs"][0], "model": "odd:three"}
    found = probe.answer({"device": "cpu", "timed": False, "jobs": [job]})
    assert "--model: odd:three" in found["faults"][0]
