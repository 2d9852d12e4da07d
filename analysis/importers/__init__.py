"""Sweeps of other tools as results tables: read a source (`read_sweep`), then convert it.

A reader is a function of a source that returns an `ExternalSweep`: the columns as they are there,
and what the format itself says about them. `convert_sweep` applies what the user says, and makes
every check, in the same way for all formats.
"""

from analysis.importers.chance import ChanceLevel
from analysis.importers.convert import ImportedTable, convert_sweep
from analysis.importers.formats.recognise import IMPORT_FORMATS, read_sweep
from analysis.importers.source import ExternalSweep, ImportOptions

__all__ = [
    "IMPORT_FORMATS",
    "ChanceLevel",
    "ExternalSweep",
    "ImportOptions",
    "ImportedTable",
    "convert_sweep",
    "read_sweep",
]
