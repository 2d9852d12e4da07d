"""The loop that peers are timed with trains what ours trains."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import peers, plain_loop
from benchmarks.bare_loop import design
from stability.models.build import build
from stability.objective import train_images
from sweeps.study.trial import Cohort


def vit(seed: int) -> nn.Module:
    """A small ViT_C whose head is not zero."""
    model = build(
        "vitc-nano",
        channels=1,
        classes=10,
        generator=torch.Generator().manual_seed(seed),
        device="cpu",
        image=(32, 32),
    )
    return model.double().requires_grad_()


def test_every_block_for_every_token_gives_the_same_function_and_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 1, 32, 32, generator=generator, dtype=torch.float64)
    weights = torch.randn(4, 10, generator=generator, dtype=torch.float64)
    found = []
    for forward in (lambda m, x: m(x), plain_loop.forward):
        model = vit(0)
        nn.init.ones_(model.head.weight)  # type: ignore[union-attr, arg-type]
        logits = forward(model, images)
        (logits * weights).sum().backward()
        found.append([logits.detach(), *(p.grad for p in model.parameters())])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_trial_ends_as_ours_does_but_for_rounding() -> None:
    calm = min(design("16"), key=lambda trial: trial.hyperparameters["lr"])
    short = replace(calm, epochs=2)
    (ours,) = train_images(Cohort(trials=(short,), device="cpu"))
    assert plain_loop.error_of(short) == pytest.approx(ours.values["error"], abs=2)


def test_the_table_says_which_aims_are_met_and_who_is_not_installed() -> None:
    seconds = {"stability": 10.0, "bare, plain": 12.0, "bare, ours": 9.0, "optuna, plain": 11.0}
    ratios = {name: value / 10 for name, value in seconds.items() if name != "stability"}
    shown = peers.table([seconds], ratios)
    assert "1.20  aim 1.00 met" in shown
    assert "0.90  aim 0.92 missed" in shown
    assert "1.10  aim 1.20 missed" in shown
    assert shown.count("not measured: it is not installed") == 5
