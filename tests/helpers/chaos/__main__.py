"""The command: throws faults, prints the tally; status 0 where nothing was lost, wrong or left."""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from chaos import __doc__ as about
from chaos import local_faults, slurm_faults
from chaos.campaign import Campaign, Count, Tally
from chaos.cluster import slurm
from chaos.report import TALLY, record, table


def main() -> int:
    """Throw faults and say what came of them."""
    arguments = parsed()
    start = time.monotonic()
    kinds = [*local_faults.KINDS, *(slurm_faults.KINDS if arguments.slurm else ())]
    missing = {kind: why for kind in kinds if (why := local_faults.needs(kind))}
    with slurm(is_wanted=arguments.slurm > 0) as why_not:
        if why_not:
            missing["faults of a Slurm"], arguments.slurm = f"one ({why_not})", 0
        tallies = run_all(arguments, missing)
    report = {
        "command": shlex.join(["python", "-m", "chaos", *sys.argv[1:]]),
        "day": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {sys.platform}, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - start),
        "left_out": missing,
        **combined(tallies),
    }
    print(table(report))
    if arguments.record:
        record(report)
    if arguments.json:
        print(json.dumps(report))
    return 0 if not report["complaints"] else 1


def parsed() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=str(about).split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=600)
    parser.add_argument("--slurm", type=int, default=0, help="so many more on a Slurm of our own")
    parser.add_argument("--at-a-time", type=int, default=4, help="studies on this machine")
    parser.add_argument("--kind", action="append", help="this kind alone; more than once for more")
    parser.add_argument("--scene", type=int, help="of the plan, this scene alone: to repeat it")
    parser.add_argument("--json", action="store_true", help="print the tally as JSON too")
    parser.add_argument("--record", action="store_true", help=f"write {TALLY.name} and the page")
    arguments = parser.parse_args()
    known = [*local_faults.KINDS, *slurm_faults.KINDS]
    if unknown := sorted(set(arguments.kind or []) - set(known)):
        parser.error(f"--kind: got {', '.join(unknown)}, allowed is {'; '.join(known)}")
    return arguments


def run_all(arguments: argparse.Namespace, missing: dict[str, str]) -> list[Tally]:
    """Here and on Slurm at the same time: what waits for Slurm needs no core."""
    here, there = (
        {
            name: fault
            for name, fault in kinds.items()
            if name not in missing and name in (arguments.kind or kinds)
        }
        for kinds in (local_faults.KINDS, slurm_faults.KINDS)
    )
    with ThreadPoolExecutor(2) as pool:
        local = Campaign(here, arguments.seed)
        jobs = (
            [pool.submit(local.run, arguments.faults, arguments.at_a_time, only=arguments.scene)]
            if here
            else []
        )
        if arguments.slurm and there:
            cluster = Campaign(there, arguments.seed, "slurm")
            jobs.append(
                pool.submit(cluster.run, arguments.slurm, 1, mixed=True, only=arguments.scene)
            )
        return [job.result() for job in jobs]


def combined(tallies: list[Tally]) -> dict[str, Any]:
    """Of several campaigns; the studies with mixtures are one line."""
    counts: dict[str, Count] = {}
    for tally in tallies:
        for name, count in tally.counts.items():
            counts[name] = counts[name] + count if name in counts else count
    total = Count()
    for count in counts.values():
        total = total + count
    return {
        "faults": {kind: n for tally in tallies for kind, n in sorted(tally.kinds.items())},
        "executors": {way: n for tally in tallies for way, n in tally.executors.items()},
        "counts": {name: asdict(count) for name, count in sorted(counts.items())},
        "total": asdict(total),
        "complaints": [line for tally in tallies for line in tally.complaints],
    }


if __name__ == "__main__":
    sys.exit(main())
