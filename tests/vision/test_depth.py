"""A depth net orders objects: Depth Anything's real classes, tiny, with random weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.core.recomposition import recomposition
from layercli.decompose.matte import Options, decompose
from layercli.vision.depth import DepthNet
from layercli.vision.grids import resized
from tests.decompose.made import ball, over, wall


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A net that sees 56 pixels, in a folder."""
    folder = tmp_path_factory.mktemp("depth") / "net"
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    sizes = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 8}
    config = DepthAnythingConfig(
        backbone_config=backbone.to_dict(), reassemble_hidden_size=16, patch_size=14, **sizes
    )
    DepthAnythingForDepthEstimation(config).eval().save_pretrained(str(folder))
    told = {"image_processor_type": "DPTImageProcessor", "size": {"height": 56, "width": 56}}
    told |= {"ensure_multiple_of": 14, "keep_aspect_ratio": True, "do_resize": True, "resample": 2}
    told |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return str(folder)


def two_balls() -> np.ndarray:
    rgb = over(wall(), ball(centre=(0.35, 0.35), radius=0.2), (0.8, 0.15, 0.1))
    return over(rgb, ball(centre=(0.65, 0.95), radius=0.2), (0.1, 0.5, 0.2))


def test_nearness_is_what_transformers_gives(folder):
    photo = wall(56, 84)
    seen = DPTImageProcessorPil.from_pretrained(folder)(Image.fromarray(quantize(photo)), return_tensors="pt")
    with torch.inference_mode():
        net = DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
        wanted = net(**seen).predicted_depth[0].numpy()
    made = DepthNet(folder)(photo)
    assert made.shape == (56, 84)
    np.testing.assert_allclose(made, resized(wanted, 56, 84), atol=1e-4)


def test_the_nearer_object_is_taken_off_first(folder):
    photo = two_balls()
    near = DepthNet(folder)(photo)
    masks = [ball(centre=(0.35, 0.35), radius=0.2), ball(centre=(0.65, 0.95), radius=0.2)]
    upper, lower = (float(np.median(near[mask > 0.5])) for mask in masks)
    boxes = {"upper": (0.1, 0.1, 0.42, 0.6), "lower": (0.55, 0.4, 0.88, 0.9)}
    request = DecomposeRequest(photo="made.png", boxes=boxes)
    stack = decompose(request, photo, Options(net="classical", depth=folder))
    assert stack.names[-1] == ("upper" if upper > lower else "lower")
    assert recomposition(photo, stack).most == 0
    plain = decompose(request, photo, Options(net="classical"))
    assert plain.names[-1] == "lower"


def test_a_folder_without_a_net_is_told(tmp_path):
    with pytest.raises(LayercliError, match="A depth net is not on this machine"):
        DepthNet(str(tmp_path / "none"))
