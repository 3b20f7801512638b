"""Training: one stage per file, one loop for all."""
