"""The scoreboard's classifier: names a hundred common things, learned from real objects alone.

It never sees a generated picture. What it is tested on it has not seen either: the corpus' held-out split and
a part of its own, a tenth of the labelled models, so that every noun is tested. Its accuracy there is the
ceiling of what a generator can be expected to reach.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.data.captions import FAMILIAR_NOUNS, STYLE_WORDS, familiar_noun
from layercli.data.pictures import Pictures
from layercli.train._loop import LoopOptions, OnStep, run_loop
from layercli.train.export import report_of
from layercli.vision._digest import file_digest
from layercli.vision.object_net import SIDE, ObjectNet, object_view, on_gray, whole_view

STYLES = (*STYLE_WORDS, "drawing")
TESTED_SHARE = 0.1
_ROOM = 80  # pictures are kept a little larger than the net sees, so that augmentation does not blur them


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """The loop's options; labelled: share of the draws that have a noun; smoothing: of the labels.

    references: how many held-out objects, and as many scenes, leave their features beside the weights.
    """

    out: str = "runs/classifier"
    steps: int = 6_000
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    decay: float = 0.5
    ema: float = 0.995
    channels: tuple[int, ...] = (24, 48, 96, 120)
    labelled: float = 0.8
    smoothing: float = 0.1
    dropout: float = 0.2
    style_weight: float = 0.3
    references: int = 400


def is_tested(row: dict[str, Any]) -> bool:
    """Whether a training row is kept for testing: by model, from a hash, stable for ever."""
    digest = hashlib.sha256(f"classifier/{row['source']}/{row['model']}".encode()).hexdigest()
    return int(digest[:8], 16) / 0x100000000 < TESTED_SHARE


class Examples:
    """Small views of a data set's pictures with their labels; batches depend on (seed, step) alone."""

    def __init__(self, options: Options, on_step: OnStep) -> None:
        self.options = options
        pictures = Pictures(Path(options.data))
        nouns = [
            familiar_noun(row["caption"]) if row["kind"] == "foreground" else None for row in pictures.rows
        ]
        kept = [i for i, row in enumerate(pictures.rows) if nouns[i] is None or not is_tested(row)]
        self.views = np.empty((len(kept), 4, _ROOM, _ROOM), np.uint8)
        for place, i in enumerate(kept):
            self.views[place] = view_u8(pictures, i)
            on_step(place + 1, len(kept))
        self.styles = np.array([STYLES.index(pictures.rows[i]["style"]) for i in kept])
        self.nouns = np.array([-1 if nouns[i] is None else FAMILIAR_NOUNS.index(nouns[i]) for i in kept])
        members: dict[int, list[int]] = defaultdict(list)
        for place, noun in enumerate(self.nouns):
            members[int(noun)].append(place)
        self.rest = np.array(members.pop(-1, []), int)
        if not members:
            raise LayercliError(
                f"No picture in {options.data} shows one of the {len(FAMILIAR_NOUNS)} nouns.",
                "Name a data set that layercli data corpus built: --data runs/data",
            )
        self.members = [np.array(members[noun]) for noun in sorted(members)]
        # Nouns with few pictures come up more often than their share, those with many less: the square root.
        shares = np.array([len(places) for places in self.members]) ** 0.5
        self.shares = shares / shares.sum()

    def batch_at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Augmented views (B, 4, 64, 64) in [-1, 1], nouns (B,) with -1 for none, styles (B,)."""
        rng = np.random.default_rng((self.options.seed, 7, step))
        places = []
        for _ in range(self.options.batch):
            if rng.random() < self.options.labelled or not len(self.rest):
                chosen = self.members[int(rng.choice(len(self.members), p=self.shares))]
            else:
                chosen = self.rest
            places.append(int(chosen[rng.integers(len(chosen))]))
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + step)
        views = augmented(torch.from_numpy(self.views[places]).float() / 255, generator)
        return on_gray(views), torch.from_numpy(self.nouns[places]), torch.from_numpy(self.styles[places])


def view_u8(pictures: Pictures, i: int) -> np.ndarray:
    """The view of picture i that is kept: (4, 80, 80) uint8, premultiplied."""
    rgba = pictures.pixels(i).astype(np.float32) / 255
    view = object_view if pictures.rows[i]["kind"] == "foreground" else whole_view
    return np.rint(view(rgba, _ROOM) * 255).astype(np.uint8)


def augmented(views: Tensor, generator: torch.Generator) -> Tensor:
    """Turned, scaled, moved, mirrored, recoloured, sometimes blurred: (B, 4, h, w) premultiplied -> 64 px."""
    count = len(views)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((count, *shape), generator=generator) * (high - low) + low

    angle, scale = uniform(-0.3, 0.3), torch.exp(uniform(-0.15, 0.3))
    stretch, mirror = torch.exp(uniform(-0.15, 0.15)), (uniform(-1, 1) > 0).float() * 2 - 1
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.stack(
        [
            torch.stack([cos * mirror * stretch, -sin, uniform(-0.15, 0.15)], 1),
            torch.stack([sin * mirror, cos / stretch, uniform(-0.15, 0.15)], 1),
        ],
        1,
    )
    grid = F.affine_grid(turn, [count, 4, SIDE, SIDE], align_corners=False)
    moved = F.grid_sample(views, grid, align_corners=False)
    soft = F.interpolate(F.avg_pool2d(moved, 2), size=(SIDE, SIDE), mode="bilinear")
    moved = torch.where(uniform(0, 1, 1, 1, 1) < 0.3, soft, moved)
    alpha = moved[:, 3:]
    colour = moved[:, :3] * torch.exp(uniform(-0.3, 0.3, 1, 1, 1)) * torch.exp(uniform(-0.1, 0.1, 3, 1, 1))
    gray = colour.mean(dim=1, keepdim=True)
    colour = gray + (colour - gray) * uniform(0.5, 1.4, 1, 1, 1)
    return torch.cat([torch.minimum(colour.clamp_min(0), alpha), alpha], dim=1)


def train(options: Options, on_step: OnStep = lambda done, total: None) -> Path:
    """Train, test, and write the weights, the ceiling and the held-out features; returns the folder."""
    examples = Examples(options, lambda done, total: None)
    torch.manual_seed(options.seed)
    net = ObjectNet(FAMILIAR_NOUNS, STYLES, options.channels, options.dropout)

    def loss_at(model: nn.Module, step: int, device: torch.device) -> Tensor:
        views, nouns, styles = (part.to(device) for part in examples.batch_at(step))
        noun_logits, style_logits = model(views)
        known = nouns >= 0
        loss = options.style_weight * F.cross_entropy(style_logits.float(), styles)
        if known.any():
            loss = loss + F.cross_entropy(
                noun_logits[known].float(), nouns[known], label_smoothing=options.smoothing
            )
        return loss

    folder = Path(options.out) / "classifier"

    def export(step: int) -> None:
        net.save(folder, {"steps": step, **ceiling(net, Path(options.data))})

    run_loop(net, loss_at, options, on_step, export)
    export(options.steps)
    save_references(net, Path(options.data), folder, options.references, options.seed)
    report(Path(options.out), folder)
    return folder


def report(out: Path, folder: Path) -> None:
    """Write training.json beside the weights: how far the stage came, its options, and hashes."""
    hashes = {file.name: file_digest(file) for file in sorted(folder.glob("*.safetensors"))}
    about = {"classifier": report_of(out), "torch": torch.__version__, "sha256": hashes}
    (folder / "training.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def kept_back(folder: Path) -> list[tuple[Pictures, int]]:
    """Every picture of a noun that training does not see, as (pictures, index)."""
    found = []
    for split in ("train", "held-out"):
        pictures = Pictures(folder, split, ("foreground",))
        found += [
            (pictures, i)
            for i, row in enumerate(pictures.rows)
            if familiar_noun(row["caption"]) and (split == "held-out" or is_tested(row))
        ]
    return found


@torch.no_grad()
def ceiling(net: ObjectNet, folder: Path) -> dict[str, Any]:
    """Top-1 and top-5 on pictures that were kept back: the mean over nouns of the mean over models.

    Every noun counts the same, as it does where a generator is asked for it; the views of one 3D model
    count as one picture.
    """
    hits: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    device = next(net.parameters()).device
    for pictures, i in kept_back(folder):
        row = pictures.rows[i]
        noun = familiar_noun(row["caption"])
        view = object_view(pictures.pixels(i).astype(np.float32) / 255)
        logits = net(on_gray(torch.from_numpy(view)[None]).to(device))[0][0]
        place = int((logits > logits[FAMILIAR_NOUNS.index(noun or "")]).sum())
        hits[noun or ""][row["model"]].append((float(place < 1), float(place < 5)))
    by_noun = {
        noun: np.mean([np.mean(views, axis=0) for views in models.values()], axis=0)
        for noun, models in hits.items()
    }
    top1, top5 = np.mean(list(by_noun.values()), axis=0) if by_noun else (0.0, 0.0)
    return {
        "ceiling": {
            "top1": round(float(top1), 4),
            "top5": round(float(top5), 4),
            "nouns": len(by_noun),
            "pictures": sum(len(views) for models in hits.values() for views in models.values()),
            "models": sum(len(models) for models in hits.values()),
            "by_noun": {noun: [round(float(v), 3) for v in by_noun[noun]] for noun in sorted(by_noun)},
        }
    }


@torch.no_grad()
def save_references(net: ObjectNet, data: Path, folder: Path, most: int, seed: int) -> None:
    """Write the features of held-out objects and scenes, (N, D) float16 each, as reference.safetensors."""
    from safetensors.numpy import save_file

    device = next(net.parameters()).device
    tensors, about = {}, {}
    for kind, view in (("foreground", object_view), ("background", whole_view)):
        pictures = Pictures(data, "held-out", (kind,))
        order = np.random.default_rng((seed, 8)).permutation(len(pictures))[:most]
        views = [view(pictures.pixels(int(i)).astype(np.float32) / 255) for i in order]
        batches = [np.stack(views[first : first + 64]) for first in range(0, len(views), 64)]
        found = [net.features(on_gray(torch.from_numpy(batch)).to(device)).cpu().numpy() for batch in batches]
        tensors[kind] = np.concatenate(found or [np.zeros((0, net.width))]).astype(np.float16)
        about[kind] = len(views)
    save_file(tensors, folder / "reference.safetensors")
    (folder / "reference.safetensors").chmod(0o644)
    (folder / "reference.json").write_text(
        json.dumps({"split": "held-out", **about}) + "\n", encoding="utf-8"
    )
