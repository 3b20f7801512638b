"""Patches of a picture outside a hole that are most like those in it, and what they say of its pixels.

The search of Barnes et al. 2009 (PatchMatch), every step on whole arrays, whose matches are then joined; the
votes of Wexler, Shechtman & Irani 2007. Patches are compared by their principal components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How to fill: radius of patches in pixels, components kept of a patch, rounds at the coarsest and at the
    finest searched size, reach (how far around the hole, in hole sizes, is looked), near (how much nearby
    sources are preferred), trust (by how much a vote weighs less a pixel farther inside), busy (how much it
    counts how busy a place is, beside its colours), calm (how much the smooth surface through the border
    pulls after every round at the coarsest size; less at each finer one, and not at the finest), joined (how
    much a patch may be less like its match, as a share of what is usual, for all its neighbours' matches to
    lie beside it).
    """

    radius: int = 3
    components: int = 24
    rounds: tuple[int, int] = (12, 3)
    reach: float = 1.0
    near: float = 2.5
    trust: float = 1.4
    busy: float = 5.0
    calm: float = 0.5
    joined: float = 2.0


def _square(mask: np.ndarray, radius: int) -> np.ndarray:
    """A mask grown by a square of 2 * radius + 1."""
    return np.asarray(ndimage.maximum_filter(mask, size=2 * radius + 1, mode="constant", cval=False))


def _depth(hole: np.ndarray) -> np.ndarray:
    """How far inside a hole each pixel lies, the picture's edges being no border of it."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(hole, 1, mode="edge"))[1:-1, 1:-1])


class Search:
    """The matches of one size: for every patch that touches the hole, the patch outside most like it.

    rgb: (H, W, C), filled in place; hole, barred: (H, W) bool; smooth: (N, C) of the hole's pixels, towards
    which every round's result is pulled by a share.
    """

    def __init__(
        self,
        rgb: np.ndarray,
        hole: np.ndarray,
        barred: np.ndarray,
        rng: np.random.Generator,
        how: Filling,
        smooth: np.ndarray | None = None,
        pull: float = 0.0,
    ) -> None:
        self.rgb, self.hole, self.rng, self.how = rgb, hole, rng, how
        self.smooth, self.pull = smooth, pull
        self.height, self.width = hole.shape
        r = how.radius
        inside = np.zeros_like(hole)
        inside[r : self.height - r, r : self.width - r] = True
        self.usable = (inside & ~_square(hole | barred, r)).ravel()
        if not self.usable.any():  # nothing but what is barred: then barred patches are better than none
            self.usable = (inside & ~_square(hole, r)).ravel()
        self.sources = np.flatnonzero(self.usable)
        self.possible = self.sources.size >= 16
        self.targets = np.flatnonzero(_square(hole, r) & inside)
        self.possible &= self.targets.size > 0

    def run(self, start: np.ndarray | None, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Search and vote in turn -> the filled picture (H, W, C) and its matches (H, W, 2), -1 for none."""
        basis, mean = self._basis()
        known = self._described(self.sources, basis, mean)
        self.known = np.zeros((self.usable.size, basis.shape[1]), dtype=np.float32)
        self.known[self.sources] = known
        number = np.full(self.usable.size, -1, dtype=np.int64)
        number[self.targets] = np.arange(self.targets.size)
        match = self._start(start)
        depth = _depth(self.hole).ravel()[self.targets]
        trust = (self.how.trust**-depth).astype(np.float32)
        for turn in range(rounds):
            wanted = self._described(self.targets, basis, mean)
            match, cost = self._improved(
                match, wanted, number, sweeps=4 if turn == 0 and start is None else 2
            )
            self._join(match, cost, wanted, number)
            self._vote(match, cost, trust, number)
            if self.smooth is not None:
                self.rgb[self.hole] += self.pull * (self.smooth - self.rgb[self.hole])
        dense = np.full((self.height * self.width, 2), -1, dtype=np.int32)
        dense[self.targets, 0], dense[self.targets, 1] = match // self.width, match % self.width
        return self.rgb, dense.reshape(self.height, self.width, 2)

    def _start(self, start: np.ndarray | None) -> np.ndarray:
        match = self.rng.choice(self.sources, self.targets.size)
        if start is None:
            return match
        found = start.reshape(-1, 2)[self.targets]
        given = (found >= 0).all(axis=1) & (found < (self.height, self.width)).all(axis=1)
        flat = np.where(given, found[:, 0] * self.width + found[:, 1], 0)
        given &= self.usable[flat]
        return np.where(given, flat, match)

    def _patches(self, centres: np.ndarray) -> np.ndarray:
        """Colours of patches: flat pixel numbers (N,) -> (N, (2r+1)² · C) float32."""
        r = self.how.radius
        steps = np.arange(-r, r + 1)
        offsets = (steps[:, None] * self.width + steps).ravel()
        return self.rgb.reshape(-1, self.rgb.shape[2])[centres[:, None] + offsets].reshape(len(centres), -1)

    def _basis(self) -> tuple[np.ndarray, np.ndarray]:
        """The principal components of patches outside: (P, D), and their mean (P,)."""
        sample = self._patches(self.rng.choice(self.sources, min(4000, self.sources.size), replace=False))
        mean = sample.mean(axis=0)
        centred = (sample - mean).astype(np.float64)
        _, vectors = np.linalg.eigh(centred.T @ centred)
        return vectors[:, ::-1][:, : self.how.components].astype(np.float32), mean

    def _described(self, centres: np.ndarray, basis: np.ndarray, mean: np.ndarray) -> np.ndarray:
        parts = [
            (self._patches(part) - mean) @ basis
            for part in np.array_split(centres, max(1, centres.size // 20_000))
        ]
        return np.concatenate(parts)

    def _costs(self, match: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return self._cost_of(match, np.arange(match.size), wanted)

    def _cost_of(self, match: np.ndarray, asked: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """How unlike some targets (numbers `asked`) are to their matches, and how far away these are."""
        apart = self.known[match] - wanted[asked]
        rows = (match // self.width - self.targets[asked] // self.width) / self.height
        columns = (match % self.width - self.targets[asked] % self.width) / self.width
        near = self.how.near * (rows * rows + columns * columns)
        return (np.einsum("nd,nd->n", apart, apart) + near).astype(np.float32)

    def _improved(
        self, match: np.ndarray, wanted: np.ndarray, number: np.ndarray, sweeps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Propagation and random search (sections 3.2 of Barnes et al.), all patches at once."""
        cost = self._costs(match, wanted)
        for _ in range(sweeps):
            for offset in self._steps(3, 1):
                self._try(match, cost, self._told(match, number, offset), wanted)
            reach = max(self.height, self.width)
            while reach >= 1:
                steps = self.rng.integers(-reach, reach + 1, (2, match.size))
                rows = np.clip(match // self.width + steps[0], 0, self.height - 1)
                columns = np.clip(match % self.width + steps[1], 0, self.width - 1)
                self._try(match, cost, rows * self.width + columns, wanted)
                reach //= 2
        return match, cost

    def _join(self, match: np.ndarray, cost: np.ndarray, wanted: np.ndarray, number: np.ndarray) -> None:
        """Take neighbours' matches where that costs less than the seams it saves.

        The energy of shift maps (Pritch et al. 2009), one pass of iterated conditional modes (Besag 1986).
        Matches that lie beside each other agree on what they say; the mean of others is a blur.
        """
        price = np.float32(self.how.joined * np.median(cost) / 8)
        for offset in self._steps(1, 2) if price else ():
            candidate = self._told(match, number, offset)
            lost = self._lost(match, candidate, number)
            self._try(match, cost, candidate, wanted, price * lost)

    def _lost(self, match: np.ndarray, candidate: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Beside how many fewer of its eight neighbours' matches every target's candidate would lie."""
        width = self.width
        lost = np.zeros(match.size, dtype=np.float32)
        for offset in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
            told = self._told(match, number, offset)
            lost += told == match
            lost -= told == candidate
        return lost

    def _told(self, match: np.ndarray, number: np.ndarray, offset: int) -> np.ndarray:
        """What every target's neighbour at an offset says its match should be, -1 where that is no target."""
        beside = number[np.clip(self.targets + offset, 0, number.size - 1)]
        return np.where(beside >= 0, match[beside] - offset, -1)

    def _steps(self, *jumps: int) -> list[int]:
        """Offsets of neighbours so many pixels away to the four sides."""
        return [step for jump in jumps for step in (-jump, jump, -jump * self.width, jump * self.width)]

    def _try(
        self,
        match: np.ndarray,
        cost: np.ndarray,
        candidate: np.ndarray,
        wanted: np.ndarray,
        dearer: np.ndarray | None = None,
    ) -> None:
        """Take the candidates that are better, in place; those that are no source are passed over.

        dearer: (N,) what every candidate costs beside being unlike.
        """
        able = (candidate >= 0) & (candidate < self.usable.size)
        able &= self.usable[np.where(able, candidate, 0)]
        asked = np.flatnonzero(able)
        found = self._cost_of(candidate[asked], asked, wanted)
        better = (found if dearer is None else found + dearer[asked]) < cost[asked]
        chosen = asked[better]
        match[chosen], cost[chosen] = candidate[chosen], found[better]

    def _vote(self, match: np.ndarray, cost: np.ndarray, trust: np.ndarray, number: np.ndarray) -> None:
        """Every hole pixel becomes the mean of what the patches over it say (Wexler et al., Eq 4)."""
        spread = max(float(np.percentile(cost, 75)), 1e-6)
        weight = trust * np.exp(-cost / (2 * spread))
        _vote(self.rgb, self.hole, number, match, weight, self.how.radius, step=1)


def _vote(
    rgb: np.ndarray,
    hole: np.ndarray,
    number: np.ndarray,
    match: np.ndarray,
    weight: np.ndarray,
    radius: int,
    step: int,
) -> None:
    width = hole.shape[1]
    pixels = np.flatnonzero(hole)
    flat = rgb.reshape(-1, rgb.shape[2])
    total = np.zeros((pixels.size, flat.shape[1]), dtype=np.float32)
    sum_weight = np.zeros(pixels.size, dtype=np.float32)
    for dy in range(-radius, radius + 1, step):
        for dx in range(-radius, radius + 1, step):
            offset = dy * width + dx
            centre = pixels + offset
            inside = (centre >= 0) & (centre < number.size)
            inside &= np.abs(centre % width - pixels % width) <= radius
            patch = np.where(inside, number[np.where(inside, centre, 0)], -1)
            there = patch >= 0
            w = np.where(there, weight[patch], np.float32(0))
            colour = flat[np.where(there, match[patch] - offset, 0)]
            total += w[:, None] * colour
            sum_weight += w
    seen = sum_weight > 1e-20
    flat[pixels[seen]] = total[seen] / sum_weight[seen, None]


def carry(rgb: np.ndarray, hole: np.ndarray, matches: np.ndarray, how: Filling) -> None:
    """Fill a finer picture in place by the matches of a coarser one: one vote of a few patches, no search."""
    height, width = hole.shape
    r = how.radius
    inside = (matches >= r).all(axis=2)
    inside &= (matches[..., 0] < height - r) & (matches[..., 1] < width - r)
    targets = np.flatnonzero(inside)
    number = np.full(hole.size, -1, dtype=np.int32)
    number[targets] = np.arange(targets.size, dtype=np.int32)
    chosen = matches.reshape(-1, 2)[targets].astype(np.int64)
    match = chosen[:, 0] * width + chosen[:, 1]
    _vote(rgb, hole, number, match, np.ones(targets.size, dtype=np.float32), 2, step=2)
