"""Engines: ways to train one or many trials with the numbers of the plain loop, to rounding."""
