"""Settings that changed numbers: old trials keep their meaning, others keep their ids."""

from pathlib import Path
from typing import Any

import pytest
from command_line import request
from drivers import run_of
from pydantic import ValidationError
from toys import make_toy

from stability.cli.output.announce import describe_study, earlier_version
from stability.cli.site.machine import probe_question
from stability.objective import _job
from stability.training.recipes import model_settings
from stability.training.settings import Recipe
from sweeps.confirm import confirmation
from sweeps.driver.adopt import adoptable
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design, read_design, write_design
from sweeps.study.study import Study
from sweeps.study.trial import trial_id

RESOLVED = {
    "seed": 7,
    "settings": {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 64, "nesterov": True},
    "precision": "float32",
    "fingerprint": "5422b07ad933",
    "objective": "stability.objective:train_images",
}


def with_settings(**own: Any) -> dict[str, Any]:
    return {**RESOLVED, "settings": {**RESOLVED["settings"], **own}}  # type: ignore[dict-item]


def test_ids_of_both_initialisations_are_pinned() -> None:
    """Absent, and written out, `main` is what trials had before there was a choice."""
    old = "vitc-nano-sgd-e5-fbdbac2f1b3c"
    assert trial_id("vitc-nano", "sgd", 5, RESOLVED) == old
    assert trial_id("vitc-nano", "sgd", 5, with_settings(stem_init="main", revision=1)) == old
    new = trial_id("vitc-nano", "sgd", 5, with_settings(stem_init="release"))
    assert new == "vitc-nano-sgd-e5-ed3f748d34fb"
    revised = trial_id("regnety-nano", "sgd", 5, with_settings(revision=2))
    assert revised == "regnety-nano-sgd-e5-d314e8c55f91"


# Model, settings that are on, and what a new study stores for it.
STORED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("vitp-nano", [], {}),
    ("resnet-50", [], {}),
    ("vitp-nano+patchify-bn-relu", [], {}),
    ("vitp-nano+hmlp", [], {}),
    ("vitp-nano+dual-patchnorm", [], {}),
    ("vitp-nano+patchify-frozen", [], {}),
    *(
        (f"vitp-4gf+{stem}", [], {"stem_init": "release"})
        for stem in ("conv", "s1", "s2", "s3", "s4", "conv-ln", "conv-nonorm", "conv-linear")
    ),
    ("vitc-36gf", [], {"stem_init": "release"}),
    ("vitc-nano", ["mixup", "flip", "autoaugment", "ema"], {"stem_init": "release"}),
    ("vitc-nano", ["cutmix"], {"stem_init": "release", "revision": 2}),
    ("vitp-nano", ["crop_area"], {"revision": 2}),
    ("vitp-nano", ["crop_padding"], {"revision": 2}),
    ("vitp-nano", ["precise_bn"], {}),
    ("vitp-nano+hmlp", ["precise_bn"], {"revision": 2}),
    ("resnet-50", ["precise_bn"], {"revision": 2}),
    ("regnety-nano", [], {"revision": 2}),
    ("timm:resnet18", [], {"revision": 2}),
    ("mymodels:mlp", [], {"revision": 2}),
]


@pytest.mark.parametrize(("model", "used", "stored"), STORED)
def test_a_setting_is_stored_only_where_it_changes_numbers(
    model: str, used: list[str], stored: dict[str, Any]
) -> None:
    assert model_settings(model, {}, used) == stored
    assert model_settings(model, {"stem_init": "main", "revision": 1}, used) == {}


def test_studies_without_a_change_are_the_studies_they_were() -> None:
    """Their hashes as version 0.1 gave them; and of those with one, on request."""
    assert request(model="vitp", optim="adamw").study.hash == "62129d"
    assert request(model="resnet", optim="adamw").study.hash == "a37d59"
    assert request(model="regnety", optim="adamw", set=["revision=1"]).study.hash == "c80776"
    assert request(model="vitc", optim="adamw", set=["stem_init=main"]).study.hash == "6b9f91"


def test_a_study_of_both_vits_gives_each_trial_its_own_settings(tmp_path: Path) -> None:
    """ViT_P's trials are those of a study of ViT_P alone, and go through the files unchanged."""
    study = request(model="vitp,vitc", optim="sgd,adamw", draws="2").study
    assert study.model_settings == {"vitc-nano": {"stem_init": "release"}}
    assert "vitc-nano: stem_init release" in describe_study(study)
    trials = draw_design(study)
    inits = {(t.model, t.settings.get("stem_init"), _job(t).recipe.stem_init) for t in trials}
    assert inits == {("vitp-nano", None, "main"), ("vitc-nano", "release", "release")}
    alone = draw_design(request(model="vitp", optim="sgd,adamw", draws="2").study)
    assert {t.id for t in alone} == {t.id for t in trials if t.model == "vitp-nano"}
    study.write(tmp_path / "study.toml")
    write_design(study, trials, tmp_path / "design.parquet")
    again = Study.read(tmp_path / "study.toml")
    assert (again, again.hash) == (study, study.hash)
    assert list(read_design(again, tmp_path / "design.parquet")) == trials
    probed = {
        job["model"]: job["settings"].get("stem_init")
        for job in probe_question(again, "cpu")["jobs"]
    }
    assert probed == {"vitp-nano": None, "vitc-nano": "release"}


def test_a_study_file_without_the_setting_means_the_old_weights(tmp_path: Path) -> None:
    """As versions before it wrote them."""
    old = request(set=["stem_init=main"], draws="2").study
    old.write(tmp_path / "study.toml")
    assert "model_settings" not in (tmp_path / "study.toml").read_text()
    trials = draw_design(Study.read(tmp_path / "study.toml"))
    assert {Recipe.of(t.settings).stem_init for t in trials} == {"main"}
    new = draw_design(request(draws="2").study)
    assert {t.id for t in trials}.isdisjoint(t.id for t in new)


def toy(**changes: Any) -> Study:
    return make_toy(model_settings={"b": {"momentum": 0.5, "weight_decay": 3.0}}, **changes)


def test_settings_of_a_model_replace_the_recipes_and_drawn_values_replace_them() -> None:
    for trial in draw_design(toy()):
        assert trial.settings["momentum"] == (0.5 if trial.model == "b" else 0.9)
        assert trial.settings["weight_decay"] == trial.hyperparameters["weight_decay"]
    with pytest.raises(ValidationError, match="model_settings names c, not a model of the study"):
        make_toy(model_settings={"c": {}})


def test_only_models_without_a_change_are_taken_over(tmp_path: Path) -> None:
    old = run_of(make_toy(), tmp_path / "old")
    (rows,) = adoptable(RunDirectory(tmp_path / "new"), draw_design(toy())).values()
    by_id = {trial.id: trial.model for trial in draw_design(make_toy())}
    assert {by_id[trial] for trial in rows["trial"].to_pylist()} == {"a"}
    assert confirmation(run_of(toy(), tmp_path / "new"), 2).model_settings == toy().model_settings
    (fault,) = old.faults(toy())
    assert f"stability resume {old.path}" in fault


def test_a_study_that_an_earlier_version_began_is_named(tmp_path: Path) -> None:
    """Else the same command would train all of it again without a word."""
    run, before = RunDirectory(tmp_path / toy().name), RunDirectory(tmp_path / make_toy().name)
    assert earlier_version(toy(), run) is None
    before.create(make_toy(), draw_design(make_toy()))
    note = earlier_version(toy(), run)
    assert note is not None
    assert f"stability resume {before.path}" in " ".join(note.split())
    assert earlier_version(make_toy(), run) is None
