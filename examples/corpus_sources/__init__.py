"""What the training corpus is made of: one family of sources a file, and the few steps they share."""
