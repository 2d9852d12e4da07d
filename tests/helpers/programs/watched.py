"""Runs commands in one process and tells what Python was asked to do meanwhile, as JSON.

python tests/helpers/programs/watched.py FOLDER RUN COMMAND ...

What is told: pickles that were opened, processes started, signals sent, code executed and modules
imported from FOLDER, files outside of RUN that were written or removed.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HARMLESS = {"squeue", "sacct", "scontrol", "git", "ps", "uname", "ldconfig"}


class Watch:
    """An audit hook; it cannot be taken off again."""

    def __init__(self, folder: str, run: str) -> None:
        self.folder, self.run = os.path.realpath(folder), os.path.realpath(run)
        self.is_on = False
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and (found := self.told(event, arguments)):
            self.seen.append(found)

    def told(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        """What is worth telling of an event."""
        if event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.kill"):
            return f"{event} {arguments}"
        if event == "subprocess.Popen":
            harmless = Path(os.fsdecode(arguments[0])).name in HARMLESS
            return None if harmless else f"{event} {arguments[:2]}"
        if event == "exec" and hasattr(arguments[0], "co_filename"):
            name = arguments[0].co_filename  # of an import: absolute
            return f"exec {name}" if Path(name).is_relative_to(self.folder) else None
        if event in ("open", "os.remove", "os.rename", "os.truncate"):
            return self.told_of_file(event, arguments)
        return None

    def told_of_file(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        """Files beside the run directory are nobody's business."""
        if not isinstance(arguments[0], str | bytes | os.PathLike):
            return None
        path = Path(os.path.realpath(os.fsdecode(arguments[0])))
        writes = event != "open" or any(letter in (arguments[1] or "r") for letter in "wax+")
        beside = path.is_relative_to(self.folder) and not path.is_relative_to(self.run)
        return f"{event} {path}" if writes and beside else None


def main() -> None:
    """Run the commands, each as the command line does."""
    folder, run, *commands = sys.argv[1:]
    import stability.cli

    watch = Watch(folder, run)
    sys.addaudithook(watch)
    if commands == ["prove"]:
        watch.is_on = True
        prove(run)
    said = [call(stability.cli.main, watch, command, run) for command in commands]
    watch.is_on = False
    print(json.dumps({"events": watch.seen, "said": said}))


def call(program: Any, watch: Watch, command: str, run: str) -> dict[str, Any]:
    """Status and words of one command."""
    sys.argv = ["stability", command, run]
    words = io.StringIO()
    status: Any = 0
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
        watch.is_on = True
        try:
            program()
        except SystemExit as end:
            status = end.code
        except Exception as error:  # the test wants to see it
            status = f"{type(error).__name__}: {error}"
        watch.is_on = False
    return {"command": command, "status": status or 0, "words": words.getvalue()}


def prove(run: str) -> None:
    """Do what is looked for, so that a test sees that it would be seen."""
    import pickle

    pickle.loads(pickle.dumps(Path(run)))
    os.system("true")
    subprocess.run(["true"], check=True)
    os.kill(os.getpid(), 0)
    beside = Path(run).with_name("beside.py")
    beside.write_text("x = 1\n")
    exec(compile(beside.read_text(), str(beside), "exec"), {})
    beside.unlink()


if __name__ == "__main__":
    main()
