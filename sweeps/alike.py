"""When everything fails alike it is not the trials: stop early; avoid a node that fails all.

Rows are those of a ledger: one per trial and attempt, oldest first.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sweeps.trial import FAILED, TRAINED

ENOUGH = 3  # different trials that failed

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
    """On which hosts trials were trained, and on which they only failed."""

    def __init__(self) -> None:
        self._trained: set[str] = set()
        self._failed: dict[str, set[str]] = {}

    def add(self, row: Row) -> None:
        """Count one more row; their order does not matter."""
        host = None if was_too_many(row) else row["host"]
        if host and row["outcome"] in TRAINED:
            self._trained.add(host)
            self._failed.pop(host, None)
        elif host and row["outcome"] in FAILED and host not in self._trained:
            self._failed.setdefault(host, set()).add(row["trial"])

    @property
    def bad(self) -> list[str]:
        """Hosts on which several trials failed and none was trained, while others trained some."""
        if not self._trained:
            return []
        return sorted(host for host, ids in self._failed.items() if len(ids) >= ENOUGH)
