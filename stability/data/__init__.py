"""The data sets: kinds of names, and images in memory in three parts. Needs no torch."""

from stability.data.faults import DataError
from stability.data.images import ImageData, Part
from stability.data.names import DataName
from stability.data.sources import KINDS, load_data, resolve_data, suitable_size, without_unreadable

__all__ = [
    "KINDS",
    "DataError",
    "DataName",
    "ImageData",
    "Part",
    "load_data",
    "resolve_data",
    "suitable_size",
    "without_unreadable",
]
