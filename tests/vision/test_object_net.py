"""The embedded feature net: what it sees of a picture, batches, files, and the nets that are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.vision.features import EmbeddedNet, open_net
from layercli.vision.object_net import (
    FOLDER,
    SIDE,
    ObjectNet,
    embedded_net,
    load_object_net,
    look,
    object_view,
    on_gray,
    whole_view,
)
from tests.evaluate.samples import ground, square


def on_canvas(left: int, top: int, side: int = 96) -> np.ndarray:
    canvas = np.zeros((side, side, 4), np.float32)
    canvas[top : top + 32, left : left + 32] = square(32)
    return canvas


def test_an_object_is_seen_alike_wherever_it_stands():
    assert np.array_equal(object_view(on_canvas(0, 0)), object_view(on_canvas(50, 40)))
    view = object_view(on_canvas(10, 10))
    assert view.shape == (4, SIDE, SIDE) and view[3].max() == 1 and view[3, 0].max() == 0
    assert not np.array_equal(whole_view(on_canvas(0, 0)), whole_view(on_canvas(50, 40)))


def test_what_lies_under_alpha_zero_is_not_seen():
    hidden = on_canvas(10, 10)
    hidden[hidden[..., 3] == 0] = (1, 0, 1, 0)
    assert np.array_equal(whole_view(hidden), whole_view(on_canvas(10, 10)))
    assert object_view(np.zeros((9, 9, 4), np.float32)).max() == 0
    gray = on_gray(torch.zeros(1, 4, 2, 2))
    assert gray[:, :3].abs().max() == 0 and (gray[:, 3] == -1).all()


def test_batches_do_not_change_features():
    net = embedded_net()
    pictures = [ground(seed, 40) for seed in range(5)]
    whole, single = (np.array([f for f, _ in look(net, pictures, whole=True, batch=b)]) for b in (5, 1))
    assert np.allclose(whole, single, atol=1e-5) and whole.shape == (5, net.width)
    assert (whole >= 0).all()


def test_chances_add_up_and_name_a_hundred_things():
    net = embedded_net()
    chances = [chance for _, chance in look(net, [on_canvas(10, 10)])]
    assert chances[0].sum() == pytest.approx(1, abs=1e-5) and len(net.nouns) == 100


def test_what_ships_is_small_and_says_its_ceiling():
    _, config = load_object_net()
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1.6 * 2**20
    ceiling = config["ceiling"]
    assert ceiling["pictures"] > 300 and 0.5 < ceiling["top1"] < ceiling["top5"] < 1


def test_a_net_comes_back_from_its_files_and_damage_is_told(tmp_path: Path):
    torch.manual_seed(0)
    net = ObjectNet(["cat", "dog"], ["flat"], (8, 8, 8, 16)).eval()
    net.save(tmp_path, {"steps": 3})
    again, config = load_object_net(tmp_path)
    views = torch.rand(2, 4, SIDE, SIDE)
    assert config["steps"] == 3
    assert torch.allclose(again.features(views), net.features(views), atol=2e-3)  # kept in half precision
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(LayercliError, match="cannot be read"):
        load_object_net(tmp_path)


def test_nets_by_name():
    embedded = open_net("embedded")
    assert isinstance(embedded, EmbeddedNet) and len(embedded.digest) == 64
    assert embedded.look([], "composite").shape == (0, embedded.net.width)
    with pytest.raises(LayercliError, match=r"torch_fidelity|torchvision|not at"):
        open_net("inception=/nowhere/weights.pth")
    with pytest.raises(LayercliError, match="There are: embedded"):
        open_net("resnet")
