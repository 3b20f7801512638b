"""What a picture shows, in words, by an image-to-text model of a local folder in transformers' format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from layercli.core.composite import matte
from layercli.core.pixels import quantize
from layercli.vision._local import opened

GRAY = 0.5
MOST_TOKENS = 40


class Captioner:
    """An image-to-text model, BLIP's kind; the same words for the same picture, always."""

    def __init__(self, folder: Path) -> None:
        """Open a folder; never downloads. Raises LayercliError for one that holds no such model."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        asked = (
            str(folder),
            "an image-to-text model",
            "captioner",
            "Captions may lie beside photos: cat.txt",
        )
        self.name = folder.name
        self._model: Any = opened(AutoModelForImageTextToText, *asked)
        self._processor: Any = opened(AutoProcessor, *asked)

    @torch.inference_mode()
    def __call__(self, rgba: np.ndarray) -> str:
        """One caption: (H, W, 3 or 4) in [0, 1]; what is transparent is laid on mid-gray. May be empty."""
        rgb = matte(rgba, GRAY) if rgba.shape[-1] == 4 else rgba
        seen = self._processor(images=Image.fromarray(quantize(rgb)), return_tensors="pt")
        made = self._model.generate(**seen, max_new_tokens=MOST_TOKENS, do_sample=False)
        return " ".join(self._processor.batch_decode(made, skip_special_tokens=True)[0].split())
