"""Sweeps of other tools as tables of ours: `read` a source, then `convert` what was read.

A reader is a plain function of a source into a `Foreign`: the columns as they are there, and what
the format itself says about them. What the person says, and every check, is in `convert`, the
same for all formats.
"""

from sweeps.foreign.chance import Chance
from sweeps.foreign.convert import Imported, convert
from sweeps.foreign.reading import FORMATS, read
from sweeps.foreign.source import Foreign, Wish

__all__ = ["FORMATS", "Chance", "Foreign", "Imported", "Wish", "convert", "read"]
