"""The command: throws faults, prints the tally; status 0 where nothing was lost, wrong or left."""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos import __doc__ as about
from chaos import local_faults, slurm_faults
from chaos.campaign import Campaign, Count, Tally
from chaos.report import table


def main() -> int:
    """Throw faults and say what came of them."""
    parser = argparse.ArgumentParser(description=str(about).splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=600)
    parser.add_argument("--slurm", type=int, default=0, help="as many more on a Slurm that is up")
    parser.add_argument("--at-a-time", type=int, default=4, help="studies on this machine")
    parser.add_argument("--kind", action="append", help="these kinds alone")
    parser.add_argument("--json", type=Path, help="write the tally here")
    arguments = parser.parse_args()
    if arguments.slurm and "SLURM_SANDBOX" not in os.environ:
        parser.error("--slurm: start one first, as tests/slurm/run.sh does")
    start = time.monotonic()
    missing = {kind: why for kind in local_faults.KINDS if (why := local_faults.needs(kind))}
    tallies = run_all(arguments, missing)
    report = {
        "command": " ".join(["python -m chaos", *sys.argv[1:]]),
        "day": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {sys.platform}, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - start),
        "left_out": missing,
        **combined(tallies),
    }
    print(table(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if not report["complaints"] else 1


def run_all(arguments: argparse.Namespace, missing: dict[str, str]) -> list[Tally]:
    """Here and on Slurm at the same time: what waits for Slurm needs no core."""
    asked = arguments.kind
    here, there = (
        {name: fault for name, fault in kinds.items() if not asked or name in asked}
        for kinds in (
            {k: f for k, f in local_faults.KINDS.items() if k not in missing},
            slurm_faults.KINDS,
        )
    )
    with ThreadPoolExecutor(2) as pool:
        local = Campaign(here, arguments.seed)
        jobs = [pool.submit(local.run, arguments.faults, arguments.at_a_time)] if here else []
        if arguments.slurm and there:
            slurm = Campaign(there, arguments.seed, "slurm")
            jobs.append(pool.submit(slurm.run, arguments.slurm, 1))
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
        "counts": {name: asdict(count) for name, count in sorted(counts.items())},
        "total": asdict(total),
        "complaints": [line for tally in tallies for line in tally.complaints],
    }


if __name__ == "__main__":
    sys.exit(main())
