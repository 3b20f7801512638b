"""Seeing: feature nets, what stands out in a picture, its soft outline, and what lies behind it."""
