"""What can go wrong on a cluster: with jobs, and with Slurm's own daemons."""

import os
import subprocess
import time
from functools import partial
from pathlib import Path

from toys import TESTS

from chaos.local_faults import KINDS as LOCAL
from chaos.local_faults import SLURM, Fault, damage_one
from chaos.scene import Scene

UP = TESTS / "slurm" / "up.sh"
SAVED_SECONDS = 6.0  # slurmctld saves its state every five: a younger job would be forgotten


def jobs(scene: Scene) -> list[str]:
    """Of a scene, those that wait or run."""
    names = [f"stability-{path.parent.name[:12]}" for path in scene.run.jobs.glob("*/slurm.json")]
    if not names:
        return []
    command = ("squeue", "-h", "-r", f"--name={','.join(names)}", "-o", "%i")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def one_job(scene: Scene) -> str:
    """Of those that wait or run; of no meaning where there is none."""
    found = jobs(scene) or ["0"]
    return found[scene.rng.integers(len(found))]


def cancel_job(scene: Scene) -> None:
    subprocess.run(["scancel", one_job(scene)], check=False, capture_output=True)


def requeue_job(scene: Scene) -> None:
    """By an administrator, say: the job keeps its id and starts anew."""

    def is_requeued() -> bool:  # refused while the job is just ending
        scene.driver()
        command = ["scontrol", "requeue", one_job(scene)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    scene.wait(is_requeued)


def preempt(scene: Scene) -> None:
    """A job of a higher partition takes both nodes for some seconds."""
    urgent = ["sbatch", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null"]
    subprocess.run([*urgent, "--wrap", "sleep 3"], check=True, capture_output=True)


def kill_daemon(name: str, scene: Scene) -> None:
    """It is started again after some seconds, as a service manager would."""
    if name == "slurmctld":
        time.sleep(SAVED_SECONDS)
    pid = Path(os.environ["SLURM_SANDBOX"], "run", f"{name}.pid")
    scene.kill(int(pid.read_text()))
    scene.let_on(2)
    time.sleep(float(scene.rng.uniform(0.5, 3)))
    subprocess.run(["bash", str(UP)], check=True, capture_output=True)


def kill_slurmd(scene: Scene) -> None:
    """Back before its node is given up: its jobs must not be begun anew elsewhere."""
    kill_daemon(str(scene.rng.choice(["n1", "n2"])), scene)


def kill_slurmctld(scene: Scene) -> None:
    kill_daemon("slurmctld", scene)


def kill_slurmdbd(scene: Scene) -> None:
    kill_daemon("slurmdbd", scene)


ALSO_HERE = (
    "kill -9 of the driver",
    "kill -9 of a worker",
    "kill -9 of all",
    "worker killed before os.replace",
    "damaged part",
    "damaged claim",
    "damaged checkpoint",
    "two drivers",
    "read-only file system",
)
KINDS: dict[str, Fault] = {
    "scancel": cancel_job,
    "requeue": requeue_job,
    "preemption": preempt,
    "kill -9 of slurmd": kill_slurmd,
    "kill -9 of slurmctld": kill_slurmctld,
    "kill -9 of slurmdbd": kill_slurmdbd,
    "damaged slurm.json": partial(damage_one, folder="jobs", pattern="*/slurm.json"),
    **{f"{SLURM}{kind}": LOCAL[kind] for kind in ALSO_HERE},
}
