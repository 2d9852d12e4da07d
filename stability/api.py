"""The Python API: run a study, and look at a run directory.

    import stability

    run = stability.sweep(model="vitp,vitc", optim="sgd", draws=64)
    run.results             # a row per trial
    run.edf()               # the figure
    print(run.compare()[0])

The options are those of `stability sweep`, with the same names, checks and defaults.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stability.cli.commands.edf import declared_loss, refresh
from stability.cli.commands.status import describe_state, state_of
from stability.cli.commands.sweep import train_request
from stability.cli.site.cluster import collect_site_options
from stability.cli.site_options import SITE_OPTIONS
from stability.cli.study.code import if_changed
from stability.cli.study.options import StudyOptions
from stability.cli.study.request import read_request, reopen_request
from sweeps.errors import SpecError, StoreError
from sweeps.store.run_directory import RunDirectory
from sweeps.study.study import Study

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes

    from analysis import Comparison
    from analysis.table.policies import Policy

Law = str | tuple[float, float] | list[Any]
"""What a hyperparameter is drawn from: (low, high), a list of choices, or a text as it is typed."""


class Run:
    """A run directory: its study, its results, and the usual figures of them.

    The results are read anew each time, so that a run can be watched while it trains.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a run directory. Raises StoreError where there is none."""
        self._directory = RunDirectory(Path(path))
        self.study: Study = self._directory.read_study()

    @property
    def path(self) -> Path:
        """The folder."""
        return self._directory.path

    @property
    def results(self) -> "pd.DataFrame":
        """A row per trial of the design, as `analysis.load` gives it."""
        from analysis import load

        self._refresh()
        return load(self.path)

    @property
    def curves(self) -> "pd.DataFrame":
        """A row per trial and epoch, as `analysis.load_curves` gives it."""
        from analysis import load_curves

        self._refresh()
        return load_curves(self.path)

    def status(self) -> dict[str, Any]:
        """What is finished, running, queued and failed, as `stability status --json` prints it."""
        return state_of(self._directory)

    def summary(self, policy: "Policy" = "chance") -> "pd.DataFrame":
        """A row per group, as `analysis.summarise` gives it."""
        from analysis import summarise

        return summarise(self.results, policy, within=declared_loss([self.path]))

    def edf(
        self,
        ax: "Axes | None" = None,
        *,
        delta: bool = False,
        policy: "Policy" = "chance",
        **options: Any,
    ) -> "Axes":
        """Draw the error distribution functions, with their confidence bands.

        Args:
            ax: where; a new figure by default.
            delta: distances from the best of each group instead of errors.
            policy: where diverged runs count.
            options: further ones of `analysis.plot_edfs`.

        Returns:
            The axes.

        """
        from analysis import plot_edfs, samples

        return plot_edfs(samples(self.results, policy), ax=ax, delta=delta, **options)

    def compare(
        self,
        by: str | None = None,
        *,
        policy: "Policy | None" = None,
        rng: "np.random.Generator | None" = None,
    ) -> "list[Comparison]":
        """Compare the groups pair by pair, at equal values of the other grouping columns.

        The question is the study's own primary measure; its reference is the confirmed one where
        there is one (`confirm=`).

        Args:
            by: what is compared: model, optim, epochs or another column; None for the first of
                these that varies.
            policy: where diverged runs count; None for the study's.
            rng: for the secondary permutation tests; without it there are none.

        Returns:
            A comparison per pair of groups; its text is the verdict.

        Raises:
            TableError: a single group.

        """
        from analysis import Estimand
        from analysis.comparison.confirmed import confirmed
        from analysis.comparison.strata import compare_strata
        from analysis.table.units import unit_of

        table, primary = self.results, self.study.primary
        found = compare_strata(
            table,
            Estimand(d=primary.within, unit=unit_of(table)),
            by=by,
            policy=policy or primary.policy,
            peaks=confirmed(self.path),
            rng=rng,
        )
        return [pair for stratum in found for pair in stratum.pairs]

    def plot(self, figure: str, ax: "Axes | None" = None, **options: Any) -> "Axes":
        """Draw one of the other figures.

        Args:
            figure: `against` (the error of each trial against one hyperparameter), `marginals`,
                `search_space`, `schedule_length`, `optimizer_gap` or `convergence`.
            ax: where; a new figure by default.
            options: of the function of `analysis` that draws it (`hyperparameter="lr"`).

        Returns:
            The axes.

        Raises:
            ValueError: no such figure.
            TableError: the results do not have what the figure shows.

        """
        if figure not in FIGURES:
            raise ValueError(f"figure: got {figure!r}, allowed: {', '.join(FIGURES)}")
        return FIGURES[figure](self, ax, options)

    def resume(self, *, progress: bool = True, **options: Any) -> "Run":
        """Train what is missing; options as for `sweep`, of those that say where it runs."""
        retry_failed = bool(options.pop("retry_failed", False))
        request = reopen_request(self.path, _site_options(options))
        train_request(request, retry_failed=retry_failed, show_progress=progress)
        return self

    def _refresh(self) -> None:
        """Rebuild the views, where they may be written. Raises StoreError."""
        if fault := refresh(self.path):
            raise StoreError(fault)

    def __repr__(self) -> str:
        """Name the folder and what is finished."""
        return f"Run({str(self.path)!r})\n{describe_state(self.status()).partition(chr(10))[2]}"


def sweep(
    *,
    model: str | Iterable[str] | None = None,
    optim: str | Iterable[str] | None = None,
    data: str | None = None,
    epochs: int | Iterable[int] | None = None,
    draws: int | None = None,
    trials: int | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    lr: Law | Mapping[str, Law] | None = None,
    weight_decay: Law | Mapping[str, Law] | None = None,
    vary: Mapping[str, Law] | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    objective: str | Callable[..., Any] | None = None,
    study: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    retrain_changed: bool = False,
    keep_changed: bool = False,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train the draws of a study, as `stability sweep` does, and wait for the end.

    The same call again trains only what is missing.

    Args:
        model: names of models, as a list or with commas.
        optim: names of optimizers.
        data: name of the data.
        epochs: lengths of the schedule.
        draws: number of draws for each model, optimizer and length; 64 by default.
        trials: another name of `draws`.
        sampler: random, sobol or grid.
        seed: of the draws and the trainings.
        lr: (low, high), by optimizer where there are several: `{"sgd": (0.01, 1)}`.
        weight_decay: as `lr`.
        vary: further hyperparameters: `{"momentum": (0.8, 0.99), "batch_size": [64, 128]}`.
        recipe: its name.
        settings: single settings of the recipe; `--set` of the command line.
        objective: a function of a module, or its name `module:function`.
        study: a study file.
        retry_failed: train trials again that failed three times.
        retrain_changed: after an edit of your code, train again what comes from another version.
        keep_changed: after an edit of your code, keep what comes from another version.
        progress: print what is trained, and how far it is.
        options: all further options of `stability sweep`, by name: `stem`, `depth`, `pool`,
            `precision`, `unit`, `within`, `skip_unreadable`, `out`, `confirm`, `executor`,
            `workers`, `device`, `engine`, `profile`, `partition`, `time`, ...

    Returns:
        The run directory.

    Raises:
        SpecError: every fault of the options.
        ExecutorError: workers cannot be started, or all trials fail alike.
        KeyboardInterrupt: somebody asked for the end; what is finished is kept.

    """
    if draws is not None and trials is not None:
        raise SpecError(["draws, trials: got both, allowed is one of them"])
    changed = if_changed(retrain=retrain_changed, keep=keep_changed)
    of_study = {name: options.pop(name) for name in STUDY_OPTIONS if name in options}
    skip_unreadable = bool(of_study.pop("skip_unreadable", False))
    typed: dict[str, Any] = {name: _text(value) for name, value in of_study.items()}
    asked = StudyOptions(
        model=_text(model),
        optim=_text(optim),
        data=data,
        epochs=_text(epochs),
        draws=_text(trials if draws is None else draws),
        sampler=sampler,
        seed=_text(seed),
        lr=_laws(lr),
        weight_decay=_laws(weight_decay),
        vary=[f"{name}={_law(law)}" for name, law in (vary or {}).items()],
        recipe=recipe,
        set=[f"{name}={_setting(value)}" for name, value in (settings or {}).items()],
        objective=_function_name(objective),
        study=None if study is None else Path(study),
        skip_unreadable=skip_unreadable,
        **typed,
    )
    request = replace(read_request(asked, _site_options(options)), if_changed=changed)
    train_request(request, retry_failed=retry_failed, show_progress=progress)
    return Run(request.run.path)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory. Raises StoreError where there is none."""
    return Run(path)


STUDY_OPTIONS = ("stem", "depth", "pool", "precision", "unit", "within", "skip_unreadable")
"""Options of a study that `sweep` takes among its further ones."""


def _site_options(options: Mapping[str, Any]) -> Any:
    """Options that say where a study runs, as the command line has them. Raises SpecError."""
    allowed = (*SITE_OPTIONS, "out", "confirm")
    if unknown := [name for name in options if name not in allowed]:
        raise SpecError([f"{name}: no such option" for name in unknown])
    typed = {
        name: value if isinstance(value, (bool, list)) else _text(value)
        for name, value in options.items()
        if value is not None
    }
    return collect_site_options(typed)


def _text(value: object) -> str | None:
    """A value as it is typed: several with commas.

    >>> _text(["vitp", "vitc"]), _text(0.1), _text(None)
    ('vitp,vitc', '0.1', None)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ",".join(str(each) for each in value)
    return str(value)


def _law(law: Law) -> str:
    """What a hyperparameter is drawn from, as it is typed.

    >>> _law((0.01, 1.0)), _law([64, 128]), _law("0:1:linear")
    ('0.01:1.0', '64,128', '0:1:linear')
    """
    if isinstance(law, tuple):
        return ":".join(map(str, law))
    return _text(law) or ""


def _laws(laws: Law | Mapping[str, Law] | None) -> list[str]:
    """Ranges of a hyperparameter, of each optimizer where they are given so."""
    if laws is None:
        return []
    if isinstance(laws, Mapping):
        return [f"{optim}={_law(law)}" for optim, law in laws.items()]
    return [_law(laws)]


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _function_name(objective: str | Callable[..., Any] | None) -> str | None:
    """The name by which workers import an objective. Raises SpecError where they cannot."""
    if objective is None or isinstance(objective, str):
        return objective
    module, name = objective.__module__, objective.__qualname__
    if module == "__main__" or not name.isidentifier():
        raise SpecError(
            [
                f"objective: got {name} of {module}, which workers cannot import; put the function "
                "into a module of its own (a file beside the notebook)"
            ]
        )
    return f"{module}:{name}"


def _draw_against(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import landscape, marginals, plot_against

    table, name = run.results, options.pop("hyperparameter", "lr")
    return plot_against(landscape(table), name, ax, bins=marginals(table, name), **options)


def _draw_marginals(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import marginals, plot_marginals

    return plot_marginals(marginals(run.results, **options), ax)


def _draw_search_space(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import landscape, plot_search_space

    return plot_search_space(landscape(run.results), ax=ax, **options)


def _draw_schedule_length(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import plot_schedule_length, schedule_length

    return plot_schedule_length(schedule_length(run.results, **options), ax)


def _draw_optimizer_gap(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import optimizer_gap, plot_optimizer_gap

    return plot_optimizer_gap(optimizer_gap(run.results, **options), ax)


def _draw_convergence(run: Run, ax: "Axes | None", options: dict[str, Any]) -> "Axes":
    from analysis import plot_convergence, training_curves

    return plot_convergence(training_curves(run.curves, run.results, **options), ax)


FIGURES: dict[str, Callable[[Run, "Axes | None", dict[str, Any]], "Axes"]] = {
    "against": _draw_against,
    "marginals": _draw_marginals,
    "search_space": _draw_search_space,
    "schedule_length": _draw_schedule_length,
    "optimizer_gap": _draw_optimizer_gap,
    "convergence": _draw_convergence,
}
"""Figures of `Run.plot`."""
