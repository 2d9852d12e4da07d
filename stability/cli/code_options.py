"""Options for results of another version of the user's own code."""

from typing import Annotated

from typer import Option

RetrainChanged = Annotated[
    bool,
    Option(
        "--retrain-changed",
        help="After an edit of your own code: retrain the trials whose results come from another "
        "or an unknown version. The old results stay on disk but do not count.",
    ),
]
KeepChanged = Annotated[
    bool,
    Option(
        "--keep-changed",
        help="After an edit of your own code: keep the results of other versions and train what "
        "is missing with the current one. Tables and figures state it.",
    ),
]
