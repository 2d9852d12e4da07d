"""Figures of the results of the other folders."""
