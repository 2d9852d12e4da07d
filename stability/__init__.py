"""What is trained: models, data, the training loop, and the command line."""

__version__ = "0.1.0"
