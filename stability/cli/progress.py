"""What is seen while a study trains: a live line on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from sweeps.parts import Ledger, seconds_left
from sweeps.trial import Trial
from sweeps.trust import printable

QUIET_SECONDS = 15.0  # between two lines where nobody watches


class Display:
    """Trials done, failed, best so far, time left; on standard error."""

    def __init__(self, trials: list[Trial], slots: int, console: Console | None = None) -> None:
        self.trials = trials
        self.slots = slots
        self.workers: Callable[[], str] = lambda: ""
        """Says what is known of the workers."""
        self.console = console or Console(stderr=True)
        self._start = time.monotonic()
        self._said = self._start
        self._is_over = False
        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} trials"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}", markup=False),
            console=self.console,
            expand=True,
        )
        self._task = self._progress.add_task("", total=len(trials), state="starting workers")
        self._live = Live(self._progress, console=self.console, refresh_per_second=4)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def look(self, ledger: Ledger) -> Callable[[], None]:
        """For workers in this process: look at the parts, then show."""

        def look() -> None:
            ledger.refresh()
            self.update(ledger)

        return look

    def update(self, ledger: Ledger) -> None:
        """Show the state that `ledger` has."""
        done = sum(ledger.is_trained(trial.id) for trial in self.trials)
        state = self.state(ledger, done)
        self._progress.update(self._task, completed=done, state=state)
        now = time.monotonic()
        pause = 0.0 if done == len(self.trials) else QUIET_SECONDS
        if not self.console.is_terminal and not self._is_over and now - self._said > pause:
            self._said, self._is_over = now, done == len(self.trials)
            self.console.print(
                f"{done}/{len(self.trials)} trials, {state}", soft_wrap=True, markup=False
            )

    def state(self, ledger: Ledger, done: int) -> str:
        """The words beside the bar."""
        records = [ledger[trial.id] for trial in self.trials]
        failed = sum(r.failures > 0 and r.outcome is None for r in records)
        errors = [r.error for r in records if r.error is not None]
        words = [f"{failed} failed"] if failed else []
        words += [f"best {min(errors):.2f}%"] if errors else []
        left = seconds_left(self.trials, ledger, self.slots)
        if done == len(self.trials):
            words.append(f"done in {duration(time.monotonic() - self._start)}")
        else:
            known = self.workers()
            words += [known] if known else []
            if left is not None or not known:
                words.append("starting workers" if left is None else f"{duration(left)} left")
        return printable(", ".join(words))


def duration(seconds: float) -> str:
    """In the units that a person would use.

    >>> duration(8.2), duration(100), duration(5400), duration(200000)
    ('8 s', '1 min 40 s', '1 h 30 min', '2 d 7 h')
    """
    whole = round(seconds)
    for big, small, name_big, name_small in (
        (86400, 3600, "d", "h"),
        (3600, 60, "h", "min"),
        (60, 1, "min", "s"),
    ):
        if whole >= big:
            return f"{whole // big} {name_big} {whole % big // small} {name_small}"
    return f"{whole} s"
