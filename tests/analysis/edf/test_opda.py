"""The bands agree with those of another package on random samples.

opda (Lourie, Cho and He, arXiv 2311.09480) simulates its LD bands, which move by about 2e-3 from
seed to seed.
"""

import numpy as np
import pytest
from opda.nonparametric import EmpiricalDistribution

from analysis import EDF

METHODS = {  # ours: theirs, how far they may be apart
    "dkw": ("dkw", 1e-9),
    "ks": ("ks", 1e-9),
    "ld-equal-tailed": ("ld_equal_tailed", 3e-3),
    "ld": ("ld_highest_density", 3e-3),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "confidence"), [(2, 0.9), (7, 0.95), (24, 0.8), (40, 0.95)])
def test_bands_agree_with_opda(method: str, n: int, confidence: float) -> None:
    rng = np.random.default_rng([n, *method.encode()])
    errors = rng.uniform(1.0, 90.0, n)
    named, tolerance = METHODS[method]
    theirs = EmpiricalDistribution.confidence_bands(
        errors, confidence, a=0.0, b=100.0, generator=rng, method=named, n_jobs=1
    )
    edf = EDF.of(errors)
    ours = edf.band(confidence, method)  # type: ignore[arg-type]
    # between the jumps, at them and beyond; opda sets its bounds to 0 and 1 at the ends of [a, b]
    x = np.concatenate(([0.5], errors, np.nextafter(errors, -np.inf), [99.0]))
    for other, curve in zip(theirs, (ours[0], edf, ours[1]), strict=True):
        np.testing.assert_allclose(curve(x), other.cdf(x), rtol=0.0, atol=tolerance)
