"""Imports the user's code in a worker, and checks its version: results are labelled with it."""

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.errors import ChangedCodeError, SpecError
from sweeps.objective.function_objective import from_function, takes_one_trial
from sweeps.objective.user_code import Modules, UserCode
from sweeps.study.trial import Objective

_FIRST_IMPORTED: dict[str, Modules] = {}
"""By module that an objective or a model names: digests of it and of what it imports, from before
the first import. Later edits change the files, not what runs in this process."""


@dataclass
class ImportedCode:
    """The objective and the version of the user's code that this process has imported."""

    objective: Objective
    code: UserCode
    folder: Path
    _loaded: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._loaded = self.code.loaded()

    def check(self) -> None:
        """Check modules that were imported since then, inside of functions.

        Raises ChangedCodeError if one was edited before it was imported.
        """
        if late := self.code.loaded() - self._loaded:
            edited = self.code.differences(self.code.search_again(self.folder))
            if edited := sorted(late.intersection(edited)):
                raise ChangedCodeError(
                    f"{', '.join(edited)} was edited before the training imported it; its result "
                    "is not kept, since nobody knows which version it comes from"
                )
            self._loaded |= late


def import_code(
    objective: str, models: Iterable[str], folder: str, expected: UserCode | None
) -> ImportedCode:
    """Import the objective and the modules of models; their files are read before and after.

    Args:
        objective: `module:function`.
        models: of the study.
        folder: the folder of submission, searched last.
        expected: the code that the driver saw; None for whatever is there.

    Raises:
        SpecError: there is no such objective.
        ChangedCodeError: the imported code is not the expected one, or was edited meanwhile.
    """
    code = remember_imported(UserCode.search(objective, models, Path(folder)))
    found = import_objective(objective, folder)
    for name in code.modules:
        with suppress(Exception):  # of a model: its trials fail and say why, others train
            importlib.import_module(name)
    if edited := code.differences(code.search_again(Path(folder))):
        raise ChangedCodeError(
            f"{', '.join(edited)} was edited after this process imported it: nothing is trained "
            "with the old version; start the command again"
        )
    if expected is not None and (edited := expected.differences(code)):
        raise ChangedCodeError(
            f"{', '.join(edited)} was edited after the sweep had started: this worker trains "
            "nothing, so that results of two versions are not mixed"
        )
    return ImportedCode(found, code, Path(folder))


def remember_imported(code: UserCode) -> UserCode:
    """Remember the code that is about to be imported; return the version that runs here."""
    for name, modules in code.modules.items():
        if modules and name not in sys.modules:
            _FIRST_IMPORTED[name] = modules
    known = {name: _FIRST_IMPORTED.get(name, modules) for name, modules in code.modules.items()}
    return UserCode(objective=code.objective, modules=known)


def import_objective(name: str, folder: str) -> Objective:
    """Import `module:function`; a function of one trial becomes an objective of cohorts.

    Raises SpecError if there is none.
    """
    module, _, function = name.partition(":")
    if folder and folder not in sys.path:
        sys.path.append(folder)  # last: a user's own `sweeps/` must not shadow ours
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SpecError([f"objective {name!r} cannot be imported: {error}"]) from error
    return from_function(found) if takes_one_trial(found) else found
