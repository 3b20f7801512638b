"""What the stages of the layered methods share: batches of whole pictures, times, and sheets of layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.core.pixels import save_png
from layercli.core.sheet import draw_grid
from layercli.data.layered_latents import box_area, read_index
from layercli.models.adapters import Adapter
from layercli.models.catalog import load_model
from layercli.models.family import Model
from layercli.models.frames import Frames, LayerPrompts
from layercli.train._loop import LoopOptions, OnStep, folder_weights, run_loop


@dataclass(frozen=True, kw_only=True)
class AdapterOptions(LoopOptions):
    """The loop's options; the frozen model (by name or folder); how captions and times are drawn.

    data: folders of latents, comma-separated; data_weights: how much more often each one's pictures are
    drawn, 1 where none is given; smallest_box: pictures with a foreground whose box is a smaller share of the
    canvas are left out; batch: pictures, each of several frames; caption_drop: share of pictures whose texts
    are all left out; style_share, noun_share: how often the style is told, and a thing called by
    its plain noun; time_power: t is drawn as T·u^power; steps_drawn: of the sampler, for the sheet at every
    checkpoint, 0 for none.
    """

    data: str = "runs/layered-latents"
    data_weights: tuple[float, ...] = ()
    smallest_box: float = 0.0
    model: str = "embedded"
    steps: int = 20_000
    batch: int = 8
    learning_rate: float = 1e-3
    caption_drop: float = 0.1
    style_share: float = 0.8
    noun_share: float = 0.5
    time_power: float = 0.75
    steps_drawn: int = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """P pictures with k foregrounds each: frames (P, F, C, h, w) background, foregrounds, whole.

    alphas: (P, F, h, w) in [0, 1]; masks: latents of the visible masks, like frames, for models without
    alpha.
    """

    frames: Tensor
    alphas: Tensor
    masks: Tensor | None
    prompts: list[LayerPrompts]


class LayeredLatents:
    """Cached latents, all frames of a picture together; batches depend on (seed, step) alone."""

    def __init__(self, folders: Sequence[Path], options: AdapterOptions, model: Model) -> None:
        factors = folder_weights(folders, options.data_weights)
        self.options = options
        self.rows: list[dict[str, Any]] = []
        self._arrays: dict[tuple[str, Path, str], np.ndarray] = {}
        self._has_masks = not model.alpha
        weights: list[float] = []
        for folder, factor in zip(folders, factors, strict=True):
            rows = _rows_of(folder, options, model)
            for part in ("frames", "alphas", *(("masks",) if self._has_masks else ())):
                for shard in sorted({row["shard"] for row in rows}):
                    file = folder / f"{part}-{shard}.npy"
                    self._arrays[part, folder, shard] = np.load(file, mmap_mode="r")
            self.rows += [row | {"folder": folder} for row in rows]
            weights += [factor] * len(rows)
        self.by_count: dict[int, list[int]] = {}
        for number, row in enumerate(self.rows):
            self.by_count.setdefault(len(row["boxes"]), []).append(number)
        self._weights = {count: np.array(weights)[chosen] for count, chosen in self.by_count.items()}

    def batch_at(self, step: int) -> Batch:
        """Pictures with equally many foregrounds, as many of these as the data has."""
        rng = np.random.default_rng((self.options.seed, 7, step))
        counts = sorted(self.by_count)
        shares = np.array([self._weights[count].sum() for count in counts])
        count = counts[int(rng.choice(len(counts), p=shares / shares.sum()))]
        each = self._weights[count] / self._weights[count].sum()
        picks = [self.rows[n] for n in rng.choice(self.by_count[count], self.options.batch, p=each)]
        flips = rng.integers(0, 2, len(picks))
        alphas = [self._part("alphas", row) for row in picks]
        alphas = [a[:, :, ::-1] if flip else a for a, flip in zip(alphas, flips, strict=True)]
        latents = {
            part: _tensor([self._part(part, row)[:, flip] for row, flip in zip(picks, flips, strict=True)])
            for part in (("frames", "masks") if self._has_masks else ("frames",))
        }
        return Batch(
            frames=latents["frames"],
            alphas=_tensor(alphas) / 255,
            masks=latents.get("masks"),
            prompts=[self._prompts(row, rng) for row in picks],
        )

    def _part(self, part: str, row: dict[str, Any]) -> np.ndarray:
        values = self._arrays[part, row["folder"], row["shard"]]
        return values[row["first"] : row["first"] + len(row["captions"])]

    def _prompts(self, row: dict[str, Any], rng: np.random.Generator) -> LayerPrompts:
        """What a person might have typed for this picture; empty for classifier-free guidance."""
        dropped, styled = rng.random() < self.options.caption_drop, rng.random() < self.options.style_share
        plain = rng.random(len(row["boxes"])) < self.options.noun_share
        if dropped:
            return LayerPrompts.empty(len(row["boxes"]))
        background, *named = row["captions"][:-1]
        nouns = row["nouns"][1:]
        things = [noun if use and noun else name for name, noun, use in zip(named, nouns, plain, strict=True)]
        return LayerPrompts(
            background=background,
            foregrounds=tuple(things),
            whole=f"{' and '.join(things)}, {background}",
            style=row["style"] if styled else "",
        )


def times_at(step: int, count: int, options: AdapterOptions, times: int) -> Tensor:
    """Stratified times, one from each part of the schedule, in random order: (count,) long."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
    part = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    drawn = (part**options.time_power * times).long().clamp_max(times - 1)
    return drawn[torch.randperm(count, generator=generator)]


def noise_at(step: int, like: Tensor, options: AdapterOptions) -> Tensor:
    """Standard normal noise of a shape for a step, the same on every machine."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step + 500_009)
    return torch.randn(like.shape, generator=generator)


SHEET = (
    ("a meadow", ("a cat",), "flat"),
    ("a room", ("a sofa", "a dog"), "3d render"),
    ("a cityscape", ("a tree", "a car"), "flat"),
    ("a beach", ("an umbrella", "a ball"), "glossy 3d"),
)
"""Background, foregrounds and style of what a sheet shows."""


def draw_sheet(file: Path, model: Model, sample: Callable[[LayerPrompts], tuple[Tensor, Frames]]) -> None:
    """One row for each of SHEET: background, foregrounds, their composite, and the whole where there is one.

    sample: texts -> straight-alpha pictures of all frames (F, 4, H, W) and which frames they are.
    """
    pictures, captions, columns = [], [], 5
    for background, foregrounds, style in SHEET:
        whole = f"{' and '.join(foregrounds)}, {background}"
        prompts = LayerPrompts(background=background, foregrounds=foregrounds, whole=whole, style=style)
        rgba, frames = sample(prompts)
        layers = [picture.permute(1, 2, 0).float().cpu().numpy() for picture in rgba]
        plain = layers[0][..., :3]
        for layer in layers[frames.front]:
            plain = layer[..., :3] * layer[..., 3:] + plain * (1 - layer[..., 3:])
        row = [*layers[: frames.front.stop], np.concatenate([plain, np.ones_like(plain[..., :1])], -1)]
        names = [prompts.background, *prompts.foregrounds, "one over the other"]
        if frames.whole:
            row.append(layers[-1])
            names.append("the whole")
        empty = np.zeros_like(layers[0])
        pictures += [*row, *[empty] * (columns - len(row))]
        captions += [*names, *[""] * (columns - len(row))]
    save_png(file, draw_grid(pictures, captions, columns=columns))


class Ledger:
    """Parts of a loss, averaged between checkpoints and written as a row of `losses.jsonl`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, **parts: Tensor) -> None:
        """Take note of one step."""
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1

    def write(self, step: int) -> None:
        """Append the means since the last row."""
        if not self._count:
            return
        row = {"step": step} | {name: round(value / self._count, 5) for name, value in self._sums.items()}
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        self._sums, self._count = {}, 0


class LayeredObjective(nn.Module):
    """The loss of a step as one forward pass, as distributed training needs; subclasses say what it is."""

    def __init__(self, adapter: Any, model: Model, data: LayeredLatents, options: Any) -> None:
        super().__init__()
        self.adapter = adapter
        # In a tuple they are no modules of this one: the base stays frozen and out of checkpoints.
        self.rest = (model, data, options)
        self.ledger = Ledger(Path(options.out) / "losses.jsonl")


def train_adapter(
    options: AdapterOptions,
    make: Callable[[Model], Adapter],
    objective: type[LayeredObjective],
    draw: Callable[[Model, Any, LayerPrompts], tuple[Tensor, Frames]],
    on_step: OnStep,
) -> Path:
    """Train an adapter on a frozen model and return its folder.

    Every checkpoint writes `out/adapter` (averages, float16), a row of `out/losses.jsonl` and a sheet of
    layers.
    """
    out = Path(options.out)
    model = load_model(options.model, options.device, "float32")
    data = LayeredLatents([Path(folder) for folder in options.data.split(",")], options, model)
    torch.manual_seed(options.seed)
    adapter = make(model)
    loss = objective(adapter, model, data, options)
    base = model.weight_hashes()

    def export(step: int) -> None:
        adapter.save(out / "adapter", base)
        loss.ledger.write(step)
        if options.steps_drawn:
            file = out / f"samples-{step:06d}.png"
            draw_sheet(file, model, lambda texts: draw(model, adapter, texts))

    run_loop(loss, lambda module, step, device: module(step), options, on_step, export)
    return out / "adapter"


def _rows_of(folder: Path, options: AdapterOptions, model: Model) -> list[dict[str, Any]]:
    about, rows = read_index(folder)
    if not _same_encoder(about["weights"], model.weight_hashes()):
        raise LayercliError(
            f"The latents in {folder} were made by the encoder of another model.",
            f"Make them again: layercli data layered-latents -O model={options.model} --out {folder}-2",
        )
    kept = [row for row in rows if min(map(box_area, row["boxes"])) >= options.smallest_box]
    if not kept:
        raise LayercliError(
            f"No picture in {folder} has foregrounds that large.", "Lower the limit: -O smallest_box=0.1"
        )
    return kept


def _tensor(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(parts)).float()


def _same_encoder(one: dict[str, str], other: dict[str, str]) -> bool:
    """Latents depend on the autoencoder alone; a base that is trained on keeps them valid."""
    ours = {name: value for name, value in one.items() if name.startswith(("autoencoder/", "vae/"))}
    return all(other.get(name) == value for name, value in ours.items())
