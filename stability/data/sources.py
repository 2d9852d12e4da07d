"""Data sets by name: what is known of each before it is read, and the function that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from stability.data.digits import load_digits
from stability.data.images import ImageData


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What is said of a data set before it is read."""

    load: Callable[[], ImageData]
    size: str
    """The size of model that suits it: what `vitc` alone stands for."""
    source: str


DATA: dict[str, DataInfo] = {
    "digits": DataInfo(
        load=load_digits,
        size="nano",
        source="1,797 handwritten digits (UCI, Alpaydin and Kaynak 1998) from scikit-learn's wheel",
    ),
}


@cache
def load(name: str) -> ImageData:
    """The data set `name`, read once a process. Raises KeyError for an unknown name."""
    return DATA[name].load()
