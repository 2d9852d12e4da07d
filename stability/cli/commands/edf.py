"""`stability edf`: the picture, and the numbers under it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from stability.cli.output.failures import few
from stability.cli.output.pictures import import_matplotlib
from stability.cli.output.tables import print_groups, print_wrapped, shown
from stability.cli.study.code import outdated
from stability.cli.study.parsing import Faults, not_one_of
from sweeps.errors import SpecError, StabilityError
from sweeps.store import views
from sweeps.store.run_directory import RunDirectory
from sweeps.system.trust import printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How EDFs are drawn."""

    delta: bool = False
    policy: str = "chance"
    band: str | None = None
    """None for the one that `analysis` takes by default."""

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


def draw_edfs(
    runs: list[Path], output: Path | None, how: Picture, within: str | None, *, as_json: bool
) -> None:
    """Draw the EDFs of `runs` and print their table. Raises SpecError with every fault."""
    from analysis import load

    found = Faults(how.faults() + [fault for run in runs if (fault := refresh(run))])
    asked = None if within is None else found.amount("--within", within, low=0)
    d = declared_loss(runs) if asked is None else asked
    faults = found.found
    is_run = len(runs) == 1 and RunDirectory(runs[0]).exists()
    target = output or (RunDirectory(runs[0]).edf if is_run else Path("edf.png"))
    if not target.parent.is_dir():
        faults.append(f"--output: {target.parent} is no folder")
    if faults:
        raise SpecError(faults)
    table = load(runs)
    edited = outdated(runs)
    picture = write_picture(table, target, how, d, edited)
    if as_json:
        print(to_json(table, how.policy, picture, d, edited))
    else:
        print_groups(table, how.policy, d)
        print(shown(picture))
        for line in edited:
            print_wrapped(line)


def declared_loss(runs: Sequence[Path]) -> float | None:
    """The distance that the studies declare for a loss; None for percent, or without one."""
    for run in map(RunDirectory, runs):
        if run.exists() and run.unit == "raw":
            return run.read_study().primary.within
    return None


def write_picture(
    table: "pd.DataFrame",
    target: Path,
    how: Picture,
    within: float | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the EDF of `table` to `target`, with `notes` on the code. Raises SpecError."""
    import_matplotlib()
    from analysis import TableError, samples, save_edf

    try:
        groups = samples(table, how.policy)  # type: ignore[arg-type]
        groups = [replace(group, code=(*group.code, *notes)) for group in groups]
        return save_edf(
            groups,
            target,
            delta=how.delta,
            method=how.band,  # type: ignore[arg-type]
            within=within,
        )
    except TableError:
        raise
    except (ValueError, OSError) as error:  # a format that is none
        raise SpecError([str(error)]) from error


def refresh(path: Path) -> str | None:
    """Rebuild the views of a run directory; a fault where it is none. Other tables are let pass."""
    if path.is_file():
        return None
    run = RunDirectory(path)
    try:
        run.read_study()
        warn_refused(views.rebuild(run))
    except StabilityError as error:
        return str(error)
    except OSError:
        return None  # somebody else's run directory: its views are taken as they are
    return None


def warn_refused(found: Mapping[str, str]) -> None:
    """Name results of earlier versions that count as failed, their values being impossible."""
    lines = few((f"failed: {trial}: {why}", why) for trial, why in found.items())
    for line in lines:
        print(printable(line), file=sys.stderr)


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
    return json.dumps({**content, "notes": [*code_notes(table), *notes]}, indent=2)
