"""One module for each command: what it does once its options have been read."""
