"""Drawing single frames of a stack anew while the others are held; then shadow and light for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from layercli.core.composite import matte
from layercli.core.effects import free_name
from layercli.core.layers import Layer, LayerStack
from layercli.core.requests import Box
from layercli.diffusion.attention import Rectangle
from layercli.diffusion.sample import frame_noise
from layercli.edit._boxes import SEEN, box_of
from layercli.edit._drawn import Drawing
from layercli.edit._effects import effect_name, is_effect, is_object, own_effects
from layercli.generate import _irh
from layercli.generate._alpha import alpha_from_hint, levelled, without_specks
from layercli.generate._given import framed
from layercli.generate._harmonize import shades_of
from layercli.generate._joint import Sampled, Sampling, Scene, held, sample_frames
from layercli.generate._layers import Plan, alphas_of, pixels, tensor, used_part, whole_made, with_light
from layercli.generate._masks import mask_rectangle
from layercli.generate._placement import Cutting, frame_rectangle, into_box, resized
from layercli.generate.layerfusion import Options as Fusion
from layercli.models.family import Kind, Model

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One foreground of the picture that is sampled.

    rectangle: its frame on the canvas, as fractions; clean: its latents (C, h, w), None for a new one; free:
    whether it is drawn, or held to its latents.
    """

    prompt: str
    rectangle: Rectangle
    clean: Tensor | None
    free: bool


def words_for(layer: Layer) -> str:
    """What a layer shows, in words: its prompt, or else its name."""
    return layer.prompt.strip() or layer.name


def objects_of(stack: LayerStack) -> list[Layer]:
    """The visible things on the canvas of a stack, back to front."""
    things = [layer for layer in stack.layers if layer.visible and is_object(layer, stack)]
    return [layer for layer in things if float(stack.placed(layer.name)[..., 3].max()) > SEEN]


def ground_of(stack: LayerStack) -> tuple[np.ndarray, str]:
    """What lies behind all things, opaque (H, W, 4), gray where nothing does; and its words."""
    things = {layer.name for layer in objects_of(stack)}
    behind = tuple(layer for layer in stack.layers if layer.name not in things and not is_effect(layer))
    picture = opaque(dataclasses.replace(stack, layers=behind).flatten())
    shown = [layer for layer in behind if layer.visible]
    return picture, words_for(shown[0]) if shown else "background"


def opaque(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 4) over middle gray."""
    result = np.ones_like(picture)
    result[..., :3] = matte(picture, 0.5)
    return result


def plan_of(stack: LayerStack, model: Model) -> Plan:
    """The size the model works at for the stack's canvas."""
    working = model.working_size(stack.canvas)
    return Plan(canvas=stack.canvas, working=working, rectangles=[], boxes={}, shapes={})


def frame_of(stack: LayerStack, layer: Layer, model: Model, *, free: bool = False) -> Frame:
    """A thing of the stack as a frame of its own: in the middle of a square, as the model draws things."""
    placed = LayerStack(canvas=stack.canvas, layers=(dataclasses.replace(layer, opacity=1.0),)).placed(0)
    alpha = placed[..., 3]
    rectangle = mask_rectangle(alpha / max(float(alpha.max()), 1e-6))
    clean = model.encode(framed(tensor(placed), rectangle, model.native_size)[None])[0]
    return Frame(prompt=words_for(layer), rectangle=rectangle, clean=clean, free=free)


def rectangle_for(box: Box, stack: LayerStack) -> Rectangle:
    """The frame whose thing will fill a box."""
    return frame_rectangle(box, stack.canvas)


def box_in(stack: LayerStack, layer: Layer) -> Box:
    """The box of what is seen of a layer, as fractions of the canvas."""
    box, canvas = box_of(layer), stack.canvas
    return (
        box.left / canvas.width,
        box.top / canvas.height,
        box.right / canvas.width,
        box.bottom / canvas.height,
    )


def draw(
    model: Model,
    plan: Plan,
    frames: Sequence[Frame],
    ground: np.ndarray | None,
    ground_words: str,
    whole: np.ndarray | None,
    drawing: Drawing,
    on_step: OnStep,
    *,
    strength: float = 1.0,
    free_ground: bool = False,
) -> Sampled:
    """Sample the free frames together with the held ones, as LayerFusion does.

    ground: the background (H, W, 4), None for one that is not there yet; whole: the picture as it is, from
    which the blended frame starts where strength is below 1.
    """
    known: dict[int, Tensor] = {row: each.clean for row, each in enumerate(frames) if each.clean is not None}
    guides = {row: held(model, known[row]) for row, each in enumerate(frames) if not each.free}
    back = len(frames)
    for row, picture in ((back, ground), (back + 1, whole if strength < 1 else None)):
        if picture is not None:
            known[row] = encoded(model, plan, picture)
    if not free_ground:
        guides[back] = held(model, known[back])
    words = [each.prompt for each in frames]
    scene = Scene(
        foregrounds=words,
        background=ground_words,
        blended=together(words, ground_words),
        negative=drawing.negative,
        rectangles=dataclasses.replace(plan, rectangles=[each.rectangle for each in frames]).in_scene,
        guides=guides,
        size=plan.working.made,
        frame=model.native_size,
        known={row: clean for row, clean in known.items() if row in guides or strength < 1},
    )
    sampling = Sampling(seed=drawing.seed, steps=drawing.steps, guidance=drawing.guidance, strength=strength)
    total = drawing.steps
    return sample_frames(model, scene, sampling, Fusion().rules(model), lambda done: on_step(done, total))


def together(words: Sequence[str], ground: str) -> str:
    """The words of the whole picture."""
    return f"{' and '.join(words)}, {ground}"


def encoded(model: Model, plan: Plan, picture: np.ndarray) -> Tensor:
    """The latents (C, h, w) of an opaque picture of the canvas."""
    return model.encode(whole_made(tensor(opaque(picture)), plan).to(model.device))[0]


def thing(model: Model, sampled: Sampled, row: int, box: Box, plan: Plan) -> Cutting:
    """One drawn foreground, cleaned, standing in its box."""
    fusion = Fusion()
    with torch.no_grad():
        rgba = model.decode(sampled.foregrounds[row : row + 1], ["foreground"])
    if model.alpha:
        rgba = levelled(rgba, fusion.levels)
    elif sampled.hint is not None:
        rgba = alpha_from_hint(rgba[:, :3], sampled.hint[row : row + 1])
    return into_box(without_specks(rgba, fusion.specks)[0], box, plan.canvas)


def scenery(model: Model, latents: Tensor, plan: Plan) -> np.ndarray:
    """A drawn background on the canvas, opaque (H, W, 4)."""
    with torch.no_grad():
        rgba = resized(used_part(model.decode(latents[None], ["background"])[0], plan), plan.canvas)
    rgba[3] = 1.0
    return pixels(rgba)


def relit(
    stack: LayerStack, names: Sequence[str], model: Model, drawing: Drawing, on_step: OnStep
) -> LayerStack:
    """Fresh shadow and light for some things of a stack, or for all: IRH over the layers as they lie now.

    DreamLayer, Eq 13, op on pixels: the layers where they were moved to are fused (Eq 12), noised to the
    middle of the way and denoised as one picture. What that changes becomes a shadow and a light layer; the
    ones there were for these things go, if they are named after them (see settled).
    """
    things = [layer for layer in objects_of(stack) if not names or layer.name in names]
    if not things:
        return stack
    meant = [layer.name for layer in things]
    every = [layer.name for layer in stack.layers if is_effect(layer)]
    shadows, light = _light_for(without(stack, every), meant, model, drawing, on_step)
    stack = without(stack, every if len(things) == len(objects_of(stack)) else own_effects(stack, meant))
    lit = with_light(stack, shadows, light)
    if len(things) == len(objects_of(stack)):
        return lit
    for layer in lit.layers[-2:]:
        called = effect_name(layer, things[0].name) if len(things) == 1 else layer.name
        lit = lit.replace(layer.name, dataclasses.replace(layer, name=free_name(called, stack.names)))
    return lit


def _light_for(
    stack: LayerStack, names: Sequence[str], model: Model, drawing: Drawing, on_step: OnStep
) -> tuple[Tensor, Tensor]:
    """What to multiply and to screen the canvas with for some things of a stack without effects."""
    fusion, plan = Fusion(), plan_of(stack, model)
    ground, ground_words = ground_of(stack)
    others = [layer for layer in objects_of(stack) if layer.name not in names]
    for layer in others:  # what is lit already belongs to the ground of the others
        ground = _over(ground, stack.placed(layer.name))
    path = model.schedule.path(drawing.steps)
    start = _irh.fusing_time(path, fusion.window)
    rest = _irh.rest_of(path, start)
    shape = model.latent_shape(plan.working.made)
    kinds: list[Kind] = ["global", "global"]
    with torch.no_grad():
        clean = torch.stack([encoded(model, plan, picture) for picture in (stack.flatten(), ground)])
        noise = frame_noise(drawing.seed, [0], shape).to(clean)
        fused = model.schedule.add_noise(clean, noise, start)
        words = [together([words_for(stack.layer(name)) for name in names], ground_words), ground_words]
        text = model.encode_text(words, kinds, plan.working.made)
        empty = model.encode_text([drawing.negative] * 2, kinds, plan.working.made)
        denoise = model.guided(text, empty, drawing.guidance, rescale=fusion.rescale, tint=fusion.tint)
        harmonized = _irh.harmonize(
            denoise, fused, model.schedule, rest, lambda done: on_step(done, len(rest) - 1)
        )
        after = used_part(model.decode(harmonized, kinds)[:, :3], plan)
        before = used_part(model.decode(clean, kinds)[:, :3], plan)
        told = [words_for(stack.layer(name)) for name in names]
        return shades_of(alphas_of(stack, names), told, after, before, fusion.light)


def _over(picture: np.ndarray, thing: np.ndarray) -> np.ndarray:
    alpha = thing[..., 3:]
    result = np.ones_like(picture)
    result[..., :3] = thing[..., :3] * alpha + picture[..., :3] * (1 - alpha)
    return result


def without(stack: LayerStack, names: Sequence[str]) -> LayerStack:
    """The stack without some layers."""
    return dataclasses.replace(
        stack, layers=tuple(layer for layer in stack.layers if layer.name not in names)
    )
