"""Where a study runs: executors, profiles, devices, and what an earlier run used."""
