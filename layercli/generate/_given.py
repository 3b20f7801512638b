"""A picture that is there already: on the canvas, as a layer of the stack, and as a frame that stays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.photos import covers
from layercli.core.pixels import open_image
from layercli.core.requests import GenerateRequest
from layercli.diffusion.attention import Rectangle
from layercli.diffusion.sample import State
from layercli.diffusion.schedule import CLEAN
from layercli.generate._layers import Plan, pixels, tensor, whole_made
from layercli.generate._masks import in_frame, mask_rectangle
from layercli.generate._placement import into_rectangle, resized, visible
from layercli.models.family import Kind, Model


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """kind: a background, or a foreground with alpha; rgba: (4, H, W) on the canvas, straight alpha."""

    kind: Kind
    rgba: Tensor


def given_picture(request: GenerateRequest) -> Given | None:
    """The picture that a request names, on its canvas; None where it names none.

    A background fills the canvas, what stands over is cut off evenly; a foreground fits into it and stands
    in the middle of its lower edge. Raises LayercliError for a picture that cannot be read or is empty, and
    for a foreground among several.
    """
    if not request.given:
        return None
    picture = open_image(request.given)
    rgba = tensor(picture)
    canvas = request.size
    height, width = rgba.shape[1:]
    across, down = canvas.width / width, canvas.height / height
    if covers(picture):
        return Given(kind="background", rgba=_on_canvas(rgba, max(across, down), canvas, bottom=False))
    if visible(rgba) is None:
        raise LayercliError(f"{request.given} is transparent all over.", "Name a picture of something.")
    if len(request.foregrounds) > 1:
        raise LayercliError(
            f"{request.given} is a foreground, but {len(request.foregrounds)} are asked for.",
            "Give one --fg that says what it shows, or an opaque picture as the background.",
        )
    return Given(kind="foreground", rgba=_on_canvas(rgba, min(across, down), canvas, bottom=True))


def with_given(stack: LayerStack, given: Given | None, request: GenerateRequest) -> LayerStack:
    """The stack with the given picture itself in its layer's place, pixel by pixel."""
    if given is None:
        return stack
    if given.kind == "background":
        ground = dataclasses.replace(stack.layers[0], rgba=pixels(given.rgba))
        return stack.replace(ground.name, ground)
    name = request.layer_names[0]
    cutting = into_rectangle(given.rgba, (0.0, 0.0, 1.0, 1.0), request.size)
    layer = Layer(name=name, rgba=cutting.rgba, offset=cutting.offset, prompt=request.foregrounds[0])
    return stack.replace(name, layer)


def on_whole(model: Model, given: Given, plan: Plan) -> Tensor:
    """The clean latents (C, h, w) of the given picture in a frame that is the canvas."""
    return model.encode(whole_made(given.rgba, plan).to(model.device))[0]


def in_its_frame(model: Model, given: Given | None, plan: Plan) -> tuple[Plan, dict[int, Tensor]]:
    """The plan with the given picture in it, and its clean latents (C, h, w) by frame.

    Frames count from 0: the foregrounds, the background. A foreground gets the frame that its alpha fills.
    """
    if given is None:
        return plan, {}
    if given.kind == "background":
        return plan, {len(plan.rectangles): on_whole(model, given, plan)}
    rectangle = mask_rectangle(given.rgba[3].numpy())
    frame = framed(given.rgba, rectangle, model.native_size)
    plan = dataclasses.replace(
        plan,
        rectangles=[rectangle, *plan.rectangles[1:]],
        boxes={index: box for index, box in plan.boxes.items() if index},
        shapes={index: shape for index, shape in plan.shapes.items() if index},
    )
    return plan, {0: model.encode(frame[None].to(model.device))[0]}


def framed(rgba: Tensor, rectangle: Rectangle, frame: Size) -> Tensor:
    """What a frame in a rectangle of the canvas sees of a straight-alpha picture (4, H, W): (4, h, w)."""
    alpha = rgba[3]
    seen = in_frame(alpha.numpy(), rectangle, frame)
    cut = [in_frame((band * alpha).numpy(), rectangle, frame) for band in rgba[:3]]
    return torch.stack([*((band / seen.clamp_min(1e-4)).clamp(0, 1) for band in cut), seen])


def state_of(model: Model, clean: Tensor, noise: Tensor, like: State) -> State:
    """Where a frame that is not sampled would stand: (1, C, h, w) latents, noised to a State's time."""
    x = clean if like.t == CLEAN else model.schedule.add_noise(clean, noise.to(clean), like.t)
    return State(step=like.step, t=like.t, came_from=like.came_from, x=x, x0=clean)


def _on_canvas(rgba: Tensor, scale: float, canvas: Size, *, bottom: bool) -> Tensor:
    """Scale a picture (4, H, W), centre it and cut or pad it to the canvas."""
    size = Size(max(1, round(rgba.shape[2] * scale)), max(1, round(rgba.shape[1] * scale)))
    scaled = resized(rgba, size)
    left = (canvas.width - size.width) // 2
    top = canvas.height - size.height if bottom else (canvas.height - size.height) // 2
    placed = torch.zeros(4, canvas.height, canvas.width)
    from_x, from_y = max(0, -left), max(0, -top)
    to_x, to_y = max(0, left), max(0, top)
    width, height = min(size.width, canvas.width), min(size.height, canvas.height)
    placed[:, to_y : to_y + height, to_x : to_x + width] = scaled[
        :, from_y : from_y + height, from_x : from_x + width
    ]
    if not bottom:
        placed[3] = 1.0  # scaling may round it
    return placed
