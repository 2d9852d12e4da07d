"""What is printed while a study is prepared and trained."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from stability.cli.output.announce import earlier_version
from stability.cli.output.progress import Display
from stability.cli.output.tables import shown_path
from sweeps.run import Reporter, StudyRun
from sweeps.store.parts import Ledger
from sweeps.system.trust import printable
from sweeps.words import count


class TerminalReporter(Reporter):
    """Prints events to standard error; while workers run, shows the progress."""

    display: Display | None = None
    at_start: Callable[[], None] = staticmethod(lambda: None)
    """Called when workers are about to start."""

    def note(self, line: str) -> None:
        """A circumstance that the user may not expect."""
        print(f"note: {printable(line)}", file=sys.stderr)

    def say(self, line: str) -> None:
        """An event while the study is trained."""
        print(printable(line), file=sys.stderr, flush=True)

    def damaged(self, part: Path) -> None:
        """A part could not be read."""
        print(
            f"damaged: a part cannot be read and was set aside as {printable(shown_path(part))}; "
            "the trials that were in it are trained again",
            file=sys.stderr,
        )

    def update(self, ledger: Ledger) -> None:
        """Show the state of the results."""
        if self.display is not None:
            self.display.update(ledger)

    def __enter__(self) -> Self:
        self.at_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.display is not None:
            self.display.close()


def describe_adopted(run: StudyRun) -> list[str]:
    """Say which results of other run directories a new study takes over."""
    lines = []
    for neighbour, rows in run.adopted.items():
        lines.append(f"{count(len(rows), 'trial')} taken over from {shown_path(neighbour)}")
        modules = run.code.modules if run.code else {}
        if modules and (unknown := rows["code"].null_count):
            lines.append(
                f"  {unknown} of them come from an unknown version of {', '.join(modules)}"
            )
    earlier = earlier_version(run.study, run.directory)
    return [*lines, *([earlier] if earlier else [])]
