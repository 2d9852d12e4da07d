"""Tables of other programs, and what the importers make of them."""

from typing import Any

import pandas as pd
import pytest

from analysis import ImportOptions, TableError
from analysis.importers import ExternalSweep, convert_sweep


def foreign(**columns: list[Any]) -> ExternalSweep:
    frame = pd.DataFrame({n: pd.Series(cells, dtype=object) for n, cells in columns.items()})
    return ExternalSweep(name="mine", format="table", frame=frame)


def outcomes_of(source: ExternalSweep, **said: Any) -> list[str]:
    return convert_sweep(source, ImportOptions(**said)).table["outcome"].tolist()


def faults_of(source: ExternalSweep, **said: Any) -> list[str]:
    with pytest.raises(TableError) as caught:
        convert_sweep(source, ImportOptions(**said))
    return list(caught.value.faults)
