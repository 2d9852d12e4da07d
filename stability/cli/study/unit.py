"""The unit of an objective's errors: what was typed, and what is asked where it is needed."""

from dataclasses import dataclass
from typing import cast

from stability.cli.output.tables import shown
from stability.cli.study.image_study import OBJECTIVE
from stability.cli.study.parsing import Faults
from sweeps.errors import StabilityError, UnitError
from sweeps.store.answers import MIN_RESULTS, unit_question
from sweeps.store.parts import Ledger
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Study
from sweeps.study.units import UNITS, Unit


@dataclass(frozen=True, kw_only=True)
class NamedUnit:
    """`--unit` and `--within` of a study, checked."""

    unit: Unit = ""
    within: float | None = None

    def of(self, study: Study) -> Study:
        """The study in this unit; in its own where none was named."""
        return study.in_unit(self.unit, self.within) if self.unit else study


def read_unit(faults: Faults, unit: str | None, within: str | None, *, is_own: bool) -> NamedUnit:
    """Check the options; a unit is that of an objective of one's own."""
    if not is_own:
        for option, given in (("--unit", unit), ("--within", within)):
            if given is not None:
                faults.add(option, f"got {given!r}, allowed only with --objective of your own")
        return NamedUnit()
    if unit is not None:
        faults.one_of("--unit", unit, UNITS)
    distance = None
    if within is not None:
        distance = faults.amount("--within", within, low=0)
        if unit != "raw":
            text = "allowed only with --unit raw; for percent use stability compare --within D"
            faults.add("--within", text)
        elif distance == 0:
            faults.add("--within", f"got {within!r}, allowed is a number above 0")
    elif unit == "raw":
        text = "raw needs --within D: the distance from the best loss that counts as near"
        faults.add("--unit", text)
    return NamedUnit(unit=cast(Unit, unit or ""), within=distance)


def is_own(objective: str | None) -> bool:
    """Whether a study with this objective trains with the user's own function."""
    return objective not in (None, OBJECTIVE)


def with_unit_there(study: Study, run: RunDirectory) -> Study:
    """The study with the unit that was named before in `run`, where now none is."""
    if study.unit or not run.exists():
        return study
    try:
        there = run.read_study()
    except StabilityError:
        return study  # said when it is used
    return study.in_unit(there.unit, there.primary.within) if there.unit else study


def check_unit(run: RunDirectory, ledger: Ledger) -> None:
    """Raise UnitError, saying how to go on, where the unit of the results has to be named."""
    if text := question_of(run, ledger):
        raise UnitError(text)


def question_of(run: RunDirectory, ledger: Ledger) -> str | None:
    """What is asked, and how to go on; None where the unit is known or percent is plausible."""
    enough = min(MIN_RESULTS, run.read_study().trials)
    why = unit_question(ledger.counted, ledger.unit, enough)
    return why and (
        f"{why}: are they percent or fractions of 1?\n"
        "Nothing more is trained until the unit is named; the results are kept. Go on with\n"
        f"  stability resume {shown(run.path)} --unit fraction\n"
        "or with --unit percent, or for a loss with --unit raw --within D"
    )
