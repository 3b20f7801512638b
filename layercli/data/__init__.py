"""Data sets for training: building and reading them."""
