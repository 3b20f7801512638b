"""The attention exchange on real tiny UNets: LayerFusion layer by layer, and what stays untouched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.diffusion import attention as maps
from layercli.diffusion.attention import WHOLE, Rectangle
from layercli.diffusion.sample import frame_noise
from layercli.generate._exchange import Exchange, Rules
from layercli.models.family import Conditioning, Kind, Model
from layercli.models.hooks import AttentionCall, attention_layers, edited_attention
from tests import tiny

PLACED: Rectangle = (0.25, 0.25, 0.75, 0.75)
OPEN = Rules(shield=False)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def texts(model: Model, count: int) -> Conditioning:
    prompts = [*["a cat", "a dog", "a ball"][:count], "a sofa", "things on a sofa"]
    kinds: list[Kind] = [*["foreground"] * count, "background", "global"]  # type: ignore[list-item]
    return model.encode_text(prompts, kinds, model.native_size)


def exchange_for(model: Model, rules: Rules, rectangles: list[Rectangle], guided: bool = False) -> Exchange:
    shape = model.latent_shape(model.native_size)
    return Exchange(
        rules,
        rectangles=rectangles,
        summary=texts(model, len(rectangles)).summary[: len(rectangles)],
        frame=shape[1:],
        scene=shape[1:],
        layers=attention_layers(model.unet),
        guided=guided,
    )


def walk(model: Model, exchange: Exchange | None, count: int, steps: int = 2, edit: Any = None) -> Tensor:
    """Ask the network a few times about the same frames; the last answer."""
    x = frame_noise(0, range(count + 2), model.latent_shape(model.native_size))
    denoise = model.denoiser(texts(model, count))
    with torch.no_grad():
        if exchange is None:
            return denoise(x, torch.full((count + 2,), 500))
        with edited_attention(model.unet, edit or exchange):
            for _ in range(steps):
                exchange.begin(500)
                answer = denoise(x, torch.full((count + 2,), 500))
    return answer


def test_where_frames_do_not_meet_nothing_changes(model: Model) -> None:
    plain = walk(model, None, 2)
    closed = exchange_for(model, Rules(window=(600, 1000)), [WHOLE, PLACED])
    assert torch.equal(walk(model, closed, 2), plain)
    off = exchange_for(model, Rules(blend=False, share=False), [WHOLE, PLACED])
    assert torch.equal(walk(model, off, 2), plain)


def test_frames_meet_from_the_second_call_on(model: Model) -> None:
    plain = walk(model, None, 1)
    assert torch.equal(walk(model, exchange_for(model, Rules(), [WHOLE]), 1, steps=1), plain)
    met = walk(model, exchange_for(model, Rules(), [WHOLE]), 1)
    assert not torch.allclose(met, plain, atol=1e-6)


def test_a_reading_call_gives_masks_to_the_very_next_call(model: Model) -> None:
    exchange = exchange_for(model, Rules(), [WHOLE])
    x = frame_noise(0, range(3), model.latent_shape(model.native_size))
    text, t = texts(model, 1), torch.full((3,), 500)
    with torch.no_grad(), edited_attention(model.unet, exchange):
        exchange.begin(500, recording=True)
        alone = model.denoiser(text.select([0]))(x[:1], t[:1])
        exchange.begin(500)
        met = model.denoiser(text)(x, t)
    plain = walk(model, None, 1)
    torch.testing.assert_close(alone[0], plain[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(met, plain, atol=1e-6)


@pytest.mark.parametrize("prior", ["both", "structure", "content"])
def test_one_foreground_is_algorithm_3_layer_by_layer(model: Model, prior: str) -> None:
    """Every layer's output is recomputed from its input by the paper's algorithm and compared."""
    exchange = exchange_for(model, Rules(shield=False, prior=prior), [WHOLE])  # type: ignore[arg-type]
    grid = model.latent_shape(model.native_size)[1:]
    layers, read, compared = attention_layers(model.unet), {}, []

    def soft_of(block: int, positions: int) -> Tensor:
        s, c = read.get("structure"), read.get(block)
        if s is not None and prior != "content":
            level = maps.level_of(s.shape[1], grid)
            to = maps.grid_at(grid, maps.level_of(positions, grid))
            s = maps.resize_map(s, maps.grid_at(grid, level), to)
        return maps.soft_mask(None if prior == "content" else s, None if prior == "structure" else c)

    def watched(call: AttentionCall) -> Tensor:
        query, key, value = call.heads()
        own = call.project(call.attend(query, key, value, call.bias()))
        found = exchange(call)
        if "structure" in read:  # the second call
            fg, bg, bl = own
            if not call.layer.cross:  # a_BG, a_Bl = Attention([h_BG, h_Bl])
                keys, values = (
                    torch.cat([key[1], key[2]], dim=1)[None],
                    torch.cat([value[1], value[2]], dim=1)[None],
                )
                bg, bl = (call.project(call.attend(query[i : i + 1], keys, values))[0] for i in (1, 2))
            soft = soft_of(call.layer.block, fg.shape[0])[0, :, None]
            blended = fg * soft + bl * (1 - soft)
            hard = torch.sigmoid(10 * (soft - 0.5))
            expected = torch.stack([blended * hard + fg * (1 - hard), bg, blended])
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
            compared.append(call.layer)
        fresh[call.layer.block if call.layer.cross else "self", call.layer.index] = (query[:1], key[:1])
        return found

    fresh: dict[Any, tuple[Tensor, Tensor]] = {}
    x = frame_noise(0, range(3), model.latent_shape(model.native_size))
    denoise = model.denoiser(texts(model, 1))
    with torch.no_grad(), edited_attention(model.unet, watched):
        exchange.begin(500)
        denoise(x, torch.full((3,), 500))
        last = max(index for kind, index in fresh if kind == "self")
        q, k = fresh["self", last]
        read["structure"] = maps.structure_prior(maps.sparsity(maps.probabilities(q, k).mean(dim=1)))
        summary = texts(model, 1).summary[:1]
        for (kind, _), (q, k) in list(fresh.items()):
            if kind != "self":
                read[kind] = maps.content_prior(maps.probabilities(q, k), summary)
        exchange.begin(500)
        denoise(x, torch.full((3,), 500))
    assert tuple(compared) == layers


def test_the_alpha_prior_is_the_mask_itself(model: Model) -> None:
    exchange = exchange_for(model, Rules(prior="alpha"), [WHOLE])
    rows, columns = model.latent_shape(model.native_size)[1:]
    alpha = torch.zeros(1, rows, columns)
    alpha[:, : rows // 2] = 1
    exchange.begin(500)
    assert exchange._masks_at(0, rows * columns // 4) is None
    exchange.notice(alpha)
    exchange.begin(400)
    masks = exchange._masks_at(0, rows * columns // 4)
    assert masks is not None
    assert masks.soft[0][: rows // 4 - 1].min() > 0.9 and masks.soft[0][rows // 4 + 1 :].max() < 0.1
    torch.testing.assert_close(masks.hard[0], maps.hard_mask(masks.soft[0], 10.0))
    exchange.notice(alpha)
    assert not torch.allclose(walk(model, exchange, 1, steps=1), walk(model, None, 1), atol=1e-6)


def test_each_switch_changes_what_it_should_and_nothing_else(model: Model) -> None:
    """Rows: two foregrounds, background, blended."""
    places = [PLACED, WHOLE]

    def rows(rules: Rules) -> list[bool]:
        met, plain = walk(model, exchange_for(model, rules, places), 2), walk(model, None, 2)
        return [not torch.allclose(a, b, atol=1e-6) for a, b in zip(met, plain, strict=True)]

    assert rows(Rules()) == [True, True, True, True]
    assert rows(Rules(feedback=False)) == [False, False, True, True]
    assert rows(Rules(share=False)) == [True, True, False, True]
    assert rows(Rules(share=False, feedback=False)) == [False, False, False, True]
    assert rows(Rules(blend=False)) == [False, False, True, True]
    hardness = [walk(model, exchange_for(model, Rules(d=d), places), 2)[0] for d in (2.0, 30.0)]
    assert not torch.allclose(*hardness, atol=1e-6)
    priors = [
        walk(model, exchange_for(model, Rules(prior=p), places), 2)[3] for p in ("structure", "content")
    ]  # type: ignore[arg-type]
    assert not torch.allclose(*priors, atol=1e-6)


def test_the_shield_keeps_what_is_covered_out_of_the_background(model: Model) -> None:
    exchange = exchange_for(model, Rules(), [WHOLE])
    walk(model, exchange, 1, steps=1)
    positions = exchange._fresh.content[0].shape[1]
    exchange.begin(500)
    masks = exchange._masks_at(0, positions)
    assert masks is not None
    n = masks.placed[0].numel()
    uncovered = 1 - masks.placed[0].flatten().clamp(0, 1 - 1e-4)
    assert uncovered.min() < 0.5
    bias = torch.zeros(1, 1, 2 * n, 2 * n)  # rows: who looks, the background first; columns: at whom
    bias[..., :n, n:] = uncovered.log()
    seen = []

    def compared(call: AttentionCall) -> Tensor:
        if not call.layer.cross and call.hidden.shape[1] == n:
            heads = call.heads()
            shared = exchange._shared(call, heads, 1, masks)
            q, k, v = (tensor[1:].transpose(0, 1).flatten(1, 2)[None] for tensor in heads)
            wanted = call.attend(q, k, v, bias).unflatten(1, (2, n))[0]
            torch.testing.assert_close(shared[1:], wanted, atol=1e-5, rtol=1e-5)
            seen.append(call.layer)
        return call.output()

    walk(model, exchange, 1, steps=1, edit=compared)
    assert seen


def test_guided_halves_are_treated_alike_and_read_from_the_conditional(model: Model) -> None:
    exchange = exchange_for(model, Rules(), [PLACED], guided=True)
    single = exchange_for(model, Rules(), [PLACED])
    x = frame_noise(0, range(3), model.latent_shape(model.native_size))
    text = texts(model, 1)
    with torch.no_grad(), edited_attention(model.unet, exchange):
        for _ in range(2):
            exchange.begin(500)
            both = model.denoiser(text.cat(text))(torch.cat([x, x]), torch.full((6,), 500))
    torch.testing.assert_close(both[:3], both[3:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[3:], walk(model, single, 1), atol=1e-4, rtol=1e-3)


def test_in_parts_the_scene_gets_what_the_joint_batch_gives_it(model: Model) -> None:
    """Without feedback, foregrounds first and the scene after them is the same as all at once."""
    rules, places = Rules(feedback=False), [WHOLE, PLACED]
    joint = walk(model, exchange_for(model, rules, places), 2)
    exchange = exchange_for(model, rules, places)
    x = frame_noise(0, range(4), model.latent_shape(model.native_size))
    text, t = texts(model, 2), torch.full((4,), 500)
    with torch.no_grad(), edited_attention(model.unet, exchange):
        for _ in range(2):
            exchange.begin(500, "foregrounds")
            objects = model.denoiser(text.select([0, 1]))(x[:2], t[:2])
            exchange.begin(500, "scene")
            scene = model.denoiser(text.select([2, 3]))(x[2:], t[2:])
    torch.testing.assert_close(torch.cat([objects, scene]), joint, atol=1e-4, rtol=1e-3)


def test_attention_hints_where_the_objects_are(model: Model) -> None:
    exchange = exchange_for(model, Rules(window=(1, 0)), [WHOLE, PLACED])
    assert exchange.alpha_hint() is None
    walk(model, exchange, 2, steps=3)
    hint = exchange.alpha_hint()
    assert hint is not None and hint.shape[0] == 2 and hint.ndim == 3
    assert hint.min() >= 0 and hint.max() <= 1
