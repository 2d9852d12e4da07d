"""How far a study is: counts over its trials, kept up by what is new in a ledger."""

from collections.abc import Iterable, Sequence

from sweeps.store.parts import Ledger
from sweeps.study.design import epochs_of
from sweeps.study.trial import Trial

RETRIES = 2  # a failure of the infrastructure is run again at most twice, after everything else


class Tally:
    """Follows a ledger: after each `refresh` of it, `update` counts what came, no more."""

    def __init__(self, trials: Sequence[Trial], ledger: Ledger) -> None:
        self.ledger = ledger
        self._epochs = epochs_of(trials)
        self._begin()

    def _begin(self) -> None:
        self._arrived, self._place = self.ledger.arrived, 0
        self.open = dict.fromkeys(self._epochs)
        """Ids of the trials without a result, in the order of the design."""
        self.failed: dict[str, None] = {}
        """Those of them that have failed."""
        self._given_up: set[str] = set()
        self.best: float | None = None
        """The lowest error of the trials that are `ok`, in percent; as in the table of a run."""
        self._spent = self._epochs_done = 0.0
        self._computed = self._asked = 0.0  # epochs of those that were trained as one
        self._epochs_left = sum(self._epochs.values())

    def look(self) -> None:
        """Have the ledger look at the parts, and count."""
        self.ledger.refresh()
        self.update()

    def update(self) -> None:
        """Count what the ledger has taken in since."""
        if self._arrived is not self.ledger.arrived:
            self._begin()
        for trial in self._arrived[self._place :]:
            if trial in self.open:
                self._count(trial)
        self._place = len(self._arrived)

    def _count(self, trial: str) -> None:
        record = self.ledger[trial]
        if record.outcome is None:
            if record.failures:
                self.failed[trial] = None
            if record.failures_since > RETRIES:
                self._given_up.add(trial)
            return
        del self.open[trial]
        self.failed.pop(trial, None)
        self._given_up.discard(trial)
        self._epochs_left -= self._epochs[trial]
        if record.error is not None and record.outcome == "ok":
            self.best = record.error if self.best is None else min(self.best, record.error)
        if record.seconds is not None:
            self._spent += record.seconds
            self._epochs_done += self._epochs[trial]
        if record.computed is not None:
            self._computed += record.computed
            self._asked += self._epochs[trial]

    @property
    def trials(self) -> int:
        """All there are."""
        return len(self._epochs)

    @property
    def done(self) -> int:
        """How many have a result."""
        return self.trials - len(self.open)

    def left(self, claimed: Iterable[str] = ()) -> int:
        """How many have no result and may be tried, without those that are `claimed`."""
        taken = sum(trial in self.open and trial not in self._given_up for trial in claimed)
        return len(self.open) - len(self._given_up) - taken

    @property
    def spared(self) -> float | None:
        """Share of the epochs of trials trained as one that were not computed; None without such.

        What a cohort that has not ended computes for its diverged is not yet in it.
        """
        return 1 - self._computed / self._asked if self._asked else None

    def seconds_left(self, workers: int) -> float | None:
        """Time until the last trial ends, if an epoch goes on costing what it has; None before."""
        if not self._epochs_done or not workers:
            return None
        return self._epochs_left * self._spent / self._epochs_done / workers
