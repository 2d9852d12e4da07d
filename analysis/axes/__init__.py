"""How the error depends on schedule length, optimizer, and training time."""
