"""The command line as a user meets it: what it says, where it stops, what it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call, faults_of, request

from stability.cli.study.parsing import FaultList, intervals_by_optimizer
from stability.cli.study.vary import setting_law
from sweeps.study.space import Hyperparameter


def test_the_main_job_is_resolved_to_the_last_number() -> None:
    study = request().study
    assert study.models == ("vitc-nano",)
    assert [(h.name, h.low, h.high) for h in study.space] == [
        ("lr", 0.0125, 0.4),
        ("weight_decay", 4e-5, 1.2e-3),
    ]
    assert study.recipe["sgd"]["momentum"] == 0.9
    assert (study.draws, study.epochs, study.seed, study.sampler) == (64, (5,), 0, "random")
    assert study.name == "vitc-nano-sgd-digits-e5-n64-877144"


def test_one_study_of_lists() -> None:
    study = request(model="vitp,vitc-nano,regnety", optim="sgd,adamw", epochs="5,10").study
    assert study.models == ("vitp-nano", "vitc-nano", "regnety-nano")
    assert study.trials == 64 * 3 * 2 * 2
    ranges = {
        (h.name, model, optim): (h.low, h.high)
        for h in study.space
        for model in study.models
        for optim in study.optims
        if h.applies_to(model, optim)
    }
    assert len(ranges) == 2 * 3 * 2  # each model and optimizer has one law for each name
    assert ranges["lr", "vitp-nano", "sgd"] == ranges["lr", "vitc-nano", "sgd"]
    assert ranges["lr", "vitp-nano", "sgd"] != ranges["lr", "regnety-nano", "sgd"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "vitx"}, ["--model: 'vitx' is not one of vitp, vitc", "did you mean"]),
        ({"model": "vitc,vitc-nano"}, ["vitc-nano is named twice"]),
        ({"model": ""}, ["--model: '' is not one of"]),
        (
            {"model": "vitc-nanu"},
            ["alone or with a size as in vitc-nano (did you mean 'vitc-nano'"],
        ),
        ({"model": "vitp+convx"}, ["--model: 'convx' is not one of patchify, conv", "'conv'?)"]),
        ({"model": "vitp+conv+s1"}, ["names its stem twice"]),
        ({"model": "resnet+gap"}, ["choices of ViTs; resnet-nano is none"]),
        ({"model": "vitc-4gf"}, ["vitc-4gf takes no images of 32x32, which digits has; those of"]),
        ({"stem": "covn"}, ["--stem: 'covn' is not one of patchify", "did you mean 'conv'?"]),
        ({"stem": "s4"}, ["--model: the stem s4 needs patches of at least 16 pixels"]),
        ({"model": "vitp,vitc", "stem": "conv", "depth": "3"}, ["vitc-nano is named twice"]),
        ({"depth": "0"}, ["--depth: got '0', allowed is a whole number from 1 to 999"]),
        ({"depth": "1000"}, ["--depth: got '1000', allowed is a whole number from 1 to 999"]),
        ({"pool": "max"}, ["--pool: 'max' is not one of token, mean"]),
        ({"model": "resnet", "pool": "mean"}, ["--pool: got 'mean', a choice for ViTs; none of"]),
        ({"optim": "adam"}, ["--optim: 'adam' is not one of sgd, adamw (did you mean 'adamw'?)"]),
        (
            {"sampler": "sobel"},
            ["'sobel' is not one of random, sobol, grid (did you mean 'sobol'?)"],
        ),
        ({"data": "mnist"}, ["--data: 'mnist' is not one of digits"]),
        ({"executor": "slrum"}, ["--executor: 'slrum' is not one of local, slurm, inline"]),
        ({"lr": ["1:0.1"]}, ["--lr: got '1:0.1', LO must be below HI"]),
        ({"lr": ["0.1:0.1"]}, ["LO must be below HI"]),
        ({"lr": ["0:1"]}, ["LO must be above 0"]),
        ({"lr": ["-1:1"]}, ["LO must be above 0"]),
        ({"lr": ["nan:1"]}, ["got 'nan:1', allowed is LO:HI"]),
        ({"lr": ["0.1:inf"]}, ["allowed is LO:HI"]),
        ({"lr": ["fast"]}, ["got 'fast', allowed is LO:HI"]),
        ({"lr": ["0.1:0.2", "0.1:0.3"]}, ["two intervals for sgd"]),
        ({"lr": ["adamw=0.1:0.2"]}, ["--lr: 'adamw' is not one of sgd"]),
        ({"optim": "sgd,adamw", "lr": ["0.1:1"]}, ["with sgd, adamw say which: sgd=LO:HI"]),
        ({"weight_decay": ["2:1"]}, ["--weight-decay: got '2:1'"]),
        ({"draws": "0"}, ["--draws: got '0', allowed is a whole number from 1 to 2147483647"]),
        ({"draws": "many"}, ["--draws: got 'many'"]),
        ({"epochs": "0"}, ["--epochs: got '0'"]),
        ({"epochs": "5,5"}, ["--epochs: 5 is named twice"]),
        ({"seed": "-1"}, ["--seed: got '-1', allowed is a whole number from 0"]),
        ({"workers": "0"}, ["--workers: got '0'"]),
        ({"seed": "3000000000"}, ["whole number from 0 to 2147483647"]),
        ({"workers": "2", "executor": "inline"}, ["--workers: got 2, inline has one"]),
        ({"out": "/tmp/" + "long" * 100}, ["cannot be written: File name too long"]),
        ({"device": "gpu"}, ["--device: got 'gpu', allowed is auto, cpu, cuda or cuda:i"]),
        ({"vary": ["beta2=0.9,0.99"]}, ["beta2 belongs to adamw, which is not asked for"]),
        ({"vary": ["colour=1,2"]}, ["'colour' is not one of batch_size, momentum"]),
        ({"vary": ["momentum"]}, ["allowed is NAME=LO:HI, NAME=LO:HI:linear or NAME=a,b,c"]),
        ({"vary": ["momentum=0.5:1:linear"]}, ["got 1.0, allowed is a number from 0 and below 1"]),
        (
            {"vary": ["momentum=0.5:0.9:cubic"]},
            ["got cubic, allowed behind LO:HI is log or"],
        ),
        ({"vary": ["batch_size=32,x"]}, ["got 32 (number), x (text); allowed are only numbers"]),
        ({"vary": ["batch_size=32,32.5"]}, ["got 32.5, allowed is a whole number from 1"]),
        ({"vary": ["batch_size=32,4096"]}, ["got 4096, digits has 1097 training images"]),
        ({"vary": ["clip=1,2", "clip=1:2"]}, ["clip is varied twice"]),
        ({"sampler": "grid", "draws": "60"}, ["--draws: a grid over lr, weight_decay has 49 or"]),
        ({"out": "/proc/nowhere"}, ["/proc/nowhere cannot be written"]),
        ({"out": "/etc/passwd"}, ["/etc/passwd is a file"]),
    ],
)
def test_each_fault_says_what_was_got_and_what_is_allowed(
    changes: dict[str, object], words: list[str]
) -> None:
    (fault,) = faults_of(**changes)
    for word in words:
        assert word in fault


def test_all_faults_are_said_at_once() -> None:
    faults = faults_of(
        model="vitx",
        optim="adam",
        data="mnist",
        sampler="rnd",
        epochs="0,x",
        draws="0",
        lr=["2:1"],
        weight_decay=["nan:1"],
        vary=["mom=3"],
        workers="none",
        device="tpu",
        out="/etc/passwd",
    )
    assert len(faults) == 13


def test_laws_that_may_be_varied() -> None:
    faults = FaultList()
    assert setting_law(faults, "batch_size=16:256") == Hyperparameter(
        name="batch_size", low=16, high=256, integer=True
    )
    assert setting_law(faults, "warmup=0:0.3:linear") == Hyperparameter(
        name="warmup", low=0.0, high=0.3, scale="linear"
    )
    assert setting_law(faults, "clip=0.5,1") == Hyperparameter(name="clip", choices=(0.5, 1.0))
    both = intervals_by_optimizer(faults, "--lr", ["sgd=0.1:1,adamw=1e-4:1e-2"], ["sgd", "adamw"])
    assert both == {"sgd": (0.1, 1.0), "adamw": (1e-4, 1e-2)}
    assert faults.found == []


@pytest.mark.parametrize(
    ("changes", "models"),
    [
        ({"model": "resnet"}, ["resnet-nano"]),
        ({"model": "vitp", "stem": "conv"}, ["vitp-nano+conv"]),
        ({"model": "vitp", "stem": "patchify,conv"}, ["vitp-nano", "vitp-nano+conv"]),
        ({"model": "vitc", "stem": "conv", "pool": "token"}, ["vitc-nano"]),
        ({"model": "vitp,regnety", "pool": "mean"}, ["vitp-nano+gap", "regnety-nano"]),
        ({"model": "vitp,vitc-micro", "depth": "5"}, ["vitp-nano+d5", "vitc-micro"]),
        (
            {"model": "vitc", "stem": "s1,s2", "depth": "3,6"},
            ["vitc-nano+s1", "vitp-nano+s1+d6", "vitc-nano+s2", "vitp-nano+s2+d6"],
        ),
        ({"model": "vitp+s1,vitc"}, ["vitp-nano+s1", "vitc-nano"]),
    ],
)
def test_choices_alter_the_names_of_vits_and_nothing_else(
    changes: dict[str, object], models: list[str]
) -> None:
    """Combinations of several; so a trial's identity needs no field of its own for them."""
    study = request(**changes).study
    assert list(study.models) == models
    assert {f for f in study.model_dump() if getattr(study, f) != getattr(request().study, f)} <= {
        "models",
        "model_settings",
        "space",
    }


def test_a_varied_setting_leaves_the_recipe() -> None:
    study = request(vary=["momentum=0.8,0.9"], optim="sgd,adamw").study
    assert "momentum" not in study.recipe["sgd"]
    (momentum,) = (h for h in study.space if h.name == "momentum")
    assert momentum.optims == ("sgd",)


def test_bad_input_ends_with_status_2_and_writes_nothing(tmp_path: Path) -> None:
    done = call("sweep", "--model", "vitx", "--trials", "0", "--lr", "1:0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("stability: 3 problems:\n")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_ends_with_status_2(tmp_path: Path) -> None:
    done = call("sweep", "--modle", "vitc", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such option: --modle" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_listed_and_counted(tmp_path: Path) -> None:
    done = call("models", "vitp-nano", "vitp-nano+conv+d3", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = json.loads(done.stdout)
    assert (first["name"], first["params"], first["image"]) == ("vitp-nano", 173_002, 32)
    assert second["name"] == "vitc-nano"


def test_models_that_are_none_are_named_at_once(tmp_path: Path) -> None:
    done = call("models", "vitx", "vitp", "regnety-nano+conv", "vitp-nano+d0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stability: 4 problems:\n")
    assert "'vitp' names no size, as vitp-nano does" in done.stderr


def test_help_of_each_command_fits_80_columns(tmp_path: Path) -> None:
    for command in ([], ["sweep"], ["resume"], ["status"], ["edf"], ["models"]):
        done = call(*command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "[default" in done.stdout or command not in (["sweep"], ["edf"])


@pytest.mark.slow
def test_a_dry_run_shows_everything_and_writes_nothing(tmp_path: Path) -> None:
    done = call("sweep", "--dry-run", "--optim", "sgd,adamw", "--epochs", "5,10", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [
        "512 trials: 64 draws (random, seed 0)",
        "lr (sgd): log-uniform on 0.0125 .. 0.4",
        "momentum 0.9",
        "training 512 trials on",
        "about",
        "nothing was written",
    ]
    assert [words for words in expected if words not in done.stdout] == []
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_device_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    done = call("sweep", "--device", "cuda:63", cwd=tmp_path)
    assert done.returncode == 2
    assert "--device: got 'cuda:63', torch sees" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_and_edf_of_what_is_no_run_directory(tmp_path: Path) -> None:
    done = call("status", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a run directory" in done.stderr
    wrong = ["--policy", "hope", "--band", "wide", "-o", "no/where.png"]
    done = call("edf", "nowhere", ".", *wrong, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("stability: 3 problems:\n")  # of the options; then of the tables
    done = call("edf", "nowhere", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere: no such file or folder" in done.stderr
    assert ".: a folder without design.parquet" in done.stderr


def test_faults_of_a_table_are_reported_like_those_of_options(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("model,error\na,-1\na,200\n")
    (tmp_path / "names.csv").write_text("modle,error\na,5\n")
    done = call("edf", "table.csv", "names.csv", cwd=tmp_path)
    assert done.returncode == 2
    count, *faults = done.stderr.splitlines()
    assert count == "stability: 2 problems:"
    assert [f.partition(": ")[0] for f in faults[:2]] == ["  table.csv, line 2", "  names.csv"]
    assert faults[2].startswith("To settle it")
    assert faults[3:] == ["stability import names.csv --map model=modle --out names.parquet"]
    done = call("edf", "table.csv", "--policy", "hope", cwd=tmp_path)
    assert done.stderr.startswith("stability: 1 problem:\n  --policy: 'hope' is not one of")


def test_another_error_does_not_load_the_analysis(tmp_path: Path) -> None:
    code = (
        "import sys; from stability import cli\n"
        "def broken(): raise RuntimeError('torn')\n"
        "cli.app = broken\n"
        "try: cli.main()\n"
        "finally: print([name for name in sys.modules if name.split('.')[0] == 'analysis'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert "unexpected RuntimeError" in done.stderr


def test_edf_of_a_table_of_another_tool(tmp_path: Path) -> None:
    rows = "".join(f"mine,{10 + i}\n" for i in range(20))
    (tmp_path / "table.csv").write_text("model,error\n" + rows)
    done = call("edf", "table.csv", "-o", "mine.png", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["groups"][0]["n"] == 20
    assert answer["groups"][0]["within_4"] == 0.25
    assert (tmp_path / "mine.png").stat().st_size > 10_000


def test_the_number_of_draws_has_two_names_and_one_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('model = "vitc"\noptim = "sgd"\ndraws = 3\n')
    by_file = request(study=path, model=None, optim=None, draws=None, epochs=None).study
    path.write_text('model = "vitc"\noptim = "sgd"\ntrials = 3\n')
    earlier = request(study=path, model=None, optim=None, draws=None, epochs=None).study
    assert by_file.draws == earlier.draws == 3
    path.write_text("draws = 3\ntrials = 3\n")
    assert "draws and trials are two names of one key" in faults_of(study=path, draws=None)[0]
    for name in ("--draws", "--trials"):
        done = call("sweep", "--model", "vitc", name, "3", "--dry-run", cwd=tmp_path)
        assert "3 draws" in done.stdout
