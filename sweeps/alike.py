"""When everything fails alike it is not the trials: stop; avoid a node that fails all.

Rows are those of a ledger: one per trial and attempt, oldest first.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from sweeps.trial import FAILED, TRAINED

ENOUGH = 3  # different trials that failed
OUTAGE = 20  # that failed for the first time, one after the other, after others had been trained
MOST_ROWS = 200  # that are looked at from the end

Row = dict[str, Any]


def kind(message: str | None) -> str:
    """What stays of an error from trial to trial: its type and place, or its words without numbers.

    >>> kind("ValueError: no luck with a (/home/me/train.py:12)")
    'ValueError (/home/me/train.py:12)'
    >>> kind("no result for vitc-nano-sgd-e5-0123456789ab after 3 s")
    'no result for vitc-nano-sgd-e#-# after # s'
    """
    text = message or ""
    if found := re.fullmatch(r"(\w+): .*(\([^()]*:\d+\))", text, re.DOTALL):
        return f"{found[1]} {found[2]}"
    return re.sub(r"\b[0-9a-f]{12}\b|\d+", "#", text)


def suspicion(rows: Sequence[Row], begun: datetime) -> str | None:
    """The error, where since `begun` nothing was trained and several trials failed alike.

    Rows are read until the answer is clear: no more than fail alike before anything is trained.
    """
    failed: dict[str, str | None] = {}
    first = None
    for row in since(rows, begun):
        words = kind(row["message"])
        first = words if first is None else first
        if row["outcome"] in TRAINED or words != first:
            return None
        failed[row["trial"]] = row["message"]
    if len(failed) < ENOUGH:
        return None
    return next(reversed(failed.values())) or "no words"


def same_failure(rows: Sequence[Row], begun: datetime) -> str | None:
    """The error, where one of the trials under suspicion was tried again and failed alike again.

    A file server that was away for a moment fails the first trials alike, but not twice.
    """
    if (error := suspicion(rows, begun)) is None:
        return None
    attempts = Counter(row["trial"] for row in since(rows, begun))
    return error if max(attempts.values()) > 1 else None


def outage(rows: Sequence[Row], begun: datetime, failures: Callable[[str], int]) -> str | None:
    """The error, where the last trials all failed alike and for the first time, with none trained.

    A file server that has gone away in the middle of a sweep fails what is left, three times each.
    Of trials of which half fail alike, so many in a row come once in a million. `failures`: how
    often a trial has failed so far; what is tried again comes last, and does not count.
    """
    newest = (row for row in reversed(rows) if not was_too_many(row))
    tail = list(
        takewhile(
            lambda row: row["finished"] >= begun and row["outcome"] in FAILED,
            islice(newest, MOST_ROWS),
        )
    )
    words = Counter(kind(row["message"]) for row in tail)
    fresh = [row for row in tail if failures(row["trial"]) == 1]
    if len(fresh) < OUTAGE or len(words) > 1:
        return None
    return tail[0]["message"] or "no words"


def since(rows: Sequence[Row], begun: datetime) -> Iterator[Row]:
    """The rows from `begun` on."""
    start = bisect_left(rows, begun, key=lambda row: row["finished"])
    return (rows[i] for i in range(start, len(rows)) if not was_too_many(rows[i]))


def was_too_many(row: Row) -> bool:
    """Whether a cohort ran out of memory: it says how many are too many, nothing of its trials.

    >>> was_too_many({"outcome": "out_of_memory", "cohort_size": 16})
    True
    >>> was_too_many({"outcome": "out_of_memory", "cohort_size": 1})
    False
    """
    return row["outcome"] == "out_of_memory" and (row.get("cohort_size") or 1) > 1


class Hosts:
    """On which hosts trials are trained, and on which they only fail by now.

    What counts against a host are trials that failed there before they failed anywhere else, since
    the last one that was trained there: a node may go bad in the middle of a sweep.
    """

    def __init__(self) -> None:
        self._trained: dict[str, datetime] = {}
        """When a host last trained one."""
        self._failed: dict[str, tuple[datetime, str]] = {}
        """When and where a trial failed first."""

    def add(self, row: Row) -> None:
        """Count one more row; their order does not matter."""
        if was_too_many(row) or not row["host"]:
            return
        host, finished, trial = row["host"], row["finished"], row["trial"]
        if row["outcome"] in TRAINED:
            self._trained[host] = max(finished, self._trained.get(host, finished))
        elif row["outcome"] in FAILED:
            here = (finished, host)
            self._failed[trial] = min(here, self._failed.get(trial, here))

    def bad(self, begun: datetime) -> list[str]:
        """Hosts on which, since `begun`, several trials failed in a row, while others trained some.

        A dispatch forgives what was before it: the node may have been mended.
        """
        streaks = defaultdict[str, list[datetime]](list)
        for finished, host in self._failed.values():
            trained = self._trained.get(host)
            if finished >= begun and (trained is None or finished > trained):
                streaks[host].append(finished)
        return sorted(
            host
            for host, streak in streaks.items()
            if len(streak) >= ENOUGH and self._others_train(host, min(streak))
        )

    def _others_train(self, host: str, since: datetime) -> bool:
        return any(when >= since for other, when in self._trained.items() if other != host)
