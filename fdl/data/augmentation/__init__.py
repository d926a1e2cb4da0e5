"""Augmentations: pure functions of a batch and a key, compiled into the training step."""
