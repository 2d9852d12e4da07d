"""Each module is one command: a table, or JSON with --json; ratios are taken within one run."""
