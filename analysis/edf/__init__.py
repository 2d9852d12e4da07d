"""Error distribution functions, their confidence bands and intervals, and summaries of samples."""
