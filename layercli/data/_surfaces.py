"""Floors, walls, grass and sky, drawn by arithmetic: nobody's work but this script's."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

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


def _clouds(dice: np.random.Generator, grain: int) -> np.ndarray:
    """Smooth noise with details of several sizes -> (SIDE, SIDE), about -1 to 1."""
    total, weight = np.zeros((SIDE, SIDE)), 0.0
    while grain >= 4:
        total += gaussian_filter(_noise(dice, grain), grain / 2, mode="wrap") * grain
        weight += grain / 3
        grain //= 2
    return total / weight


def sand(dice: np.random.Generator) -> np.ndarray:
    """Dry sand."""
    tone = dice.uniform(0.9, 1.05)
    shade = 0.02 * _noise(dice, 2) + 0.04 * _clouds(dice, 64)
    return (np.array([0.86, 0.76, 0.56]) * tone + shade[..., None]).clip(0, 1)


def snow(dice: np.random.Generator) -> np.ndarray:
    """Fresh snow."""
    return (np.array([0.93, 0.95, 0.98]) + 0.03 * _clouds(dice, 64)[..., None]).clip(0, 1)


def paving(dice: np.random.Generator) -> np.ndarray:
    """Paving stones."""
    rows, columns = _grid()
    tone = dice.uniform(-0.05, 0.05, (4, 4))[rows // 128, columns // 128] + 0.02 * _noise(dice, 2)
    joint = (rows % 128 < 4) | (columns % 128 < 4)
    return np.where(joint[..., None], 0.45, 0.68 + tone[..., None] * np.ones(3)).clip(0, 1)


def lane(dice: np.random.Generator) -> np.ndarray:
    """A stretch of road with a broken white line along its middle, from left to right."""
    rows, columns = _grid()
    line = (np.abs(rows - SIDE / 2) < 6) & (columns < SIDE * 0.55)
    edge = (rows < 10) | (rows >= SIDE - 10)
    return np.where((line | edge)[..., None], 0.86, asphalt(dice))


def panels(dice: np.random.Generator) -> np.ndarray:
    """A wall in two colours, the lower third boarded."""
    rows, columns = _grid()
    upper, lower = _pastel(dice), _pastel(dice, 0.55, 0.9)
    board = np.where((columns % 64 < 3)[..., None], lower - 0.08, lower)
    return np.where((rows > SIDE * 0.66)[..., None], board, upper).clip(0, 1)


def window(dice: np.random.Generator) -> np.ndarray:
    """A window with a white frame and daylight behind it."""
    rows, columns = _grid()
    frame = (np.minimum(rows, SIDE - rows) < 24) | (np.minimum(columns, SIDE - columns) < 24)
    frame |= (np.abs(columns - SIDE / 2) < 10) | ((np.abs(rows - SIDE / 2) < 8) & (dice.random() < 0.6))
    return np.where(frame[..., None], 0.93, sky(SIDE, SIDE, 1.0))


def painting(dice: np.random.Generator) -> np.ndarray:
    """A framed picture of a few fields of colour."""
    rows, columns = _grid()
    drawn = np.broadcast_to(dice.uniform(0.3, 0.95, 3), (SIDE, SIDE, 3)).copy()
    for _ in range(int(dice.integers(2, 6))):
        centre, reach = dice.uniform(0, SIDE, 2), dice.uniform(60, 220, 2)
        inside = ((rows - centre[0]) / reach[0]) ** 2 + ((columns - centre[1]) / reach[1]) ** 2 < 1
        drawn[inside] = dice.uniform(0.15, 0.95, 3)
    frame = (np.minimum(rows, SIDE - rows) < 22) | (np.minimum(columns, SIDE - columns) < 22)
    return np.where(frame[..., None], dice.choice([0.12, 0.35, 0.9]) * np.array([1, 0.9, 0.75]), drawn)


def rug(dice: np.random.Generator) -> np.ndarray:
    """A rug with a border."""
    rows, columns = _grid()
    rim = np.minimum(np.minimum(rows, SIDE - rows), np.minimum(columns, SIDE - columns))
    inner, outer = dice.uniform(0.2, 0.85, 3), dice.uniform(0.2, 0.85, 3)
    return (
        np.where(((rim < 50) & (rim > 20))[..., None], outer, inner) + 0.04 * _noise(dice, 2)[..., None]
    ).clip(0, 1)


def facade(dice: np.random.Generator) -> np.ndarray:
    """A house front with rows of windows."""
    rows, columns = _grid()
    wall = dice.uniform(0.45, 0.85) * np.array([1.0, dice.uniform(0.8, 1.0), dice.uniform(0.65, 0.95)])
    across, up = int(dice.integers(3, 7)), int(dice.integers(3, 7))
    u, v = columns * across / SIDE % 1, rows * up / SIDE % 1
    pane = (np.abs(u - 0.5) < 0.26) & (np.abs(v - 0.45) < 0.3)
    rim = (np.abs(u - 0.5) < 0.31) & (np.abs(v - 0.45) < 0.35)
    glass = dice.uniform(0.15, 0.6, (up, across))[(rows * up // SIDE), (columns * across // SIDE)]
    glass = glass[..., None] * np.array([0.75, 0.9, 1.0])
    drawn = np.where(pane[..., None], glass, np.where(rim[..., None], wall * 0.8 + 0.2, wall))
    return (drawn + 0.015 * _noise(dice, 4)[..., None]).clip(0, 1)


def landscape_sky(dice: np.random.Generator, side: int, horizon: float, far: str) -> np.ndarray:
    """What lies behind a plain ground: a sky with clouds, and at its foot hills, a wood or the sea.

    horizon: where the ground ends, 0 top to 1 bottom; far: "hills", "wood", "mountains", "sea" or "" for
    nothing -> (side, side, 3).
    """
    zenith = np.array([[0.38, 0.6, 0.9], [0.55, 0.7, 0.9], [0.75, 0.78, 0.82], [0.42, 0.5, 0.75]])
    haze = np.array([[0.8, 0.9, 0.98], [0.88, 0.92, 0.96], [0.88, 0.89, 0.9], [0.98, 0.8, 0.62]])
    kind = int(dice.choice(4, p=[0.45, 0.3, 0.13, 0.12]))
    rows, columns = np.mgrid[0:side, 0:side]
    down = (rows / side / max(horizon, 0.05)).clip(0, 1)[..., None]
    drawn = zenith[kind] + down**1.3 * (haze[kind] - zenith[kind])
    if dice.random() < 0.7:
        field = _clouds(dice, 128)[:: SIDE // side, :: SIDE // side][:side, :side]
        cover = ((field - dice.uniform(0, 0.25)) * 4).clip(0, 1)[..., None] * (1 - 0.6 * down)
        drawn = drawn * (1 - cover) + np.array([0.97, 0.97, 0.98]) * cover
    if far:
        rough, height = {
            "hills": (0.3, 0.07),
            "wood": (1.0, 0.05),
            "mountains": (0.6, 0.16),
            "sea": (0.0, 0.0),
        }[far]
        base = {
            "hills": [0.4, 0.55, 0.38],
            "wood": [0.2, 0.36, 0.2],
            "mountains": [0.5, 0.55, 0.64],
            "sea": [0.2, 0.45, 0.62],
        }
        waves = sum(
            dice.uniform(0.3, 1)
            * 2.0**-n
            * np.sin(columns[0] / side * 2**n * dice.uniform(4, 7) + dice.uniform(0, 6))
            for n in range(5 if rough else 1)
        )
        ridge = horizon - height * (1 + 0.5 * np.asarray(waves)) + rough * 0.008 * dice.normal(size=side)
        if far == "sea":
            ridge = np.full(side, horizon - dice.uniform(0.05, 0.1))
        behind = rows / side > ridge[None]
        colour = np.array(base[far]) * dice.uniform(0.85, 1.1)
        drawn = np.where(behind[..., None], 0.75 * colour + 0.25 * haze[kind], drawn)
    return drawn.clip(0, 1)


ROOM_WALLS: tuple[Surface, ...] = (paint, paint, paint, stripes, dots, bricks, panels)


VARIANTS = 10
"""How many pictures of each surface there are, where many are drawn."""


def drawn(surface: Surface, dice: np.random.Generator) -> np.ndarray:
    """One of the variants of a surface, drawn once and kept; not to be written to."""
    return _variant(surface, int(dice.integers(VARIANTS)))


@functools.lru_cache(maxsize=256)
def _variant(surface: Surface, number: int) -> np.ndarray:
    values = surface(np.random.default_rng((17, number))).astype(np.float32)
    values.flags.writeable = False
    return values
