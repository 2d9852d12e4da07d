"""Which trials, where they run, what came back. Knows nothing of what is trained."""
