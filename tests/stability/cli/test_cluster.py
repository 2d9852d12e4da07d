"""What is asked of a cluster: options, profiles, the script, what `resume` remembers."""

import os
from pathlib import Path

import pytest
from command_line import call
from toys import make_toy

from stability.cli.site.cluster import Cluster, Site, SiteOptions, read_site
from stability.cli.site.remembered import as_written, last_site
from stability.cli.study.parsing import Faults
from sweeps.errors import SpecError
from sweeps.executors.slurm import commands
from sweeps.executors.slurm.options import SlurmOptions, script
from sweeps.store import provenance
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import draw_design


@pytest.fixture(autouse=True)
def login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has Slurm's commands, and a folder and a configuration without profiles."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in commands.NEEDED:
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def site(remembered: Site | None = None, **where: object) -> Site:
    names = {name: where.pop(name) for name in list(where) if name in Cluster().__dict__}
    given = {"executor": "slurm", **where} if remembered is None else where
    faults = Faults()
    found = read_site(faults, SiteOptions(cluster=Cluster(**names), **given), remembered)  # type: ignore[arg-type]
    if faults.found:
        raise SpecError(faults.found)
    return found


def faults_of(**where: object) -> list[str]:
    with pytest.raises(SpecError) as error:
        site(**where)
    return error.value.faults


def test_all_faults_of_a_cluster_are_said_at_once_with_status_2(tmp_path: Path) -> None:
    bad = (
        "--partition=a b", "--time=soon", "--memory=lots", "--cpus=0", "--gpus=many",
        "--slurm=array=1-3", "--slurm=mem=4G", "--slurm=Bad!", "--setup=a\nb", "--workers=0",
        "--device=cuda:1",
    )  # fmt: skip
    done = call("sweep", "--executor", "slurm", *bad, cwd=tmp_path / "work")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for words in (
        "11 problems",
        "--partition: got 'a b', allowed are letters",
        "--time: got 'soon', allowed is MINUTES, H:MM:SS or D-HH",
        "--memory: got 'lots', allowed is a number with K, M, G or T",
        "--cpus: got '0'",
        "--gpus: got 'many'",
        "--slurm 'array=1-3': array is decided here",
        "--slurm 'mem=4G': say --memory",
        "--slurm 'Bad!': allowed is KEY=VALUE",
        "--setup: got a line break",
        "--workers: got '0'",
        "--device: got 'cuda:1', on a cluster Slurm chooses the GPU",
    ):
        assert words in done.stderr
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    "key",
    [
        "clusters", "cluster-constraint", "wait", "test-only", "quiet", "help", "usage", "version",
        "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-socket", "tasks-per-node", "uid", "gid",
        "input", "ignore-pbs", "export-file",
        "wai", "clu",  # sbatch takes the beginning of a name for the name
    ],
)  # fmt: skip
def test_what_would_break_the_machinery_is_decided_here(key: str) -> None:
    assert faults_of(slurm=[f"{key}=1"]) == [
        f"--slurm '{key}=1': {key} is decided here, results hang on it"
    ]


def test_other_options_of_sbatch_are_let_through() -> None:
    """Though the name of a reserved one begins like some of them."""
    keys = ("wait-all-nodes", "nodelist", "exclusive", "nice", "no-kill", "gres", "hint", "wckey")
    assert site(slurm=[f"{key}=1" for key in keys]).slurm.extra == dict.fromkeys(keys, "1")


def test_options_of_a_cluster_are_refused_elsewhere() -> None:
    faults = faults_of(executor="local", partition="gpu", setup=["module load x"])
    assert faults == [
        "--partition: got it with --executor local, it is for slurm",
        "--setup: got it with --executor local, it is for slurm",
    ]
    assert "did you mean 'slurm'" in faults_of(executor="slrum")[0]


def test_commands_of_slurm_that_are_not_there_are_said_with_all_other_faults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs = "--executor: slurm needs commands that are not on this machine: "
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "scontrol").unlink()
    assert faults_of(cpus="0") == [
        f"{needs}scontrol",
        "--cpus: got '0', allowed is a whole number from 1 to 1024",
    ]
    monkeypatch.setenv("PATH", "/nowhere")
    assert faults_of() == [f"{needs}sbatch, squeue, scancel, scontrol, srun"]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("1:30:00", 90), ("1-12", 2160), ("1-12:30", 2190), ("4:00", 4)],
)
def test_times_are_read_as_slurm_reads_them(text: str, minutes: int) -> None:
    assert site(time=text).slurm.time == minutes


@pytest.mark.parametrize(
    ("asked", "device", "gpus"),
    [
        ({}, "cpu", 0),
        ({"device": "cuda"}, "cuda", 1),  # the login node need not have one
        ({"gpus": "1"}, "cuda", 1),
        ({"gpus": "1", "device": "cpu"}, "cpu", 1),
        ({"slurm": ["gres=gpu:a100:1"]}, "cuda", 0),
    ],
)
def test_the_device_follows_from_what_is_asked_for(
    asked: dict[str, object], device: str, gpus: int
) -> None:
    found = site(**asked)
    assert (found.device, found.slurm.gpus) == (device, gpus)


def test_a_profile_is_completed_by_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "config" / "stability").mkdir(parents=True)
    (tmp_path / "config" / "stability" / "stability.toml").write_text(
        '[profiles.big]\npartition = "gpu"\ntime = "12:00:00"\ncpus = 4\nworkers = 32\n'
        'setup = ["module load cuda"]\nslurm = { reservation = "us", nice = "5" }\n'
    )
    found = site(executor=None, profile="big", time="30", slurm=["nice=9"])
    assert found.executor == "slurm"
    assert found.workers == 32
    assert found.slurm == SlurmOptions(
        partition="gpu",
        time=30,
        cpus=4,
        setup=("module load cuda",),
        extra={"reservation": "us", "nice": "9"},
    )
    Path("stability.toml").write_text('[profiles.big]\npartition = "here"\n')
    assert site(profile="big").slurm.partition == "here"  # this folder's goes first


def test_faults_of_profiles(tmp_path: Path) -> None:
    assert "[profiles.big]" in faults_of(profile="big")[0]
    Path("stability.toml").write_text('[profiles.big]\npartitoin = "x"\ncpus = [1]\n')
    assert "did you mean 'big'" in faults_of(profile="bog")[0]
    spelled, kind = faults_of(profile="big")
    assert "did you mean 'partition'" in spelled
    assert kind == "profile big: cpus: got [1], allowed is a text"
    Path("stability.toml").write_text("[profiles")
    assert "cannot be read" in faults_of(profile="big")[0]


def test_workers_of_a_profile_may_be_called_parallel() -> None:
    Path("stability.toml").write_text("[profiles.big]\nparallel = 5\n")
    assert site(profile="big").workers == 5
    assert site(profile="big", workers="7").workers == 7
    Path("stability.toml").write_text("[profiles.big]\nworkers = 4\nparallel = 5\n")
    assert faults_of(profile="big") == [
        "profile big: parallel: got workers too, which means the same"
    ]


def test_a_fault_of_a_value_names_the_profile_that_it_stands_in() -> None:
    Path("stability.toml").write_text(
        '[profiles.big]\ncpus = 0\nparallel = 0\ntime = "soon"\nsetup = ["a\\nb"]\n'
        'slurm = { array = "1-3" }\nexecutor = "slrum"\n'
    )
    assert [fault.partition(", ")[0] for fault in faults_of(profile="big", executor="slurm")] == [
        "profile big: parallel: got '0'",
        "profile big: slurm 'array=1-3': array is decided here",
        "profile big: time: got 'soon'",
        "profile big: cpus: got '0'",
        "profile big: setup: got a line break",
    ]
    typed = faults_of(profile="big", executor="slurm", cpus="-1", slurm=["wait="])
    assert "--cpus: got '-1', allowed is a whole number from 1 to 1024" in typed
    assert "--slurm 'wait=': wait is decided here, results hang on it" in typed
    assert "did you mean 'slurm'" in faults_of(profile="big", executor=None)[0]


def test_the_script_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/env/bin/python")
    options = SlurmOptions(
        partition="gpu", time=90, memory="8G", cpus=2, gpus=1, exclude="n7",
        setup=("module load cuda",), extra={"reservation": "us", "overcommit": ""},
    )  # fmt: skip
    folder = Path("/runs/a b/jobs/0")
    assert script(options, folder, "stability-0123456789ab", 3).splitlines() == [
        "#!/bin/bash",
        "",
        "# Parameters",
        "#SBATCH --array=0-2%3",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --exclude=n7",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=stability-0123456789ab",
        "#SBATCH --mem=8G",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --open-mode=append",
        "#SBATCH --output='/runs/a b/jobs/0/%A_%a_0_log.out'",
        "#SBATCH --overcommit",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --reservation=us",
        "#SBATCH --signal=USR2@60",
        "#SBATCH --time=90",
        "",
        "# setup",
        "export PYTHONSAFEPATH=1",
        "export PYTHONIOENCODING=:backslashreplace",
        "export OMP_NUM_THREADS=1",
        "export OMP_WAIT_POLICY=passive",
        "export MALLOC_MMAP_THRESHOLD_=4294967296",
        "export MALLOC_TRIM_THRESHOLD_=8589934592",
        "module load cuda",
        "",
        "# command",
        "export SUBMITIT_EXECUTOR=slurm",
        "srun --unbuffered --output '/runs/a b/jobs/0/%A_%a_%t_log.out' --cpus-per-task=2 "
        "--export=ALL /env/bin/python -u -m submitit.core._submit '/runs/a b/jobs/0'",
    ]


def test_resume_remembers_the_cluster_unless_others_could_have_written_it(tmp_path: Path) -> None:
    study = make_toy()
    run = RunDirectory(tmp_path / "run")
    run.create(study, draw_design(study))
    asked = site(partition="gpu", setup=["module load x"], device="cuda", workers="5", time="60")
    provenance.write_provenance(run, as_written(asked))
    found = last_site(run)
    assert found == asked
    assert site(found) == asked
    assert site(found, partition="other").slurm.partition == "other"
    assert site(found, executor="local").executor == "local"
    (run.provenance / "1.toml").chmod(0o666)
    with pytest.raises(SpecError, match="can be written by others"):
        last_site(run)
