"""Where a net looks decides what it sees: the object that is asked for is looked for from several places."""

from __future__ import annotations

import numpy as np

from layercli.decompose._looking import at_point, nearer_look
from layercli.decompose._objects import standing_out
from tests.decompose.made import ball, levels, over, soft_iou, wall

STRONG, FAINT = (0.9, 0.1, 0.1), (0.45, 0.62, 0.72)


class Contrast:
    """A finder as salient-object nets are: what differs most from a view's border, stretched to [0, 1]."""

    name = "contrast"

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
        apart = np.abs(rgb - np.median(border, axis=0)).max(axis=-1)
        return np.clip(1.6 * apart / max(float(apart.max()), 1e-6) - 0.3, 0, 1).astype(np.float32)


def photo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A strong ball on the left, a faint one on the right: the whole, and the alpha of both."""
    strong = ball(90, 160, centre=(0.45, 0.25), radius=0.3)
    faint = ball(90, 160, centre=(0.6, 0.76), radius=0.2)
    flat = levels(0.9 * np.full_like(wall(90, 160), 0.68) + 0.1 * wall(90, 160))
    return over(over(flat, faint, FAINT), strong, STRONG), strong, faint


def test_what_a_whole_view_misses_is_found_at_its_point():
    look, strong, faint = photo()
    assert soft_iou(Contrast()(look), faint) < 0.1
    assert soft_iou(at_point(look, (121, 54), Contrast()), faint) > 0.8
    assert soft_iou(at_point(look, (40, 40), Contrast()), strong) > 0.8


def test_what_stands_out_is_looked_at_from_near():
    look, strong, faint = photo()
    found = standing_out(look, Contrast(), 3, 0.005)
    assert [entry.name for entry in found] == ["object"]
    assert soft_iou(found[0].mask, strong) > 0.8
    nearer = nearer_look(look, faint, Contrast())
    assert nearer is not None and soft_iou(nearer, faint) > 0.8
    nothing = ball(90, 160, centre=(0.15, 0.55), radius=0.1)
    assert nearer_look(look, nothing, Contrast()) is None
