"""`stability recipe`, `--recipe` and `--set`, as a user meets them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import call, faults_of, request
from PIL import Image
from toys import ROOT

from stability.cli.commands.recipe import as_dict, described, show_recipe, side_by_side
from stability.data import load_data
from stability.training.augment.preview import augmentation_rows
from stability.training.recipes import RECIPES, settings_of
from stability.training.settings import RECIPE_DEFAULTS
from sweeps.errors import SpecError


def test_nano_is_the_recipe_of_digits_and_names_no_origin() -> None:
    assert request().study == request(recipe="nano").study
    assert request().study.hash == "877144"
    assert request(set=["stem_init=main"]).study.hash == "e6763b"  # as before there was a choice
    assert request().study.origin == ""


def test_a_recipe_brings_its_settings_and_its_ranges_scaled_to_the_batch() -> None:
    study = request(recipe="paper", set=["batch_size=256"], epochs="10").study
    settings = study.recipe["sgd"]
    assert (settings["mixup"], settings["batch_size"], settings["lr_per"]) == (0.8, 256, "epoch")
    ranges = {h.name: (h.low, h.high) for h in study.space}
    assert ranges == {"lr": (0.0125, 0.4), "weight_decay": (4e-6, 1.2e-4)}
    assert study.origin == (
        "recipe paper; lr: arXiv 2106.14881, Table 4, for batch 2048, times 256/2048; "
        "ema: 1e-05 times 1281167/1097 (training images)"
    )


def test_an_interval_that_is_given_is_not_scaled() -> None:
    study = request(recipe="micro", lr=["0.1:1"], set=["batch_size=64"]).study
    assert [(h.low, h.high) for h in study.space if h.name == "lr"] == [(0.1, 1.0)]
    assert study.origin == "recipe micro"


def test_single_settings_of_every_kind() -> None:
    texts = ["clip=1", "flip=0.5", "autoaugment=true", "lr_per=epoch", "batch_size=32"]
    study = request(set=texts, optim="sgd,adamw").study
    for optim in ("sgd", "adamw"):
        found = study.recipe[optim]
        assert [found[text.partition("=")[0]] for text in texts] == [1.0, 0.5, True, "epoch", 32]
    assert isinstance(study.recipe["sgd"]["batch_size"], int)
    off = request(recipe="paper", set=["mixup=off", "batch_size=64"], epochs="9").study
    assert "mixup" not in off.recipe["sgd"]
    assert "momentum" not in request(set=["momentum=0.8"], optim="adamw").study.recipe["adamw"]


def test_a_setting_that_is_what_it_was_names_the_same_study() -> None:
    off = ["flip=0", "mixup=off", "ema_period=32"]
    assert request(set=off).study.hash == request().study.hash
    old = request(set=[*off, "stem_init=main", "revision=1"])
    assert old.study.hash == request(set=["stem_init=main"]).study.hash


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "papr"}, ["--recipe: 'papr' is not one of nano, micro, paper", "'paper'?"]),
        ({"recipe": ""}, ["--recipe: '' is not one of nano, micro, paper"]),
        ({"set": ["flip"]}, ["--set flip: allowed is NAME=VALUE"]),
        ({"set": ["flop=1"]}, ["'flop' is not one of lr, weight_decay", "(did you mean 'flip'?)"]),
        ({"set": ["flip=2"]}, ["--set flip=2: got '2', allowed is 0 to 1"]),
        ({"set": ["flip=off"]}, ["got 'off', allowed is 0 to 1"]),
        ({"set": ["mixup=x"]}, ["got 'x', allowed is above 0, off"]),
        ({"set": ["autoaugment=1"]}, ["got '1', allowed is true, false"]),
        ({"set": ["lr_per=week"]}, ["got 'week', allowed is step, epoch"]),
        ({"set": ["ema_period=1.5"]}, ["got '1.5', allowed is from 1, whole"]),
        ({"set": ["clip=1", "clip=2"]}, ["--set clip=2: clip is set twice"]),
        ({"set": ["clip=1"], "vary": ["clip=1,2"]}, ["clip varies: it is either set or drawn"]),
        ({"set": ["lr=1"], "lr": ["1:2"]}, ["lr varies: it is either set or drawn"]),
        ({"set": ["lr=1", "weight_decay=0"]}, ["so that nothing is drawn"]),
        ({"set": ["warmup=0.1", "warmup_epochs=2"]}, ["warmup and warmup_epochs: allowed is one"]),
        (
            {"set": ["batch_size=2000"]},
            ["--data: digits has 1097 training images, a batch 2000; name"],
        ),
        ({"set": ["warmup_epochs=5"]}, ["--epochs: got 5, the learning rate climbs for 5 epochs"]),
        (
            {"recipe": "micro", "vary": ["batch_size=64,128"]},
            ["--lr: that of the recipe micro hangs on batch_size, which varies: give --lr LO:HI"],
        ),
    ],
)
def test_each_fault_says_what_was_got_and_what_is_allowed(
    changes: dict[str, object], words: list[str]
) -> None:
    (fault,) = faults_of(**changes)
    for word in words:
        assert word in fault


def test_a_study_file_names_recipe_and_settings_and_options_go_before_it(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('[recipe]\nname = "paper"\nbatch_size = 64\nmixup = "off"\nflip = 0.25\n')
    plain = {"study": path, "epochs": "8"}
    found = request(**plain).study.recipe["sgd"]
    assert (found["cutmix"], found["batch_size"], found["flip"]) == (1.0, 64, 0.25)
    assert "mixup" not in found
    assert request(**plain, set=["flip=0.75"]).study.recipe["sgd"]["flip"] == 0.75
    assert "cutmix" not in request(**plain, recipe="nano").study.recipe["sgd"]
    path.write_text('[recipe]\nname = "papr"\nflap = 1\nmixup = 0\nautoaugment = "yes"\n')
    faults = faults_of(**plain)
    assert len(faults) == 4
    assert "recipe: mixup: got 0, allowed is a number above 0" in faults


def test_the_study_of_the_page_is_without_a_fault(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "recipe.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "study.toml").write_text(block)
    settings = request(study=tmp_path / "study.toml").study.recipe["sgd"]
    assert (settings["crop_padding"], settings["mixup"], settings["batch_size"]) == (4, 0.8, 128)
    assert "flip" not in settings


def test_with_an_objective_of_ones_own_settings_are_handed_over() -> None:
    plain = {"objective": "objectives:quick", "model": None, "optim": None, "data": None}
    study = request(**plain, vary=["C=1:10"], set=["depth=3", "kernel=rbf", "name=x"]).study
    assert study.recipe["own"] == {"depth": 3, "kernel": "rbf", "name": "x"}
    faults = faults_of(**plain, vary=["C=1:10"], set=["C=3", "x", "a b=1"], recipe="paper")
    assert len(faults) == 4
    assert any("C is named twice" in fault for fault in faults)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_printed_with_its_sources_in_80_columns(name: str) -> None:
    text = described(name)
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split()[0] for line in text.splitlines() if line and line[0] != " "]
    assert [row for row in rows if row in RECIPE_DEFAULTS] == list(RECIPE_DEFAULTS)


def test_what_a_recipe_scales_is_said() -> None:
    """The rate of the averaged weights is one for ImageNet: a study has another."""
    text = " ".join(described("paper").split())
    assert "ema: for ImageNet's 1281167 training images" in text
    assert "1e-05 * 1281167 / images, and ema_period 1 where an epoch has fewer than 32" in text
    assert "min(1, ema * batch / epochs * ema_period)" in text
    scaled = settings_of("paper", "sgd", {"batch_size": 64}, images=1097)
    assert scaled["ema"] == pytest.approx(1e-5 * 1281167 / 1097, rel=1e-5)
    assert scaled["ema_period"] == 1
    assert "ema:" not in described("micro")
    assert [as_dict(name)["ema_images"] for name in RECIPES] == [None, None, 1281167]


def test_all_recipes_side_by_side() -> None:
    lines = side_by_side().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["batch_size", "64", "128", "2048", "from", "1,", "whole"]


def test_the_command_prints_json_and_draws(tmp_path: Path) -> None:
    done = call("recipe", "paper", "--json", "-o", "paper.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["settings"]["mixup"]["value"] == 0.8
    assert "1710.09412" in answer["settings"]["mixup"]["source"]
    assert answer["ranges"]["vit sgd"]["lr"] == [0.1, 3.2]
    pixels = np.asarray(Image.open(tmp_path / "paper.png").convert("L"))
    assert pixels.shape[0] > 1000
    assert pixels.std() > 50


def test_faults_of_the_command_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        show_recipe("papr", "digit", tmp_path / "no" / "x.gif", as_json=False)
    assert len(error.value.faults) == 3
    with pytest.raises(SpecError, match="say of which recipe"):
        show_recipe(None, "digits", tmp_path / "x.png", as_json=False)
    with pytest.raises(SpecError, match="nano does nothing to images"):
        show_recipe("nano", "digits", tmp_path / "x.png", as_json=False)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_has_a_row_for_each_part_and_three_for_all() -> None:
    rows = dict(augmentation_rows(RECIPES["paper"].settings, load_data("digits")))
    assert list(rows) == [
        "as they are",
        "box of 0.08 to 1 of the area",
        "mirrored, probability 0.5",
        "AutoAugment",
        "mixup, Beta(0.8)",
        "CutMix, Beta(1.0)",
        "all together, draw 1",
        "all together, draw 2",
        "all together, draw 3",
    ]
    plain = rows.pop("as they are")
    assert plain.shape == (6, 32, 32, 1)
    mirrored = rows["mirrored, probability 0.5"]
    assert {np.array_equal(a, b[:, ::-1]) for a, b in zip(plain, mirrored, strict=True)} == {
        True,
        False,
    }
    assert all(not np.array_equal(plain, changed) for changed in rows.values())
