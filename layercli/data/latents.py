"""Latents of prepared pictures, computed once (and once mirrored), so that training never runs the encoder.

The folder holds `latents-<n>.npy`, (P, 2, C, h, w) int8, one file a data folder, [picture, mirrored]; the
autoencoder's tanh bounds its raw latents to [-1, 1], so 8 bits lose less than the training noise; and
`index.jsonl` (the rows of the pictures, in order) and `latents.json` (shapes, shift, scale, source hash).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from layercli.data._picture_sets import PictureSet, open_pictures
from layercli.models.family import resolve_device
from layercli.models.precision import fast_autocast, fast_layout
from layercli.models.rgba_autoencoder import RGBAAutoencoder, load_autoencoder

LEVELS = 127.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Data folders (comma-separated), the autoencoder, where to write, and the pictures a step.

    frames: which frames of layered sets ("data layered", "data rooms") become pictures.
    """

    data: str = "runs/data,runs/composed"
    autoencoder: str = "runs/autoencoder/autoencoder"
    out: str = "runs/latents"
    batch: int = 32
    frames: tuple[Literal["background", "global"], ...] = ("background", "global")
    device: str = "cpu"


@torch.inference_mode()
def encode_pictures(
    pictures: PictureSet, autoencoder: RGBAAutoencoder, batch: int, on_step: Callable[[int, int], None]
) -> np.ndarray:
    """All pictures and their mirror images -> (N, 2, C, h, w) int8 of the bounded (unscaled) latents."""
    device, parts = next(autoencoder.parameters()).device, []
    for start in range(0, len(pictures), batch):
        rgba = np.stack([pictures.pixels(i) for i in range(start, min(len(pictures), start + batch))])
        both = torch.from_numpy(np.stack([rgba, rgba[:, :, ::-1]], 1)).to(device)
        flat = both.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        with fast_autocast(device):
            raw = autoencoder.encode(flat).float() * autoencoder.scale + autoencoder.shift
        parts.append(
            torch.round(raw * LEVELS).clamp(-LEVELS, LEVELS).to(torch.int8).unflatten(0, (-1, 2)).cpu()
        )
        on_step(start, len(pictures))
    return torch.cat(parts).numpy()


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Encode the training split of every data folder and return the folder; finished files are kept."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    autoencoder = load_autoencoder(options.autoencoder)
    device = resolve_device(options.device)
    autoencoder.to(device, memory_format=fast_layout(device)).eval()  # type: ignore[call-overload]
    encoder_hash = hashlib.sha256()
    for value in autoencoder.encoder.state_dict().values():
        encoder_hash.update(value.cpu().numpy().tobytes())
    digest, rows = encoder_hash.hexdigest(), []
    for n, folder in enumerate(options.data.split(",")):
        pictures = open_pictures(Path(folder), options.frames)
        rows.extend(pictures.rows)
        target, stamp = out / f"latents-{n}.npy", out / f"latents-{n}.sha256"
        wanted = f"{digest} {folder} {len(pictures)}"
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        np.save(out / ".part.npy", encode_pictures(pictures, autoencoder, options.batch, on_step))
        (out / ".part.npy").replace(target)
        stamp.write_text(wanted)
    with (out / "index.jsonl").open("w", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    about = {
        "files": len(options.data.split(",")),
        "encoder_sha256": digest,
        "shift": autoencoder.shift.flatten().tolist(),
        "scale": autoencoder.scale.flatten().tolist(),
    }
    (out / "latents.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return out
