"""`stability edf`: the picture, and the numbers under it."""

from pathlib import Path

from sweeps import views
from sweeps.errors import SpecError, StabilityError
from sweeps.run_directory import RunDirectory


def draw(runs: list[Path], *, output: Path | None, delta: bool, policy: str, as_json: bool) -> None:
    """Draw the EDFs of `runs` and print their table. Raises SpecError with every fault."""
    from analysis.policies import MEANINGS
    from stability.cli.parsing import not_one_of
    from stability.cli.tables import print_summary, shown

    faults = [] if policy in MEANINGS else [f"--policy: {not_one_of(policy, MEANINGS)}"]
    faults += [fault for run in runs if (fault := refresh(run))]
    target = output or (runs[0] / "edf.png" if len(runs) == 1 else Path("edf.png"))
    if not target.parent.is_dir():
        faults.append(f"--output: {target.parent} is no folder")
    if faults:
        raise SpecError(faults)
    picture = write_picture(runs, target, delta=delta, policy=policy)
    if as_json:
        print(to_json(runs, policy, picture))
    else:
        print_summary(runs, policy)
        print(shown(picture))


def write_picture(
    runs: list[Path], target: Path, *, delta: bool = False, policy: str = "chance"
) -> Path:
    """Write the EDF of `runs` to `target`. Raises SpecError."""
    from analysis import load, samples, save_edf

    try:
        return save_edf(samples(load(runs), policy), target, delta=delta)  # type: ignore[arg-type]
    except (ValueError, OSError) as error:  # a table that is none, a format that is none
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


def to_json(runs: list[Path], policy: str, picture: Path) -> str:
    """The numbers of the table."""
    from analysis import load, summarise

    summary = summarise(load(runs), policy)  # type: ignore[arg-type]
    rows = summary.reset_index().to_json(orient="records")
    return f'{{"policy": "{policy}", "picture": "{picture}", "groups": {rows}}}'
