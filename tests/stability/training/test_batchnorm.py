"""Precise BatchNorm: the statistics of the images that were asked for, and nothing else."""

import copy

import pytest
import torch
from torch import Tensor, nn
from trainings import Train, job, keeping, small

from stability.models.build import build
from stability.training import loop
from stability.training.batchnorm import set_precise_statistics, tracking


def images(n: int = 96) -> Tensor:
    return 3 + 2 * torch.randn(n, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def model(name: str = "vitc-nano") -> nn.Module:
    return build(name, channels=1, classes=10, generator=torch.Generator().manual_seed(0))


def inputs_of_norms(net: nn.Module, batch: Tensor) -> list[Tensor]:
    """What each BatchNorm sees of one batch in training, in the order of `tracking`."""
    net, seen = copy.deepcopy(net).train(), {}
    for norm in tracking(net):
        norm.register_forward_pre_hook(
            lambda module, args: seen.update({module: args[0].detach().double()})
        )
    net(batch)
    return [seen[norm] for norm in tracking(net)]


@pytest.mark.parametrize("name", ["vitc-nano", "regnety-nano"])
def test_one_batch_of_all_images_gives_the_statistics_of_a_full_pass(name: str) -> None:
    net, batch = model(name), images()
    net(images(8))  # running statistics that must not be left over
    expected = inputs_of_norms(net, batch)
    set_precise_statistics(net, [batch])
    norms = tracking(net)
    assert len(norms) == len(expected) > 1
    for norm, seen in zip(norms, expected, strict=True):
        mean, var = seen.mean((0, 2, 3)), seen.var((0, 2, 3))
        assert torch.allclose(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
        assert torch.allclose(norm.running_var.double(), var, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("revision", [1, 2])
def test_several_batches_have_the_mean_of_their_variances(revision: int) -> None:
    """Batches of different brightness. Revision 1 has the variance of all images together."""
    net, batch = model(), images()
    batch[:32] += 40
    set_precise_statistics(net, batch.split(32), revision=revision)
    (all_of_them, *_) = inputs_of_norms(net, batch)
    first = tracking(net)[0]
    assert torch.allclose(first.running_mean.double(), all_of_them.mean((0, 2, 3)), rtol=1e-4)
    within = torch.stack([inputs_of_norms(net, b)[0].var((0, 2, 3)) for b in batch.split(32)])
    laws = {1: all_of_them.var((0, 2, 3)), 2: within.mean(0)}
    assert not torch.allclose(laws[1], laws[2], rtol=0.1)
    assert torch.allclose(first.running_var.double(), laws[revision], rtol=1e-2)


def test_momentum_count_and_weights_are_as_before() -> None:
    net = model()
    net(images(8))
    before = {n: v.clone() for n, v in net.state_dict().items() if "running" not in n}
    set_precise_statistics(net, [images()])
    after = net.state_dict()
    assert any("num_batches_tracked" in name for name in before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {norm.momentum for norm in tracking(net)} == {0.1}


def test_a_model_without_batchnorm_is_not_run() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    net.register_forward_pre_hook(lambda *_: pytest.fail("was run"))
    set_precise_statistics(net, [torch.zeros(1, 2)])


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Train:
    return keeping(monkeypatch)


def test_each_evaluation_has_the_statistics_of_the_asked_number_of_images(
    monkeypatch: pytest.MonkeyPatch, train: Train
) -> None:
    """75 images, batches of 16: 40 images are two whole batches, 8192 are all four."""
    counts: list[int] = []
    seen: list[Tensor] = []

    def note(net: nn.Module, batches: object, precision: str, revision: int) -> None:
        kept = list(batches)  # type: ignore[call-overload]
        counts.append(sum(map(len, kept)))
        seen.append(torch.cat(kept))
        set_precise_statistics(net, kept, precision, revision)

    monkeypatch.setattr(loop, "set_precise_statistics", note)
    train(job(precise_bn=40))
    assert counts == [32, 32]
    counts.clear()
    seen.clear()
    train(job(precise_bn=8192, ema=0.01, ema_period=1, flip=0.5))
    assert counts == [64] * 4  # the averaged model too, on the same images
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_it_changes_the_evaluation_and_is_a_function_of_the_seed(train: Train) -> None:
    settings = {"precise_bn": 64, "flip": 0.5, "crop_padding": 2}
    first, again = train(job(**settings)), train(job(**settings))
    assert first.same_bits(again)
    plain = train(job(**settings | {"precise_bn": None}))
    assert plain.curve[1].loss != first.curve[1].loss
    assert plain.curve[1].train_loss == first.curve[1].train_loss
    assert small().train.images.dtype == torch.uint8
