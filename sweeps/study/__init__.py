"""The study: search space, sampling, design, trials, and the columns of the results."""
