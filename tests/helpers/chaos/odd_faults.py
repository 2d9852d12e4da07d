"""What anybody may put into a run directory, or beside it: files and tables that are none."""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chaos.scene import Scene
from sweeps.study.schema import PART_SCHEMA

SOMEBODY = 12345  # a user id that is not ours


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


SHAPES: tuple[Callable[[Path], None], ...] = (
    os.mkfifo,
    Path.mkdir,
    link_to_itself,
    link_to_endless,
)


def put_odd_file(scene: Scene) -> None:
    """A pipe, a folder or an odd link, under a name that is read; what is there already stays."""
    run, trial = scene.run, next_trial(scene)
    (run.jobs / "odd").mkdir(exist_ok=True)
    places = (
        run.claim(trial), run.worker("odd"), run.part("odd", 0), run.checkpoint(trial),
        run.provenance / "9.toml", run.jobs / "odd" / "slurm.json",
    )  # fmt: skip
    shape = SHAPES[scene.rng.integers(len(SHAPES))]
    with suppress(FileExistsError):
        shape(places[scene.rng.integers(len(places))])
    if scene.rng.integers(2):
        begin_again(scene)


def next_trial(scene: Scene) -> str:
    """One whose turn comes soon."""
    held = {path.stem for path in scene.run.claims.glob("*.json")}
    first = max((trial.draw for trial in scene.trials if trial.id in held), default=0)
    return next(t.id for t in scene.trials if t.draw == first + 1)


def put_odd_part(scene: Scene) -> None:
    """A table that can be read, with other columns or values than a part has."""
    trial = [scene.trials[-1].id]
    finished = PART_SCHEMA.field("finished").type
    sound = {
        "trial": pa.array(trial),
        "outcome": pa.array(["ok"]),
        "finished": pa.array([0], pa.int64()).cast(finished),
    }
    changes: tuple[dict[str, pa.Array], ...] = (
        {"finished": pa.nulls(1, finished)},
        {"finished": pa.array([2**62], pa.int64()).cast(finished)},
        {"outcome": pa.array([["ok"]])},
        {"trial": pa.array([7])},
        {"error": pa.array(["none"])},
        {"curve": pa.array([1.0])},
    )
    choice = int(scene.rng.integers(len(changes) + 1))
    table = {**sound, **changes[choice]} if choice < len(changes) else {"other": pa.array([1])}
    beside = scene.folder / "odd.parquet"
    pq.write_table(pa.table(table), beside)
    shutil.move(beside, scene.run.part(f"odd{scene.rng.integers(10**6)}", 0))
    if scene.rng.integers(2):
        begin_again(scene)


def put_odd_neighbour(scene: Scene) -> None:
    """A run directory of the same study beside this one, odd or of somebody else's."""
    neighbour = scene.run.path.with_name(f"neighbour-{scene.rng.integers(10**6)}")
    with suppress(shutil.Error, OSError):  # files come and go meanwhile
        shutil.copytree(scene.run.path, neighbour, symlinks=True, ignore=pipes)
    how = scene.rng.integers(4)
    if how == 0:
        link_to_itself(neighbour / "parts" / "odd.parquet")
    elif how == 1:
        (neighbour / "design.parquet").unlink(missing_ok=True)
        os.mkfifo(neighbour / "design.parquet")
    elif how == 2:
        pq.write_table(pa.table({"other": [1]}), neighbour / "parts" / "odd.parquet")
    elif os.geteuid() == 0:
        os.chown(neighbour, SOMEBODY, SOMEBODY)
    begin_again(scene)


def begin_again(scene: Scene) -> None:
    """Kill the driver and start another, which meets what was put there."""
    scene.expected.add(-signal.SIGKILL)
    driver = scene.driver()
    scene.kill(driver.pid)
    driver.wait()
    scene.driver()


def pipes(folder: str, names: list[str]) -> list[str]:
    """Those of the names that are no files and no folders: they cannot be copied."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not (path.is_file() or path.is_dir())]


KINDS = {
    "odd file": put_odd_file,
    "odd part": put_odd_part,
    "odd neighbour": put_odd_neighbour,
}
