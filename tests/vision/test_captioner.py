"""A captioner says what it was taught: BLIP's real classes, tiny, two pictures by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.vision.captioner import Captioner
from tests.vision.tiny_words import tokenizer_of

WORDS = ["a", "cat", "ball", "red", "blue"]


def save(folder: Path, lessons: list[tuple[np.ndarray, str]], steps: int) -> Path:
    """A BLIP that was taught some pictures by heart, as a folder."""
    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(WORDS, first="[DEC]")
    processor = BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer)
    processor.save_pretrained(str(folder))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 32,
        **ids,
        **sizes,
    }
    vision = {"image_size": 32, "patch_size": 8, **sizes}
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=vision)
    model = BlipForConditionalGeneration(config)
    pictures = [Image.fromarray(quantize(rgb)) for rgb, _ in lessons]
    pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    tokens = tokenizer([said for _, said in lessons], return_tensors="pt", padding=True)["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(pixel_values=pixels, input_ids=tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(str(folder))
    return folder


def plain(red: float, blue: float) -> np.ndarray:
    return np.full((40, 50, 3), (red, 0.2, blue), dtype=np.float32)


def test_it_says_what_a_picture_shows(tmp_path):
    lessons = [(plain(0.9, 0.1), "a red ball"), (plain(0.1, 0.9), "a blue cat")]
    caption = Captioner(save(tmp_path / "blip", lessons, steps=120))
    assert [caption(rgb) for rgb, _ in lessons] == ["a red ball", "a blue cat"]
    assert caption.name == "blip"
    # What is transparent is laid on gray: a layer's caption is of what shows.
    layer = np.concatenate([plain(0.9, 0.1), np.zeros((40, 50, 1), np.float32)], axis=-1)
    gray = np.full((40, 50, 3), 0.5, np.float32)
    assert caption(layer) == caption(gray)


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(LayercliError, match="is not on this machine") as caught:
        Captioner(tmp_path / "none")
    assert "cat.txt" in caught.value.hint
