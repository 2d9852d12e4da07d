"""The data sets: a table of names, and images in memory in three parts. Needs no torch."""

from stability.data.images import ImageData, Part
from stability.data.sources import DATA, DataInfo, load

__all__ = ["DATA", "DataInfo", "ImageData", "Part", "load"]
