"""From words to layers: one method per file."""
