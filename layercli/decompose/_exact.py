"""Colours that put a photo together again exactly, solved for layers as they are in an 8-bit file."""

from __future__ import annotations

import numpy as np

from layercli.core.pixels import dequantize, quantize

_LEVEL = np.float32(1 / 255)
_MARGIN = np.float32(0.35 / 255)
"""How far a composite may stray from a level before it is rounded; half a level would be the very edge."""

#: How far the guessed colours may be off: a ghost in the background is worse than a shade in the foreground.
_SURE_FG, _SURE_BG = 0.1, 0.06

#: How far an alpha may be off on a rim, and a colour of a photo by noise alone.
_SURE_ALPHA, _NOISE = 0.15, 0.02
#: A difference that is seen as an outline left behind; how much of it an object's colour must explain.
_GHOST, _EXPLAINED = 0.03, 0.6
#: How far a background must be off to be seen as a rim of light.
_GLARE = 0.1
#: How far alpha may be raised where the object hardly shows, and from which alpha on it is surely there.
_MOST_RAISED, _SURELY = 0.5, 0.25


def in_levels(values: np.ndarray) -> np.ndarray:
    """The nearest 8-bit levels, as float32 in [0, 1]."""
    return dequantize(quantize(values))


def cleared(alpha: np.ndarray) -> np.ndarray:
    """Alpha in 8-bit levels, with what hardly shows clear and what is nearly solid solid."""
    return in_levels(np.where(alpha < 2.5 * _LEVEL, 0, np.where(alpha > 1 - 2.5 * _LEVEL, 1, alpha)))


def without_ghost(
    photo: np.ndarray,
    alpha: np.ndarray,
    fg: np.ndarray,
    made_up: np.ndarray,
    ring: np.ndarray,
    error: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Correct alpha on an object's rim by what is made up behind it, as far as that can be trusted.

    photo, fg, made_up: (H, W, 3), alpha: (H, W), ring: (H, W) bool, where it may change; error: (H, W), how
    far what is made up may be off -> alpha (H, W) in 8-bit levels. For p = αF + (1-α)B with F, B given,
    α = (p-B)·(F-B) / |F-B|², off by σ / |F-B|; σ is that error and what no α explains. With an error of its
    own for the alpha there was, the most likely α is their weighted mean. What was clear stays so where no
    more than the error is seen.
    """
    shown, apart = photo - made_up, fg - made_up
    power = np.einsum("hwc,hwc->hw", apart, apart)
    along = np.einsum("hwc,hwc->hw", shown, apart)
    free = along / np.maximum(power, 1e-6)  # over 1 where the photo is farther from B than F is
    solved = np.clip(free, 0, 1)
    left = np.linalg.norm(shown - np.maximum(free, 0)[..., None] * apart, axis=-1)
    seen = np.linalg.norm(shown, axis=-1)
    weight = power / (_NOISE**2 + error**2 + left**2)
    likely = (alpha / _SURE_ALPHA**2 + weight * solved) / (1 / _SURE_ALPHA**2 + weight)
    ghost = (seen > np.maximum(_GHOST, 2 * error)) & (left < (1 - _EXPLAINED) * seen)
    raised = np.where(ring & ((alpha > 0) | ghost), likely, alpha)
    # Where even F = 0 or F = 1 cannot bring B to the photo, B would be off, and glare: the least α that can.
    rest = np.maximum(1 - raised, _LEVEL)[..., None]
    nearest = np.clip(made_up, 1 - (1 - photo) / rest, photo / rest)
    glare = np.abs(nearest - made_up).max(axis=-1) > np.maximum(_GLARE, 2 * error)
    off = ring & (raised > 0) & (raised < 1) & glare
    down = 1 - photo / np.maximum(made_up, 1e-3)
    up = (photo - made_up) / np.maximum(1 - made_up, 1e-3)
    needed = np.maximum(down, up).max(axis=-1)
    needed = np.ceil(np.minimum(needed, 1) * 255) / np.float32(255)  # a level below would not do
    most = np.where(alpha > _SURELY, np.float32(1), np.float32(_MOST_RAISED))
    return in_levels(np.where(off, np.maximum(raised, np.minimum(needed, most)), raised))


def behind(
    photo: np.ndarray,
    alpha: np.ndarray,
    fg: np.ndarray,
    made_up: np.ndarray,
    error: np.ndarray | float = _SURE_BG,
) -> np.ndarray:
    """What lies behind a layer: p = αF + (1-α)B, solved for B between what is seen and what was made up.

    photo, fg, made_up: (H, W, 3), alpha: (H, W) in 8-bit levels -> B in 8-bit levels. With F ~ N(fg, σ_F²)
    and B ~ N(made_up, σ_B²) the most likely B is made_up + (1-α)σ_B² r / (α²σ_F² + (1-α)²σ_B²), where r is
    what fg and made_up leave unexplained; σ_B is the error (H, W) of what was made up, if that is less than
    usual: before an even ground every shade of the object's rim would be seen. B is kept where some F in
    [0, 1] gives p; where α = 0, B = p.
    """
    a = alpha[..., None]
    rest = 1 - a
    unexplained = photo - a * fg - rest * made_up
    spread = np.clip(np.broadcast_to(error, alpha.shape), _LEVEL, _SURE_BG)[..., None] ** 2
    pull = rest * spread / (a * a * _SURE_FG**2 + rest * rest * spread)
    b = made_up + pull * unexplained
    solid = a > 1 - 0.5 * _LEVEL
    divisor = np.where(solid, np.float32(1), rest)
    least, most = (photo - a) / divisor, photo / divisor
    b = np.where(solid, made_up, np.clip(b, least, most))
    return in_levels(np.where(a == 0, photo, b))


def over_exactly(below: np.ndarray, photo: np.ndarray, alpha: np.ndarray, fg: np.ndarray) -> np.ndarray:
    """The layer's colours in 8-bit levels, near fg, that laid over `below` round to the photo.

    below: (H, W, 3) the unrounded composite of the layers underneath; alpha: (H, W) in 8-bit levels; fg: the
    colours wanted -> (H, W, 3). Where alpha is small many colours do, and fg itself is taken if it does.
    """
    a = alpha[..., None]
    seen = a > 0
    divisor = np.where(seen, a, np.float32(1))
    middle = (photo - (1 - a) * below) / divisor
    slack = _MARGIN / divisor
    colour = np.clip(in_levels(fg), middle - slack, middle + slack)
    colour = in_levels(np.clip(np.where(seen, colour, fg), 0, 1))
    # Rounding may have stepped out of the slack: then the level nearest to the middle is in it.
    off = np.abs(colour - middle) > slack + 1e-6
    nearest = in_levels(np.clip(middle, 0, 1))
    return np.where(off & seen, nearest, colour).astype(np.float32)


def laid_over(below: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """below and colour (H, W, 3), alpha (H, W) -> αC + (1-α)·below, not rounded."""
    a = alpha[..., None]
    return a * colour + (1 - a) * below
