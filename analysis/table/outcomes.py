"""How a trial can end, and what is known about its error then."""

OK = "ok"
"""Trained to the end."""
COLLAPSED = "collapsed"
"""Finite but useless: no better than guessing. Counts as the error of chance."""
DIVERGED = "diverged"
"""A loss or a weight became non-finite. Where it counts is the policy's choice."""
FAILED = ("crashed", "out_of_memory", "timed_out")
"""The infrastructure failed, not the training: the error is unknown, neither good nor bad."""
MISSING = "missing"
"""In the design, without a result so far."""

UNKNOWN = (*FAILED, MISSING)
"""Outcomes that say nothing about the error."""
KNOWN = (OK, COLLAPSED, DIVERGED)
OUTCOMES = (*KNOWN, *UNKNOWN)
