"""Masks are read as white-where-it-stands, and only at the canvas' size."""

from pathlib import Path

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.masks import open_mask
from layercli.core.pixels import save_png


def drawn(path: Path, rgba: np.ndarray) -> Path:
    return save_png(path, rgba.astype(np.float32))


def test_white_and_opaque_is_inside(tmp_path):
    rgba = np.zeros((4, 6, 4))
    rgba[1:3, 2:5] = 1
    rgba[0] = (1, 1, 1, 0)  # white, but transparent
    mask = open_mask(drawn(tmp_path / "m.png", rgba), Size(6, 4))
    assert mask.shape == (4, 6)
    assert mask.dtype == np.float32
    assert mask.max() <= 1
    assert np.allclose(mask[1:3, 2:5], 1)
    assert mask.sum() == pytest.approx(6)


def test_gray_is_half_inside(tmp_path):
    rgba = np.ones((2, 2, 4))
    rgba[0, :, :3] = 0.2
    mask = open_mask(drawn(tmp_path / "m.png", rgba), Size(2, 2))
    assert mask[0] == pytest.approx(0.2, abs=1e-5)


def test_another_size_is_refused_with_both_sizes(tmp_path):
    path = drawn(tmp_path / "m.png", np.ones((4, 6, 4)))
    with pytest.raises(LayercliError, match="is 6x4, but the picture is 256x256") as caught:
        open_mask(path, Size(256, 256))
    assert "--size 6x4" in caught.value.hint
    with pytest.raises(LayercliError, match="is 6x4") as caught:
        open_mask(path, Size(8, 8), resizable=False)
    assert caught.value.hint == "Resize the mask to 8x8."


def test_an_empty_mask_is_refused(tmp_path):
    path = drawn(tmp_path / "m.png", np.zeros((4, 4, 4)))
    with pytest.raises(LayercliError, match="black all over"):
        open_mask(path, Size(4, 4))


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "m.png").write_bytes(b"not a picture")
    with pytest.raises(LayercliError, match="not a picture"):
        open_mask(tmp_path / "m.png", Size(4, 4))
