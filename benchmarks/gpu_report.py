"""The JSON file of a stage of `gpu_day`: written whole after each change, so never half a file."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.children import OUT_OF_TIME

__all__ = ["OUT_OF_TIME", "Report", "read_report", "write_report"]


def read_report(path: Path) -> dict[str, Any]:
    """Read what a stage has written."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_report(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file in one step."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


class Report:
    """What a stage finds, kept in its file."""

    def __init__(self, path: Path, device: str, seconds: float) -> None:
        """`seconds`: how long the stage should take at most from now."""
        self._path, self.content = path, read_report(path)
        self.device, self.deadline = device, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the stage should end, not below 0."""
        return max(self.deadline - time.monotonic(), 0.0)

    def add(self, row: Mapping[str, Any], error: str = "") -> None:
        """Keep a result; `error` says what is wrong with it, if anything."""
        self.content["rows"].append(dict(row))
        if error:
            self.content["errors"].append(error)
        self.save()

    def fail(self, error: str) -> None:
        """Keep an error that belongs to no row."""
        self.content["errors"].append(error)
        self.save()

    def say(self, line: str) -> None:
        """Have a line in the printed summary."""
        self.content.setdefault("summary", []).append(line)
        self.save()

    def save(self) -> None:
        """Write the file."""
        write_report(self._path, self.content)
