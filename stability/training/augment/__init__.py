"""Data augmentation: from stored images to the batch of a training step."""
