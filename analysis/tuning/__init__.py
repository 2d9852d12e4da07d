"""Tuning curves (best error after k trials) and the variance between training seeds."""
