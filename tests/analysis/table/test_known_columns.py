"""Which columns are no hyperparameters: the same in the analysis as in the tables of `sweeps`."""

import pandas as pd

from analysis.table.groups import SWEEP
from analysis.table.known_columns import (
    CIRCUMSTANCES,
    IDENTITY,
    RESULTS,
    hyperparameter_columns,
)
from analysis.table.run_directory import FROM_STUDY
from sweeps.study.schema import IDENTITY_COLUMNS, MEASURED_COLUMNS


def test_every_column_of_a_results_table_is_known() -> None:
    written = {column.name for column in (*IDENTITY_COLUMNS, *MEASURED_COLUMNS)}
    known = (*IDENTITY, *RESULTS, *CIRCUMSTANCES)
    assert set(known) == written | set(FROM_STUDY) | {SWEEP}
    assert len(known) == len(set(known))


def test_further_columns_are_hyperparameters_unless_the_study_says_which_are() -> None:
    table = pd.DataFrame({"model": "a", "error": [1.0], "val_error": 2.0, "gamma": 0.1, "f1": 0.5})
    assert hyperparameter_columns(table) == ["gamma", "f1"]
    table.attrs["search_space"] = [{"name": "gamma", "low": 0.1, "high": 1.0}] * 2
    assert hyperparameter_columns(table) == ["gamma"]
