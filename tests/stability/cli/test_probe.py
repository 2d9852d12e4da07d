"""What is measured before a sweep starts, and what is not: no model takes the machine for long."""

import time
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn
from toys import ROOT

from stability import probe
from stability.cli.commands.sweep import machine_measured
from stability.cli.output.announce import cost
from stability.cli.site.cluster import SiteOptions
from stability.cli.site.machine import Machine, machine_of, question
from stability.cli.study.request import Options, Request, read
from sweeps.errors import SpecError

BATCH = 64
EXAMPLES = ROOT / "docs" / "examples"


class Counting(nn.Module):
    """Takes so long for each image, and counts them."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.layer, self.seconds = nn.Linear(1024, 10), seconds
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        end = time.process_time() + self.seconds * len(images)
        while time.process_time() < end:
            pass
        return self.layer(images.flatten(1))


@pytest.fixture
def asked() -> Request:
    return read(Options(model="vitp", optim="sgd"), SiteOptions(device="cpu"))


def job(asked: Request, **changes: Any) -> dict[str, Any]:
    (one,) = question(asked.study, "cpu")["jobs"]
    assert one["settings"]["batch_size"] == BATCH
    return {**one, **changes}


def timed(
    asked: Request, monkeypatch: pytest.MonkeyPatch, seconds: float, patience: float
) -> tuple[dict[str, float] | None, list[int]]:
    """What is answered for a model of so many seconds an image, and the images of each pass."""
    model = Counting(seconds)
    monkeypatch.setattr(probe, "build", lambda *args, **more: model)
    return probe.time_job(job(asked), "cpu", patience), model.seen


def test_a_fast_model_is_timed_by_whole_batches(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, seen = timed(asked, monkeypatch, 2e-5, 60.0)
    assert found is not None
    assert found["step"] == pytest.approx(BATCH * 2e-5, rel=4.0)
    assert seen[:4] == [2, 8, 32, BATCH]
    assert seen.count(BATCH) >= probe.TIMED_STEPS
    assert sum(seen) > 42 + probe.TIMED_STEPS * BATCH + 100  # the whole validation part too


def test_a_slow_model_is_timed_by_a_few_images(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, seen = timed(asked, monkeypatch, 0.02, 0.8)
    assert seen == [2, 8]  # 32 images would take 0.6 s, 64 more than there is
    assert found is not None
    assert found["step"] == pytest.approx(BATCH * 0.02, rel=0.5)
    assert found["image"] == pytest.approx(0.02 / 3, rel=0.5)


def test_steps_and_evaluation_end_with_the_time(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, seen = timed(asked, monkeypatch, 4e-3, 1.0)
    assert found is not None
    assert found["step"] == pytest.approx(BATCH * 4e-3, rel=0.5)
    assert 1 <= seen.count(BATCH) <= 4
    assert sum(count for count in seen[3:] if count != BATCH) < 200  # of 300 for validation


def test_where_the_time_is_up_only_models_from_elsewhere_are_looked_at(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    found, seen = timed(asked, monkeypatch, 1e-5, -1.0)
    assert (found, seen) == (None, [])
    own = job(asked, model="mymodels:mlp")
    assert probe.time_job(own, "cpu", -1.0) is None
    model = Counting(0.0)
    monkeypatch.setattr(probe, "build", lambda *args, **more: model)
    for changes, patience in (({}, -1.0), ({"is_timed": False}, 60.0)):
        model.seen.clear()
        assert probe.time_job(own | changes, "cpu", patience) is None
        assert model.seen == [2, 2]  # in evaluation mode, in training mode
    model.layer = nn.Linear(1024, 7)
    with pytest.raises(probe.OwnModelError, match="logits"):
        probe.time_job(own | {"is_timed": False}, "cpu", 60.0)


def test_all_jobs_share_the_time(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def heard(job: dict[str, Any], device: str, patience: float) -> None:
        given.append(patience)

    monkeypatch.setattr(probe, "time_job", heard)
    said = probe.answer({"device": "cpu", "jobs": [job(asked)] * 4})
    assert said["seconds"] == [None] * 4
    assert given == pytest.approx([probe.LIMIT_SECONDS / left for left in (4, 3, 2, 1)], rel=0.3)


def test_a_cost_that_is_not_known_is_said_to_be_so(asked: Request) -> None:
    machine = machine_of(asked.study, {"slots": ["cpu:0"], "seconds": [None]})
    assert machine == Machine(slots=("cpu:0",), seconds=None)
    said = cost(asked.study, 0, machine, slots=("cpu:0",), site=asked.site)
    assert said.endswith("trials on 1 cpu worker; how long that takes is not known")


def on_slurm(asked: Request, device: str, **study: Any) -> Request:
    site = replace(asked.site, executor="slurm", device=device)
    return replace(asked, site=site, study=asked.study.model_copy(update=study))


def test_for_gpus_of_a_cluster_nothing_is_measured_here(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    def run(command: object, **more: object) -> None:
        started.append(command)
        raise AssertionError

    monkeypatch.setattr("stability.cli.site.machine.subprocess.run", run)
    assert machine_measured(on_slurm(asked, "cuda")).seconds is None
    assert started == []
    with pytest.raises(AssertionError):
        machine_measured(on_slurm(asked, "cpu"))


def test_a_model_from_elsewhere_is_looked_at_for_a_cluster_too(
    asked: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES)
    both = ("vitp-nano", "mymodels:mlp")
    jobs = question(asked.study.model_copy(update={"models": both}), "cpu", is_timed=False)["jobs"]
    assert [(each["model"], each["is_timed"]) for each in jobs] == [("mymodels:mlp", False)]
    assert machine_measured(on_slurm(asked, "cuda", models=both)).seconds is None
    with pytest.raises(SpecError, match="none_such"):
        machine_measured(on_slurm(asked, "cuda", models=("mymodels:none_such",)))
