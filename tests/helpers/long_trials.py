"""An objective of the tests that takes epochs and keeps its state, as a user's own would."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from sweeps.study.trial import Saved


def chain(trial: dict[str, Any], saved: Saved) -> dict[str, Any]:
    """A chain of hashes: an epoch left out or done twice makes another result.

    LONG_LOG: where each epoch is noted. LONG_SECONDS: of an epoch; from LONG_SLOW_FROM on a minute.
    """
    state = json.loads(saved.load() or b'{"link": "", "curve": []}')
    for epoch in range(len(state["curve"]), trial["epochs"]):
        note(f"{trial['model']} {trial['seed']} {epoch} {os.getpid()}")
        is_slow = epoch >= int(os.environ.get("LONG_SLOW_FROM", "999"))
        time.sleep(60 if is_slow else float(os.environ.get("LONG_SECONDS", "0")))
        state["link"] = link(state["link"], trial["seed"])
        state["curve"].append({"val_error": error(state["link"])})
        saved.offer(lambda: json.dumps(state).encode())
    return {"wrong": error(state["link"]), "n_eval": 100, "curve": state["curve"]}


def link(before: str, seed: int) -> str:
    """The next of the chain."""
    return hashlib.sha256(f"{before}{seed}".encode()).hexdigest()


def error(link: str) -> int:
    """Percent."""
    return int(link, 16) % 90


def answer(seed: int, epochs: int) -> int:
    """What an undisturbed training gives."""
    last = ""
    for _ in range(epochs):
        last = link(last, seed)
    return error(last)


def note(line: str) -> None:
    """In the log; shorter than a pipe's buffer, so appended whole."""
    with Path(os.environ["LONG_LOG"]).open("a") as log:
        log.write(f"{line}\n")


def epochs_trained(log: Path) -> dict[tuple[str, int], list[int]]:
    """Epochs of each training, in the order in which they were begun."""
    found: dict[tuple[str, int], list[int]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        model, seed, epoch, _ = line.split()
        found.setdefault((model, int(seed)), []).append(int(epoch))
    return found
