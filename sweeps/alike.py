"""When everything fails alike it is not the trials: stop early; avoid a node that fails all.

Rows are those of a ledger: one per trial and attempt, oldest first.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
    """The error, where since `begun` nothing was trained and several trials failed alike."""
    failed: dict[str, str | None] = {}
    for row in since(rows, begun):
        if row["outcome"] in TRAINED:
            return None
        failed[row["trial"]] = row["message"]
    if len(failed) < ENOUGH or len(set(map(kind, failed.values()))) > 1:
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
    return (rows[i] for i in range(start, len(rows)))


def bad_hosts(rows: Iterable[Row]) -> list[str]:
    """Hosts on which several trials failed and none was trained, while others trained some."""
    trained: set[str] = set()
    failed: dict[str, set[str]] = {}
    for row in rows:
        if row["host"] and row["outcome"] in TRAINED:
            trained.add(row["host"])
        elif row["host"] and row["outcome"] in FAILED:
            failed.setdefault(row["host"], set()).add(row["trial"])
    if not trained:
        return []
    return sorted(h for h, ids in failed.items() if len(ids) >= ENOUGH and h not in trained)
