"""The trials that a worker may still take, in the order in which it should.

And how often it looks at the parts: at each trial where that is cheap. With many workers a look
costs more than a short training, so a worker goes on for a while with what it saw, and leaves alone
whatever has a marker (`sweeps.store.claims`).
"""

import heapq
import time
from collections.abc import Iterable, Iterator

from sweeps.store import claims
from sweeps.store.parts import Ledger
from sweeps.study.design import Design
from sweeps.study.trial import Trial

CHEAP_SECONDS = 0.02
"""A look that takes less is repeated at each trial."""
SHARE = 10
"""A look that takes longer is valid for so many times what it took."""
EARLY_RESULTS = 16
"""Before that many, each trial is followed by a look: whether a sweep has to stop, since its unit
has to be named or everything fails alike, is decided by the first results."""


class TrialQueue:
    """What never failed first, in the order of the design; then what failed once; then twice.

    A heap that is corrected only where it is looked at: failures only grow in number, so an entry
    can stand too early, never too late. To take a trial costs the logarithm of their number.
    """

    def __init__(self, trials: Design, ledger: Ledger, max_failures: int) -> None:
        """Trials that failed more than `max_failures` times since the ledger's `since` are left."""
        self._trials = trials
        self._ledger = ledger
        self._max_failures = max_failures
        self._heap = [(0, place) for place in range(len(trials))]  # sorted, so it is a heap
        self._passed: list[tuple[int, int]] = []
        self._attempted: set[str] = set()
        """Trials of which the ledger may not know the last attempt."""
        self._is_partial = False
        """Whether the last turn left some of them out."""
        self._is_strict = False
        self._looked = _clocks()
        self._valid = 0.0

    def refresh(self) -> None:
        """Look at the parts."""
        self._looked = _clocks()
        self._ledger.refresh()
        took = self._age()
        looks_each_time = took <= CHEAP_SECONDS or len(self._ledger.rows) < EARLY_RESULTS
        self._valid = 0.0 if looks_each_time else min(SHARE * took, claims.VIEW_SECONDS)
        self._attempted.clear()

    def is_still_open(self, trial: str) -> bool:
        """Whether a trial that was just claimed has no result: whoever had it may have finished.

        Either we look now, or nobody can have finished it since we did: its marker would be there.
        In this order: a marker stays longer than a look is valid, and no time may pass in between.
        """
        has_marker = claims.has_marker(self._ledger.run, trial)
        if self._is_strict or self._age() >= self._valid:
            self.refresh()
        elif has_marker:
            self._attempted.add(trial)
            self._is_partial = True
            return False
        return self.is_open(trial)

    def is_complete(self) -> bool:
        """After a turn in which nothing was taken: whether there is nothing left to take.

        Else we have looked, and look again at each trial that is claimed in the next turn.
        """
        if self._is_strict or not self._is_partial:
            return True
        self.refresh()
        self._is_strict = True
        return False

    def cohort_ended(self, trials: Iterable[Trial]) -> None:
        """Trials that this worker has trained; look where that is due."""
        self._is_strict = False
        self._attempted |= {trial.id for trial in trials}
        if self._age() >= self._valid:
            self.refresh()

    def _age(self) -> float:
        """Seconds since the last look began, by the clock that says more.

        A suspended system stops the one, and somebody may set the other.
        """
        return max(now - then for now, then in zip(_clocks(), self._looked, strict=True))

    def in_turn(self, *, failed_first: bool = False) -> Iterator[Trial]:
        """Every open trial, also those that others hold: these may be given back.

        The ledger may be refreshed while one looks. `failed_first`: what failed most comes first,
        to learn early whether it fails again; this looks at all.
        """
        for entry in self._passed:  # in the last turn: taken then, or held by others
            heapq.heappush(self._heap, entry)
        self._passed, self._is_partial = [], False
        if failed_first:
            # A look at each trial: markers would hide those that failed before.
            self.refresh()
            self._is_strict = True
            yield from self._failed_first()
        claimed = self._claimed()
        while self._heap:
            failures, place = heapq.heappop(self._heap)
            trial = self._trials.ids[place]
            if not self.is_open(trial):
                continue
            if (known := self._failures(trial)) > failures:
                heapq.heappush(self._heap, (known, place))
                continue
            self._passed.append((failures, place))
            if trial in self._attempted:
                self._is_partial = True
            elif trial not in claimed:
                yield self._trials[place]

    def _claimed(self) -> set[str]:
        """Trials not worth a try; where we look at each trial, the look says what is open."""
        if self._is_strict or self._age() >= self._valid:
            return set()
        claimed, attempted = claims.claimed_and_marked(self._ledger.run)
        self._attempted |= attempted
        return claimed

    def _failed_first(self) -> Iterator[Trial]:
        ids = self._trials.ids
        failed = ((self._failures(ids[place]), place) for _, place in self._heap)
        for _, place in sorted((-failures, place) for failures, place in failed if failures):
            if self.is_open(ids[place]) and ids[place] not in self._attempted:
                yield self._trials[place]

    def __len__(self) -> int:
        """How many may be open."""
        return len(self._heap) + len(self._passed)

    def is_open(self, trial: str) -> bool:
        """Whether it has no result yet and has not failed too often."""
        record = self._ledger[trial]
        return record.outcome is None and record.failures_since <= self._max_failures

    def _failures(self, trial: str) -> int:
        return self._ledger[trial].failures_since


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
