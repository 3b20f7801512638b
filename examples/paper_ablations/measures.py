"""The numbers of one picture, and of the context maps that a picture is read with once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from layercli.cli.files import read_stack
from layercli.cli.gathering import gather
from layercli.core import recomposition
from layercli.core.layers import WHOLE
from layercli.core.pixels import dequantize, quantize
from layercli.core.requests import GenerateRequest
from layercli.decompose import inversion
from layercli.diffusion.attention import resize_map
from layercli.diffusion.sample import frame_noise
from layercli.evaluate import agreement, layers, leakage, seam
from layercli.evaluate._sample import NotJudged, Sample, rgb
from layercli.evaluate.alpha import soft_iou
from layercli.evaluate.recognition import noun_in
from layercli.generate._trained import prompts_of
from layercli.models.dreamlayer import DreamLayer, Rules
from layercli.models.dreamlayer_text import layered_denoiser, layered_text
from layercli.models.family import Model
from layercli.vision.grids import resized
from layercli.vision.object_net import embedded_net, look

T_G = 850


def measured(folder: Path) -> dict[str, dict[str, float]]:
    """The numbers of every PSD of a folder; one that a picture has nothing for is left out."""
    run, _ = gather(folder, "files")
    return {entry.name: numbers_of(entry.load()) for entry in run.entries}


def numbers_of(sample: Sample) -> dict[str, float]:
    """See variants.NUMBERS; all but `map`."""
    found = {**recognised(sample)}
    for metric, number, name in (
        (leakage, "share", "leakage"),
        (seam, "light", "seam"),
        (layers, "empty", "empty"),
        (agreement, "mean", "agree"),
    ):
        try:
            found[name] = metric.measure(sample, metric.Options())[number]
        except NotJudged:
            continue
    inside = sample.covered() > 0.95
    if inside.any():
        seen = rgb(dequantize(sample.stack.flatten_quantized()))
        found["kept"] = float(np.abs(seen - agreement.plain(sample))[inside].mean() * 255)
    return found


def recognised(sample: Sample) -> dict[str, float]:
    """How sure the classifier is of the things asked for: in their layers, and in the finished picture."""
    net = embedded_net()
    wanted = [(noun_in(layer.prompt or layer.name, net.nouns), layer) for layer in sample.foregrounds]
    known = [(net.nouns.index(noun), sample.placed(layer)) for noun, layer in wanted if noun]
    if not known:
        return {}
    finished = [np.dstack([rgb(sample.composite), placed[..., 3]]) for _, placed in known]
    pictures = [placed for _, placed in known] + finished
    chances = [chance for _, chance in look(net, pictures)]
    sure = [float(chance[index]) for chance, (index, _) in zip(chances, known * 2, strict=True)]
    return {"chance": float(np.mean(sure[: len(known)])), "seen": float(np.mean(sure[len(known) :]))}


@torch.no_grad()
def maps_of(model: Model, adapter: DreamLayer, file: Path, rules: Rules) -> dict[str, float]:
    """How the whole frame's context maps at T_G go with the alphas of the layers drawn with it."""
    stack = read_stack(file)
    assert stack.receipt is not None
    request = GenerateRequest.from_dict(stack.receipt.request)
    prompts, _ = prompts_of(request)
    front = stack.layers[1 : 1 + len(prompts.foregrounds)]
    pictures = [stack.placed(0), *(stack.placed(layer.name) for layer in front), stack.placed(WHOLE)]
    clean = model.encode(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float())
    text = layered_text(model, adapter, [prompts], model.native_size)
    noise = frame_noise(request.seed, range(len(clean)), tuple(clean.shape[1:]))
    noisy = model.schedule.add_noise(clean, noise.to(clean), T_G)
    with adapter.injected(model.unet, rules) as injection:
        layered_denoiser(model, injection, text)(noisy, torch.full((len(clean),), T_G))
        whole, _ = injection.maps()
        side = (clean.shape[2], clean.shape[3])
        seen = resize_map(whole[0].clamp(0, 1), injection.map_grid, side)
    alphas = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(np.stack([picture[..., 3] for picture in pictures[1:-1]])), side
    )
    pairs = [
        float(np.corrcoef(np.stack([one.flatten(), other.flatten()]))[0, 1])
        for one, other in zip(seen.numpy(), alphas.numpy(), strict=True)
        if one.std() > 0 and other.std() > 0
    ]
    return {"map": float(np.mean(pairs))} if pairs else {}


def inverted(file: Path, options: inversion.Options) -> dict[str, float]:
    """Invert the plain composite of a file's layers, and hold what is drawn against the layers themselves.

    options: the file's prompts take the place of those there. All is judged as drawn, before colours are
    solved so that the layers are the photo.
    """
    stack = read_stack(file)
    assert stack.receipt is not None
    request = GenerateRequest.from_dict(stack.receipt.request)
    prompts, _ = prompts_of(request)
    sample = Sample(name=file.stem, stack=stack)
    photo = dequantize(quantize(agreement.plain(sample)))
    options = replace(options, foregrounds=tuple(prompts.foregrounds), background=prompts.background)
    model = inversion.opened(options)
    drawn = inversion.draw_layers(model, photo, options).permute(0, 2, 3, 1).numpy()
    *objects, scene = (resized(one, *photo.shape[:2]) for one in drawn)
    truths = [sample.placed(layer)[..., 3] for layer in sample.foregrounds]
    covered = sample.covered()
    apart = np.abs(scene[..., :3] - rgb(stack.placed(0)))[covered > 0.5]
    cuts = [soft_iou(one[..., 3], true) for one, true in zip(objects, truths, strict=True)]
    found = {
        "held": recomposition.leakage(photo, scene[..., :3], covered),
        "cut": float(np.mean(cuts)),
    }
    return {**found, "behind": float(apart.mean() * 255)} if apart.size else found
