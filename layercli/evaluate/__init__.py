"""From stacks of layers to scores: one metric per file."""
