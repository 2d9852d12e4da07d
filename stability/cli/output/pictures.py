"""Pictures of the command line: where they may be written, Matplotlib without user settings."""

import sys
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path

FORMATS = (".png", ".pdf", ".svg")


def picture_faults(output: Path | None) -> list[str]:
    """Why no picture can be written to `output`; matplotlib is not loaded for that."""
    if output is None:
        return []
    faults = []
    if not output.parent.is_dir():
        faults.append(f"--output: {output.parent} is no folder")
    if output.suffix.lower() not in FORMATS:
        faults.append(f"--output: got {output.name!r}, allowed are .png, .pdf and .svg")
    return faults


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
