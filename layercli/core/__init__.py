"""Floor 1: the document and what it may hold; numpy and pillow only."""
