"""The driver: starts workers, records lost trials, reuses results, ends when all is done."""
