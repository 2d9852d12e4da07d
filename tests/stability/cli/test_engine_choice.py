"""How a study is trained is settled once: the file, who may go on with it, what is seen of it."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import call, faults_of, request
from drivers import wait_for
from objectives import ToyEngines
from toys import HELPERS

from stability.cli.site.cluster import ClusterOptions, SiteOptions
from stability.cli.site.engine import check_engine
from stability.cli.site.engine import describe_engine as describe_engine_of
from stability.cli.site.gpus import is_gpu_here
from stability.cli.site.remembered import site_record
from stability.cli.study.request import Request
from sweeps.errors import ExecutorError, SpecError, StoreError
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design
from sweeps.worker import engine
from sweeps.worker.engine import (
    EngineDecision,
    EnginePlan,
    decide_engine,
    describe_engine,
    forget_unused_decision,
    one_at_a_time,
    write_engine_file,
)

STACKED = EngineDecision(
    device="cpu", asked="auto", by="w", ways={"k": EnginePlan(engine="stacked", trials=8)}
)


def test_the_first_writer_wins_and_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    assert engine.read_engine_file(path) is None
    ways = {
        'a "b", c': EnginePlan(
            engine="streams",
            trials=2,
            measured={"eager": 1.25, "stacked:4": "no"},
            beside={"eager": 0.5},
        )
    }
    first = EngineDecision(device="cuda", asked="auto", by="w on 'x'", ways=ways)
    write_engine_file(path, first)
    write_engine_file(path, STACKED)
    assert engine.read_engine_file(path) == first
    assert [p.name for p in tmp_path.iterdir()] == ["engine.toml"]


def test_of_many_writers_at_once_one_wins(tmp_path: Path) -> None:
    """Each reads back what holds; all read the same."""
    code = (
        "import sys; from pathlib import Path; from sweeps.worker import engine\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "while not path.with_name('go').exists(): pass\n"
        "engine.write_engine_file(path, engine.EngineDecision(device='cpu', by=name))\n"
        "print(engine.read_engine_file(path).by)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "engine.toml")]
    writers = [
        subprocess.Popen([*command, f"w{i}"], stdout=subprocess.PIPE, text=True) for i in range(4)
    ]
    (tmp_path / "go").touch()
    said = {writer.communicate()[0] for writer in writers}
    assert len(said) == 1
    assert said.pop().startswith("w")


def test_where_there_are_no_hard_links_the_first_wins_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    write_engine_file(tmp_path / "engine.toml", STACKED)
    write_engine_file(tmp_path / "engine.toml", replace(STACKED, device="cuda"))
    assert engine.read_engine_file(tmp_path / "engine.toml") == STACKED


@pytest.mark.parametrize("content", ["device = ", "colour = 'red'", "device='cpu'\nways=3"])
def test_a_file_that_is_none_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text(content)
    with pytest.raises(StoreError, match=r"engine\.toml cannot be read.*Move it away"):
        engine.read_engine_file(tmp_path / "engine.toml")


def test_a_worker_on_another_kind_of_device_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_COHORT", "3")
    path = RunDirectory(tmp_path)
    found = decide_engine(path, ToyEngines(), [], "cpu", "auto", "w1")
    assert (found.device, found.by) == ("cpu", "w1 on cpu")
    with pytest.raises(ExecutorError, match="got cuda, the study was begun on cpu"):
        decide_engine(path, ToyEngines(), [], "cuda", "auto", "w2")
    assert (
        decide_engine(path, None, [], "cuda", "auto", "w3").plan("any") == EnginePlan()
    )  # has no engines


CHOOSE = (
    "import sys; from pathlib import Path\n"
    "from objectives import ToyEngines; from sweeps.worker.engine import decide_engine\n"
    "from sweeps.store.run_directory import RunDirectory\n"
    "run = RunDirectory(Path(sys.argv[1]))\n"
    "print('ready', flush=True); input()\n"
    "print(decide_engine(run, ToyEngines(), [], 'cpu', 'auto', sys.argv[2]).by)\n"
)


@contextmanager
def choosers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> Iterator[list[subprocess.Popen[str]]]:
    """Three processes that are about to settle how a study is trained."""
    monkeypatch.setenv("TOY_CHOICES", str(tmp_path / "choices"))
    monkeypatch.setenv("TOY_COHORT", "2")
    monkeypatch.setenv("TOY_CHOOSING", str(seconds))
    folders = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    found = [
        subprocess.Popen(
            [sys.executable, "-c", CHOOSE, str(tmp_path), f"w{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(3)
    ]
    try:
        for one in found:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        yield found
    finally:
        for one in found:
            one.kill()
            one.communicate()


def go(chooser: subprocess.Popen[str]) -> None:
    assert chooser.stdin is not None
    chooser.stdin.write("\n")
    chooser.stdin.flush()


def chosen(tmp_path: Path) -> list[str]:
    log = tmp_path / "choices"
    return log.read_text().splitlines() if log.exists() else []


def test_one_chooses_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with choosers(tmp_path, monkeypatch, 0.5) as found:
        for one in found:
            go(one)
        said = {one.communicate()[0] for one in found}
    assert len(chosen(tmp_path)) == 1
    assert len(said) == 1


def test_where_the_one_that_chooses_is_killed_another_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with choosers(tmp_path, monkeypatch, 60) as (first, *others):
        go(first)
        wait_for(lambda: len(chosen(tmp_path)) == 1)
        go(others[0])
        time.sleep(0.3)
        assert len(chosen(tmp_path)) == 1  # it waits
        first.kill()
        wait_for(lambda: len(chosen(tmp_path)) == 2)


@pytest.mark.parametrize("missing", ["fcntl.flock", "os.open"])
def test_where_a_file_system_knows_no_locks_nobody_waits(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(missing, refuse)
    with one_at_a_time(tmp_path / "lock"):
        pass


def test_an_error_of_who_chooses_is_no_error_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no disk"), one_at_a_time(tmp_path / "lock"):
        raise OSError("no disk")


def asked(tmp_path: Path, **changes: object) -> Request:
    found = request(out=str(tmp_path / "run"), draws="2", **changes)
    if not found.run.exists():
        found.run.create(found.study, draw_design(found.study))
    return found


def test_an_engine_or_a_device_is_changed_only_before_the_first_result(tmp_path: Path) -> None:
    plain = asked(tmp_path)
    write_engine_file(plain.run.engine, STACKED)
    check_engine(plain, "cpu", begun=True)
    check_engine(asked(tmp_path, engine="stacked:8"), "cpu", begun=True)
    with pytest.raises(SpecError) as error:
        check_engine(asked(tmp_path, engine="eager"), "cuda", begun=True)
    assert error.value.faults == [
        "--device: got cuda, the study was begun on cpu: its trials must be comparable, so allowed "
        "is cpu",
        "--engine: got eager, the study is trained by stacked:8 since its first trial: allowed is "
        "auto, which stays with that",
    ]
    for begun in (True, False):
        check_engine(asked(tmp_path, engine="stacked:8"), "cpu", begun=begun)
        forget_unused_decision(plain.run, "cpu", "eager", begun=begun)
        assert plain.run.engine.exists() == begun
    check_engine(asked(tmp_path, engine="eager"), "cuda", begun=True)  # nothing is settled


def test_what_cannot_be_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        check_engine(asked(tmp_path, engine="streams", precision="bfloat16"), "cpu", begun=False)
    assert [fault.split(":")[0] for fault in error.value.faults] == ["--precision", "--engine"]
    assert "allowed here are auto, eager and stacked" in error.value.faults[1]
    check_engine(asked(tmp_path / "b", engine="streams", precision="bfloat16"), "cuda", begun=False)


def test_names_of_engines_and_precisions() -> None:
    assert request(engine="stacked").site.engine == "stacked:16"
    assert request().site.engine == "auto"
    assert faults_of(engine="stackd", precision="half") == [
        "--engine: 'stackd' is not one of auto, eager, captured, captured+compile, streams, "
        "streams+compile, stacked (did you mean 'stacked'?)",
        "--precision: 'half' is not one of auto, float32, bfloat16",
    ]
    assert faults_of(engine="eager:3") == [
        "--engine: got 'eager:3', eager trains one at a time: no number"
    ]
    own = {"model": None, "optim": None, "data": None, "epochs": None}
    faults = faults_of(
        objective="objectives:quick", precision="float32", vary=["C=1:2"], **own
    )  # fmt: skip
    assert faults == ["--precision: with --objective it is the function's own affair"]


def test_the_precision_follows_the_device_and_is_part_of_what_a_trial_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for here in (False, True):
        monkeypatch.setattr("stability.cli.study.request.is_gpu_here", lambda here=here: here)
        found = request().study.precision
        assert found == ("bfloat16" if here else "float32")
        assert request(device="cpu").study.precision == "float32"
        assert request(device="cuda:1").study.precision == "bfloat16"
        assert request(precision="float32", device="cuda").study.precision == "float32"
    half, whole = (draw_design(request(precision=p).study) for p in ("bfloat16", "float32"))
    assert not {trial.id for trial in half} & {trial.id for trial in whole}
    assert {trial.precision for trial in half} == {"bfloat16"}
    assert faults_of(precision="bfloat16", device="cpu") == [
        "--precision: got bfloat16 with --device cpu, it needs a GPU: float32"
    ]


def test_a_gpu_is_seen_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stability.cli.site.gpus.version", lambda name: "2.9.0+cu128")
    assert not is_gpu_here({}, tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not is_gpu_here({}, tmp_path)
    (tmp_path / "nvidia0").touch()
    assert is_gpu_here({}, tmp_path)
    assert is_gpu_here({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path)
    assert not is_gpu_here({"CUDA_VISIBLE_DEVICES": ""}, tmp_path)
    assert not is_gpu_here({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)
    monkeypatch.setattr("stability.cli.site.gpus.version", lambda name: "2.9.0+cpu")
    assert not is_gpu_here({}, tmp_path)


def test_a_profile_keeps_an_engine_and_a_dispatch_remembers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("stability.toml").write_text('[profiles.box]\nexecutor = "local"\nengine = "stacked:4"\n')
    site = request(profile="box").site
    assert site.engine == "stacked:4"
    assert request(profile="box", engine="eager").site.engine == "eager"
    assert site_record(site)["engine"] == "stacked:4"
    assert SiteOptions(cluster=ClusterOptions()).engine is None


def test_what_is_settled_in_words(tmp_path: Path) -> None:
    one = EnginePlan(engine="captured")
    many = {f"m{i}, sgd, batch 64": one for i in range(5)}
    assert describe_engine(replace(STACKED, device="cuda")) == [
        "engine stacked, 8 at a time on cuda"
    ]
    assert describe_engine(EngineDecision(device="cuda", ways={**STACKED.ways, **many})) == [
        "engine stacked, 8 at a time on cuda (k)",
        "engine captured on cuda (m0, sgd, batch 64; m1, sgd, batch 64; m2, sgd, batch 64; 2 more)",
    ]
    refused = EnginePlan(measured={"stacked:8": "m1 cannot be stacked: odd"})
    assert describe_engine(
        EngineDecision(device="cpu", asked="stacked:8", ways={"m1": refused})
    ) == [
        "engine eager on cpu",
        "trained one by one: m1 cannot be stacked: odd",
    ]
    out_of_memory = replace(STACKED.ways["k"], measured={"stacked:64": "OutOfMemoryError"})
    assert len(describe_engine(EngineDecision(device="cuda", ways={"k": out_of_memory}))) == 1
    run = asked(tmp_path).run
    assert describe_engine_of(run) == []
    write_engine_file(run.engine, EngineDecision(device="cpu", ways={"k": EnginePlan()}))
    assert describe_engine_of(run) == []  # as it always was
    run.engine.unlink()
    write_engine_file(
        run.engine, EngineDecision(device="cpu", asked="stacked:8", ways={"k": refused})
    )
    assert describe_engine_of(run)[1] == "trained one by one: m1 cannot be stacked: odd"


@pytest.mark.slow
def test_a_sweep_that_trains_trials_as_one_gives_what_one_by_one_gives(tmp_path: Path) -> None:
    """The command, with local workers; errors within what rounding does in 17 steps."""
    sweep = ["sweep", "--model", "vitc", "--optim", "sgd", "--lr", "0.01:0.05", "--epochs", "1"]
    sweep += ["--trials", "4"]
    tables = {}
    for name in ("eager", "stacked:2"):
        out = name.partition(":")[0]
        place = ["--engine", name, "--out", f"runs-{out}/run", "--workers", "2"]
        done = call(*sweep, *place, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        tables[out] = pq.read_table(
            tmp_path / f"runs-{out}" / "run" / "results.parquet"
        ).to_pylist()
    assert "engine stacked, 2 at a time on cpu" in done.stdout
    for alone, together in zip(tables["eager"], tables["stacked"], strict=True):
        assert alone["trial"] == together["trial"]
        assert (alone["engine"], together["engine"]) == ("eager", "stacked")
        assert (alone["cohort_size"], together["cohort_size"]) == (1, 2)
        assert together["device"] == "cpu"
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-3)
        assert abs(together["wrong"] - alone["wrong"]) <= 2
    state = json.loads(call("status", "runs-stacked/run", "--json", cwd=tmp_path).stdout)
    assert state["engine"] == ["engine stacked, 2 at a time on cpu"]
    assert state["spared"] == 0  # none of them diverged
    refused = call("resume", "runs-stacked/run", "--engine", "captured", cwd=tmp_path)
    assert refused.returncode == 0  # nothing is left to train
    more = [*sweep[:-1], "8", "--out", "runs-stacked/more", "--engine", "captured"]
    refused = call(*more, cwd=tmp_path)
    assert refused.returncode == 2
    assert "captured needs a CUDA device" in refused.stderr
    assert not (tmp_path / "runs-stacked" / "more").exists()
