"""Matplotlib for the pictures of the command line, without anybody's settings."""

import sys
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path


def import_matplotlib() -> None:
    """Import it without reading `matplotlibrc` of the current folder or of the user.

    A damaged one would be an error, a pipe would be waited for. Matplotlib looks into the current
    folder first; for the time of the import that is the folder with its own settings. Call this
    before threads are started, for which the folder would change too.
    """
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        return
    with chdir(Path(spec.origin).parent / "mpl-data"):
        import matplotlib  # noqa: F401
