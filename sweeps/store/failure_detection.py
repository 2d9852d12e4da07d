"""Detects failures that are not the trials' own: the same error everywhere, or a bad node.

Then the sweep stops, or leaves the node out. Rows are those of a ledger: one per trial and attempt,
oldest first.
"""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from sweeps.study.schema import Row
from sweeps.study.trial import FAILED, TRAINED

MIN_FAILED_TRIALS = 3  # different trials that failed, where nothing was trained


def error_kind(message: str | None) -> str:
    """Return what is the same in an error of several trials: type and place, or the words.

    >>> error_kind("ValueError: no luck with a (/home/me/train.py:12)")
    'ValueError (/home/me/train.py:12)'
    >>> error_kind("no result for vitc-nano-sgd-e5-0123456789ab after 3 s")
    'no result for vitc-nano-sgd-e#-# after # s'
    """
    text = message or ""
    if found := re.fullmatch(r"(\w+): .*(\([^()]*:\d+\))", text, re.DOTALL):
        return f"{found[1]} {found[2]}"
    return re.sub(r"\b[0-9a-f]{12}\b|\d+", "#", text)


def failures_needed(trained: int, failed: int) -> int:
    """Return how many failures in a row are more than chance, judged by all other trials.

    If a share p of n trials fails for reasons of its own, at most n p^k trials begin k failures in
    a row. With this k that happens in one sweep of a thousand.

    >>> [failures_needed(trained=500, failed=failed) for failed in (0, 10, 50, 250)]
    [3, 4, 6, 13]
    """
    if not trained:
        return MIN_FAILED_TRIALS
    share = (failed + 1) / (trained + failed + 2)  # Laplace's estimate, never 0 or 1
    return max(MIN_FAILED_TRIALS, math.ceil(math.log(1000 * (trained + failed)) / -math.log(share)))


class Hosts:
    """Results of each host since `begun`, and its last failures in a row.

    Only the first failure of a trial counts: at the end of a sweep only trials that fail for
    reasons of their own are left. Rows may come in any order.
    """

    def __init__(self, begun: datetime) -> None:
        self.begun = begun
        self.trained = 0
        """Results since then."""
        self.ever_trained = False
        self.refused: dict[str, Row] = {}
        """By trial, return values that could not be used: no fault of a host."""
        self._last: dict[str, datetime] = {}
        """When each host gave its last result."""
        self._first: dict[str, Row] = {}
        """The first failure of each trial that failed."""
        self._streaks: dict[str, dict[str, Row]] = {}
        """By host, first failures after its last result."""

    def add(self, row: Row) -> None:
        """Count one more row."""
        self.ever_trained = self.ever_trained or row["outcome"] in TRAINED
        if row["finished"] < self.begun or was_cohort_too_large(row):
            return
        if was_answer_refused(row):
            self.refused[row["trial"]] = row
            return
        if row["outcome"] in TRAINED:
            self._end_streak(row["host"] or "", row["finished"])
        elif row["outcome"] in FAILED:
            self._lengthen_streak(row["host"] or "", row)

    def _end_streak(self, host: str, finished: datetime) -> None:
        self.trained += 1
        last = self._last.get(host)
        if last is None or finished > last:
            self._last[host] = finished
            if streak := self._streaks.pop(host, None):
                later = {trial: row for trial, row in streak.items() if row["finished"] > finished}
                self._streaks |= {host: later} if later else {}

    def _lengthen_streak(self, host: str, row: Row) -> None:
        trial, known = row["trial"], self._first.get(row["trial"])
        if known is not None:
            if known["finished"] <= row["finished"]:
                return
            self._streaks.get(known["host"] or "", {}).pop(trial, None)
        self._first[trial] = row
        if host not in self._last or row["finished"] > self._last[host]:
            self._streaks.setdefault(host, {})[trial] = row

    @property
    def needed(self) -> int:
        """How many first failures in a row are more than chance."""
        return failures_needed(
            self.trained, len(self._first) - sum(map(len, self._streaks.values()))
        )

    @property
    def is_one_sound(self) -> bool:
        """Whether some host has trained trials and not failed in a row since."""
        needed = self.needed
        return any(len(self._streaks.get(host, ())) < needed for host in self._last)

    @property
    def bad(self) -> dict[str, str]:
        """Hosts on which trials failed in a row while another host is sound, with the reason.

        For a host that has trained nothing, `MIN_FAILED_TRIALS` failures suffice.
        """
        found, needed = {}, self.needed
        for host, streak in sorted(self._streaks.items()) if self.is_one_sound else ():
            if len(streak) >= (needed if host in self._last else MIN_FAILED_TRIALS):
                last = max(streak.values(), key=lambda row: row["finished"])
                found[host] = f"its last {len(streak)} trials failed, at last: {last['message']}"
        return found

    @property
    def failed_last(self) -> set[str]:
        """Trials that first failed after the last result of any host."""
        last = max(self._last.values(), default=None)
        rows = (row for streak in self._streaks.values() for row in streak.values())
        return {row["trial"] for row in rows if last is None or row["finished"] > last}


def suspected_error(rows: Sequence[Row], hosts: Hosts) -> str | None:
    """Return the error if no host is sound and the last trials failed alike, not by chance."""
    streak = suspected_failures(rows, hosts)
    return streak[0]["message"] or "no words" if streak else None


def same_failure(rows: Sequence[Row], hosts: Hosts) -> str | None:
    """Return the error if a trial of `suspected_failures` was retried and failed alike again.

    A file server that was away for a moment fails the last trials alike, but not twice. An unusable
    return value would come again: if there is nothing else so far, a few of them suffice.
    """
    if not hosts.ever_trained and len(hosts.refused) >= MIN_FAILED_TRIALS:
        said = [row["message"] for row in hosts.refused.values()]
        if len(set(map(error_kind, said))) == 1:
            return said[-1] or "no words"
    streak = suspected_failures(rows, hosts)
    is_sure = len(streak) > len({row["trial"] for row in streak})
    return streak[0]["message"] or "no words" if is_sure else None


def suspected_failures(rows: Sequence[Row], hosts: Hosts) -> list[Row]:
    """Return the last failures if they are alike and not by chance, latest first."""
    failed, needed = hosts.failed_last, hosts.needed
    # Before any row is read: at the end of a sweep there may be thousands of second failures.
    if len(failed) < needed or hosts.is_one_sound:
        return []
    streak = list(last_same_failures(rows, hosts.begun))
    return streak if len(failed.intersection(row["trial"] for row in streak)) >= needed else []


def last_same_failures(rows: Sequence[Row], begun: datetime) -> Iterator[Row]:
    """Yield the last failures since `begun` that are all alike, latest first."""
    words = None
    for row in reversed(rows):
        if row["finished"] < begun or row["outcome"] in TRAINED:
            return
        if was_cohort_too_large(row) or was_answer_refused(row):
            continue
        if words is not None and error_kind(row["message"]) != words:
            return
        words = error_kind(row["message"])
        yield row


def was_answer_refused(row: Row) -> bool:
    """Whether the trial failed because of its objective's return value."""
    return row["outcome"] in FAILED and row.get("error_unit") is not None


def was_cohort_too_large(row: Row) -> bool:
    """Whether a cohort ran out of memory: a fault of its size, not of its trials.

    >>> was_cohort_too_large({"outcome": "out_of_memory", "cohort_size": 16})
    True
    >>> was_cohort_too_large({"outcome": "out_of_memory", "cohort_size": 1})
    False
    """
    return row["outcome"] == "out_of_memory" and (row.get("cohort_size") or 1) > 1
