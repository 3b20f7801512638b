"""Numbers as people write them: "60%", "150%", "1.5"."""

from __future__ import annotations

import math

from layercli.core.errors import LayercliError


def share(text: str, example: str) -> float:
    """Read "60%" or "0.6" as 0.6; raises LayercliError for anything else, with an example to type."""
    plain = text.strip()
    try:
        value = float(plain.removesuffix("%")) / (100.0 if plain.endswith("%") else 1.0)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LayercliError(f'"{text}" is no share.', f"Try: {example}")
    return value
