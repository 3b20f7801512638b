"""From layers to layers: one edit per file."""
