"""`stability status`: what is done, what runs, what failed. Reads only."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from sweeps import claims
from sweeps.parts import Ledger, seconds_left
from sweeps.run_directory import RunDirectory


def show_status(path: Path, *, as_json: bool) -> None:
    """Print the state of the run directory at `path`. Raises StoreError where it is none."""
    state = state_of(RunDirectory(path))
    print(json.dumps(state, indent=2) if as_json else in_words(state))


def state_of(run: RunDirectory) -> dict[str, Any]:
    """Counts, what is being trained and by whom, what failed and why, time left in seconds."""
    study, trials = run.read_study(), run.read_design()
    ledger = Ledger(run)
    ledger.refresh()
    records = {trial.id: ledger[trial.id] for trial in trials}
    held = {trial: owner for trial, owner in claims.held(run).items() if trial in records}
    running = {t: o for t, o in held.items() if o is not None and not o.is_gone}
    finished = {t: r for t, r in records.items() if r.outcome is not None}
    workers = len(claims.living_workers(run))
    return {
        "run": str(run.path),
        "study": study.hash,
        "trials": len(trials),
        "finished": len(finished),
        "outcomes": dict(Counter(str(r.outcome) for r in finished.values())),
        "running": [
            {"trial": t, "worker": o.name, "host": o.host, "pid": o.pid} for t, o in running.items()
        ],
        "lost": sorted(held.keys() - running.keys() - finished.keys()),
        "failed": [
            {"trial": t, "failures": r.failures, "message": r.message}
            for t, r in records.items()
            if r.outcome is None and r.failures
        ],
        "damaged": [path.name for path in ledger.damaged],
        "workers": workers,
        "seconds_left": seconds_left(trials, ledger, workers),
    }


def in_words(state: dict[str, Any]) -> str:
    """The state for a person."""
    from stability.cli.progress import duration

    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(state["outcomes"].items()))
    lines = [
        state["run"],
        f"{state['finished']} of {state['trials']} trials are finished"
        + (f": {outcomes}" if outcomes else ""),
    ]
    if state["workers"]:
        left = state["seconds_left"]
        when = f", about {duration(left)} left" if left is not None else ""
        lines.append(f"{state['workers']} workers live{when}")
    elif state["finished"] < state["trials"]:
        lines.append("no worker lives: the same sweep command goes on from here")
    lines += [
        f"running: {r['trial']} by {r['worker']} (pid {r['pid']} on {r['host']})"
        for r in state["running"]
    ]
    lines += [f"lost: {trial}: its worker is gone; it is trained again" for trial in state["lost"]]
    lines += [
        f"failed {f['failures']} times: {f['trial']}: {f['message']}" for f in state["failed"]
    ]
    lines += [f"damaged: parts/{name} cannot be read" for name in state["damaged"]]
    return "\n".join(lines)
