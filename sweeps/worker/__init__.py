"""The worker: claims cohorts, has the objective train them, and writes the results."""
