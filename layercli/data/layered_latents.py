"""Latents of layered pictures, all frames of a picture together, by any model's own encoder.

The folder holds, for each shard, `frames-<shard>.npy` (N, 2, C, h, w) float16 [frame, mirrored] and
`alphas-<shard>.npy` (N, h, w) uint8, alpha averaged over the latents' positions; for models without alpha
also `masks-<shard>.npy`, the latents of the visible masks as pictures. Frames of a picture lie side by side,
in the order background, foregrounds, whole; `index.jsonl` has one row a picture with `first`, its first
frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.data._layered_set import read_rows, read_shards
from layercli.data._layered_source import Layered
from layercli.data._shards import write_text
from layercli.diffusion.self_mask import visible_masks
from layercli.models._loading import WEIGHTS
from layercli.models.catalog import load_model
from layercli.models.family import Model, file_hashes


@dataclass(frozen=True, kw_only=True)
class Options:
    """The layered pictures, the model whose latents are wanted, where to write, and frames a step.

    dilate: by how many pixels (of 256) a foreground's cut-out reaches into what surrounds it, for models
    without alpha: half the kernel of LayerDiff's 5 x 5 dilation.
    """

    data: str = "runs/layered"
    model: str = "embedded"
    out: str = "runs/layered-latents"
    batch: int = 16
    dilate: int = 2
    device: str = "auto"


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Encode every layered picture and its mirror image, and return the folder; finished shards are kept."""
    out, data = Path(options.out), Path(options.data)
    out.mkdir(parents=True, exist_ok=True)
    model = load_model(options.model, options.device)
    about = {"alpha": model.alpha, "weights": model.weight_hashes(), "asked": _asked(options)}
    if (out / "latents.json").is_file() and json.loads((out / "latents.json").read_text()) != about:
        raise LayercliError(
            f"{out} holds latents of another model or of other pictures.", "Name another folder: --out"
        )
    write_text(out / "latents.json", json.dumps(about, indent=1))
    total, rows = len(read_rows(data)), []
    for shard, pictures in read_shards(data):
        rows += _rows(shard, pictures)
        if not (out / f"frames-{shard}.npy").is_file():
            _encode_shard(model, shard, pictures, options)
        # Shard by shard, so that training can begin on what is there.
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(out / "index.jsonl", lines)
        on_step(len(rows), total)
    return out


def cut_out(foregrounds: Tensor, whole: Tensor, dilate: int) -> Tensor:
    """Foregrounds for models without alpha: what lies around them comes with them for a few pixels.

    foregrounds: (k, 4, H, W) straight alpha; whole: (4, H, W) the picture -> (k, 4, H, W). LayerDiff, section
    5.1: a cut-out as tight as the mask makes worse pictures, so the mask is dilated for cutting alone.
    """
    alpha = foregrounds[:, 3:]
    reach = F.max_pool2d(alpha, 2 * dilate + 1, 1, dilate)
    around = foregrounds[:, :3] * alpha + whole[None, :3] * (1 - alpha)
    return torch.cat([around, reach], dim=1)


def read_index(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a folder of these latents tells of itself, and its rows; raises LayercliError where it is none."""
    if not (folder / "index.jsonl").is_file():
        raise LayercliError(
            f"No latents of layered pictures in {folder}.",
            f"Make them: layercli data layered-latents --out {folder}",
        )
    about: dict[str, Any] = json.loads((folder / "latents.json").read_text(encoding="utf-8"))
    with (folder / "index.jsonl").open(encoding="utf-8") as lines:
        return about, [json.loads(line) for line in lines]


def box_area(box: Sequence[float]) -> float:
    """The share of the canvas that a box (left, top, right, bottom), in shares of its sides, takes."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def placed_foregrounds(
    folders: Sequence[Path], autoencoder: str, smallest_box: float = 0.0
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The foregrounds of layered pictures, each in its place on the canvas, as pictures of their own.

    autoencoder: the folder whose latents are wanted; smallest_box: the share of the canvas under which a
    foreground's box is too small. -> rows (kind "placed", caption, style, weight) and scaled latents (N, 2,
    C, h, w). Raises LayercliError where a folder's latents are of another autoencoder, or all are too small.
    """
    rows: list[dict[str, Any]] = []
    parts: list[np.ndarray] = []
    file = f"{WEIGHTS}.safetensors"
    wanted = [*file_hashes([Path(autoencoder) / file]).values()] if autoencoder else []
    for folder in folders:
        about, pictures = read_index(folder)
        if [about["weights"].get(f"autoencoder/{file}")] != wanted:
            raise LayercliError(
                f"The latents in {folder} are not of the autoencoder in {autoencoder or '(none named)'}.",
                "Name theirs: -O autoencoder=DIR",
            )
        shards: dict[str, np.ndarray] = {}
        for row in pictures:
            shard = row["shard"]
            if shard not in shards:
                shards[shard] = np.load(folder / f"frames-{shard}.npy", mmap_mode="r")
            for layer, box in enumerate(row["boxes"], 1):
                if box_area(box) < smallest_box:
                    continue
                about_it = {"kind": "placed", "caption": row["captions"][layer], "style": row["style"]}
                rows.append(about_it | {"weight": 1.0})
                parts.append(shards[shard][row["first"] + layer])
    if not rows:
        raise LayercliError(
            "No foreground of the layered pictures is that large.", "Lower the limit: -O smallest_box=0.1"
        )
    return rows, np.stack(parts)


@torch.inference_mode()
def _encode_shard(model: Model, shard: str, pictures: list[Layered], options: Options) -> None:
    out = Path(options.out)
    frames, alphas, masks = [], [], []
    for picture in pictures:
        rgba = torch.from_numpy(picture.frames).permute(0, 3, 1, 2).float() / 255
        alphas.append(rgba[:, 3])
        if not model.alpha:
            own = torch.cat([visible_masks(rgba[1:-1, 3]), torch.ones_like(rgba[:1, 3])])
            masks.append(_as_picture(own))
            reach = round(options.dilate * rgba.shape[-1] / 256)
            rgba = torch.cat([rgba[:1], cut_out(rgba[1:-1], rgba[-1], reach), rgba[-1:]])
        frames.append(rgba)
    encoded = _encoded(model, torch.cat(frames), options.batch)
    grid = torch.cat(alphas)[:, None]
    small = F.adaptive_avg_pool2d(grid, encoded.shape[-2:])[:, 0]
    _save(out / f"alphas-{shard}.npy", (small * 255).round().to(torch.uint8).numpy())
    if masks:
        _save(out / f"masks-{shard}.npy", _encoded(model, torch.cat(masks), options.batch))
    _save(out / f"frames-{shard}.npy", encoded)


def _as_picture(masks: Tensor) -> Tensor:
    """Masks (N, H, W) as opaque gray pictures (N, 4, H, W), as LayerDiff encodes them."""
    return torch.cat([masks[:, None].expand(-1, 3, -1, -1), torch.ones_like(masks[:, None])], dim=1)


def _encoded(model: Model, rgba: Tensor, batch: int) -> np.ndarray:
    """Latents of pictures and of their mirror images: (N, 4, H, W) -> (N, 2, C, h, w) float16."""
    size = (model.native_size.height, model.native_size.width)
    parts = []
    for chunk in rgba.split(batch):
        if chunk.shape[-2:] != size:
            alpha = chunk[:, 3:]
            chunk = F.interpolate(
                torch.cat([chunk[:, :3] * alpha, alpha], 1), size=size, mode="bilinear", antialias=True
            )
            chunk = torch.cat([chunk[:, :3] / chunk[:, 3:].clamp_min(1e-4), chunk[:, 3:]], 1).clamp(0, 1)
        both = torch.stack([chunk, chunk.flip(-1)], dim=1)
        parts.append(model.encode(both.flatten(0, 1)).half().cpu().unflatten(0, (-1, 2)))
    return torch.cat(parts).numpy()


def _rows(shard: str, pictures: list[Layered]) -> list[dict[str, Any]]:
    rows, first = [], 0
    for picture in pictures:
        kept = ("captions", "nouns", "style", "boxes")
        rows.append({"shard": shard, "first": first} | {key: picture.row[key] for key in kept})
        first += len(picture.frames)
    return rows


def _asked(options: Options) -> dict[str, Any]:
    asked = {key: value for key, value in asdict(options).items() if key not in ("out", "batch", "device")}
    marks = [row["fingerprint"] for row in read_rows(Path(options.data))[:1]]
    return asked | {"first_picture": marks}


def _save(path: Path, values: np.ndarray) -> None:
    part = path.with_name(f".{path.name}")
    np.save(part, values)
    part.replace(path)
