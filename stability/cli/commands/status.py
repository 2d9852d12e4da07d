"""`stability status`: what is done, runs, waits, failed. Reads only: dispatches, voids nothing."""

import fcntl
import json
import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stability.cli.output.failures import few_lines
from stability.cli.site.engine import describe_engine, describe_spared
from stability.cli.study.code import code_notes_of
from stability.cli.study.unit import ask_for_unit
from sweeps.driver.tally import Tally
from sweeps.executors.slurm.jobs import submissions
from sweeps.executors.slurm.monitor import JobMonitor
from sweeps.store import claims
from sweeps.store.owner import Owner
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.system.trust import printable
from sweeps.words import count

WATCH_SECONDS = 5.0
SLURM_SECONDS = 5.0  # patience with Slurm: somebody waits


def show_status(path: Path, *, watch: bool = False, as_json: bool = False) -> None:
    """Print the state of the run directory at `path`. Raises StoreError where it is none.

    `watch` with `as_json`: one line for each look.
    """
    run = RunDirectory(path)
    while True:
        state = state_of(run)
        if as_json:
            print(json.dumps(state, indent=None if watch else 2), flush=True)
        else:
            if watch and sys.stdout.isatty():
                print("\033[H\033[2J", end="")  # from the top of an empty screen
            print(printable(describe_state(state)), flush=True)
        if not watch or not (state["workers"] or state["queued"] or state["driver"]):
            return
        try:
            time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return


def state_of(run: RunDirectory) -> dict[str, Any]:
    """State of a run: counts, running trials with their workers, failures, seconds left."""
    study, design = run.read_study(), run.read_design()
    held, workers = claims.held(run), claims.workers(run)
    since = {trial: claimed_at(run.claim(trial)) for trial in held}
    monitor = JobMonitor(run)
    if on_cluster := bool(submissions(run)):
        monitor.see([*held.values(), *workers])
        monitor.refresh(SLURM_SECONDS)
    tally = Tally(design, ledger := Ledger(run))
    tally.look()  # after the claims: what ends meanwhile is finished, never lost
    held = {trial: held[trial] for trial in sorted(held.keys() & set(design.ids))}
    running = {t: o for t, o in held.items() if o is not None and not monitor.is_gone(o)}
    living = sum(not monitor.is_gone(owner) for owner in workers)
    return {
        "run": str(run.path),
        "study": study.hash,
        "trials": tally.trials,
        "finished": tally.done,
        "outcomes": dict(Counter(filter(None, (ledger[trial].outcome for trial in design.ids)))),
        "running": [running_trial(trial, owner, since[trial]) for trial, owner in running.items()],
        "queued": [
            {"job": task.job, "reason": task.reason, "restarts": task.restarts}
            for task in monitor.tasks()
            if task.is_queued
        ],
        "lost": sorted((held.keys() - running.keys()) & tally.open.keys()),
        "failed": [
            {"trial": t, "failures": ledger[t].failures, "message": ledger[t].message}
            for t in tally.open
            if t in tally.failed
        ],
        "damaged": [path.name for path in ledger.damaged],
        "question": ask_for_unit(run, ledger),
        "code": code_notes_of(run),
        "engine": describe_engine(run),
        "spared": tally.spared,
        "driver": driver_of(run),
        "workers": living,
        "seconds_left": tally.seconds_left(living),
        "slurm": (monitor.trouble or "answers") if on_cluster else None,
    }


def driver_of(run: RunDirectory) -> str | None:
    """Where the driver runs; None where none does.

    The lock is tried only where the last driver is not known to have ended: to hold it, for however
    short, could turn away a driver that starts just then.
    """
    owner = Owner.read(run.lock)
    if (owner is not None and owner.is_gone) or not is_locked(run.lock):
        return None
    return owner.where if owner else "a process that did not say which"


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of this file; False also where that cannot be seen."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def claimed_at(claim: Path) -> str | None:
    """When a trial was claimed; None where the claim was given back just now."""
    try:
        # A claim is a link to its worker's file, whose links change with each claim.
        changed = claim.stat().st_ctime
    except OSError:
        return None
    return datetime.fromtimestamp(changed, UTC).isoformat("T", "seconds")


def running_trial(trial: str, owner: Owner, since: str | None) -> dict[str, Any]:
    """A running trial: its worker, and since when."""
    return {
        "trial": trial,
        "worker": owner.name,
        "host": owner.node or owner.host,
        "pid": owner.pid,
        "job": owner.job or None,
        "since": since,
    }


def describe_state(state: dict[str, Any]) -> str:
    """Describe the state for a person."""
    outcomes = ", ".join(f"{n} {name}" for name, n in sorted(state["outcomes"].items()))
    finished = f"{state['finished']} of {count(state['trials'], 'trial')} finished"
    engine = *state["engine"], *describe_spared(state["spared"])
    lines = [
        state["run"],
        f"{finished}: {outcomes}" if outcomes else finished,
        *state["code"],
        *engine,
        *describe_workers(state),
    ]
    for r in state["running"]:
        where = f"job {r['job']}" if r["job"] else f"pid {r['pid']}"
        since = ago(r["since"])
        lines.append(f"running: {r['trial']} by {r['worker']} ({where} on {r['host']}{since})")
    lines += few_lines(
        (f"lost: {trial}: its worker is gone; it is trained again", None) for trial in state["lost"]
    )
    lines += few_lines(
        (f"failed {count(f['failures'], 'time')}: {f['trial']}: {f['message']}", f["message"])
        for f in state["failed"]
    )
    lines += [f"damaged: parts/{name} cannot be read" for name in state["damaged"]]
    lines += [state["question"]] if state["question"] else []
    return "\n".join(lines)


def describe_workers(state: dict[str, Any]) -> list[str]:
    """Describe the driver and the workers: running, queued and why."""
    from stability.cli.output.progress import duration

    lines = [f"driver running: {state['driver']}"] if state["driver"] else []
    if state["workers"]:
        left = state["seconds_left"]
        when = f", about {duration(left)} left" if left is not None else ""
        lines.append(f"{count(state['workers'], 'worker')} running{when}")
    for reason, number in Counter(task["reason"] for task in state["queued"]).items():
        lines.append(f"{count(number, 'worker')} queued: {reason}")
    if state["slurm"] not in (None, "answers"):
        lines.append(f"Slurm does not answer, its workers are assumed to run: {state['slurm']}")
    if not lines and state["finished"] < state["trials"]:
        lines.append(f"no worker is running: stability resume {state['run']} goes on from here")
    return lines


def ago(since: str | None) -> str:
    """For how long, as an item of a list."""
    from stability.cli.output.progress import duration

    if since is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    return f", for {duration(max(0.0, seconds))}"
