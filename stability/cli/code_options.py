"""Options for results of another version of the user's own code."""

from typing import Annotated

from typer import Option

RetrainChanged = Annotated[
    bool,
    Option(
        "--retrain-changed",
        help="Your own code was edited: train those trials again whose results come from another "
        "or an unknown version. The old results stay on disk but do not count.",
    ),
]
KeepChanged = Annotated[
    bool,
    Option(
        "--keep-changed",
        help="Your own code was edited: keep results of other versions and train what is missing "
        "with the current one. Tables and figures state it.",
    ),
]
