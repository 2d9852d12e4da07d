"""The data sets: kinds of names, and images in memory in three parts. Needs no torch."""

from stability.data.faults import DataError
from stability.data.images import ImageData, Part
from stability.data.names import DataName
from stability.data.sources import KINDS, load, resolve, skipping, suits

__all__ = [
    "KINDS",
    "DataError",
    "DataName",
    "ImageData",
    "Part",
    "load",
    "resolve",
    "skipping",
    "suits",
]
