"""What the results of a sweep mean: error distribution functions with bands, and their numbers.

>>> import pandas as pd
>>> table = pd.DataFrame({"model": ["a", "a", "b"], "error": [5.0, None, 7.0], "chance": 90.0})
>>> a, b = samples(table)
>>> a.edf()([5.0, 90.0]).tolist(), b.edf()([5.0, 90.0]).tolist()
([0.5, 1.0], [0.0, 1.0])

Reading and counting need numpy and pandas alone; the figures import matplotlib when they are
first asked for, bands and intervals scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis.axes.convergence import epochs_to_reach, load_curves, training_curves
from analysis.axes.lengths import schedule_length
from analysis.axes.optimizers import optimizer_gap
from analysis.comparison.all_pairs import compare_all, compare_table
from analysis.comparison.compare import Comparison, compare
from analysis.comparison.dominance import dominance
from analysis.comparison.estimand import Estimand
from analysis.comparison.pairs import paired_interval
from analysis.comparison.secondary import (
    brunner_munzel,
    holm,
    ks_permutation,
    order_permutation,
    tau_b,
)
from analysis.comparison.shares import Share, share_difference, share_of
from analysis.edf.bands import count_bounds, half_width, method_for
from analysis.edf.intervals import (
    Interval,
    area_interval,
    quantile_interval,
    sample_quantile,
    share_interval,
    within_interval,
)
from analysis.edf.ld import exact_coverage, pointwise_coverage
from analysis.edf.samples import Sample, samples
from analysis.edf.step_function import EDF
from analysis.edf.summary import clopper_pearson, diverged_share, summarise
from analysis.errors import TableError
from analysis.importers import ImportOptions
from analysis.planning import (
    Scenario,
    cost,
    power,
    power_from_pilot,
    seconds_by_group,
    trials_for,
    trials_for_power,
)
from analysis.space.best_region import (
    edge_warnings,
    landscape,
    span_of_the_best,
    winning_probabilities,
)
from analysis.space.lr_sensitivity import lr_sensitivity
from analysis.space.marginals import importance, marginals
from analysis.space.search_space import SearchRange, range_for, read_search_space, search_space_of
from analysis.space.subspace import WeightedEDF, reweighted, subspace
from analysis.table.code_versions import MixedCodeWarning, code_notes
from analysis.table.groups import complete_prefix, describe, group_columns
from analysis.table.load import as_table, load
from analysis.table.outcomes import OUTCOMES
from analysis.table.policies import errors_under
from analysis.tuning.seed_variance import variance_components, variance_shares
from analysis.tuning.tuning_curve import score_by_trials

if TYPE_CHECKING:
    from analysis.figures.axes import plot_convergence, plot_optimizer_gap, plot_schedule_length
    from analysis.figures.edf import draw_edf, plot_edfs
    from analysis.figures.save import save_edf
    from analysis.figures.space import plot_against, plot_marginals, plot_search_space

__all__ = [
    "EDF",
    "OUTCOMES",
    "Comparison",
    "Estimand",
    "ImportOptions",
    "Interval",
    "MixedCodeWarning",
    "Sample",
    "Scenario",
    "SearchRange",
    "Share",
    "TableError",
    "WeightedEDF",
    "area_interval",
    "as_table",
    "brunner_munzel",
    "clopper_pearson",
    "code_notes",
    "compare",
    "compare_all",
    "compare_table",
    "complete_prefix",
    "cost",
    "count_bounds",
    "describe",
    "diverged_share",
    "dominance",
    "draw_edf",
    "edge_warnings",
    "epochs_to_reach",
    "errors_under",
    "exact_coverage",
    "group_columns",
    "half_width",
    "holm",
    "importance",
    "ks_permutation",
    "landscape",
    "load",
    "load_curves",
    "lr_sensitivity",
    "marginals",
    "method_for",
    "optimizer_gap",
    "order_permutation",
    "paired_interval",
    "plot_against",
    "plot_convergence",
    "plot_edfs",
    "plot_marginals",
    "plot_optimizer_gap",
    "plot_schedule_length",
    "plot_search_space",
    "pointwise_coverage",
    "power",
    "power_from_pilot",
    "quantile_interval",
    "range_for",
    "read_search_space",
    "reweighted",
    "sample_quantile",
    "samples",
    "save_edf",
    "schedule_length",
    "score_by_trials",
    "search_space_of",
    "seconds_by_group",
    "share_difference",
    "share_interval",
    "share_of",
    "span_of_the_best",
    "subspace",
    "summarise",
    "tau_b",
    "training_curves",
    "trials_for",
    "trials_for_power",
    "variance_components",
    "variance_shares",
    "winning_probabilities",
    "within_interval",
]

_LATER = {
    "draw_edf": "analysis.figures.edf",
    "plot_edfs": "analysis.figures.edf",
    "save_edf": "analysis.figures.save",
    "plot_convergence": "analysis.figures.axes",
    "plot_optimizer_gap": "analysis.figures.axes",
    "plot_schedule_length": "analysis.figures.axes",
    "plot_against": "analysis.figures.space",
    "plot_search_space": "analysis.figures.space",
    "plot_marginals": "analysis.figures.space",
}
_ALIASES = {
    "Range": "SearchRange",
    "box_of": "search_space_of",
    "isolation": "marginals",
    "plot_box": "plot_search_space",
    "plot_isolation": "plot_marginals",
    "read_box": "read_search_space",
    "smaller_box": "subspace",
}
"""Names of earlier versions, and the present ones."""


def __getattr__(name: str) -> Any:
    current = _ALIASES.get(name, name)
    if current in globals():
        return globals()[current]
    if current not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[current]), current)
