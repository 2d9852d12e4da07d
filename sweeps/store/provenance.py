"""Provenance: command, code, versions and host of each dispatch. No result depends on it."""

import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.objective.user_code import CODE_DIGITS, Modules
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import digest
from sweeps.system.files import atomic_write, parse_toml, read_text

PACKAGES = ("stability", "torch", "optuna", "numpy", "pyarrow", "submitit", "scikit-learn")


def write_provenance(run: RunDirectory, circumstances: dict[str, Any]) -> None:
    """Write provenance/<n>.toml for a dispatch: command, code, versions, host, circumstances."""
    import tomli_w

    taken = [int(p.stem) for p in run.provenance.glob("*.toml") if p.stem.isdecimal()]
    content = {
        "time": datetime.now(UTC),
        "argv": sys.argv,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "git": _git(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        **circumstances,
    }
    with atomic_write(run.provenance / f"{max(taken, default=0) + 1}.toml") as temporary:
        temporary.write_text(tomli_w.dumps(content), encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any]:
    """Return the commit of this code and whether it has changes; empty for an installed package."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return {}
    try:
        commit = _run_git(here, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run_git(here, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def last_file(run: RunDirectory) -> Path | None:
    """Return the file of the last dispatch; None before the first."""
    written = [path for path in run.provenance.glob("*.toml") if path.stem.isdecimal()]
    return max(written, key=lambda path: int(path.stem), default=None)


def last_dispatch(run: RunDirectory) -> dict[str, Any]:
    """Read the provenance of the last dispatch; empty if it cannot be read."""
    path = last_file(run)
    try:
        content = parse_toml(read_text(path)) if path else {}
    except (OSError, ValueError):
        return {}
    tables = [content.get(name, {}) for name in ("own", "versions", "git", "slurm")]
    if not all(isinstance(table, dict) for table in tables):
        return {}
    texts = [text for table in tables[:2] for text in table.values()]
    return content if all(isinstance(text, str) for text in texts) else {}


def modules_of(run: RunDirectory, version: str) -> Modules:
    """Return the modules of a version of the user's code as a dispatch recorded them, or none."""
    for path in run.provenance.glob("*.toml"):
        # A dispatch of an earlier version or a damaged file has other content.
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            for modules in parse_toml(read_text(path))["code"].values():
                if digest(modules, CODE_DIGITS) == version:
                    return Modules(modules)
    return {}


def changed_program(run: RunDirectory) -> str | None:
    """Return a sentence if this program is another version than at the last dispatch."""
    if not (before := last_dispatch(run)):
        return None
    now: dict[str, Any] = {"git": _git(), "version": _version("stability")}
    then = {"git": before.get("git"), "version": before.get("versions", {}).get("stability")}
    if now == then:
        return None
    return f"the code has changed since the last dispatch: {_code(then)} then, {_code(now)} now"


def _code(code: dict[str, Any]) -> str:
    git = code["git"] or {}
    changes = " with changes" if git.get("dirty") else ""
    return f"{code['version']} {str(git.get('commit', ''))[:12]}{changes}".strip()
