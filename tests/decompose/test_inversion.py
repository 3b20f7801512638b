"""The photo walked back to noise: on a tiny model of the embedded family, real classes, random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.recomposition import recomposition
from layercli.decompose._context import ContextMaps, object_in, spans_in
from layercli.decompose.inversion import GlobalAttention, Options, decompose, draw_layers
from layercli.models.catalog import load_model
from layercli.models.hooks import edited_attention
from layercli.vision.grids import resized
from tests import tiny
from tests.apple import AppleHas
from tests.decompose.made import ball, over, soft_iou, wall

PHOTO = over(wall(64, 96), ball(64, 96), (0.8, 0.15, 0.1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save("embedded", tmp_path_factory.mktemp("tiny")))


def options(folder: str, **more) -> Options:
    given = {"foregrounds": ("a ball",), "background": "a wall", "steps": 2, "refine": 0, "least": 0.01}
    return Options(**{**given, "model": folder, **more})


def test_whatever_the_model_draws_the_layers_are_the_photo(folder):
    stack = decompose(
        DecomposeRequest(photo="made.png"), PHOTO, options(folder, foregrounds=("a ball", "a cat"))
    )
    assert set(stack.names) <= {"background", "a ball", "a cat"}
    assert recomposition(PHOTO, stack).most <= 1


def test_steps_are_counted_and_the_same_is_drawn_again(folder):
    model = load_model(folder)
    steps = []
    with AppleHas():
        one = draw_layers(model, PHOTO, options(folder), lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert one.shape[:2] == (2, 4)
    assert torch.equal(one, draw_layers(model, PHOTO, options(folder)))


def frames(model, seed: int = 0):
    """Three frames of different texts and latents, the global one last, as the network's call."""
    generator = torch.Generator().manual_seed(seed)
    size = model.native_size
    x = torch.randn((3, *model.latent_shape(size)), generator=generator)
    text = model.encode_text(
        ["a ball", "a wall", "a ball, a wall"], ["foreground", "background", "global"], size
    )
    return model.denoiser(text), x, text


def test_masked_attention_isolates_the_global_frame_and_shows_it_to_all(folder):
    """Supplement, Eq 1-3: the global frame goes its way as if alone; a change of it reaches every frame."""
    model = load_model(folder)
    denoise, x, text = frames(model)
    t = torch.full((3,), 500)
    with edited_attention(model.unet, GlobalAttention("none", masked=True)):
        masked = denoise(x, t)
        other = denoise(torch.cat([x[:2] + 1, x[2:]]), t)
        moved = denoise(torch.cat([x[:2], x[2:] + 1]), t)
    alone = model.denoiser(text.select([2]))(x[2:], t[2:])
    torch.testing.assert_close(masked[2:], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masked[2:], other[2:], atol=1e-5, rtol=1e-5)
    assert (masked[:2] - moved[:2]).abs().amax(dim=(1, 2, 3)).min() > 1e-4


@pytest.mark.parametrize("share", ["all", "global", "none"])
def test_what_frames_see_while_they_are_drawn(folder, share):
    model = load_model(folder)
    denoise, x, _ = frames(model)
    t = torch.full((3,), 500)
    with edited_attention(model.unet, GlobalAttention(share, masked=False)):
        first = denoise(x, t)
        wall_moved = denoise(torch.cat([x[:1], x[1:2] + 1, x[2:]]), t)
        whole_moved = denoise(torch.cat([x[:2], x[2:] + 1]), t)
    ball_sees_wall = (first[0] - wall_moved[0]).abs().max() > 1e-4
    ball_sees_whole = (first[0] - whole_moved[0]).abs().max() > 1e-4
    whole_sees_wall = (first[2] - wall_moved[2]).abs().max() > 1e-4
    assert [ball_sees_wall, ball_sees_whole, whole_sees_wall] == {
        "all": [True, True, True],
        "global": [False, True, False],
        "none": [False, False, False],
    }[share]


def test_the_halves_of_guidance_do_not_see_each_other(folder):
    model = load_model(folder)
    _, x, text = frames(model)
    t = torch.full((6,), 500)
    both = model.denoiser(text.cat(text))
    with edited_attention(model.unet, GlobalAttention("all", masked=False, halves=2)):
        first = both(torch.cat([x, x]), t)
        second = both(torch.cat([x, x + 1]), t)
    torch.testing.assert_close(first[:3], second[:3], atol=1e-5, rtol=1e-5)


def test_what_cannot_be_is_refused(folder, tmp_path: Path):
    with pytest.raises(LayercliError, match="A foreground prompt is empty"):
        options(folder, foregrounds=())
    with pytest.raises(LayercliError, match="start=0"):
        options(folder, start=0)
    with pytest.raises(LayercliError, match=r"least=0\.5 is not from 0 to 0\.5"):
        options(folder, least=0.5)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model of the SD1.5 family, which makes no alpha."""
    return str(tiny.save("sd15", tmp_path_factory.mktemp("plain")))


def test_a_model_without_alpha_takes_a_photo_apart(plain):
    asked = options(plain, foregrounds=("a ball", "a cat"), guidance=2.0, steps=1)
    stack = decompose(DecomposeRequest(photo="made.png"), PHOTO, asked)
    assert {"background"} < set(stack.names) <= {"background", "a ball", "a cat"}
    assert recomposition(PHOTO, stack).most <= 1
    with pytest.raises(LayercliError, match='does not hold the words "a ball"'):
        decompose(DecomposeRequest(photo="made.png"), PHOTO, options(plain, prompt="a cat on a wall"))


def test_context_maps_are_the_attention_that_diffusers_computes(plain):
    """Eq 3 and 4: over heads and words, of the last frame, stretched to [0, 1]."""
    model = load_model(plain)
    words, whole = ("a ball", "a cat"), "a ball and a cat, a wall"
    maps = ContextMaps(model, Size(32, 32), words, whole)
    text = model.encode_text([whole, whole], ["global"] * 2, Size(32, 32))
    x = torch.randn((2, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    kept = []

    def scores(call):
        if call.layer.cross and call.layer.name.startswith("down_blocks"):
            query, key = call._attention.to_q(call.hidden), call._attention.to_k(call.text)
            query, key = (call._attention.head_to_batch_dim(part) for part in (query, key))
            found = call._attention.get_attention_scores(query, key)
            kept.append(found.unflatten(0, (2, -1))[-1].sum(dim=0))
        return call.output()

    with torch.no_grad(), edited_attention(model.unet, maps.read_beside(scores)):
        model.denoiser(text)(x, torch.full((2,), 300))
    # One token a letter: start, "a", "b a l l", …
    spans = spans_in(model, words, whole)
    assert spans[0].nonzero().flatten().tolist() == [1, 2, 3, 4, 5]
    assert spans[1].nonzero().flatten().tolist() == [9, 10, 11, 12]
    for one, span in zip(maps.masks(), spans, strict=True):
        summed = (sum(kept) @ span[: kept[0].shape[-1]]).reshape(16, 16)
        wanted = (summed - summed.min()) / (summed.max() - summed.min())
        assert np.abs(one - resized(wanted.numpy(), 32, 32)).max() < 1e-4


def test_an_object_is_cut_along_its_own_edges_from_a_coarse_map():
    true = ball(64, 96)
    coarse = resized(resized(true, 6, 9), 64, 96)
    assert soft_iou(coarse, true) < 0.8 < 0.9 < soft_iou(object_in(PHOTO, resized(true, 6, 9)), true)
