"""The rule that says whether a finished training is collapsed.

The same rule as `sweeps/objective/collapse.py`, which this package does not import; a test holds
both together.
"""

import math

SDS = 3.0
TOLERANCE = 1e-9  # percentage points: an error that equals chance may differ in the last bit


def is_collapsed(error: float, chance: float, n_eval: float | None = None) -> bool:
    """Whether a training that stayed finite is no better than a guess.

    It is if its error is at least chance - 3 sd, with sd = sqrt(chance (100 - chance) / n_eval).
    Where that limit is not above 0, or `n_eval` is unknown, the limit is `chance` itself. A
    training without a wrong answer is never collapsed.

    Args:
        error: percent of wrong answers.
        chance: percent of wrong answers of always answering the largest class.
        n_eval: number of evaluated examples; None if unknown.

    >>> is_collapsed(89.0, 90.0, 400), is_collapsed(85.0, 90.0, 400), is_collapsed(89.0, 90.0)
    (True, False, False)
    """
    sd = math.sqrt(max(chance * (100.0 - chance), 0.0) / n_eval) if n_eval else 0.0
    limit = chance - SDS * sd
    return error > 0 and error >= (limit if limit > 0 else chance) - TOLERANCE
