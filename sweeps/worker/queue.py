"""The trials that a worker may still take, in the order in which it should."""

import heapq
from collections.abc import Iterator

from sweeps.store.parts import Ledger
from sweeps.study.design import Design
from sweeps.study.trial import Trial


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

    def in_turn(self, *, failed_first: bool = False) -> Iterator[Trial]:
        """Every open trial, also those that others hold: these may be given back.

        The ledger may be refreshed while one looks. `failed_first`: what failed most comes first,
        to learn early whether it fails again; this looks at all.
        """
        for entry in self._passed:  # in the last turn: taken then, or held by others
            heapq.heappush(self._heap, entry)
        self._passed = []
        if failed_first:
            yield from self._failed_first()
        while self._heap:
            failures, place = heapq.heappop(self._heap)
            trial = self._trials.ids[place]
            if not self.is_open(trial):
                continue
            if (known := self._failures(trial)) > failures:
                heapq.heappush(self._heap, (known, place))
                continue
            self._passed.append((failures, place))
            yield self._trials[place]

    def _failed_first(self) -> Iterator[Trial]:
        ids = self._trials.ids
        failed = ((self._failures(ids[place]), place) for _, place in self._heap)
        for _, place in sorted((-failures, place) for failures, place in failed if failures):
            if self.is_open(ids[place]):
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
