"""Between pictures and latents: where frames go, decoded layers on the canvas, tensors of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.effects import effect_layers, free_name
from layercli.core.geometry import Size
from layercli.core.layers import WHOLE, Layer, LayerStack
from layercli.core.masks import open_mask
from layercli.core.requests import Box, GenerateRequest
from layercli.diffusion.attention import Rectangle
from layercli.generate._alpha import alpha_from_hint, levelled, without_specks
from layercli.generate._joint import Sampled
from layercli.generate._masks import in_frame, mask_rectangle
from layercli.generate._placement import (
    Cutting,
    default_boxes,
    frame_rectangle,
    into_box,
    into_rectangle,
    resized,
)
from layercli.models.family import Model, Working


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Where everything goes.

    rectangles: of the foregrounds' frames on the canvas, as fractions of it; boxes: of those that stand in a
    box; shapes: of those held to a drawn mask, on their own frame (h, w).
    """

    canvas: Size
    working: Working
    rectangles: Sequence[Rectangle]
    boxes: dict[int, Box]
    shapes: dict[int, Tensor]

    @property
    def in_scene(self) -> list[Rectangle]:
        """The rectangles as fractions of the size made, of which the canvas is the upper left part."""
        made, used = self.working.made, self.working.used
        across, down = used.width / made.width, used.height / made.height
        return [(l * across, t * down, r * across, b * down) for l, t, r, b in self.rectangles]


def plan_for(request: GenerateRequest, model: Model) -> Plan:
    """A place for every foreground: its box, its mask, or a sensible box; a bad mask raises LayercliError."""
    canvas, count = request.size, len(request.foregrounds)
    rectangles: dict[int, Rectangle] = {}
    boxes: dict[int, Box] = {}
    shapes: dict[int, Tensor] = {}
    for index in range(count):
        path, box = request.mask_of(index), request.box_of(index)
        if path is not None:
            mask = open_mask(path, canvas)
            rectangles[index] = mask_rectangle(mask)
            shapes[index] = in_frame(mask, rectangles[index], model.native_size)
        elif box is not None:
            boxes[index] = box
    boxes |= default_boxes(request.foregrounds, canvas, request.seed, boxes | rectangles)
    rectangles |= {index: frame_rectangle(box, canvas) for index, box in boxes.items()}
    return Plan(
        canvas=canvas,
        working=model.working_size(canvas),
        rectangles=[rectangles[index] for index in range(count)],
        boxes=boxes,
        shapes=shapes,
    )


def canvas_plan(request: GenerateRequest, model: Model) -> Plan:
    """A plan in which every frame is the canvas itself: trained methods find places by themselves.

    A box is where a foreground is put at the end, a mask what it is held to; a bad mask raises LayercliError.
    """
    working = model.working_size(request.size)
    whole = (0.0, 0.0, working.made.width / working.used.width, working.made.height / working.used.height)
    boxes: dict[int, Box] = {}
    shapes: dict[int, Tensor] = {}
    for index in range(len(request.foregrounds)):
        path, box = request.mask_of(index), request.box_of(index)
        if path is not None:
            shapes[index] = in_frame(open_mask(path, request.size), whole, working.made)
        elif box is not None:
            boxes[index] = box
    return Plan(
        canvas=request.size,
        working=working,
        rectangles=[whole] * len(request.foregrounds),
        boxes=boxes,
        shapes=shapes,
    )


def decoded_stack(
    request: GenerateRequest,
    model: Model,
    plan: Plan,
    sampled: Sampled,
    levels: tuple[float, float],
    specks: float,
) -> LayerStack:
    """The background and every foreground in its place, straight alpha; levels, specks: see _alpha."""
    name = free_name("background", request.layer_names)
    scene = resized(used_part(model.decode(sampled.background, ["background"])[0], plan), plan.canvas)
    scene[3] = 1.0  # scaling may round it
    layers = [Layer(name=name, rgba=pixels(scene), prompt=request.background)]
    objects = model.decode(sampled.foregrounds, ["foreground"] * len(request.foregrounds))
    if model.alpha:
        objects = levelled(objects, levels)
    elif sampled.masks is not None:
        objects = torch.cat([objects[:, :3], sampled.masks[:, None].to(objects)], dim=1)
    elif sampled.hint is not None:
        objects = alpha_from_hint(objects[:, :3], sampled.hint)
    objects = without_specks(objects, specks)
    for index, (name, prompt) in enumerate(zip(request.layer_names, request.foregrounds, strict=True)):
        cutting = placed(objects[index], plan, index, model.alpha)
        layers.append(Layer(name=name, rgba=cutting.rgba, offset=cutting.offset, prompt=prompt))
    return LayerStack(canvas=plan.canvas, layers=tuple(layers))


def placed(frame: Tensor, plan: Plan, index: int, alpha: bool) -> Cutting:
    """A foreground's decoded frame (4, H, W) in its place of the canvas; alpha: whether the model made it."""
    if index in plan.boxes:
        return into_box(frame, plan.boxes[index], plan.canvas)
    if not alpha and index in plan.shapes:  # attention alone is too coarse for a drawn outline
        frame = torch.cat([frame[:3], frame[3:] * plan.shapes[index][None].to(frame)])
    return into_rectangle(frame, plan.rectangles[index], plan.canvas)


def with_light(stack: LayerStack, shadows: Tensor, light: Tensor) -> LayerStack:
    """The stack with a multiply and a screen layer on top: (3, H, W) each, in [0, 1], of the canvas' size."""
    names = [free_name(name, stack.names) for name in ("shadows", "light")]
    over_white, over_black = pixels(shadows), pixels(light)
    # Shadows are what a white picture becomes under them, light is what a black one becomes.
    multiply, _ = effect_layers(np.ones_like(over_white), over_white, shadows_name=names[0])
    _, screen = effect_layers(np.zeros_like(over_black), over_black, light_name=names[1])
    return dataclasses.replace(stack, layers=(*stack.layers, multiply, screen))


def with_whole(stack: LayerStack, model: Model, plan: Plan, sampled: Sampled) -> LayerStack:
    """The stack with the frame of the whole picture in front of all, hidden."""
    frame = model.decode(sampled.steps[-1][1].x[-1:], ["global"])[0]
    picture = resized(used_part(frame, plan), plan.canvas)
    picture[3] = 1.0
    name = free_name(WHOLE, stack.names)
    layer = Layer(name=name, rgba=pixels(picture), visible=False)
    return dataclasses.replace(stack, layers=(*stack.layers, layer))


def used_part(made: Tensor, plan: Plan) -> Tensor:
    """The part of pictures (…, H, W) of the size made that is the canvas."""
    return made[..., : plan.working.used.height, : plan.working.used.width]


def whole_made(canvas: Tensor, plan: Plan) -> Tensor:
    """A picture (4, H, W) of the canvas as one of the size made, edges repeated: (1, 4, H', W')."""
    made, used = plan.working.made, plan.working.used
    padding = (0, made.width - used.width, 0, made.height - used.height)
    return F.pad(resized(canvas, used)[None], padding, mode="replicate")


def alphas_of(stack: LayerStack, names: Sequence[str]) -> list[Tensor]:
    """The alpha of some layers on the whole canvas, (H, W) each."""
    return [torch.from_numpy(stack.placed(name)[..., 3].copy()) for name in names]


def tensor(rgba: np.ndarray) -> Tensor:
    """(H, W, C) float32 -> (C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgba, -1, 0)))


def pixels(picture: Tensor) -> np.ndarray:
    """(C, H, W) -> (H, W, C) float32, by the pixel law."""
    return np.ascontiguousarray(picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy().astype(np.float32))
