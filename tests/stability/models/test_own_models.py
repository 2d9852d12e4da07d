"""Models from elsewhere: a user's function, a collection's name, and what is said of bad ones."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import call, request
from torch import nn
from toys import EXAMPLES

from stability import probe
from stability.cli.site.machine import measure
from stability.data import ImageData, Part
from stability.models.build import build
from stability.models.own import OwnModelError, check_logits, own_model
from stability.training.optimizers import decay_groups
from sweeps.errors import SpecError


def test_a_model_of_ones_own_has_weights_by_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)

    def weights(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        model = build("mymodels:mlp", channels=1, classes=10, generator=generator, image=(8, 8))
        return next(model.parameters())

    before = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is left alone


def test_norms_and_biases_of_any_model_are_not_decayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    decayed, exempt = decay_groups(own_model("mymodels:mlp", (1, 8, 8), 10))
    assert [p.ndim for p in decayed] == [2, 2]
    assert len(exempt) == 4


class Attention(nn.Module):
    """Biases under the names that timm's BEiT and Swin give them, a table of 2 axes, a token."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12, bias=False)
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(4)) for _ in range(2))
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.table = nn.Parameter(torch.zeros(9, 2))
        self.token = nn.Parameter(torch.zeros(1, 1, 4))


# Layer, and the parameters of it that are decayed from revision 2 on, and in revision 1.
DECAYED = {
    "torch's attention": (
        lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True),
        {"in_proj_weight", "out_proj.weight"},
        {"in_proj_weight", "in_proj_bias", "out_proj.weight", "bias_k", "bias_v"},
    ),
    "attention of others": (
        Attention,
        {"qkv.weight", "table", "token"},
        {"qkv.weight", "table", "token", "q_bias", "v_bias", "logit_scale"},
    ),
    "recurrent": (
        lambda: nn.LSTM(3, 4),
        {"weight_ih_l0", "weight_hh_l0"},
        {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"},
    ),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(4), set(), {"weight"}),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), set(), set()),
    "InstanceNorm": (lambda: nn.InstanceNorm2d(4, affine=True), set(), set()),
    "RMSNorm": (lambda: nn.RMSNorm((4, 4)), set(), set()),
    "LayerNorm of an image": (lambda: nn.LayerNorm((2, 4, 4)), set(), set()),
    "PReLU": (lambda: nn.PReLU(4), set(), {"weight"}),
    "convolution": (lambda: nn.Conv1d(2, 3, 3), {"weight"}, {"weight"}),
    "embedding": (lambda: nn.Embedding(5, 4), {"weight"}, {"weight"}),
}


@pytest.mark.parametrize("layer", DECAYED)
def test_what_is_decayed_is_decided_by_shape_and_type(layer: str) -> None:
    """Also in a stack, whose parameters have one axis more; revision 1 went by the name."""
    make, *expected = DECAYED[layer]
    module = make()
    names = {parameter: name for name, parameter in module.named_parameters()}
    for revision, decayed in zip((2, 1), expected, strict=True):
        groups = decay_groups(module, revision)
        assert {names[p] for p in groups[0]} == decayed
        assert {*groups[0], *groups[1]} == set(names)
    for holder in module.modules():
        for name, parameter in list(holder.named_parameters(recurse=False)):
            setattr(holder, name, nn.Parameter(torch.stack([parameter.detach()] * 3)))
    names = {parameter: name for name, parameter in module.named_parameters()}
    assert {names[p] for p in decay_groups(module, stacked=True)[0]} == expected[0]


def test_a_parameter_of_two_layers_is_moved_once_a_step() -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
    last.weight = first.weight
    decayed, exempt = decay_groups(nn.Sequential(first, last))
    assert [*map(id, decayed)] == [id(first.weight)]
    assert [*map(id, exempt)] == [id(first.bias)]
    assert len(decay_groups(nn.Sequential(first, last), 1)[0]) == 2


def test_no_bias_of_torchvisions_vit_is_decayed() -> None:
    """12 blocks of 3 * 768 biases of attention: 27,648 numbers that revision 1 decays."""
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.vit_b_16()
    old, new = ({id(p) for p in decay_groups(model, revision)[0]} for revision in (1, 2))
    changed = [(n, p) for n, p in model.named_parameters() if id(p) in old - new]
    assert sum(p.numel() for _, p in changed) == 27_648
    assert all(name.endswith("in_proj_bias") for name, _ in changed)
    assert new < old


MODELS = """
from torch import nn

def none(classes, image_shape):
    return 3

def raises(classes, image_shape):
    raise RuntimeError("no luck")

def few(classes):
    return nn.Linear(1, 1)

def three(classes, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], 3))

def pair(classes, image_shape):
    class Pair(nn.Linear):
        def forward(self, x):
            return x, x
    return Pair(1, 1)

def empty(classes, image_shape):
    return nn.Flatten()

def lazy(classes, image_shape):
    layers = nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(classes)
    return nn.Sequential(*layers)

def auxiliary(classes, image_shape):
    class Auxiliary(nn.Linear):
        def forward(self, x):
            x = super().forward(x.flatten(1))
            return (x, x) if self.training else x
    return Auxiliary(64, classes)

def mapping(classes, image_shape):
    class Mapping(nn.Linear):
        def forward(self, x):
            return {"logits": super().forward(x.flatten(1))}
    return Mapping(64, classes)

def detached(classes, image_shape):
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)).detach()
    return Detached(64, classes)

def whole(classes, image_shape):
    class Whole(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)).long()
    return Whole(64, classes)

def first(classes, image_shape):
    class First(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1))[:1]
    return First(64, classes)

def frozen(classes, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).requires_grad_(False)

def leaves(classes, image_shape):
    class Leaves(nn.Linear):
        def forward(self, x):
            raise SystemExit(3)
    return Leaves(64, classes)

def stops(classes, image_shape):
    raise SystemExit(3)

def in_place(classes, image_shape):
    class InPlace(nn.Linear):
        def forward(self, x):
            print("garbage")
            return super().forward(x.flatten(1)).exp().mul_(2)
    return InPlace(64, classes)

def lazy_and_wrong(classes, image_shape):
    return nn.Sequential(nn.LazyLinear(4), nn.Conv2d(9, 4, 3))
"""


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "strange.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosuch:f", "cannot be imported"),
        ("strange:nosuch", "cannot be imported"),
        ("strange:none", "gave a int"),
        ("strange:raises", "RuntimeError: no luck"),
        ("strange:few", "cannot be called as few(classes, image_shape)"),
        ("strange:three", "shape (2, 3) in evaluation mode, needed is one tensor"),
        ("strange:pair", "gave a tuple"),
        ("strange:empty", "no parameters"),
        ("strange:frozen", "no parameters to train"),
        ("strange:auxiliary", "gave a tuple of 2 in training mode, needed is one tensor"),
        ("strange:mapping", "gave a dict of 1 in evaluation mode, needed is one tensor"),
        ("strange:detached", "depend on no parameter"),
        ("strange:whole", "torch.int64 in evaluation mode, needed are floating-point"),
        ("strange:first", "shape (1, 10) in evaluation mode"),
        ("strange:leaves", "SystemExit in evaluation mode: 3"),
        ("strange:stops", "strange:stops: SystemExit: 3"),
        ("strange:lazy_and_wrong", "strange:lazy_and_wrong: RuntimeError in evaluation mode: "),
    ],
)
def test_what_is_no_model_is_told(name: str, words: str, strange: Path) -> None:
    with pytest.raises(OwnModelError) as error:
        check_logits(own_model(name, (1, 8, 8), 10), name, (1, 8, 8), 10)
    assert words in str(error.value)


@pytest.mark.usefixtures("strange")
def test_lazy_layers_have_their_weights_by_the_seed_and_nothing_else_has_happened() -> None:
    def made(seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        return build("strange:lazy", channels=1, classes=10, generator=generator, image=(8, 8))

    before = torch.random.get_rng_state()
    model, again, other = made(1), made(1), made(2)
    weights = [each[3].weight for each in (model, again, other)]  # type: ignore[index]
    assert weights[0].shape == (10, 4 * 6 * 6)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert model.training
    assert model[1].num_batches_tracked == 0  # type: ignore[index]
    assert torch.equal(torch.random.get_rng_state(), before)


FAKE_TIMM = """
from torch import nn

def list_models():
    return ["net", "former"]

def create_model(name, num_classes, in_chans, pretrained, img_size=None):
    assert pretrained is False
    if (name == "former") != (img_size is not None):
        raise TypeError("img_size")
    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))
"""


def test_models_of_a_collection_are_made_for_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a module that answers as timm does: transformers are told the size, others refuse it."""
    (tmp_path / "timm.py").write_text(FAKE_TIMM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "timm", raising=False)
    for name in ("timm:net", "timm:former"):
        model = own_model(name, (3, 8, 8), 10)
        assert isinstance(model, nn.Module)
        check_logits(model, name, (3, 8, 8), 10)
    with pytest.raises(OwnModelError, match="did you mean 'former'"):
        own_model("timm:fomer", (3, 8, 8), 10)


def test_a_model_without_ranges_needs_some() -> None:
    with pytest.raises(SpecError) as error:
        request(model="mymodels:mlp,vitc")
    assert [fault.partition(":")[0] for fault in error.value.faults] == ["--lr", "--weight-decay"]
    study = request(model="mymodels:mlp,vitc", lr=["0.1:1"], weight_decay=["0.1:1"]).study
    assert study.models == ("mymodels:mlp", "vitc-nano")
    assert ":" not in study.name


@pytest.mark.slow
def test_a_sweep_of_ones_own_model_and_of_bad_ones(strange: Path) -> None:
    shutil.copy(EXAMPLES / "mymodels.py", strange)
    words = ["--optim", "sgd", "--lr", "0.01:1", "--weight-decay", "1e-5:1e-3", "--trials", "2"]
    words += ["--epochs", "1", "--out", "run", "--executor", "inline"]
    bad = call("sweep", "--model", "strange:three,mymodels:mlp,strange:raises", *words, cwd=strange)
    assert bad.returncode == 2
    assert "needed is one tensor of logits of shape (2, 10)" in bad.stderr
    assert "no luck" in bad.stderr
    assert not (strange / "run").exists()
    said = call("sweep", "--model", "mymodels:mlp", *words, cwd=strange)
    assert said.returncode == 0, said.stderr
    results = pd.read_parquet(strange / "run" / "results.parquet")
    assert set(results["model"]) == {"mymodels:mlp"}
    assert (results["outcome"] == "ok").all()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "timm is not installed"),
        (
            ModuleNotFoundError("No module named 'torchvision'", name="torchvision.ops"),
            "timm needs torchvision, which is not installed: pip install torchvision",
        ),
        (ImportError("libfoo.so: no such file"), "timm cannot be imported: libfoo.so"),
    ],
)
def test_what_a_collection_lacks_is_named(
    error: ImportError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> None:
        raise error

    monkeypatch.setattr("importlib.import_module", fails)
    with pytest.raises(OwnModelError, match=words):
        own_model("timm:resnet18", (3, 8, 8), 10)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mymodel.py:SmallCNN", "did you mean 'mymodel:SmallCNN'?"),
        ("./nets/mymodel.py:f", "did you mean 'nets.mymodel:f'?"),
        ("nets/mymodel:f", "did you mean 'nets.mymodel:f'?"),
        ("/home/me/mymodel.py:f", "did you mean, in the folder /home/me, 'mymodel:f'?"),
        ("mymodel.py", "did you mean 'mymodel:FUNCTION'?"),
    ],
)
def test_a_file_in_place_of_a_module_is_corrected(text: str, hint: str) -> None:
    for options in ({"model": text}, {"objective": text, "vary": ["C=1:2"]}):
        with pytest.raises(SpecError) as error:
            request(**{"lr": ["0.1:1"], "weight_decay": ["0.1:1"]} | options)  # type: ignore[arg-type]
        assert hint in str(error.value)


def test_a_step_that_fails_is_a_fault_of_the_model(
    strange: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "load_data", lambda name: digits_of_8())
    job = {"model": "strange:in_place", "data": "any", "is_timed": True}
    job["settings"] = {"lr": 0.1, "weight_decay": 0.1}
    (fault,) = probe.answer({"device": "cpu", "jobs": [job]})["faults"]
    assert fault.startswith("--model: strange:in_place: a training step failed: RuntimeError: one")


def digits_of_8() -> ImageData:
    """Noise of 8x8 pixels."""
    part = Part(np.zeros((80, 1, 8, 8), np.uint8), np.arange(80) % 10)
    part.images[::2] = 255
    return ImageData("noise", tuple("0123456789"), part, part, part)


@pytest.mark.parametrize(("code", "words"), [(0, "status 0"), (3, "status 3")])
def test_a_model_that_ends_the_process_is_named(
    code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = request(model="vitc").study.model_copy(update={"models": ("mine:f",)})
    done = subprocess.CompletedProcess([], code, stdout="", stderr="last words\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: done)
    with pytest.raises(SpecError, match=rf"mine:f ended the process .*{words}.*last words"):
        measure(study, "cpu")
