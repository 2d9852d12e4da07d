"""`stability edf`: the picture, and the numbers under it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from stability.cli.output.failures import few_lines
from stability.cli.output.pictures import import_matplotlib
from stability.cli.output.tables import print_assumed, print_groups, print_wrapped, shown_path
from stability.cli.study.code import outdated_code
from stability.cli.study.parsing import FaultList, not_one_of
from sweeps.errors import SpecError, StabilityError
from sweeps.store import views
from sweeps.store.run_directory import RunDirectory
from sweeps.system.trust import printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class EdfOptions:
    """How EDFs are drawn."""

    delta: bool = False
    policy: str = "chance"
    band: str | None = None
    """None for the one that `analysis` takes by default."""
    pool: bool = False

    def faults(self) -> list[str]:
        """What it is not allowed to be."""
        from analysis.edf.bands import Method
        from analysis.table.policies import MEANINGS

        asked = {"--policy": (self.policy, MEANINGS), "--band": (self.band, get_args(Method))}
        return [
            f"{option}: {not_one_of(got, allowed)}"
            for option, (got, allowed) in asked.items()
            if got is not None and got not in allowed
        ]


def show_edf(
    runs: list[Path], output: Path | None, options: EdfOptions, within: str | None, *, as_json: bool
) -> None:
    """Draw the EDFs of `runs` and print their table. Raises SpecError with every fault."""
    from analysis import load

    found = FaultList(options.faults() + [fault for run in runs if (fault := refresh(run))])
    asked = None if within is None else found.amount("--within", within, low=0)
    d = declared_loss(runs) if asked is None else asked
    faults = found.found
    is_run = len(runs) == 1 and RunDirectory(runs[0]).exists()
    target = output or (RunDirectory(runs[0]).edf if is_run else Path("edf.png"))
    if not target.parent.is_dir():
        faults.append(f"--output: {target.parent} is no folder")
    if faults:
        raise SpecError(faults)
    table = load(runs, pool=options.pool)
    edited = outdated_code(runs)
    picture = write_picture(table, target, options, d, edited)
    if as_json:
        print(to_json(table, options.policy, picture, d, edited))
    else:
        print_groups(table, options.policy, d)
        print(shown_path(picture))
        for line in edited:
            print_wrapped(line)
        print_assumed(table.attrs.get("notes", []))


def declared_loss(runs: Sequence[Path]) -> float | None:
    """The distance that the studies declare for a loss; None for percent, or without one."""
    for run in map(RunDirectory, runs):
        if run.exists() and run.unit == "raw":
            return run.read_study().primary.within
    return None


def write_picture(
    table: "pd.DataFrame",
    target: Path,
    options: EdfOptions,
    within: float | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the EDF of `table` to `target`, with `notes` on the code. Raises SpecError."""
    import_matplotlib()
    from analysis import TableError, samples, save_edf

    try:
        groups = samples(table, options.policy)  # type: ignore[arg-type]
        groups = [replace(group, code=(*group.code, *notes)) for group in groups]
        return save_edf(
            groups,
            target,
            delta=options.delta,
            method=options.band,  # type: ignore[arg-type]
            within=within,
        )
    except TableError:
        raise
    except (ValueError, OSError) as error:  # a format that is none
        raise SpecError([str(error)]) from error


def refresh(path: Path) -> str | None:
    """Rebuild the views of a run directory; a fault where it is none. Other tables are let pass."""
    from analysis.table.run_directory import is_run_directory

    if not path.is_dir() or not is_run_directory(path):
        return None
    run = RunDirectory(path)
    try:
        run.read_study()
        # Results of earlier versions that count as failed: their values are impossible.
        refused = views.rebuild(run).items()
        for line in few_lines((f"failed: {trial}: {why}", why) for trial, why in refused):
            print(printable(line), file=sys.stderr)
    except StabilityError as error:
        return str(error)
    except OSError:
        return None  # somebody else's run directory: its views are taken as they are
    return None


def to_json(
    table: "pd.DataFrame",
    policy: str,
    picture: Path,
    within: float | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The numbers of the table, and what must be said of the code behind them."""
    from analysis import code_notes, summarise
    from analysis.table.policies import policy_for

    summary = summarise(table, policy, within=within)  # type: ignore[arg-type]
    rows = json.loads(summary.reset_index().to_json(orient="records"))
    used, unit = policy_for(policy, summary.attrs["unit"]), summary.attrs["unit"]  # type: ignore[arg-type]
    content = {"policy": used, "unit": unit, "picture": str(picture), "groups": rows}
    said = {"notes": [*code_notes(table), *notes], "assumed": table.attrs.get("notes", [])}
    return json.dumps({**content, **said}, indent=2)
