"""Which trials are put together into a cohort."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sweeps.store.parts import Ledger
from sweeps.study.trial import Trial
from sweeps.worker.engine import EngineDecision, EnginePlan, Engines


@dataclass(frozen=True, kw_only=True)
class CohortBuilder:
    """How large a cohort may be, and which trials may be in one with another."""

    engines: Engines | None
    decision: EngineDecision
    trials: Sequence[Trial]
    """Of the study."""
    workers: int = 1
    """Among so many what is left is shared."""

    def plan(self, trial: Trial) -> EnginePlan:
        """How the trial is trained."""
        return self.decision.plan(self.engines.kind(trial)) if self.engines else EnginePlan()

    def cohort_key(self, trial: Trial) -> Hashable:
        """Equal for trials that may be in one cohort."""
        if self.engines is None:
            return trial.id
        return self.engines.cohort_key(trial, self.plan(trial).engine)

    @cached_property
    def _by_id(self) -> dict[str, Trial]:
        return {trial.id: trial for trial in self.trials}

    def most(self, trial: Trial, ledger: Ledger, left: int) -> int:
        """How many trials like this one a cohort may have, of `left` that are open.

        Half of what ran out of memory. A trial that has failed otherwise is alone: if it was the
        reason, it fails no other again.
        """
        most = self.plan(trial).trials
        if most <= 1 or ledger[trial.id].failures_since:
            return 1
        key = self.cohort_key(trial)
        for other, size in ledger.too_many.items():
            if self.cohort_key(self._by_id[other]) == key:
                most = min(most, size // 2)
        return max(1, min(most, -(-left // self.workers)))


ALONE = CohortBuilder(engines=None, decision=EngineDecision(device=""), trials=())
"""Each trial is a cohort."""
