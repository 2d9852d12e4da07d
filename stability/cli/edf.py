"""`stability edf`: the picture, and the numbers under it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from stability.cli.parsing import not_one_of
from stability.cli.pictures import import_matplotlib
from stability.cli.tables import print_groups, shown
from sweeps import views
from sweeps.errors import SpecError, StabilityError
from sweeps.run_directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How EDFs are drawn."""

    delta: bool = False
    policy: str = "chance"
    band: str = "ks"

    def faults(self) -> list[str]:
        """What it is not allowed to be."""
        from analysis.bands import Method
        from analysis.policies import MEANINGS

        asked = {"--policy": (self.policy, MEANINGS), "--band": (self.band, get_args(Method))}
        return [
            f"{option}: {not_one_of(got, allowed)}"
            for option, (got, allowed) in asked.items()
            if got not in allowed
        ]


def draw(runs: list[Path], output: Path | None, how: Picture, *, as_json: bool) -> None:
    """Draw the EDFs of `runs` and print their table. Raises SpecError with every fault."""
    faults = how.faults() + [fault for run in runs if (fault := refresh(run))]
    is_run = len(runs) == 1 and RunDirectory(runs[0]).exists()
    target = output or (RunDirectory(runs[0]).edf if is_run else Path("edf.png"))
    if not target.parent.is_dir():
        faults.append(f"--output: {target.parent} is no folder")
    if faults:
        raise SpecError(faults)
    table = table_of(runs)
    picture = write_picture(table, target, how)
    if as_json:
        print(to_json(table, how.policy, picture))
    else:
        print_groups(table, how.policy)
        print(shown(picture))


def table_of(runs: list[Path]) -> "pd.DataFrame":
    """Run directories or tables, read once for everything that is shown. Raises SpecError."""
    from analysis import TableError, load

    try:
        return load(runs)
    except TableError as error:
        raise SpecError(list(error.faults)) from error


def write_picture(table: "pd.DataFrame", target: Path, how: Picture) -> Path:
    """Write the EDF of `table` to `target`. Raises SpecError."""
    import_matplotlib()
    from analysis import samples, save_edf

    try:
        groups = samples(table, how.policy)  # type: ignore[arg-type]
        return save_edf(groups, target, delta=how.delta, method=how.band)  # type: ignore[arg-type]
    except (ValueError, OSError) as error:  # a format that is none
        raise SpecError([str(error)]) from error


def refresh(path: Path) -> str | None:
    """Rebuild the views of a run directory; a fault where it is none. Other tables are let pass."""
    if path.is_file():
        return None
    run = RunDirectory(path)
    try:
        run.read_study()
        views.rebuild(run)
    except StabilityError as error:
        return str(error)
    except OSError:
        return None  # somebody else's run directory: its views are taken as they are
    return None


def to_json(table: "pd.DataFrame", policy: str, picture: Path) -> str:
    """The numbers of the table."""
    from analysis import summarise

    summary = summarise(table, policy)  # type: ignore[arg-type]
    rows = json.loads(summary.reset_index().to_json(orient="records"))
    return json.dumps({"policy": policy, "picture": str(picture), "groups": rows}, indent=2)
