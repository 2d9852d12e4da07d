"""Versions of the user's code behind the results of a table."""

import pandas as pd
import pytest

from analysis import code_notes
from analysis.table.code_versions import is_mixed


@pytest.mark.parametrize("columns", [{}, {"code": None}, {"objective": "mine:train"}])
def test_a_table_without_a_result_has_no_versions(columns: dict[str, str | None]) -> None:
    table = pd.DataFrame({"model": ["a:b"], "outcome": ["missing"]}).assign(**columns)
    assert code_notes(table) == []
    assert not is_mixed(table)
    assert code_notes(table.iloc[:0]) == []
    assert code_notes(table.assign(outcome="ok"))  # one of an unknown version
