"""What is asked of a study after its faults: the same results, each once, and nothing else."""

import json
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chaos.objective import fails_at_first
from chaos.scene import Scene
from chaos.slurm_faults import jobs
from stability.cli.commands.status import state_of
from sweeps.store.parts import read_parts
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import TRAINED
from sweeps.system.files import DAMAGED

CIRCUMSTANCES = ("seconds", "host", "attempt", "peak_memory", "finished", "worker", "message")
PATIENCE_SECONDS = 20.0  # for processes that were taken for dead to find that out

Row = dict[str, Any]


@dataclass
class Verdict:
    """Of one study."""

    lost: list[str] = field(default_factory=list)
    """Trials without a result."""
    wrong: list[str] = field(default_factory=list)
    """Trials more than once in the results, or other than undisturbed there or in any part; trained
    by two living processes at a time, or twice in the parts, where no fault explains it."""
    litter: list[str] = field(default_factory=list)
    """Processes, claims, checkpoints, temporary and unreadable files that are left."""
    odd: list[str] = field(default_factory=list)
    """Drivers that ended as no fault explains."""
    repeated: int = 0
    """Trainings begun beyond the first, and beyond those that fail by design."""
    beside: int = 0
    """Of these, those begun while another living process trained the same trial."""
    twice: int = 0
    """Trained rows in the parts beyond the first of their trial."""
    set_aside: int = 0
    """Damaged files that were kept under another name: by design."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is amiss."""
        return not self.complaints()

    def complaints(self) -> list[str]:
        """What is amiss, in words."""
        kinds = ("lost", "wrong", "litter", "odd")
        return [f"{kind}: {found}" for kind in kinds for found in getattr(self, kind)]


def judge(scene: Scene, undisturbed: Scene) -> Verdict:
    """Hold a scene that is done against one of the same study in which nothing happened."""
    verdict = Verdict()
    results, expected = rows(scene.run.results), rows(undisturbed.run.results)
    times = Counter(row["trial"] for row in results)
    verdict.lost = [row["trial"] for row in expected if not times[row["trial"]]]
    verdict.wrong = [trial for trial, count in times.items() if count > 1]
    if results != expected:
        verdict.wrong += [a["trial"] for a, b in zip(results, expected, strict=False) if a != b]
    if rows(scene.run.curves) != rows(undisturbed.run.curves):
        verdict.wrong.append("curves")
    judge_parts(verdict, scene, undisturbed)
    judge_log(verdict, scene)
    verdict.litter = litter(scene)
    verdict.odd = scene.odd()
    verdict.set_aside = sum(DAMAGED in path.name for path in scene.run.path.rglob("*"))
    return verdict


def judge_parts(verdict: Verdict, scene: Scene, undisturbed: Scene) -> None:
    """Every trained row of every part, also those that the results leave out."""
    expected = {row["trial"]: row for row in trained(undisturbed.run)}
    found = trained(scene.run)
    verdict.wrong += [f"{r['trial']} in a part" for r in found if r != expected.get(r["trial"])]
    times = Counter(row["trial"] for row in found)
    verdict.twice = sum(count - 1 for count in times.values())
    if "twice" not in scene.explained:
        verdict.wrong += [f"{trial} twice in parts" for trial, n in times.items() if n > 1]


def judge_log(verdict: Verdict, scene: Scene) -> None:
    """What was begun, and whether while another living process was at it."""
    lines = (scene.folder / "log").read_text().splitlines()
    events = Counter(line.split()[2] for line in lines)
    planned = sum(1 + fails_at_first(trial) for trial in scene.trials)
    verdict.repeated, verdict.beside = events["start"] - planned, events["beside"]
    if "beside" not in scene.explained:
        verdict.wrong += [
            f"trained twice at a time: {line}" for line in lines if " beside " in line
        ]


def rows(path: Path) -> list[Row]:
    """Of a view, without circumstances."""
    return plain(pq.read_table(path))


def trained(run: RunDirectory) -> list[Row]:
    """Of all parts that can be read, without circumstances."""
    return [row for row in plain(read_parts(run)) if row["outcome"] in TRAINED]


def plain(table: pa.Table) -> list[Row]:
    """Rows without circumstances."""
    kept: list[Row] = table.drop_columns(
        [name for name in CIRCUMSTANCES if name in table.column_names]
    ).to_pylist()
    return kept


def litter(scene: Scene) -> list[str]:
    """What should not be there any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (alive := scene.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [f"process {pid}: {command(pid)}" for pid in alive]
    run = scene.run
    found += [
        str(path)
        for folder in (run.claims, run.workers, run.checkpoints)
        for path in folder.iterdir()
        if DAMAGED not in path.name
    ]
    found += [str(path) for path in run.path.rglob("*.tmp")]
    if scene.executor == "slurm":
        found += [f"job {job}" for job in jobs(scene)]
    found += [f"unreadable: {path}" for path in run.path.rglob("*") if not is_readable(path)]
    state = state_of(run)
    if state["damaged"] or state["lost"] or state["running"] or state["failed"]:
        found.append(f"status: {state}")
    return found


def command(pid: int) -> str:
    """Of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "ended just now"


def is_readable(path: Path) -> bool:
    """Whether a file is what its name says; what was set aside says that it is not.

    What Slurm was sent stays as it is, damaged too: the names of jobs are those of their folders.
    """
    if not path.is_file() or DAMAGED in path.name or path.name == "slurm.json":
        return True
    try:
        if path.suffix == ".parquet":
            pq.read_table(path, page_checksum_verification=True)
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text())
        elif path.suffix == ".json":
            json.loads(path.read_text())
    except (OSError, ValueError, pa.ArrowException):
        return False
    return True
