"""The run directory: claims, parts, views, checkpoints, and who owns what."""
