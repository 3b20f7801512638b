"""Floor 3: LayerStack to files and back, one format per file; no torch."""
