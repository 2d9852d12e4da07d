"""Study, design, identity: what is going to be trained, and under which name."""

import dataclasses
import json
import pickle
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from toys import FIXTURES, ROOT, make_run, make_toy

from sweeps.errors import SpecError, StoreError
from sweeps.store.parts import EVER
from sweeps.study import objectives
from sweeps.study.design import draw_design, read_design, training_seed, write_design
from sweeps.study.objectives import ObjectiveFacts, registered_objectives
from sweeps.study.schema import design_schema
from sweeps.study.space import Hyperparameter
from sweeps.study.study import Study
from sweeps.study.trial import trial_id
from sweeps.worker.worker import WorkerSpec

RESOLVED: dict[str, Any] = {
    "seed": 7,
    "settings": {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 64, "nesterov": True},
    "precision": "float32",
    "fingerprint": "5422b07ad933",
    "objective": "stability.objective:train_images",
}


def test_ids_are_pinned() -> None:
    """A changed id silently orphans every finished trial: these may never change."""
    assert trial_id("vitc-nano", "sgd", 5, RESOLVED) == "vitc-nano-sgd-e5-fbdbac2f1b3c"
    adamw = {**RESOLVED, "settings": {"lr": 0.001, "weight_decay": 0.3}}
    assert trial_id("vitp-nano", "adamw", 15, adamw) == "vitp-nano-adamw-e15-3e8a09590f92"
    assert make_toy().hash == "d3a8ef"
    assert draw_design(make_toy())[5].id == "b-sgd-e5-a87c832f9f3a"


@pytest.mark.parametrize("field", RESOLVED)
def test_everything_that_decides_a_result_is_in_the_id(field: str) -> None:
    changed = {**RESOLVED, field: {"lr": 0.2} if field == "settings" else "other"}
    assert trial_id("m", "sgd", 5, changed) != trial_id("m", "sgd", 5, RESOLVED)


def test_the_place_of_the_data_is_kept_and_decides_nothing(tmp_path: Path) -> None:
    """The same data in another folder: the same study, and the same trials."""
    here, there = (make_toy(data_source=f"folder:/{place}/toy") for place in ("here", "there"))
    assert here.hash == there.hash == make_toy().hash
    assert here.name == make_toy().name
    assert [t.id for t in draw_design(here)] == [t.id for t in draw_design(there)]
    assert draw_design(here)[0].data_source == "folder:/here/toy"
    here.write(tmp_path / "study.toml")
    write_design(here, draw_design(here), tmp_path / "design.parquet")
    again = Study.read(tmp_path / "study.toml")
    assert again.data_source == "folder:/here/toy"
    trials = read_design(again, tmp_path / "design.parquet")
    assert {(t.data, t.data_source) for t in trials} == {("toy", "folder:/here/toy")}
    assert pq.read_table(tmp_path / "design.parquet")["data"].unique().to_pylist() == ["toy"]


def test_an_id_does_not_depend_on_the_order_of_settings() -> None:
    turned = {**RESOLVED, "settings": dict(reversed(RESOLVED["settings"].items()))}
    assert trial_id("m", "sgd", 5, turned) == trial_id("m", "sgd", 5, RESOLVED)


def registering(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that has imported nothing of `stability`."""
    imports = "import json, pickle, sys\nfrom sweeps.study.trial import trial_id\n"
    check = f"{imports}assert 'stability' not in sys.modules\n{code}"
    command = [sys.executable, "-c", check, json.dumps(RESOLVED), str(FIXTURES / "finished")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


READ = (
    "from pathlib import Path; from sweeps.store.run_directory import RunDirectory\n"
    "print(len(list(RunDirectory(Path(sys.argv[2])).read_design())))\n"
)


@pytest.mark.parametrize(
    "code", ["trial_id('vitc-nano', 'sgd', 5, json.loads(sys.argv[1]))", READ], ids=["id", "design"]
)
def test_without_a_registration_there_is_no_id_at_all(code: str) -> None:
    done = registering(code)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "objective stability.objective:train_images is not registered" in done.stderr
    assert done.stderr.endswith("import stability first\n")


def test_a_process_without_stability_gets_the_table_with_its_worker_spec() -> None:
    spec = WorkerSpec(
        run="run",
        name="w",
        slot="cpu:0",
        max_failures=2,
        since=EVER,
        begun=EVER,
        submission_folder="",
    )
    assert spec.objectives == registered_objectives()
    assert "stability.objective:train_images" in spec.objectives
    done = registering(
        f"spec = pickle.loads({pickle.dumps(spec)!r})\n"
        "from sweeps.study.objectives import register_objectives\n"
        "register_objectives(spec.objectives)\n"
        "print(trial_id('vitc-nano', 'sgd', 5, json.loads(sys.argv[1])))\n"
        f"{READ}assert 'stability' not in sys.modules\n"
    )
    assert done.stdout.split() == ["vitc-nano-sgd-e5-fbdbac2f1b3c", "12"], done.stderr


@pytest.mark.parametrize("old", [{}, {"flip": 0.5}, {"flip": 0.0, "momentum": 0.9}])
def test_other_facts_than_those_of_the_design_are_refused(
    old: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong table never renames trials: the ids do not match the content of the design."""
    recipe = {"sgd": {"momentum": 0.9, "flip": 0.0}}
    run = make_run(tmp_path / "run", objective=RESOLVED["objective"], recipe=recipe)
    assert len(list(run.read_design())) == 8
    wrong = ObjectiveFacts(old_defaults=old)
    monkeypatch.setitem(objectives._registered, RESOLVED["objective"], wrong)
    with pytest.raises(StoreError, match=r"is not the design of the study\.toml beside it"):
        list(run.read_design())


def test_sweeps_names_no_objective_of_stability() -> None:
    modules = list((ROOT / "sweeps").rglob("*.py"))
    assert len(modules) > 40
    named = ("stability.objective", "train_images")
    assert [path for path in modules if any(name in path.read_text() for name in named)] == []


def test_a_new_option_orphans_no_old_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = objectives.facts_of(RESOLVED["objective"])
    new = replace(ours, old_defaults={**ours.old_defaults, "new": False})
    monkeypatch.setitem(objectives._registered, RESOLVED["objective"], new)
    off, on = (
        {**RESOLVED, "settings": {**RESOLVED["settings"], "new": value}} for value in (False, True)
    )
    assert trial_id("m", "sgd", 5, off) == trial_id("m", "sgd", 5, RESOLVED)
    assert trial_id("m", "sgd", 5, on) != trial_id("m", "sgd", 5, RESOLVED)


def test_settings_of_anothers_objective_are_its_own() -> None:
    """`flip` there may be anything, and always was in the id."""
    own = {**RESOLVED, "objective": "mine:fit"}
    off, without = ({**own, "settings": settings} for settings in ({"flip": 0.0}, {}))
    assert trial_id("m", "sgd", 5, off) != trial_id("m", "sgd", 5, without)


def test_where_a_study_comes_from_decides_nothing(tmp_path: Path) -> None:
    plain, told = make_toy(), make_toy(origin="recipe paper; lr: times 1/8")
    assert (told.hash, told.name, plain.differences(told)) == (plain.hash, plain.name, [])
    for study in (plain, told):
        study.write(tmp_path / "study.toml")
        assert Study.read(tmp_path / "study.toml") == study
        assert ("origin" in (tmp_path / "study.toml").read_text()) == bool(study.origin)


def test_a_study_survives_its_file(tmp_path: Path) -> None:
    study = make_toy(
        space=(
            Hyperparameter(name="lr", low=0.01, high=1.0, optims=("sgd",)),
            Hyperparameter(name="batch_size", choices=(32, 64)),
            Hyperparameter(name="clip", choices=(0.5, 1.0)),
        )
    )
    study.write(tmp_path / "study.toml")
    assert Study.read(tmp_path / "study.toml") == study
    assert Study.read(tmp_path / "study.toml").hash == study.hash
    assert tomllib.loads((tmp_path / "study.toml").read_text())["draws"] == 4


def test_every_fault_of_a_study_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    make_toy().write(path)
    text = path.read_text().replace("draws = 4", "draws = 0").replace('"random"', '"rnd"')
    path.write_text(text.replace("seed = 0", "seed = 0\ncolour = 1"))
    with pytest.raises(SpecError) as error:
        Study.read(path)
    assert len(error.value.faults) == 3
    for word in ("draws", "sampler", "colour"):
        assert word in str(error.value)


def test_a_garbage_study_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_bytes(b"\xff\x00")
    with pytest.raises(StoreError, match=r"study\.toml cannot be read"):
        Study.read(tmp_path / "study.toml")


def test_the_same_twice_and_a_missing_recipe_are_refused() -> None:
    with pytest.raises(ValidationError, match="the same twice"):
        make_toy(models=("a", "a"))
    with pytest.raises(ValidationError, match="no recipe for adamw"):
        make_toy(optims=("sgd", "adamw"))


def test_the_design_pairs_models_optimizers_and_lengths() -> None:
    """Draw i is the same point and the same training seed for all of them."""
    recipe = {"sgd": {"momentum": 0.9}, "adamw": {}}
    study = make_toy(optims=("sgd", "adamw"), epochs=(5, 10), recipe=recipe)
    design = draw_design(study)
    assert len(design) == study.trials == 4 * 2 * 2 * 2
    for draw in range(4):
        same = [trial for trial in design if trial.draw == draw]
        assert len({(t.model, t.optim, t.epochs) for t in same}) == 8
        assert len({str(t.hyperparameters) for t in same}) == 1
        assert len({t.seed for t in same}) == 1
    assert len({t.seed for t in design}) == 4
    assert [t.draw for t in design] == sorted(t.draw for t in design)


def test_a_larger_study_holds_the_trials_of_the_smaller() -> None:
    small = {trial.id for trial in draw_design(make_toy())}
    for larger in (make_toy(draws=8), make_toy(models=("a", "b", "c")), make_toy(epochs=(5, 9))):
        assert small < {trial.id for trial in draw_design(larger)}


def test_a_study_of_many_models_has_a_name_that_a_file_may_have() -> None:
    few, many = (tuple(f"vitp-nano+stem-{i}" for i in range(n)) for n in (3, 60))
    assert make_toy(models=few).name.startswith("+".join(few))
    assert make_toy(models=many).name.startswith("60-models-sgd-toy-e5-n4-")


def test_training_seeds_are_pinned() -> None:
    assert [training_seed(0, draw) for draw in range(3)] == [2968811710, 3964924996, 3141116543]


def test_a_conditional_hyperparameter_is_null_elsewhere(tmp_path: Path) -> None:
    space = (
        Hyperparameter(name="lr", low=0.01, high=1.0),
        Hyperparameter(name="momentum", choices=(0.8, 0.9), optims=("sgd",)),
    )
    study = make_toy(optims=("sgd", "adamw"), recipe={"sgd": {}, "adamw": {}}, space=space)
    design = draw_design(study)
    write_design(study, design, tmp_path / "design.parquet")
    table = pq.read_table(tmp_path / "design.parquet")
    assert table.schema.equals(design_schema(space), check_metadata=True)
    has = {t.optim: "momentum" in t.hyperparameters for t in design}
    assert has == {"sgd": True, "adamw": False}
    assert table["momentum"].null_count == len(design) // 2
    assert list(read_design(study, tmp_path / "design.parquet")) == design


def test_a_design_of_another_study_is_not_taken(tmp_path: Path) -> None:
    study, other = make_toy(), make_toy(seed=1)
    write_design(other, draw_design(other), tmp_path / "design.parquet")
    with pytest.raises(StoreError, match="not the design of the study"):
        read_design(study, tmp_path / "design.parquet")
    (tmp_path / "design.parquet").write_bytes(b"PAR1 garbage")
    with pytest.raises(StoreError, match="cannot be read"):
        read_design(study, tmp_path / "design.parquet")


def test_settings_are_the_recipe_and_what_was_drawn() -> None:
    trial = draw_design(make_toy())[0]
    assert trial.settings == {"momentum": 0.9, **trial.hyperparameters}
    assert set(dataclasses.asdict(trial)) >= {"id", "study", "seed", "precision", "objective"}
