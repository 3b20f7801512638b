"""Photos come apart and go together again: on pictures whose layers are known, without any net."""

from __future__ import annotations

import numpy as np
import pytest

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.pixels import save_png
from layercli.core.recomposition import leakage, recomposition
from layercli.decompose._objects import Found
from layercli.decompose.matte import Options, _taken_off, decompose
from tests.decompose.made import ball, levels, over, soft_iou, wall

OPTIONS = Options(net="classical")
RED, GREEN = (0.8, 0.15, 0.1), (0.1, 0.5, 0.2)


def apart(photo, **fields):
    options = fields.pop("options", OPTIONS)
    return decompose(DecomposeRequest(photo="made.png", **fields), photo, options)


@pytest.fixture(scope="module")
def scene():
    """A red ball over a wall: photo, wall, alpha."""
    behind, alpha = wall(), ball()
    return over(behind, alpha, RED), behind, alpha


@pytest.mark.parametrize(
    "place", [{}, {"boxes": {"ball": (0.25, 0.2, 0.75, 0.8)}}, {"points": {"ball": (48, 36)}}]
)
def test_a_ball_is_cut_and_the_wall_completed(scene, place):
    photo, behind, alpha = scene
    stack = apart(photo, **place)
    name = "ball" if place else "object"
    assert stack.names == ("background", name)
    found = stack.placed(name)
    assert soft_iou(found[..., 3], alpha) > 0.95
    assert np.abs(found[..., :3] - np.float32(RED))[found[..., 3] > 0.2].max() < 0.12
    background = stack.layers[0].rgba[..., :3]
    assert np.abs(background - behind)[alpha > 0.5].mean() < 0.03
    assert leakage(photo, background, alpha) < 0.05
    assert recomposition(photo, stack).most == 0


def test_colour_goes_on_under_alpha_0(scene):
    photo, _, _ = scene
    layer = apart(photo).layers[-1]
    edge = (layer.rgba[..., 3] == 0) & (ball()[layer_window(layer)] > 0)
    beside = layer.rgba[..., 3] == 0
    assert beside.any()
    assert np.abs(layer.rgba[..., :3][beside | edge] - np.float32(RED)).mean() < 0.1


def layer_window(layer):
    top, left = layer.offset.top, layer.offset.left
    return slice(top, top + layer.size.height), slice(left, left + layer.size.width)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_put_together_again_too(seed, tmp_path):
    """Nothing about such a picture can be told apart, and yet the layers give every pixel of it."""
    photo = levels(np.random.default_rng(seed).uniform(-0.2, 1.2, (40, 50, 3)))
    mask = np.random.default_rng(seed + 9).random((40, 50, 1), dtype=np.float32).repeat(3, axis=-1)
    save_png(tmp_path / "m.png", mask)
    options = Options(net="classical", refine=False)
    stack = apart(photo, masks={"noise": str(tmp_path / "m.png")}, options=options)
    assert recomposition(photo, stack).most <= 1


def test_a_drawn_mask_may_be_taken_as_it_is(scene, tmp_path):
    photo, _, alpha = scene
    save_png(tmp_path / "m.png", alpha[..., None].repeat(3, axis=-1))
    masks = {"ball": str(tmp_path / "m.png")}
    stack = apart(photo, masks=masks, options=Options(net="classical", refine=False))
    assert soft_iou(stack.placed("ball")[..., 3], alpha) > 0.97
    assert recomposition(photo, stack).most == 0


@pytest.mark.parametrize("thin", [np.s_[30, :], np.s_[71, 95], np.s_[30:33, 40:43], np.s_[5:70, 20:24]])
def test_a_drawn_mask_is_kept_however_thin(scene, tmp_path, thin):
    """Nothing lies so far inside of it that it would surely be the object."""
    photo, _, _ = scene
    mask = np.zeros((72, 96, 3), np.float32)
    mask[thin] = 1
    save_png(tmp_path / "m.png", mask)
    stack = apart(photo, masks={"line": str(tmp_path / "m.png")})
    found = stack.placed("line")[..., 3]
    assert found[thin].min() > 0.5
    assert found.sum() < 1.5 * mask[..., 0].sum()
    assert recomposition(photo, stack).most <= 1


def test_an_object_of_which_nothing_is_left_is_told():
    photo = wall()
    line = np.zeros(photo.shape[:2], np.float32)
    line[30] = 1
    light = np.ones(photo.shape[:2], np.float32)
    with pytest.raises(LayercliError, match='Nothing of "line" could be told from what is around it'):
        _taken_off(photo.copy(), light, Found(name="line", mask=line, asked=True), [], OPTIONS, 0)
    faint = Found(name="line", mask=0.4 * line)
    assert _taken_off(photo.copy(), light, faint, [], OPTIONS, 0) is None  # nobody asked for it


def test_two_objects_become_two_layers_the_nearer_one_in_front(tmp_path):
    behind = wall()
    far, near = ball(centre=(0.4, 0.45), radius=0.22), ball(centre=(0.62, 0.65), radius=0.22)
    photo = over(over(behind, far, GREEN), near, RED)
    for name, alpha in (("far", far * (1 - near)), ("near", near)):
        save_png(tmp_path / f"{name}.png", alpha[..., None].repeat(3, axis=-1))
    masks = {name: str(tmp_path / f"{name}.png") for name in ("far", "near")}
    stack = apart(photo, masks=masks)
    assert stack.names == ("background", "far", "near")
    assert recomposition(photo, stack).most <= 1
    hidden = (far > 0.9) & (near > 0.9)
    completed = stack.placed("far")[..., 3]
    assert completed[(far > 0.9) & (near < 0.1)].mean() > 0.9
    assert completed[hidden].mean() > 0.5  # it goes on behind the one in front
    for alpha in (far, near):
        assert leakage(photo, stack.layers[0].rgba[..., :3], alpha) < 0.1


def test_a_shadow_becomes_a_layer_of_its_own_and_leaves_the_background():
    behind = wall(96, 128)
    alpha = ball(96, 128, centre=(0.45, 0.5), radius=0.2)
    thrown = ball(96, 128, centre=(0.66, 0.55), radius=0.14) * 0.35
    photo = over(levels(behind * (1 - thrown[..., None])), alpha, RED)
    stack = apart(photo, points={"ball": (64, 43)})
    assert stack.names == ("background", "shadow", "ball")
    assert stack.layer("shadow").blend == "multiply"
    assert recomposition(photo, stack).most <= 1
    dark = (thrown > 0.3) & (alpha < 0.01)
    background = stack.layers[0].rgba[..., :3]
    before = np.abs(photo - behind)[dark].mean()
    assert np.abs(background - behind)[dark].mean() < 0.4 * before
    assert (
        "shadow"
        not in apart(photo, points={"ball": (64, 43)}, options=Options(net="classical", shadows=False)).names
    )


def test_the_same_seed_gives_the_same_layers(scene):
    photo, _, _ = scene
    one, two = apart(photo, seed=3), apart(photo, seed=3)
    assert one.names == two.names
    for name in one.names:
        np.testing.assert_array_equal(one.placed(name), two.placed(name))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3), (17, 5)])
@pytest.mark.parametrize("even", [True, False])
def test_tiny_pictures_are_taken_apart_by_a_mask_or_refused(shape, even, tmp_path):
    photo = levels(np.full((*shape, 3), 0.5) if even else np.random.default_rng(0).random((*shape, 3)))
    with pytest.raises(LayercliError, match="Nothing stands out"):
        apart(photo if even else np.zeros_like(photo))
    mask = np.zeros((*shape, 3), np.float32)
    mask[: (shape[0] + 1) // 2, : (shape[1] + 1) // 2] = 1
    save_png(tmp_path / "m.png", mask)
    stack = apart(photo, masks={"corner": str(tmp_path / "m.png")})
    assert recomposition(photo, stack).most <= 1


def test_a_place_outside_or_without_anything_is_refused(scene):
    photo, _, _ = scene
    with pytest.raises(LayercliError, match=r'"odd", 0,0,0\.5,70, mixes fractions and pixels'):
        apart(photo, boxes={"odd": (0, 0, 0.5, 70)})
    with pytest.raises(LayercliError, match='"far", 200,5, lies outside the photo of 96x72'):
        apart(photo, points={"far": (200, 5)})


def test_a_photo_larger_than_the_matting_is_cut_along_its_own_edges():
    behind, alpha = wall(240, 320), ball(240, 320)
    photo = over(behind, alpha, RED)
    stack = apart(photo, options=Options(net="classical", detail=0.01))
    assert soft_iou(stack.layers[-1].rgba[..., 3], alpha[layer_window(stack.layers[-1])]) > 0.97
    assert recomposition(photo, stack).most == 0


@pytest.mark.parametrize("wrong", [{"band": 0}, {"detail": 0.0}, {"radius": 0}, {"band": 1.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(LayercliError, match="is not from"):
        Options(**wrong)
