"""Comparison of models: shares, pairs, bands, references, and the sentences of a verdict."""
