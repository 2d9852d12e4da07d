"""The command line as tests call it: as a process, as a request, and as the pages show it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from toys import ROOT

from stability.cli import main
from stability.cli.site.cluster import ClusterOptions, SiteOptions
from stability.cli.study.options import StudyOptions
from stability.cli.study.request import Request, read_request
from sweeps.errors import SpecError

WHERE = ("executor", "workers", "device", "engine", "out", "confirm", "profile")
CLUSTER = tuple(ClusterOptions.__dataclass_fields__)
STABILITY = str(Path(sys.executable).with_name("stability"))
PLAIN = {
    "model": "vitc",
    "optim": "sgd",
    "data": "digits",
    "epochs": "5",
    "draws": "64",
    "sampler": "random",
    "seed": "0",
    "lr": [],
    "weight_decay": [],
    "vary": [],
    "recipe": None,
    "set": [],
    "stem": None,
    "depth": None,
    "pool": None,
}


def call(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run the installed command, as in a pipe."""
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [STABILITY, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )


def request(**changes: object) -> Request:
    """The main job, with some options changed."""
    places = {name: changes.pop(name) for name in WHERE if name in changes}
    cluster = {name: changes.pop(name) for name in CLUSTER if name in changes}
    where = SiteOptions(**places, cluster=ClusterOptions(**cluster))  # type: ignore[arg-type]
    return read_request(StudyOptions(**{**PLAIN, **changes}), where)  # type: ignore[arg-type]


def faults_of(**changes: object) -> list[str]:
    with pytest.raises(SpecError) as error:
        request(**changes)
    return error.value.faults


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of a command that is called in this process."""
    monkeypatch.setattr("sys.argv", ["stability", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"^    (stability (?:.*\\\n)*.*)", re.MULTILINE)


def commands() -> list[list[str]]:
    """Every `stability ...` line of every page."""
    lines = [line for page in PAGES for line in COMMAND.findall(page.read_text())]
    return [shlex.split(line.replace("\\\n", " "), comments=True) for line in lines]
