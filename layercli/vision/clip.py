"""CLIP models of a local folder in transformers' format: pictures and texts as vectors of length one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from layercli.core.composite import matte
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.vision._digest import file_digest
from layercli.vision._local import quiet

GRAY = 0.5
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A CLIP model with its tokenizer; side, mean, std: what its image tower expects."""

    model: Any
    tokenizer: Any
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
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
        cut = [len(self.tokenizer.tokenize(prompt)) + 2 > self.longest for prompt in prompts]
        with torch.inference_mode():
            found = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
        return _unit(_vector(found).double().numpy()), cut

    def _pixels(self, rgba: np.ndarray) -> np.ndarray:
        """Resized so that the shorter side fits, cut to the middle square, standardised: (3, side, side)."""
        image = Image.fromarray(quantize(matte(rgba, GRAY)))
        scale = self.side / min(image.size)
        image = image.resize(
            (max(self.side, round(image.width * scale)), max(self.side, round(image.height * scale))),
            Image.Resampling.BICUBIC,
        )
        left, top = (image.width - self.side) // 2, (image.height - self.side) // 2
        square = np.asarray(image.crop((left, top, left + self.side, top + self.side)), np.float32) / 255
        return np.moveaxis((square - np.array(self.mean, np.float32)) / np.array(self.std, np.float32), -1, 0)


def load_clip(folder: Path) -> Clip:
    """Open a CLIP model of transformers, in float32; never downloads.

    Raises LayercliError for a folder that holds none.
    """
    from transformers import AutoTokenizer, CLIPModel

    hint = (
        "Name the folder of a CLIP model in transformers' format: config.json, model.safetensors, tokenizer."
    )
    weights = folder / "model.safetensors"
    if not (folder / "config.json").is_file() or not weights.is_file():
        raise LayercliError(f"The folder {folder} holds no CLIP model.", hint)
    try:
        with quiet():
            model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = model.float().eval()
        about_file = folder / "preprocessor_config.json"
        about = json.loads(about_file.read_text(encoding="utf-8")) if about_file.is_file() else {}
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(f"The CLIP model in {folder} cannot be read: {reason}.", hint) from error
    side = int(model.config.vision_config.image_size)
    return Clip(
        model=model,
        tokenizer=tokenizer,
        side=side,
        mean=tuple(about.get("image_mean", _MEAN)),
        std=tuple(about.get("image_std", _STD)),
        digest=file_digest(weights),
        settings={
            "net": f"CLIP {folder.name} (transformers)",
            "features": int(model.config.projection_dim),
            "resize": f"bicubic to {side}, middle square, 8-bit in",
            "matte": "0.5 gray",
        },
    )


def _vector(found: Any) -> torch.Tensor:
    """The projected vectors, which newer versions of transformers wrap in an output object."""
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
