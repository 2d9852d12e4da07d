"""What can go wrong on one machine. Each function does it once, to a scene in full training."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from chaos.drive import STOPPED
from chaos.odd_faults import KINDS as ODD
from chaos.scene import PATIENCE, HungError, Scene

DISK_BYTES = 6 << 20
LIMIT_SECONDS = 8.0  # for a fault to be noticed by anybody; then it is over
SLURM = "Slurm: "  # before the name of a fault that is thrown at studies there, too
FORKED_ALONE = "kill -9 of the workers' parent"

KILLED, INTERRUPTED, REFUSES = -signal.SIGKILL, 130, 2  # how a driver ends; and STOPPED

Fault = Callable[[Scene], None]


def kill_driver(scene: Scene) -> None:
    scene.expected.add(KILLED)
    driver = scene.driver()
    scene.kill(driver.pid)
    driver.wait()


def kill_worker(scene: Scene) -> None:
    victims = scene.living()
    if victims:
        scene.kill(victims[scene.rng.integers(len(victims))])


def kill_parent(scene: Scene) -> None:
    """Of forked workers: these live on, and it is their files alone that say so."""

    def has_one() -> bool:
        scene.driver()
        if not scene.parents():  # orphans of the last one: let others be forked in their place
            for worker in scene.living():
                scene.kill(worker)
        return bool(scene.parents())

    scene.wait(has_one)
    for parent in scene.parents():
        scene.kill(parent)


def kill_both(scene: Scene) -> None:
    kill_driver(scene)
    for process in scene.processes():
        scene.kill(process)
    scene.wait(lambda: not scene.processes())


def interrupt_driver(scene: Scene) -> None:
    terminate_driver(scene)


def terminate_driver(scene: Scene) -> None:
    """It may not have come to the point at which it expects that."""
    scene.expected |= {INTERRUPTED, -signal.SIGTERM}
    driver = scene.driver()
    driver.terminate()
    try:
        driver.wait(60)
    except subprocess.TimeoutExpired as error:
        raise HungError(f"{scene.folder}: the driver does not end at SIGTERM") from error


def cut_replace(scene: Scene, when: str, role: str) -> None:
    """Killed before or after a file gets its last name; who comes first, if anybody comes."""
    order = scene.folder / f"cut-{when}-{role}"
    endings = ("",) if role == "driver" else (".parquet", ".pt")
    new = order.with_suffix(".new")
    new.write_text(endings[scene.rng.integers(len(endings))])
    new.rename(order)
    scene.let_on(2)
    if role == "driver":
        scene.expected.add(KILLED)
        terminate_driver(scene)  # it writes its views, and is killed there
    else:
        # Where an earlier fault has ended the driver, nobody would come.
        scene.wait(lambda: bool(scene.driver()) and not order.exists(), PATIENCE)


def damage(scene: Scene, path: Path) -> None:
    """Shorten it, empty it, or write garbage over a stretch of it."""
    content = path.read_bytes()
    how = scene.rng.integers(3)
    if how == 0:
        content = content[: scene.rng.integers(len(content))] if content else b""
    elif how == 1:
        content = b""
    else:
        start = int(scene.rng.integers(max(1, len(content) - 16)))
        content = content[:start] + scene.rng.bytes(16) + content[start + 16 :]
    path.write_bytes(content)


def damage_one(scene: Scene, folder: str, pattern: str, explains: str | None = None) -> None:
    """One file of a folder; a worker replaces its own at any moment, so look again."""
    if explains:
        scene.explained.add(explains)

    def damaged() -> bool:
        found = sorted(p for p in (scene.run.path / folder).glob(pattern) if p.is_file())
        if not found:
            return False
        try:
            damage(scene, found[scene.rng.integers(len(found))])
        except FileNotFoundError:
            return False
        return True

    scene.wait(damaged)


def damage_checkpoint(scene: Scene) -> None:
    """Of a training that nobody has in hand any more: its seal shows it to whoever goes on."""
    scene.wait(lambda: bool(scene.driver()) and any(scene.run.checkpoints.glob("*.pt")))
    kill_both(scene)
    for path in scene.run.checkpoints.glob("*.pt"):
        if path.is_file():
            damage(scene, path)


def damage_definition(scene: Scene, name: str) -> None:
    """Of study or design, behind the back of a living driver or of a dead one."""
    scene.expected |= {REFUSES, STOPPED}
    if scene.rng.integers(2):
        kill_both(scene)
    damage(scene, scene.run.path / name)


def leave_temporary(scene: Scene) -> None:
    """What another version or an older crash may have left."""
    for folder in (scene.run.parts, scene.run.workers, scene.run.path):
        (folder / ".cpu0-0123abcd-0000.parquet.k3_x9abc.tmp").write_bytes(scene.rng.bytes(100))


def step_clock(scene: Scene, sign: int) -> None:
    """By a second up to a year."""
    seconds = sign * 10 ** scene.rng.uniform(0, 7.5)
    (scene.folder / "clock").write_text(f"{seconds}")


def fill_disk(scene: Scene) -> None:
    """Not a byte is left, until somebody has noticed or `LIMIT_SECONDS` have gone."""
    scene.expected |= {REFUSES, STOPPED}
    ballast = scene.run.path.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    noticed(scene)
    ballast.unlink()


def make_read_only(scene: Scene) -> None:
    """A read-only mount over the run directory, until somebody has noticed."""
    scene.expected |= {REFUSES, STOPPED}
    path = str(scene.run.path)
    unmount = partial(subprocess.run, ["umount", "--lazy", path], check=True)

    def is_mounted() -> bool:  # not where somebody has just opened a file through it
        subprocess.run(["mount", "--bind", path, path], check=True)
        remount = ["mount", "-o", "remount,bind,ro", path]
        if subprocess.run(remount, capture_output=True, check=False).returncode == 0:
            return True
        unmount()
        return False

    scene.wait(is_mounted)
    scene.cures.append(unmount)
    noticed(scene)
    scene.cures.remove(unmount)
    unmount()


def noticed(scene: Scene) -> None:
    """Trainings go on meanwhile, and cannot write what they find; wait for a process to end.

    Not for long: perhaps nobody had to write anything.
    """
    scene.let_on(2)
    driver, workers = scene.driver(), scene.living()

    def somebody_ended() -> bool:
        return driver.poll() is not None or not all(map(scene.is_alive, workers))

    with suppress(HungError):
        scene.wait(somebody_ended, LIMIT_SECONDS)


def second_driver(scene: Scene) -> None:
    """It is told who has the study, and leaves; the first goes on."""
    scene.expected.add(STOPPED)
    scene.driver()
    scene.wait(lambda: scene.run.lock.exists() and bool(scene.run.lock.read_text()))
    first, second = scene.drivers[0], scene.spawn()
    scene.wait(lambda: first.poll() is not None or second.poll() is not None)
    if first.poll() is None and second.returncode != STOPPED:
        scene.oddities.append(f"the second driver ended with {second.returncode}")


def run_out_of_memory(scene: Scene) -> None:
    order = scene.folder / "out-of-memory"
    order.touch()
    scene.let_on(2)
    scene.wait(lambda: not order.exists())


def driving(scene: Scene) -> None:
    """Have a driver that holds the lock, or has ended: one that only starts notices nothing."""
    driver = scene.driver()
    holds = f'"pid": {driver.pid},'
    lock = scene.run.lock
    scene.wait(lambda: driver.poll() is not None or (lock.is_file() and holds in lock.read_text()))


def remove_lock(scene: Scene) -> None:
    """Another driver could start now: the first ends before both drive."""
    scene.expected.add(STOPPED)
    driving(scene)
    scene.run.lock.unlink(missing_ok=True)
    ended(scene)


def remove_folder(scene: Scene) -> None:
    """Of claims or workers; whoever trained on meanwhile is not known to anybody any more."""
    scene.expected.add(STOPPED)
    scene.explained |= {"beside", "twice"}
    driving(scene)
    folders = [scene.run.workers, scene.run.claims]
    folder = folders[scene.rng.integers(len(folders))]

    def is_removed() -> bool:  # not while somebody makes a file in it
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    scene.wait(is_removed)
    ended(scene)


def move_run(scene: Scene) -> None:
    """The whole run directory, and back once its driver has ended."""
    scene.expected.add(STOPPED)
    scene.explained |= {"beside", "twice"}
    driving(scene)
    elsewhere = scene.run.path.with_name("elsewhere")
    scene.run.path.rename(elsewhere)
    ended(scene)
    for process in scene.processes():  # nobody can tell them that their folder comes back
        scene.kill(process)
    if scene.run.path.exists():
        scene.oddities.append(f"made in its old place: {sorted(scene.run.path.rglob('*'))}")
        shutil.rmtree(scene.run.path)
    elsewhere.rename(scene.run.path)


def ended(scene: Scene) -> None:
    """Wait for the driver to notice; trainings end meanwhile."""
    scene.let_on(2)
    driver = scene.drivers[0]
    scene.wait(lambda: driver.poll() is not None)


def odd_objective(scene: Scene, what: str) -> None:
    """The next training does what no objective should; its trial is tried again."""
    order = scene.folder / "odd"
    new = order.with_suffix(".new")
    new.write_text(what)
    new.rename(order)
    scene.let_on(2)
    scene.wait(lambda: bool(scene.driver()) and not order.exists())


KINDS: dict[str, Fault] = {
    "kill -9 of the driver": kill_driver,
    "kill -9 of a worker": kill_worker,
    FORKED_ALONE: kill_parent,
    "kill -9 of all": kill_both,
    "SIGTERM to the driver": interrupt_driver,
    "worker killed before os.replace": partial(cut_replace, when="before", role="worker"),
    "worker killed after os.replace": partial(cut_replace, when="after", role="worker"),
    "driver killed before os.replace": partial(cut_replace, when="before", role="driver"),
    "temporary files left over": leave_temporary,
    # Set aside, its trials trained again; then its writer, who has all rows, writes it once more.
    "damaged part": partial(damage_one, folder="parts", pattern="*.parquet", explains="twice"),
    # Its owner cannot be known, so nobody can know that it lives.
    "damaged claim": partial(damage_one, folder="claims", pattern="*.json", explains="beside"),
    "damaged worker file": partial(
        damage_one, folder="workers", pattern="*.json", explains="beside"
    ),
    "damaged checkpoint": damage_checkpoint,
    **ODD,
    "damaged study.toml": partial(damage_definition, name="study.toml"),
    "damaged design.parquet": partial(damage_definition, name="design.parquet"),
    "disk full": fill_disk,
    "read-only file system": make_read_only,
    "clock set forward": partial(step_clock, sign=1),
    "clock set back": partial(step_clock, sign=-1),
    "two drivers": second_driver,
    "out of memory": run_out_of_memory,
    "driver.lock removed": remove_lock,
    "claims or workers removed": remove_folder,
    "run directory moved": move_run,
    "objective raises what cannot be stored": partial(odd_objective, what="raise"),
    "objective yields what is no result": partial(odd_objective, what="yield"),
    "objective forks and returns twice": partial(odd_objective, what="fork"),
    "objective ends its process": partial(odd_objective, what="exit"),
}


def needs(kind: str) -> str | None:
    """What this machine lacks for a kind of fault; None where it has all."""
    mounts = ("disk full", "read-only file system")
    if kind.removeprefix(SLURM) in mounts and not may_mount():
        return "root, to mount"
    return None


def may_mount() -> bool:
    """Whether a mount is allowed here; tried in a mount name space that ends with the trial."""
    if os.geteuid() != 0:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
