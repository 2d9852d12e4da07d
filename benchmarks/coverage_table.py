"""The rows of `benchmarks.coverage` as JSON, and as a page that a person reads."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

LIMIT = 0.94  # that the lower exact limit of a simulated coverage must reach

PAGE = """# Coverage, size and power

    python -m benchmarks.coverage

writes this page and `benchmarks/coverage.json`, which holds every cell: {cells} of them, {draws}
draws in each simulated one (a fifth for permutation tests), seed {seed}; {minutes:.0f} minutes on
{machine}. Nominal is 95% for intervals and 5% for tests.

The matrix: n configurations, 40% of them at chance, the usable ones with tail shapes 1, 2 and 4
above unequal peaks (5% and 8%) and with equal shares, .3, within 4 points of them; each with
continuous errors and with ties (errors of an evaluation on 400 images). A cell of the table is the
worst of its laws; of simulated rates the exact 95% limit that decides is in brackets.

{tables}
{verdict}

- *Reference elsewhere*: the reference is fixed beforehand (confirmed, tuned, a number, a pilot), so
  that counts are binomial. The exact rows are the worst of a grid of all true shares. For n = 16
  the worst, below .95, has shares close to opposite ends; at n = 8 it would be .933.
- *Sample-min*: the statement is about shares within 4 points of the best errors observed, and is
  held to that. It is no statement about stability: at equal stability the model whose very best
  runs are rarer finds a worse best, and more of its runs near it; at n = 64 the verdict goes to it
  in {own} of all cases at worst. The sentence of such a verdict says what it is about.
- *Alike* and *opposed* pairs: both models on the same configurations, the errors rising together
  or one against the other in four of five.
- *Order*: whether a run of one is better than a run of the other more often than not (Brunner and
  Munzel 2000), by studentised permutation; with Student's t instead, which is not used, it rejects
  too often.
- The score test of pairs (McNemar without correction, whose interval is Tango's, 1998) is sharper
  than the exact one and rejects too often; the exact one is used.
"""

KINDS = {
    "size": "Size: at most .05 is promised for all but those in italics",
    "coverage": f"Coverage of intervals: the lower limit is to reach {LIMIT:g}".replace("0.", "."),
    "band": "Exact coverage of bands",
    "power": "Power, exact",
}


class Row(NamedTuple):
    """One statistic in one cell of the matrix."""

    what: str
    n: int
    case: str
    kind: str
    """`exact` or `simulated`."""
    draws: int
    rate: float
    low: float
    """Ends of the Clopper-Pearson interval of a simulated rate, 95%."""
    high: float
    promise: str
    """`coverage`: at least .95, or LIMIT; `size`: at most .05; `power`, `none`: measured only."""

    @property
    def ok(self) -> bool:
        """Whether the promise is kept."""
        if self.promise == "coverage":
            return self.low >= LIMIT
        if self.promise == "band":
            # the quantile of `ks` comes from scipy, which above n = 140 has this error
            return self.rate >= 0.95 - 1e-6
        if self.promise == "size":
            return self.low <= 0.05 + 1e-9
        return True


def broken(rows: Sequence[Row]) -> list[Row]:
    """List the cells that break their promise."""
    return [row for row in rows if not row.ok]


def machine() -> str:
    """Name the processor without its host: model and number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'an unknown processor'}, {os.cpu_count()} cores"


def write(rows: Sequence[Row], facts: Mapping[str, Any], data: Path, page: Path) -> None:
    """Write the JSON and the page made of it."""
    cells = [
        {k: round(v, 8) if isinstance(v, float) else v for k, v in row._asdict().items()}
        for row in rows
    ]
    lines = ",\n".join(json.dumps(cell) for cell in cells)
    data.write_text(json.dumps({**facts, "rows": []})[:-2] + f"\n{lines}\n]}}\n")
    page.write_text(render(json.loads(data.read_text())))


def render(found: Mapping[str, Any]) -> str:
    """Make the page of what the JSON holds."""
    rows = [Row(**cell) for cell in found["rows"]]
    bad = broken(rows)
    tables = [
        _table(title, [row for row in rows if row.promise in (kind, *_also(kind))])
        for kind, title in KINDS.items()
    ]
    kept = f"All {len(rows)} cells keep what is promised."
    return PAGE.format(
        cells=len(rows),
        draws=f"{found['draws']:,}",
        seed=found["seed"],
        minutes=found["minutes"],
        machine=found["machine"],
        own=f"{100 * _worst_own(rows):.0f}%",
        tables="\n".join(tables),
        verdict=kept if not bad else f"{len(bad)} cells break their promise.",
    )


def _worst_own(rows: Sequence[Row]) -> float:
    asked = [row.rate for row in rows if (row.what, row.n) == ("verdict by shares, sample-min", 64)]
    return max(asked, default=float("nan"))


def _also(kind: str) -> tuple[str, ...]:
    return ("none",) if kind == "size" else ()


def _table(title: str, rows: Sequence[Row]) -> str:
    sizes = sorted({row.n for row in rows})
    lines = [f"{title}.", "", "| | " + " | ".join(f"n = {n}" for n in sizes) + " |"]
    lines.append("|---|" + "---|" * len(sizes))
    for what in dict.fromkeys(
        row.what for row in sorted(rows, key=lambda row: row.promise == "none")
    ):
        cells = [[row for row in rows if (row.what, row.n) == (what, n)] for n in sizes]
        promise = next(row.promise for row in rows if row.what == what)
        name = f"*{what}*" if promise == "none" else what
        lines.append(f"| {name} | " + " | ".join(_worst(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _worst(rows: Sequence[Row]) -> str:
    """Show the worst law: least coverage, greatest size."""
    if not rows:
        return ""
    least = rows[0].promise in ("coverage", "band", "power")
    row = min(rows, key=lambda row: row.rate if least else -row.rate)
    digits = 4 if row.kind == "exact" else 3
    rate = f"{row.rate:.{digits}f}".lstrip("0")
    return rate if row.kind == "exact" else f"{rate} ({row.low:.3f})".replace("(0.", "(.")
