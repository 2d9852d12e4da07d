"""Sweeps of other tools as tables of ours: `read` a source, then `convert` what was read.

A reader is a function of a source that returns an `ExternalSweep`: the columns as they are there,
and what the format itself says about them. What the user says, and every check, is in `convert`,
the same for all formats.
"""

from analysis.importers.chance import Chance
from analysis.importers.convert import Imported, convert
from analysis.importers.formats import FORMATS, read
from analysis.importers.source import ExternalSweep, ImportOptions

__all__ = ["FORMATS", "Chance", "ExternalSweep", "ImportOptions", "Imported", "convert", "read"]
