"""Variety: how far apart the pictures of one prompt are from seed to seed.

Beside it stands the same number between prompts: pictures that differ by seed as much as by prompt do not
follow the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.evaluate._rows import Rows
from layercli.evaluate.cmmd import normalised

NEEDS = "seeds"
NUMBERS = {"within": ("*", "higher", "", None), "between": ("*", "neither", "", None)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """net: see fid."""

    net: str = "embedded"


def distance(rows: Rows, reference: Rows, options: Options) -> dict[str, float]:
    """Mean cosine distance of two pictures of one prompt, and of two of different prompts.

    Pictures of one sample are no pair. The reference is not looked at.
    """
    apart = 1 - normalised(rows.features) @ normalised(rows.features).T
    other = rows.samples[:, None] != rows.samples[None]
    alike = (rows.prompts[:, None] == rows.prompts[None]) & other
    if not alike.any():
        raise LayercliError(
            "Variety needs two pictures or more of one prompt.", "Try: layercli generate … --count 4 -o DIR/"
        )
    found = {"within": float(apart[alike].mean())}
    if (other & ~alike).any():
        found["between"] = float(apart[other & ~alike].mean())
    return found
