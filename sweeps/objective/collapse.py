"""The rule that says whether a finished training is collapsed.

`analysis/table/collapse.py` repeats it for imported tables; a test holds both together.
"""

import math

SDS = 3.0
TOLERANCE = 1e-9  # percentage points: an error that equals chance may differ in the last bit


def is_collapsed(
    error: float, chance: float, n_eval: float | None = None, *, constant: bool = False
) -> bool:
    """Whether a training that stayed finite is no better than a guess.

    It is if every evaluated example got the same answer, or if its error is at least
    chance - 3 sd, with sd = sqrt(chance (100 - chance) / n_eval): a guess that is wrong with a
    probability of `chance` percent has that standard deviation. With so few examples that this
    limit is not above 0 it would hold for every error; the limit is then `chance` itself, as it is
    where `n_eval` is unknown. A training without a wrong answer is never collapsed.

    Args:
        error: percent of wrong answers.
        chance: percent of wrong answers of always answering the largest class.
        n_eval: number of evaluated examples; None if unknown.
        constant: whether every example got the same answer.

    >>> is_collapsed(89.0, 90.0, 400), is_collapsed(85.0, 90.0, 400), is_collapsed(89.0, 90.0)
    (True, False, False)
    >>> is_collapsed(0.0, 50.0, 8), is_collapsed(12.5, 50.0, 8), is_collapsed(50.0, 50.0, 8)
    (False, False, True)
    """
    if error <= 0:
        return False
    sd = math.sqrt(max(chance * (100.0 - chance), 0.0) / n_eval) if n_eval else 0.0
    limit = chance - SDS * sd
    return constant or error >= (limit if limit > 0 else chance) - TOLERANCE
