"""The objective adapts trainings to a study: one result per trial, in the columns of the schema."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import torch
from trainings import trial

from stability.data import load_data
from stability.objective import train_images
from stability.training.engines import train_with
from stability.training.loop import Epoch, Job
from stability.training.outcome import Evaluation, Training
from stability.training.recipes import settings_of
from stability.training.settings import Recipe
from stability.training.tensors import TensorData
from sweeps.study.schema import CURVE_COLUMNS, MEASURED_COLUMNS, PART_SCHEMA
from sweeps.study.trial import Cohort, Saved, Trial

TEST = Evaluation(wrong=37, n=400, loss=0.5, chance=89.75, constant=False)


def cohort(*trials: Trial) -> Cohort:
    return Cohort(trials=trials, device="cpu")


def row(epoch: int, val_error: float, loss: float = 1.0) -> Epoch:
    train_loss, lr = (None, None) if epoch == 0 else (2.0 + epoch, 0.1 / epoch)
    return Epoch(
        epoch=epoch, lr=lr, train_loss=train_loss, loss=loss, val_error=val_error, seconds=epoch
    )


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Epoch], Training], list[Job]]:
    """Trainings that end as told; the jobs that were asked for are kept."""

    def set_up(rows: list[Epoch], training: Training) -> list[Job]:
        jobs: list[Job] = []

        def train(
            job: Job, data: TensorData, on_epoch: Callable[[Epoch], None], _: Saved
        ) -> Training:
            jobs.append(job)
            for each in rows:
                on_epoch(each)
            return training

        monkeypatch.setattr(train_with, "train", train)
        return jobs

    return set_up


def test_real_training_gives_a_result_of_the_schema_for_each_trial() -> None:
    results = list(train_images(cohort(trial(0), trial(1, model="vitc-nano"))))
    assert [result.trial for result in results] == ["trial-0", "trial-1"]
    rows = []
    for result in results:
        assert result.outcome in ("ok", "collapsed")
        assert set(result.values) <= {c.name for c in MEASURED_COLUMNS} - {"outcome"}
        assert [set(r) for r in result.curve] == [{c.name for c in CURVE_COLUMNS}] * 2
        values = result.values
        assert values["error"] == 100 * values["wrong"] / values["n_eval"]
        assert values["n_eval"] == 400
        assert (values["engine"], values["precision"], values["device"]) == (
            "eager",
            "float32",
            "cpu",
        )
        rows.append({"trial": result.trial, "outcome": result.outcome, **values})
    table = pa.Table.from_pylist(
        [{**r, "curve": result.curve} for r, result in zip(rows, results, strict=True)], PART_SCHEMA
    )
    for r, stored in zip(rows, table.to_pylist(), strict=True):
        assert r == {name: stored[name] for name in r}  # nothing is rounded or cut to its type


# Of this code before there were averaged weights, augmentation and signals: two epochs of all
# digits, seed 7, with the nano recipe. `wrong`, and the training loss of each epoch.
BEFORE = {
    ("vitc-nano", "sgd", None): (134, [2.1913013458251953, 1.4222661256790161]),
    ("vitc-nano", "sgd", 1.0): (168, [2.082956314086914, 1.4859611988067627]),
    ("vitp-nano", "adamw", None): (244, [2.253645420074463, 2.0945374965667725]),
    ("regnety-nano", "sgd", None): (97, [1.9592338800430298, 0.8266584873199463]),
}
NEW = {"vitc-nano": {"stem_init": "release"}, "regnety-nano": {"revision": 2}}
"""Settings that new studies have and trials of version 0.1 have not."""
SINCE = {
    ("vitc-nano", "sgd", None): (84, [2.2366037368774414, 1.4406538009643555]),
    ("vitc-nano", "adamw", None): (112, [2.2113759517669678, 1.9434289932250977]),
    ("regnety-nano", "sgd", None): (145, [1.9409130811691284, 0.9149408340454102]),
}
PINNED = [(*key, {}, value) for key, value in BEFORE.items()]
PINNED += [(*key, NEW[key[0]], value) for key, value in SINCE.items()]


@pytest.mark.parametrize(("model", "optim", "clip", "own", "expected"), PINNED)
def test_results_of_the_nano_recipe_never_change(
    model: str,
    optim: str,
    clip: float | None,
    own: dict[str, Any],
    expected: tuple[int, list[float]],
) -> None:
    """To the bit on the processor that computed them; another one adds in another order."""
    lr, weight_decay = {"sgd": (0.05, 3e-4), "adamw": (1e-3, 0.1)}[optim]
    settings = settings_of("nano", optim, {"clip": clip})
    settings |= {"lr": lr, "weight_decay": weight_decay, **own}
    one = replace(trial(7, model=model, optim=optim, epochs=2), settings=settings)
    (result,) = train_images(cohort(one))
    wrong, losses = expected
    assert [r["train_loss"] for r in result.curve[1:]] == pytest.approx(losses, rel=1e-4)
    assert abs(result.values["wrong"] - wrong) <= 2


def test_a_trial_with_everything_on_is_a_function_of_its_seed() -> None:
    """The paper's recipe on the digits, at a batch that they allow."""
    own = {"batch_size": 256, "warmup_epochs": 0.5}
    settings = settings_of("paper", "sgd", own, images=1097)
    settings |= {"lr": 0.1, "weight_decay": 1e-4}
    trials = [replace(trial(0, model="vitc-nano", seed=s), settings=settings) for s in (3, 3, 4)]
    first, again, other = train_images(cohort(*trials))
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in result.curve]
        for result in (first, again, other)
    ]
    assert timeless[0] == timeless[1] != timeless[2]
    assert first.values["wrong"] == again.values["wrong"]
    assert first.values["error"] == first.values["ema_error"]
    assert 0 <= first.values["raw_error"] <= 100


def test_peak_memory_is_in_bytes() -> None:
    """A process that has loaded torch holds more than 100 MB and less than 100 GB."""
    (result,) = train_images(cohort(trial()))
    assert type(result.values["peak_memory"]) is int
    assert 1e8 < result.values["peak_memory"] < 1e11


def test_what_the_diverged_of_a_stack_did_not_take_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One of two diverges in the first of three epochs; two are computed for the other alone."""
    wild = {"settings": {"lr": 1e20, "weight_decay": 0.1}}
    both = replace(cohort(trial(0, epochs=3), trial(1, epochs=3, **wild)), engine="stacked")
    results = {result.trial: result for result in train_images(both)}
    outcomes = [(r.outcome, r.values["computed"]) for _, r in sorted(results.items())]
    assert outcomes == [("ok", 3.0), ("diverged", 1.0)]
    assert capsys.readouterr().err == (
        "trained 2 trials as one: 33.3% of their epochs were not computed, of trials that had "
        "diverged\n"
    )
    (alone,) = train_images(cohort(trial(0)))
    assert alone.values["computed"] is None
    assert capsys.readouterr().err == ""


def test_same_trial_gives_the_same_numbers_in_any_cohort() -> None:
    _, second = train_images(cohort(trial(0), trial(1)))
    (alone,) = train_images(cohort(trial(1)))
    for name in ("error", "loss", "train_loss"):
        assert second.values[name] == alone.values[name]


@pytest.mark.parametrize("place", [0, 1])
def test_other_data_than_the_studys_are_refused_before_training(
    place: int, pretend: Callable[..., list[Job]]
) -> None:
    jobs = pretend([row(0, 90.0), row(1, 50.0)], Training(outcome="ok", test=TEST))
    trials = [trial(0), trial(1)]
    trials[place] = trial(place, fingerprint="abc123abc123")
    here = load_data("digits").fingerprint
    results = train_images(cohort(*trials))
    for _ in range(place):
        next(results)
    with pytest.raises(RuntimeError, match=f"'digits'.*{here} here, abc123abc123 in the study"):
        next(results)
    assert len(jobs) == place


def test_data_are_loaded_by_their_source_and_called_by_their_name(
    pretend: Callable[..., list[Job]],
) -> None:
    jobs = pretend([row(0, 90.0), row(1, 50.0)], Training(outcome="ok", test=TEST))
    source = "synthetic:n=60,classes=3,size=16"
    made = {"data": "short", "data_source": source, "fingerprint": load_data(source).fingerprint}
    (result,) = train_images(cohort(trial(0, **made)))
    assert len(jobs) == 1
    assert result.values["chance"] == pytest.approx(200 / 3)
    with pytest.raises(RuntimeError, match=f"'{source}' have fingerprint"):
        next(train_images(cohort(trial(0, **{**made, "fingerprint": "0" * 12}))))


def test_unknown_settings_are_an_exception_not_an_outcome() -> None:
    with pytest.raises(ValueError, match="'warm_up' is no setting"):
        next(train_images(cohort(trial(settings={"warm_up": 0.1}))))


def test_each_result_comes_before_the_next_trial_is_trained(
    pretend: Callable[..., list[Job]],
) -> None:
    jobs = pretend([row(0, 90.0), row(1, 50.0)], Training(outcome="ok", test=TEST))
    results = train_images(cohort(trial(0), trial(1)))
    assert jobs == []
    assert next(results).trial == "trial-0"
    assert len(jobs) == 1


def test_a_trial_becomes_its_training(pretend: Callable[..., list[Job]]) -> None:
    jobs = pretend([row(0, 90.0), row(1, 50.0)], Training(outcome="ok", test=TEST))
    own = {"lr": 0.3, "weight_decay": 0.02, "momentum": 0.8}
    list(train_images(cohort(trial(7, model="vitc-nano", epochs=5, settings=own))))
    recipe = Recipe(**own, batch_size=256)
    assert jobs == [Job(model="vitc-nano", optimizer="sgd", recipe=recipe, epochs=5, seed=7)]


def test_values_are_those_of_the_test_part_and_of_the_last_epoch(
    pretend: Callable[..., list[Job]],
) -> None:
    rows = [row(0, 5.0), row(1, 30.0, 0.3), row(2, 20.0, 0.2), row(3, 20.0, 0.4), row(4, 25.0, 0.9)]
    pretend(rows, Training(outcome="ok", test=TEST))
    (result,) = train_images(cohort(trial()))
    assert result.outcome == "ok"
    expected = {
        "diverged_at": None,
        "error": 9.25,
        "wrong": 37,
        "n_eval": 400,
        "chance": 89.75,
        "val_error": 25.0,
        "loss": 0.9,
        "train_loss": 6.0,
        "best_val_error": 20.0,  # before training does not count
        "best_epoch": 2,  # the first of equals
        "last_finite_error": 25.0,
    }
    assert {name: result.values[name] for name in expected} == expected
    assert [r["epoch"] for r in result.curve] == [0, 1, 2, 3, 4]
    assert result.curve[3] == {
        "epoch": 3,
        "lr": 0.1 / 3,
        "train_loss": 5.0,
        "loss": 0.4,
        "val_error": 20.0,
        "seconds": 3,
        **dict.fromkeys(SIGNALS),
    }


SIGNALS = (
    "grad_norm",
    "grad_norm_max",
    "grad_norm_first_layer",
    "grad_norm_first_layer_max",
    "loss_spikes",
    "diverged_at",
)
MISSING_IF_DIVERGED = {"error", "wrong", "n_eval", "val_error", "loss", "train_loss"}


def test_a_diverged_training_has_no_error_but_its_last_finite_epoch(
    pretend: Callable[..., list[Job]],
) -> None:
    last = Epoch(epoch=3, seconds=3, train_loss=7.0, diverged_at=57)
    pretend(
        [row(0, 90.0), row(1, 40.0), row(2, 60.0), last],
        Training(outcome="diverged", diverged_at=57),
    )
    (result,) = train_images(cohort(trial()))
    assert result.outcome == "diverged"
    assert not MISSING_IF_DIVERGED & set(result.values)
    assert result.values["chance"] > 0  # a fact of the data: a group of diverged runs needs it too
    found = {k: result.values[k] for k in ("diverged_at", "best_epoch", "last_finite_error")}
    assert found == {"diverged_at": 57, "best_epoch": 1, "last_finite_error": 60.0}


def test_a_training_that_diverges_in_its_first_epoch_has_no_epoch_to_show() -> None:
    (result,) = train_images(cohort(trial(settings={"lr": 1e30})))
    assert result.outcome == "diverged"
    assert not (MISSING_IF_DIVERGED | {"best_epoch", "last_finite_error"}) & set(result.values)
    assert 0 <= result.values["diverged_at"] < 4
    before, last = result.curve
    assert (before["epoch"], before["diverged_at"]) == (0, None)
    assert (last["epoch"], last["val_error"], last["loss"]) == (1, None, None)
    assert last["diverged_at"] == result.values["diverged_at"]


def test_on_a_gpu_float32_is_exact_and_the_memory_is_that_of_the_cohort(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resets = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append("reset"))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert list(train_images(Cohort(trials=(), device="cuda"))) == []
    assert resets == ["reset"]
    assert not torch.backends.cudnn.allow_tf32
