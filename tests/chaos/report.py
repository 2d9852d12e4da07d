"""The tally as a table in Markdown, for the terminal and for docs/chaos.md."""

from typing import Any

HEADINGS = {
    "faults": "faults",
    "studies": "studies",
    "lost": "lost",
    "wrong": "wrong",
    "litter": "left over",
    "hung": "hung",
    "repeated": "repeated",
    "commands": "commands",
    "set_aside": "set aside",
}


def table(report: dict[str, Any]) -> str:
    """Rows are what was thrown at a study, columns what came of it."""
    lines = [
        f"| faults at one study | {' | '.join(HEADINGS.values())} |",
        f"|---|{'---|' * len(HEADINGS)}",
    ]
    for name, count in [*report["counts"].items(), ("all", report["total"])]:
        lines.append(f"| {name} | {' | '.join(str(count[key]) for key in HEADINGS)} |")
    mixed = ", ".join(f"{kind} {n}" for kind, n in report["faults"].items())
    lines += ["", f"In all, mixtures included: {mixed}.", "", f"{report['seconds']} s."]
    lines += [f"Left out: {kind}, which needs {why}." for kind, why in report["left_out"].items()]
    return "\n".join([*lines, *report["complaints"]])
