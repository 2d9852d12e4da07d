"""Options of studies of a user's own objective."""

from typing import Annotated

from typer import Option

ErrorUnit = Annotated[
    str | None,
    Option(
        "--unit",
        help="Unit of what --objective returns: percent, fraction (0 to 1), or raw (any loss; "
        "needs --within)  [default: percent]",
        metavar="NAME",
    ),
]
OwnWithin = Annotated[
    str | None,
    Option(
        "--within",
        help="With --unit raw: the distance from the best loss that counts as near, in the unit of "
        "the loss.",
        metavar="D",
    ),
]
WithinLoss = Annotated[
    str | None,
    Option(
        "--within",
        help="Distance from the best that counts as near, in points or in the unit of the loss  "
        "[default: 4 points, or the study's]",
        metavar="D",
    ),
]
