"""Progress of a study: a live line on a terminal, a line now and then in a pipe."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn

from sweeps.driver.tally import Tally
from sweeps.store.parts import Ledger
from sweeps.study.trial import Trial
from sweeps.system.trust import printable

QUIET_SECONDS = 15.0  # between two lines where nobody watches
HEADLINE_PATIENCE_SECONDS = 15.0  # for what the study will cost: five times what that takes


class Display:
    """Show trials done, failures, the best error and the time left, on standard error."""

    def __init__(
        self,
        trials: Sequence[Trial],
        slots: int,
        headline: Callable[..., str | None] | None = None,
        workers: Callable[[], str] = lambda: "",
        console: Console | None = None,
    ) -> None:
        """Print `headline(wait=...)` to standard output before anything else.

        It returns None while it is unknown; it is waited for a limited time. `workers` describes
        the state of the workers.
        """
        self.trials = trials
        self.slots = slots
        self._headline = headline
        self._is_begun = False
        self.workers = workers
        self.console = console or Console(stderr=True)
        self._tally: Tally | None = None
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

    def close(self) -> None:
        """End the live line."""
        if self._live.is_started:
            self._live.stop()

    def update(self, ledger: Ledger) -> None:
        """Show the state that `ledger` has."""
        if self._tally is None or self._tally.ledger is not ledger:
            self._tally = Tally(self.trials, ledger)
        self._tally.update()
        done = self._tally.done
        self._is_begun = self._is_begun or self._begin(is_over=done == len(self.trials))
        if not self._is_begun:
            return
        state = self.state(self._tally)
        self._progress.update(self._task, completed=done, state=state)
        now = time.monotonic()
        pause = 0.0 if done == len(self.trials) else QUIET_SECONDS
        if not self.console.is_terminal and not self._is_over and now - self._said > pause:
            self._said, self._is_over = now, done == len(self.trials)
            self.console.print(
                f"{done}/{len(self.trials)} trials, {state}", soft_wrap=True, markup=False
            )

    def _begin(self, *, is_over: bool) -> bool:
        """Print the headline and start the display; False where that has to wait."""
        wait = not is_over and time.monotonic() - self._start < HEADLINE_PATIENCE_SECONDS
        text = self._headline(wait=wait) if self._headline is not None else ""
        if text is None:
            return False
        if text:
            print(printable(text), flush=True)
        if self.console.is_terminal:
            self._live.start()
        return True

    def state(self, tally: Tally) -> str:
        """The words beside the bar."""
        words = [f"{len(tally.failed)} failed"] if tally.failed else []
        is_loss = tally.ledger.unit == "raw"
        words += [describe_best(tally.best, is_loss=is_loss)] if tally.best is not None else []
        left = tally.seconds_left(self.slots)
        if not tally.open:
            words.append(f"done in {duration(time.monotonic() - self._start)}")
        else:
            known = self.workers()
            words += [known] if known else []
            if left is not None or not known:
                words.append("starting workers" if left is None else f"{duration(left)} left")
        return printable(", ".join(words))


def describe_best(best: float, *, is_loss: bool) -> str:
    """The best error so far.

    >>> describe_best(5.0, is_loss=False), describe_best(0.03125, is_loss=True)
    ('best 5.00%', 'best loss 0.03125')
    """
    return f"best loss {best:.4g}" if is_loss else f"best {best:.2f}%"


def duration(seconds: float) -> str:
    """A duration in the units that a person would use.

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
