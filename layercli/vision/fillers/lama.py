"""LaMa, a net with Fourier convolutions: goes on with structure across large holes; needs its weights.

Suvorov et al. 2022 (arXiv 2109.07161). The weights are the public TorchScript archive big-lama.pt: a graph of
tensor operations, nothing in which is run as Python.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.vision.grids import resized, scaled, window_around
from layercli.vision.nets import folders

NAME, MD5 = "big-lama.pt", "e3aa4aaa15225a33ec84f9f4bc47e500"
MULTIPLE = 8
"""The net halves its sides three times."""
MOST_PIXELS = 640_000
"""The largest size at which the net looks; above it what it makes is enlarged."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """weights: the TorchScript file, "" for big-lama.pt in the caches of layercli, rembg or PyTorch; reach:
    how far around a hole is looked, in hole sizes.
    """

    weights: str = ""
    reach: float = 1.0


def fill(
    rgb: np.ndarray, hole: np.ndarray, *, seed: int, sources: np.ndarray | None, how: Options
) -> np.ndarray:
    """Fill a hole by what the net makes of its surroundings; what is no source is hidden from the net."""
    del seed  # the net draws nothing at random
    if not hole.any():
        return rgb.copy()
    net = _net_of(str(weights_file(how.weights)))
    rows, columns = window_around(hole, 0)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    area = window_around(hole, max(32, round(how.reach * side)))
    hidden = hole if sources is None else hole | ~sources
    seen = scaled(rgb[area], MOST_PIXELS)
    unknown = resized(hidden[area].astype(np.float32), *seen.shape[:2]) > 0
    made = resized(_made(net, seen, unknown), *hole[area].shape)
    result = rgb.copy()
    result[area] = np.where(hole[area][..., None], made, rgb[area])
    return result


@torch.inference_mode()
def _made(net: Any, rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The net's picture: rgb (H, W, 3) in [0, 1], hole (H, W) bool -> (H, W, 3) in [0, 1]."""
    height, width = hole.shape
    picture = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgb, -1, 0), dtype=np.float32))[None]
    mask = torch.from_numpy(hole.astype(np.float32))[None, None]
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    picture, mask = (F.pad(part, padding, mode="replicate") for part in (picture, mask))
    try:
        made = net(picture, mask)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise LayercliError(f"The net cannot fill: {reason}", "Leave out -O fill=lama.") from error
    inside = made[0, :, :height, :width].clamp(0, 1)
    return np.ascontiguousarray(np.moveaxis(inside.float().numpy(), 0, -1))


def weights_file(given: str) -> Path:
    """The file that was given, or big-lama.pt where it lies, if it is what it should be.

    Raises LayercliError where there is none.
    """
    if given:
        return Path(given).expanduser()
    torch_home = os.environ.get("TORCH_HOME") or str(Path.home() / ".cache" / "torch")
    for folder in (*folders(), Path(torch_home) / "hub" / "checkpoints"):
        path = folder / NAME
        if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == MD5:
            return path
    raise LayercliError(
        f"LaMa's weights, {NAME}, are not on this machine.",
        f"Put {NAME} into {folders()[0]}, name it (-O lama=FILE), or leave out -O fill=lama.",
    )


@lru_cache(maxsize=1)
def _net_of(file: str) -> Any:
    """The net of a file, opened once for all photos of a run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's, about the age of the format
            return torch.jit.load(file, map_location="cpu").eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise LayercliError(
            f"{file} cannot be read as a TorchScript net.", f"Give LaMa's {NAME}: -O lama=FILE"
        ) from error
