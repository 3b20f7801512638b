"""From a photo to layers: one method per file."""
