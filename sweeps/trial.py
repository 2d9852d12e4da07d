"""Earlier name of what `sweeps` itself offers to objectives; kept for objectives that import it."""

from sweeps.study.trial import FAILED, TRAINED, Cohort, Objective, Result, Saved, Trial

__all__ = ["FAILED", "TRAINED", "Cohort", "Objective", "Result", "Saved", "Trial"]
