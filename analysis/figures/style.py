"""How figures look, whatever the settings of matplotlib are; and text of users in figures.

A whole figure that is written to a file has this style. Axes that were passed in (`ax=`) belong to
the caller's figure and keep the caller's settings; only the text of users is escaped there.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_LABEL = 80  # characters of a name in a figure
SESSION_SETTINGS = (
    "backend",
    "backend_fallback",
    "interactive",
    "toolbar",
    "timezone",
    "webagg",
    "figure.hooks",
)
"""Settings of a session, not of a figure."""


def literal(text: object) -> str:
    r"""Text that is drawn as it is: no mathematics, one line, of limited length, never hidden.

    Matplotlib reads what is between two dollar signs as mathematics, and leaves labels that begin
    with an underscore out of legends.

    >>> literal("a$\\frac{$"), literal("_x"), literal("two\nlines")
    ('a\\$\\frac{\\$', ' _x', 'two\\nlines')
    """
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    if len(shown) > LONGEST_LABEL:
        shown = f"{shown[: LONGEST_LABEL // 2]}…{shown[-LONGEST_LABEL // 2 :]}"
    return escape_dollars(f" {shown}" if shown.startswith("_") else shown)


def escape_dollars(text: str) -> str:
    """The text with its dollar signs escaped, those that are not yet."""
    return re.sub(r"(?<!\\)\$", r"\\$", text)


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's own defaults, whatever a `matplotlibrc`, a style or a notebook has set."""
    import matplotlib

    defaults = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith(SESSION_SETTINGS)
    }
    with matplotlib.rc_context(defaults):
        yield


def save(figure: "Figure", path: str | os.PathLike[str] | Any, **how: Any) -> None:
    """Write a whole figure in our own style; text in it is literal.

    Args:
        figure: made within `own_style`.
        path: of the image.
        how: as `Figure.savefig` takes it (`format`, `dpi`).

    Raises:
        ValueError: a format that matplotlib does not know.
        OSError: the file cannot be written.
    """
    from matplotlib.text import Text

    with own_style(), warnings.catch_warnings():
        # Matplotlib draws a box for what the font has no glyph for.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        for text in figure.findobj(Text):
            text.set_text(escape_dollars(text.get_text()))
        figure.savefig(path, **how)
