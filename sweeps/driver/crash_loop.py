"""Workers that bring nothing: what cannot even begin must not be started for ever."""

from collections import Counter
from collections.abc import Callable, Mapping

from sweeps.store.owner import Owner
from sweeps.store.run_directory import RunDirectory

MOST = 3  # so many workers in a row that bring nothing close a slot

Stamp = tuple[int, int] | None


class CrashLoop:
    """Counts, by slot, workers in a row that ended of themselves and brought nothing.

    A result is something, and so is a checkpoint of the trial in hand. A worker that had a trial in
    hand and gave it back was told to end: a preemption, the end of its wall time, `scancel`.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.in_a_row: Counter[str] = Counter()
        self._in_hand: dict[str, dict[str, Stamp]] = {}
        """By worker, the trials that it held last, each with its checkpoint when that was seen."""
        self._crashed: set[str] = set()

    def is_closed(self, slot: str) -> bool:
        """Whether it should get no more workers."""
        return self.in_a_row[slot] >= MOST

    def see(self, held: Mapping[str, Owner | None]) -> None:
        """Who holds which trial now."""
        hands: dict[str, dict[str, Stamp]] = {}
        for trial, owner in held.items():
            if owner is not None:
                known = self._in_hand.get(owner.name, {})
                stamp = known[trial] if trial in known else self._stamp(trial)
                hands.setdefault(owner.name, {})[trial] = stamp
        self._in_hand |= hands

    def crashed(self, owner: Owner) -> None:
        """It died with a trial in hand, by its own fault or the trial's."""
        self._crashed.add(owner.name)

    def ended(self, slot: str, worker: str, was_taken: Callable[[str], bool]) -> None:
        """Count the end of the worker that was started in `slot` under this name.

        `was_taken` says whether the cluster took its place away before it held anything.
        """
        # A job that went back into the queue adds `-r1` to the name.
        in_hand = [trials for name, trials in self._in_hand.items() if name.startswith(worker)]
        has_kept = any(
            self._stamp(trial) not in (None, before)
            for trials in in_hand
            for trial, before in trials.items()
        )
        if has_kept or any(self.run.parts.glob(f"{worker}*.parquet")):
            self.in_a_row[slot] = 0
        elif any(name.startswith(worker) for name in self._crashed) or (
            not in_hand and not was_taken(worker)
        ):
            self.in_a_row[slot] += 1

    def _stamp(self, trial: str) -> Stamp:
        """Of its checkpoint; None where there is none."""
        try:
            stat = self.run.checkpoint(trial).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino
