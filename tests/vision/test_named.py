"""Objects by name: our way through Grounding DINO and SAM is transformers', and a photo comes apart by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, GroundingDinoForObjectDetection, SamModel
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.core.recomposition import recomposition
from layercli.decompose.matte import Options, decompose
from layercli.models.catalog import CATALOG
from layercli.vision._local import PULLED, standardised
from layercli.vision.depth import DepthNet
from layercli.vision.named import Detector, Segmenter
from tests.decompose.made import ball, over, soft_iou, wall
from tests.vision.tiny_named import SIDE, save_detector, teach, tiny_sam


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a tiny detector and of a tiny segmenter."""
    folder = tmp_path_factory.mktemp("named")
    tiny_sam().save_pretrained(str(folder / "sam"))
    return save_detector(folder / "dino"), folder / "sam"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return over(wall(60, 80), ball(60, 80), (0.8, 0.15, 0.1))


def test_a_box_is_the_one_that_transformers_finds(folders, photo):
    """Through the image processor of transformers, at the size that the model's folder says."""
    processor = GroundingDinoImageProcessorPil.from_pretrained(str(folders[0]))
    seen = processor(Image.fromarray(quantize(photo)), return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(str(folders[0]))("the red cat.", return_tensors="pt")
    with torch.inference_mode():
        found = GroundingDinoForObjectDetection.from_pretrained(str(folders[0])).eval()(**seen, **tokens)
    sure = found.logits[0].sigmoid().amax(dim=-1)
    x, y, across, down = found.pred_boxes[0, sure.argmax()].tolist()
    box, surely = Detector(str(folders[0]))(photo, "The red cat")
    wanted = np.clip((x - across / 2, y - down / 2, x + across / 2, y + down / 2), 0, 1)
    np.testing.assert_allclose(box, wanted, atol=1e-4)
    assert surely == pytest.approx(float(sure.max()), abs=1e-4)


@pytest.mark.parametrize("place", ["box", "point"])
def test_a_mask_is_the_one_that_transformers_makes(folders, photo, place):
    model = SamModel.from_pretrained(str(folders[1])).eval()
    processor = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE})
    seen = processor(Image.fromarray(quantize(photo)), return_tensors="pt")
    scale = SIDE / 80
    if place == "box":
        asked = {"input_boxes": torch.tensor([[[16, 12, 64, 48]]]) * scale}
        given = {"box": (0.2, 0.2, 0.8, 0.8)}
    else:
        asked = {"input_points": torch.tensor([[[[40, 30]]]]) * scale, "input_labels": torch.ones(1, 1, 1)}
        asked["input_labels"] = asked["input_labels"].long()
        given = {"point": (0.5, 0.5)}
    with torch.inference_mode():
        found = model(pixel_values=seen["pixel_values"], multimask_output=True, **asked)
    masks = processor.post_process_masks(
        found.pred_masks, seen["original_sizes"], seen["reshaped_input_sizes"], binarize=False
    )
    wanted = masks[0][0, found.iou_scores[0, 0].argmax()].sigmoid().numpy()
    made = Segmenter(str(folders[1]))(photo, **given)
    assert made.shape == photo.shape[:2] == wanted.shape
    # Random weights give masks that hardly differ from one half; what differs is compared.
    apart = np.corrcoef((made - 0.5).ravel(), (wanted - 0.5).ravel())[0, 1]
    assert apart > 0.98


def test_a_photo_comes_apart_by_a_name(folders, photo, tmp_path):
    """A segmenter that knows this ball, whatever box the untaught detector gives, makes a layer of it."""
    box, sure = Detector(str(folders[0]))(photo, "the ball")
    scaled = torch.tensor([[[box[0] * SIDE, box[1] * SIDE * 0.75, box[2] * SIDE, box[3] * SIDE * 0.75]]])
    small = np.zeros((SIDE, SIDE), dtype=np.float32)
    small[: SIDE * 3 // 4] = np.asarray(Image.fromarray(ball(60, 80)).resize((SIDE, SIDE * 3 // 4)))
    view = np.asarray(
        Image.fromarray(quantize(photo)).resize((SIDE, SIDE * 3 // 4), Image.Resampling.BILINEAR)
    )
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    pixels[..., : SIDE * 3 // 4, :] = standardised(view.astype(np.float32) / 255)
    sam = SamModel.from_pretrained(str(folders[1]))
    teach(sam, pixels, scaled, small, steps=100)
    sam.save_pretrained(str(tmp_path / "sam"))
    options = Options(net="classical", detector=str(folders[0]), segmenter=str(tmp_path / "sam"), sure=0)
    stack = decompose(DecomposeRequest(photo="made.png", sought=("the ball",)), photo, options)
    assert stack.names == ("background", "ball")
    assert soft_iou(stack.placed("ball")[..., 3], ball(60, 80)) > 0.9
    assert recomposition(photo, stack).most == 0
    drawn = decompose(DecomposeRequest(photo="made.png", boxes={"b": box}), photo, options)
    assert soft_iou(drawn.placed("b")[..., 3], ball(60, 80)) > 0.9
    pointed = decompose(DecomposeRequest(photo="made.png", points={"p": (0.5, 0.5)}), photo, options)
    assert pointed.names == ("background", "p")
    with pytest.raises(LayercliError, match='Nothing in the photo looks like "the ball"') as caught:
        asked = DecomposeRequest(photo="made.png", sought=("the ball",))
        decompose(asked, photo, Options(**{**vars(options), "sure": sure + 1e-3}))
    assert "--box" in caught.value.hint


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for kind, name in ((Detector, "Grounding DINO"), (Segmenter, "Segment Anything")):
        with pytest.raises(LayercliError, match=f"cannot be read as {name}") as caught:
            kind(str(tmp_path))
        assert "--box" in caught.value.hint
        with pytest.raises(LayercliError, match=f"{name} is not on this machine") as caught:
            kind(str(tmp_path / "none"))
        assert "hf download" in caught.value.hint and "--point" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "row"),
    [(Detector, "grounding-dino"), (Segmenter, "segment-anything"), (DepthNet, "depth-anything")],
)
def test_a_net_of_the_table_is_fetched_by_its_name_there(kind, row):
    assert PULLED[CATALOG[row].hub] == row
    with pytest.raises(LayercliError, match="is not on this machine") as caught:
        kind("")
    assert f"layercli models pull {row}" in caught.value.hint
