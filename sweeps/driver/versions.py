"""Which versions of the user's code the results of a run come from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.objective.user_code import UserCode, named_modules
from sweeps.store.accepted import Accepted
from sweeps.store.parts import Ledger
from sweeps.store.provenance import modules_of
from sweeps.store.run_directory import RunDirectory
from sweeps.study.design import models_of
from sweeps.study.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Versions of the code behind the results that count, beside the code as it is now."""

    found: dict[str, Counter[str | None]]
    """By model, how many finished trials come from each version; None is unknown. Models without
    code of the user are left out."""
    now: UserCode
    accepted: Accepted

    @classmethod
    def of(cls, trials: Sequence[Trial], ledger: Ledger, now: UserCode) -> "Versions":
        """Count the versions of those of the trials that have a result in the ledger."""
        found: dict[str, Counter[str | None]] = {}
        for trial, model in models_of(trials).items() if now.modules else ():
            if named_modules(now.objective, model):
                counts = found.setdefault(model, Counter())
                if ledger.is_trained(trial):
                    counts[ledger[trial].code or None] += 1
        return cls(found=found, now=now, accepted=ledger.accepted)

    @property
    def unknown(self) -> int:
        """Results whose version was not recorded."""
        return sum(counts[None] for counts in self.found.values())

    @property
    def finished(self) -> int:
        """Results of the user's code."""
        return sum(counts.total() for counts in self.found.values())

    @property
    def current(self) -> frozenset[str]:
        """Versions of the code as it is now."""
        return frozenset(code for model in self.found if (code := self.now.version(model)))

    @property
    def all(self) -> frozenset[str]:
        """Those and the versions of the results that count."""
        codes = {code for counts in self.found.values() for code in counts if code}
        return self.current | codes

    @property
    def not_found(self) -> list[str]:
        """Modules that cannot be found from here, so that nothing is known of their changes."""
        return [name for name, modules in self.now.modules.items() if not modules]

    def others(self, *, undecided: bool = False) -> Counter[str]:
        """How many results come from each version that is not the current one.

        `undecided`: without those that somebody has decided to keep beside the current one.
        """
        found: Counter[str] = Counter()
        for model, counts in self.found.items():
            current = self.now.version(model)
            if current is None or (undecided and self.accepted.has(current)):
                continue
            found.update({code: n for code, n in counts.items() if code and code != current})
        return found

    def mixed(self, where: str = "") -> list[str]:
        """Sentences where results of a module come from several or from unknown versions."""
        by_module: dict[str, Counter[str | None]] = {}
        for model, counts in self.found.items():
            name = ", ".join(named_modules(self.now.objective, model))
            by_module.setdefault(name, Counter()).update(counts)
        said = []
        for name, counts in by_module.items():
            known = {code: n for code, n in counts.items() if code is not None}
            if len(known) > 1:
                listed = ", ".join(f"{n} from {code}" for code, n in known.items())
                said.append(f"results{where} come from {len(known)} versions of {name}: {listed}")
            if counts[None]:
                said.append(
                    f"{counts[None]} of {counts.total()} results{where} come from an unknown "
                    f"version of {name}: it was not recorded"
                )
        return said

    def changed(self, run: RunDirectory) -> list[str]:
        """Modules that differ between the current code and that of `others`."""
        found: dict[str, None] = {}
        for code in self.others():
            before = modules_of(run, code)
            for now in self.now.modules.values():
                found |= dict.fromkeys(m for m in now if before.get(m, now[m]) != now[m])
        return list(found or self.now.modules)

    def outdated(self, run: RunDirectory, where: str = "") -> list[str]:
        """A sentence where results come from another version than the current one."""
        if not (others := self.others()):
            return []
        kept = "" if self.others(undecided=True) else " (kept on purpose)"
        return [
            f"{others.total()} of {self.finished} results{where} come from another version of "
            f"{', '.join(self.changed(run))} than the current one{kept}"
        ]
