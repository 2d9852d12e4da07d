"""Asking Slurm: every command has a time limit, and no answer is an answer of its own."""
