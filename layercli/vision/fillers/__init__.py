"""What completes a picture where something was taken away: one filler per file.

A filler has `Options` and fill(rgb, hole, *, seed, sources, how) -> rgb: (H, W, 3) in [0, 1] with the pixels
of hole (H, W) bool made up and all others as they are; sources: (H, W) bool, where may be looked, or None.
"""
