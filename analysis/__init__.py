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

from analysis.all_pairs import compare_all, compare_table
from analysis.bands import count_bounds, half_width, method_for
from analysis.compare import Comparison, compare
from analysis.dominance import dominance
from analysis.edf import EDF
from analysis.estimand import Estimand
from analysis.faults import TableError
from analysis.groups import complete_prefix, describe, group_columns
from analysis.intervals import (
    Interval,
    area_interval,
    quantile_interval,
    share_interval,
    within_interval,
)
from analysis.ld import exact_coverage, pointwise_coverage
from analysis.outcomes import OUTCOMES
from analysis.pairs import paired_interval
from analysis.planning import (
    Scenario,
    cost,
    power,
    power_from_pilot,
    seconds_by_group,
    trials_for,
    trials_for_power,
)
from analysis.policies import errors_under
from analysis.samples import Sample, samples
from analysis.secondary import brunner_munzel, holm, ks_permutation, tau_b
from analysis.shares import Share, share_difference, share_of
from analysis.summary import clopper_pearson, diverged_share, summarise
from analysis.table import as_table, load
from analysis.trials import score_by_trials

if TYPE_CHECKING:
    from analysis.figures import save_edf
    from analysis.plots import draw_edf, plot_edfs

__all__ = [
    "EDF",
    "OUTCOMES",
    "Comparison",
    "Estimand",
    "Interval",
    "Sample",
    "Scenario",
    "Share",
    "TableError",
    "area_interval",
    "as_table",
    "brunner_munzel",
    "clopper_pearson",
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
    "errors_under",
    "exact_coverage",
    "group_columns",
    "half_width",
    "holm",
    "ks_permutation",
    "load",
    "method_for",
    "paired_interval",
    "plot_edfs",
    "pointwise_coverage",
    "power",
    "power_from_pilot",
    "quantile_interval",
    "samples",
    "save_edf",
    "score_by_trials",
    "seconds_by_group",
    "share_difference",
    "share_interval",
    "share_of",
    "summarise",
    "tau_b",
    "trials_for",
    "trials_for_power",
    "within_interval",
]

_LATER = {
    "draw_edf": "analysis.plots",
    "plot_edfs": "analysis.plots",
    "save_edf": "analysis.figures",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
