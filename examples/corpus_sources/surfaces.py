"""Floors, walls, grass and sky, drawn by arithmetic: nobody's work but this script's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIDE = 512

Surface = Callable[[np.random.Generator], np.ndarray]


def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return rows, columns


def _noise(dice: np.random.Generator, cell: int) -> np.ndarray:
    """Noise of a grain of `cell` pixels that repeats at the edges -> (SIDE, SIDE), about -1 to 1."""
    coarse = dice.uniform(-1, 1, (SIDE // cell, SIDE // cell))
    return np.kron(coarse, np.ones((cell, cell)))


def _pastel(dice: np.random.Generator, low: float = 0.72, high: float = 0.92) -> np.ndarray:
    return dice.uniform(low, high, 3)


def planks(dice: np.random.Generator) -> np.ndarray:
    """Wooden boards -> (SIDE, SIDE, 3), 0 to 1, as all surfaces here."""
    rows, columns = _grid()
    board = rows // 64
    tone = dice.uniform(-0.06, 0.06, SIDE // 64)[board]
    grain = 0.03 * np.sin(rows / 2.5 + 3 * np.sin(columns / 40 + board * 1.7)) + 0.015 * _noise(dice, 2)
    wood = np.array([0.62, 0.44, 0.28]) * dice.uniform(0.6, 1.25)
    return (wood + (tone + grain - 0.18 * (rows % 64 < 2))[..., None]).clip(0, 1)


def tiles(dice: np.random.Generator) -> np.ndarray:
    """Two colours of square tiles with joints."""
    rows, columns = _grid()
    first, second = _pastel(dice), _pastel(dice)
    pattern = dice.integers(0, 2, (4, 4))[rows // 128, columns // 128]
    joint = (rows % 128 < 3) | (columns % 128 < 3)
    return np.where(joint[..., None], 0.6, np.where(pattern[..., None] == 1, first, second))


def carpet(dice: np.random.Generator) -> np.ndarray:
    """A soft floor of one colour."""
    return (_pastel(dice, 0.3, 0.7) + 0.05 * _noise(dice, 2)[..., None]).clip(0, 1)


def paint(dice: np.random.Generator) -> np.ndarray:
    """A plain wall."""
    return np.broadcast_to(_pastel(dice), (SIDE, SIDE, 3)).copy()


def stripes(dice: np.random.Generator) -> np.ndarray:
    """Wallpaper with upright stripes."""
    _, columns = _grid()
    colour = _pastel(dice)
    return np.where((columns // 32 % 2 == 0)[..., None], colour, (colour + 0.06).clip(0, 1))


def dots(dice: np.random.Generator) -> np.ndarray:
    """Wallpaper with dots."""
    rows, columns = _grid()
    colour = _pastel(dice)
    inside = (rows % 64 - 32) ** 2 + (columns % 64 - 32) ** 2 < 8**2
    return np.where(inside[..., None], colour - 0.12, colour)


def bricks(dice: np.random.Generator) -> np.ndarray:
    """A brick wall."""
    rows, columns = _grid()
    course = rows // 32
    shifted = columns + 32 * (course % 2)
    tone = dice.uniform(-0.05, 0.05, (SIDE // 32, SIDE // 64 + 1))[course, shifted // 64 % (SIDE // 64)]
    joint = (rows % 32 < 3) | (shifted % 64 < 3)
    brick = np.array([0.6, 0.3, 0.25])
    return np.where(joint[..., None], 0.78, brick + tone[..., None]).clip(0, 1)


def grass(dice: np.random.Generator) -> np.ndarray:
    """A lawn."""
    shade = 0.06 * _noise(dice, 2) + 0.03 * _noise(dice, 16)
    return (np.array([0.24, 0.5, 0.16]) + shade[..., None]).clip(0, 1)


def asphalt(dice: np.random.Generator) -> np.ndarray:
    """A road."""
    return (dice.uniform(0.34, 0.44) + 0.03 * _noise(dice, 2)[..., None] * np.ones(3)).clip(0, 1)


def sky(width: int, height: int, horizon: float) -> np.ndarray:
    """A clear sky, paler towards the horizon (0 top to 1 bottom) -> (height, width, 3)."""
    down = (np.arange(height) / height / max(horizon, 1e-3)).clip(0, 1)[:, None, None]
    zenith, haze = np.array([0.6, 0.73, 0.88]), np.array([0.86, 0.91, 0.96])
    return np.broadcast_to(zenith + down * (haze - zenith), (height, width, 3)).copy()


FLOORS: tuple[Surface, ...] = (planks, tiles, carpet)
WALLS: tuple[Surface, ...] = (paint, stripes, dots, bricks)
