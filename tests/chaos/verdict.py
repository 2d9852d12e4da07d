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
from stability.cli.status import state_of
from sweeps.parts import DAMAGED, read_parts
from sweeps.trial import TRAINED

CIRCUMSTANCES = ("seconds", "host", "attempt", "peak_memory", "finished", "worker", "message")
PATIENCE_SECONDS = 20.0  # for processes that were taken for dead to find that out

Row = dict[str, Any]


@dataclass
class Verdict:
    """Of one study."""

    lost: list[str] = field(default_factory=list)
    """Trials without a result."""
    wrong: list[str] = field(default_factory=list)
    """Trials that are twice in the results, or other than undisturbed: in the results or in any row
    of any part, the rows that the results leave out too."""
    litter: list[str] = field(default_factory=list)
    """Processes, claims, temporary and unreadable files that are left."""
    repeated: int = 0
    """Trainings begun beyond the first, and beyond those that fail by design."""
    doubled: int = 0
    """Results in the parts beyond the first of a trial: right ones, which the views leave out."""
    overlapping: int = 0
    """Trainings begun while another process, which came to its end, had the same trial in hand."""
    set_aside: int = 0
    """Damaged files that were kept under another name: by design."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is amiss."""
        return not (self.lost or self.wrong or self.litter)


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
    judge_parts(verdict, scene, {row["trial"]: row for row in expected})
    verdict.repeated = count_repeated(scene)
    verdict.overlapping = count_overlapping((scene.folder / "log").read_text().splitlines())
    verdict.litter = litter(scene)
    verdict.set_aside = sum(DAMAGED in path.name for path in scene.run.path.rglob("*"))
    return verdict


def judge_parts(verdict: Verdict, scene: Scene, expected: dict[str, Row]) -> None:
    """Every result that a worker wrote must be the right one, also where the views leave it out."""
    written = without_circumstances(read_parts(scene.run))
    trained = [row for row in written if row["outcome"] in TRAINED]
    for row in trained:
        right = expected.get(row["trial"], {})
        if any(row[name] != value for name, value in right.items() if name in row) or not right:
            verdict.wrong.append(f"a row of {row['trial']} in the parts")
    verdict.doubled = len(trained) - len({row["trial"] for row in trained})


def rows(path: Path) -> list[Row]:
    """Of a view, without circumstances."""
    return without_circumstances(pq.read_table(path))


def without_circumstances(table: pa.Table) -> list[Row]:
    """Its rows, but for what differs from run to run."""
    kept: list[Row] = table.drop_columns(
        [name for name in CIRCUMSTANCES if name in table.column_names]
    ).to_pylist()
    return kept


def count_overlapping(log: list[str]) -> int:
    """Starts of a trial between start and end of a training of it in another process.

    Who was killed, or stopped, has no end in the log, and overlaps with nobody.

    >>> count_overlapping(["a 1 start 0", "a 2 start 1", "a 1 end 2", "a 3 start 3", "a 3 end 4"])
    1
    """
    begun: dict[tuple[str, str], float] = {}
    starts, spans = [], []
    for trial, pid, event, when in (line.split() for line in log):
        if event == "start":
            begun[trial, pid] = float(when)
            starts.append((trial, pid, float(when)))
        elif (trial, pid) in begun:
            spans.append((trial, pid, begun.pop((trial, pid)), float(when)))
    return sum(
        trial == other and pid != owner and first < when < last
        for trial, pid, when in starts
        for other, owner, first, last in spans
    )


def count_repeated(scene: Scene) -> int:
    """Trainings begun that an undisturbed study would not have."""
    begun = Counter(
        line.split()[0]
        for line in (scene.folder / "log").read_text().splitlines()
        if " start " in line
    )
    planned = sum(1 + fails_at_first(trial) for trial in scene.trials)
    return sum(begun.values()) - planned


def litter(scene: Scene) -> list[str]:
    """What should not be there any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (alive := scene.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [f"process {pid}: {command(pid)}" for pid in alive]
    run = scene.run
    found += [str(path) for folder in (run.claims, run.workers) for path in folder.iterdir()]
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
