"""CLIP models of a local folder, transformers' or open_clip's: pictures and texts as unit vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from layercli.core.composite import matte
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.vision._digest import file_digest
from layercli.vision._local import quiet
from layercli.vision.open_clip import built, is_open_clip, read_config, weights_of

GRAY = 0.5
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_HINT = (
    "Name the folder of a CLIP model: config.json and model.safetensors, or open_clip_config.json and "
    "open_clip_model.safetensors, and a tokenizer."
)
_DAMAGED = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ZeroDivisionError)
_Read = tuple[Any, Any, dict[str, Any], Path]
"""Model, tokenizer, settings of the preprocessing, file of the weights."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A CLIP model with its tokenizer; side, mean, std, squash, resample: how its image tower wants pictures.

    squash: the whole picture is squeezed to the square, where else its middle is cut out.
    """

    model: Any
    tokenizer: Any
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    squash: bool
    resample: Image.Resampling
    digest: str
    settings: dict[str, Any]

    @property
    def longest(self) -> int:
        """The most tokens that the text tower reads, its start and end among them."""
        return int(self.model.config.text_config.max_position_embeddings)

    def images(self, pictures: Sequence[np.ndarray], batch: int = 16) -> np.ndarray:
        """(H, W, 4) straight alpha each -> (N, D) float64 of length one, over mid-gray."""
        found = []
        for first in range(0, len(pictures), batch):
            pixels = torch.from_numpy(np.stack([self._pixels(p) for p in pictures[first : first + batch]]))
            with torch.inference_mode():
                found.append(_vector(self.model.get_image_features(pixel_values=pixels)).double().numpy())
        return _unit(np.concatenate(found) if found else np.zeros((0, self.model.config.projection_dim)))

    def texts(self, prompts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        """Prompts -> (N, D) float64 of length one, and which of them were longer than the tower reads."""
        tokens = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=self.longest, return_tensors="pt"
        )
        whole = self.tokenizer(list(prompts), verbose=False)["input_ids"]
        cut = [len(found) > self.longest for found in whole]
        with torch.inference_mode():
            found = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return _unit(_vector(found).double().numpy()), cut

    def _pixels(self, rgba: np.ndarray) -> np.ndarray:
        """Resized so that the shorter side fits, cut to the middle square, standardised: (3, side, side)."""
        image = Image.fromarray(quantize(matte(rgba, GRAY)))
        scale = self.side / min(image.size)
        wide, high = (max(self.side, int(length * scale + 1e-6)) for length in image.size)
        image = image.resize((self.side, self.side) if self.squash else (wide, high), self.resample)
        left, top = (image.width - self.side) // 2, (image.height - self.side) // 2
        square = np.asarray(image.crop((left, top, left + self.side, top + self.side)), np.float32) / 255
        return np.moveaxis((square - np.array(self.mean, np.float32)) / np.array(self.std, np.float32), -1, 0)


def load_clip(folder: Path) -> Clip:
    """Open a CLIP model of transformers or open_clip, in float32; never downloads.

    Raises LayercliError for a folder that holds none.
    """
    if is_open_clip(folder):
        model, tokenizer, about, weights = _opened(folder, _open_clip)
        kind, mean, std = "open_clip", about.get("mean"), about.get("std")
        fit, filter_ = about.get("resize_mode", "shortest"), about.get("interpolation", "bicubic")
        if fit not in ("shortest", "squash") or filter_ not in _FILTERS:
            raise LayercliError(
                f"{folder} prepares pictures by {fit}, {filter_}, which is not done here.", _HINT
            )
    else:
        model, tokenizer, about, weights = _opened(folder, _transformers)
        kind, mean, std = "transformers", about.get("image_mean"), about.get("image_std")
        fit, filter_ = "shortest", "bicubic"
    side = int(model.config.vision_config.image_size)
    return Clip(
        model=model,
        tokenizer=tokenizer,
        side=side,
        mean=tuple(mean or _MEAN),
        std=tuple(std or _STD),
        squash=fit == "squash",
        resample=_FILTERS[filter_],
        digest=file_digest(weights),
        settings={
            "net": f"CLIP {folder.resolve().name} ({kind})",
            "features": int(model.config.projection_dim),
            "resize": f"{filter_} to {side}, {'squeezed' if fit == 'squash' else 'middle square'}, 8-bit in",
            "matte": "0.5 gray",
        },
    )


def _opened(folder: Path, read: Callable[[Path], _Read]) -> _Read:
    try:
        with quiet():
            model, *rest = read(folder)
        return (model.float().eval(), *rest)
    except (*_DAMAGED, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(f"The CLIP model in {folder} cannot be read: {reason}.", _HINT) from error


def _transformers(folder: Path) -> _Read:
    from transformers import AutoTokenizer, CLIPModel

    weights = folder / "model.safetensors"
    if not (folder / "config.json").is_file() or not weights.is_file():
        raise LayercliError(f"The folder {folder} holds no CLIP model.", _HINT)
    config = _json(folder / "config.json")
    if config.get("model_type") != "clip":
        raise LayercliError(
            f'The folder {folder} holds no CLIP model but "{config.get("model_type")}".', _HINT
        )
    model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    about = folder / "preprocessor_config.json"
    return model, tokenizer, _json(about) if about.is_file() else {}, weights


def _open_clip(folder: Path) -> _Read:
    from safetensors.torch import load_file
    from transformers import CLIPTokenizerFast

    settings, about = read_config(folder)
    weights = weights_of(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise LayercliError(
            f"{folder} has no tokenizer.", "Fetch tokenizer.json, or vocab.json and merges.txt, into it."
        )
    tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
    for end in ("bos_token_id", "eos_token_id", "pad_token_id"):
        settings["text_config"][end] = getattr(tokenizer, end)
    return built(settings, load_file(weights)), tokenizer, about, weights


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return found


def _vector(found: Any) -> torch.Tensor:
    """The projected vectors, which newer versions of transformers wrap in an output object."""
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
