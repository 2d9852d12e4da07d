"""The tally as a table in Markdown, for the terminal and for docs/chaos.md."""

import json
import re
from pathlib import Path
from typing import Any

from toys import ROOT

TALLY = Path(__file__).with_name("tally.json")
PAGE = ROOT / "docs" / "chaos.md"
HEADINGS = {
    "faults": "faults",
    "studies": "studies",
    "lost": "lost",
    "wrong": "wrong",
    "litter": "left over",
    "hung": "hung",
    "odd": "ended oddly",
    "repeated": "repeated",
    "beside": "side by side",
    "twice": "twice in parts",
    "commands": "commands",
    "set_aside": "set aside",
}


def table(report: dict[str, Any]) -> str:
    """Rows are what was thrown at a study, columns what came of it."""
    return "\n".join([rows(report), "", *sentences(report), *report["complaints"]])


def rows(report: dict[str, Any]) -> str:
    """The table itself."""
    lines = [
        f"| thrown at one study | {' | '.join(HEADINGS.values())} |",
        f"|---|{'---|' * len(HEADINGS)}",
    ]
    for name, count in [*report["counts"].items(), ("**all**", report["total"])]:
        lines.append(f"| {name} | {' | '.join(str(count[key]) for key in HEADINGS)} |")
    return "\n".join(lines)


def sentences(report: dict[str, Any]) -> list[str]:
    """What the table does not say."""
    kinds = ", ".join(f"{kind} {n}" for kind, n in report["faults"].items())
    ways = ", ".join(f"{n} {name}" for name, n in sorted(report["executors"].items()))
    lines = [
        f"`{report['command']}`, {report['day']}, {report['machine']}, {report['seconds']} s.",
        f"Studies by who started their workers: {ways}.",
        f"Faults by kind, mixtures included: {kinds}.",
    ]
    return lines + [f"Left out: {k}, which needs {why}." for k, why in report["left_out"].items()]


def record(report: dict[str, Any]) -> None:
    """Write the tally, and the table into the page."""
    TALLY.write_text(json.dumps(report, indent=1) + "\n")
    before, after = "<!-- tally -->\n", "<!-- end -->"
    text = f"{before}{rows(report)}\n\n{chr(10).join(sentences(report))}\n{after}"
    page = re.sub(f"{before}.*?{after}", lambda _: text, PAGE.read_text(), flags=re.DOTALL)
    PAGE.write_text(page)
