"""Alpha health: soft pixels, haze, holes, specks, and objects that the frame cuts off.

No truth is needed. A clean object has soft pixels along its outline alone, no holes it should not have, one
piece, and room around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes, label

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample

NEEDS = ""
NUMBERS = {
    "soft": ("foreground", "lower", "", 1.0),
    "haze": ("foreground", "lower", "", 1.0),
    "holes": ("foreground", "lower", "", 1.0),
    "specks": ("foreground", "lower", "", 1.0),
    "cut": ("foreground", "lower", "", 1.0),
    "empty": ("foreground", "lower", "", 1.0),
}
_EIGHT = np.ones((3, 3), int)


@dataclass(frozen=True, kw_only=True)
class Options:
    """faint, solid: alphas between which a pixel is soft; hole, speck: the largest share of the object that
    a hole or a loose piece may have to count (larger ones are meant); edge: the share of a side of the canvas
    that an object touches from which on it is cut off.
    """

    faint: float = 0.05
    solid: float = 0.95
    hole: float = 0.02
    speck: float = 0.05
    edge: float = 0.05

    def __post_init__(self) -> None:
        shares = (self.faint, self.solid, self.hole, self.speck, self.edge)
        if not all(0 <= share <= 1 for share in shares) or self.faint >= self.solid:
            raise LayercliError(
                "health needs shares from 0 to 1, and faint below solid.", "Try: -O health.edge=0.05"
            )


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Means over the foregrounds, as they stand on the canvas."""
    if not sample.foregrounds:
        raise NotJudged("it has no foreground")
    found = [health(sample.placed(layer)[..., 3], options) for layer in sample.foregrounds]
    return {name: float(np.mean([one[name] for one in found])) for name in NUMBERS}


def health(alpha: np.ndarray, options: Options) -> dict[str, float]:
    """The numbers of one alpha, (H, W) in [0, 1].

    soft: of all that is seen, the share between faint and solid; haze: the alpha-weighted share of what is
    seen that lies below one half; holes, specks: shares of the object's area; cut: 1 where it runs off the
    canvas; empty: 1 where nothing is solid, and then the rest is 0 but soft.
    """
    seen, solid = alpha > options.faint, alpha >= 0.5
    area = int(solid.sum())
    soft = float((seen & (alpha < options.solid)).sum() / max(1, int(seen.sum())))
    if area == 0:
        return {
            "soft": soft,
            "haze": float(seen.any()),
            "holes": 0.0,
            "specks": 0.0,
            "cut": 0.0,
            "empty": 1.0,
        }
    pieces = _sizes(solid)
    # Opaque and clear meet along 8 neighbours on one side and 4 on the other, so holes are counted by 4.
    holes = _sizes(binary_fill_holes(solid) & ~solid, None)
    loose = np.sort(pieces)[:-1]
    total = float(alpha.sum(dtype=np.float64))
    return {
        "soft": soft,
        "haze": float(alpha[~solid].sum(dtype=np.float64)) / total,
        "holes": float(holes[holes <= options.hole * area].sum()) / area,
        "specks": float(loose[loose <= options.speck * area].sum()) / area,
        "cut": float(_is_cut(solid, options.edge)),
        "empty": 0.0,
    }


def _sizes(mask: np.ndarray, neighbours: np.ndarray | None = _EIGHT) -> np.ndarray:
    regions, count = label(mask, structure=neighbours)
    return np.bincount(regions.ravel(), minlength=count + 1)[1:]


def _is_cut(solid: np.ndarray, edge: float) -> bool:
    sides = solid[0], solid[-1], solid[:, 0], solid[:, -1]
    return any(float(side.mean()) >= edge for side in sides)
