"""Grounding DINO and Segment Anything, tiny: the real classes with random weights, saved as folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SwinConfig,
)

from tests.vision.tiny_words import tokenizer_of

WORDS = [".", "the", "cat", "ball", "cup", "red"]
SIDE = 64
PICTURE = {"shortest_edge": 60, "longest_edge": 80}
"""The size of the pictures that the detector sees: that of the tests' photos."""


def save_detector(folder: Path) -> Path:
    """A Grounding DINO that knows a few words and has seen nothing."""
    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(WORDS)
    tokenizer.save_pretrained(str(folder))
    swin = SwinConfig(
        image_size=SIDE,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    bert = BertConfig(vocab_size=len(tokenizer), hidden_size=32, max_position_embeddings=64, **sizes)
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=swin.to_dict() | {"model_type": "swin"},
        text_config=bert.to_dict(),
        num_queries=10,
        d_model=32,
        max_text_len=16,
        **layers,
        **heads,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(str(folder))
    told = {"image_processor_type": "GroundingDinoImageProcessor", "size": PICTURE}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def tiny_sam() -> SamModel:
    """A Segment Anything for squares of 64 pixels."""
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "mlp_dim": 32}
    return SamModel(
        SamConfig(
            vision_config=SamVisionConfig(
                hidden_size=32,
                num_hidden_layers=2,
                image_size=SIDE,
                patch_size=8,
                output_channels=16,
                window_size=4,
                global_attn_indexes=[1],
                num_pos_feats=8,
                **sizes,
            ),
            prompt_encoder_config=SamPromptEncoderConfig(
                hidden_size=16, image_size=SIDE, patch_size=8, mask_input_channels=4
            ),
            mask_decoder_config=SamMaskDecoderConfig(
                hidden_size=16, num_hidden_layers=1, iou_head_hidden_dim=16, **sizes
            ),
        )
    )


def teach(sam: SamModel, pixels: torch.Tensor, boxes: torch.Tensor, mask: np.ndarray, steps: int) -> None:
    """Teach it one picture by heart: pixels (1, 3, 64, 64), boxes (1, 1, 4), mask (64, 64) in [0, 1]."""
    side = SIDE // 2  # of the masks it predicts
    target = torch.from_numpy(mask)[None, None]
    optimizer = torch.optim.AdamW(sam.parameters(), lr=3e-3)
    for _ in range(steps):
        found = sam(pixel_values=pixels, input_boxes=boxes, multimask_output=True).pred_masks[0, 0]
        side = found.shape[-1]
        wanted = F.interpolate(target, (side, side), mode="area")[0].expand(3, -1, -1)
        loss = F.binary_cross_entropy_with_logits(found, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sam.eval()
