"""Stage 2: the text-conditioned UNet of the embedded model, on cached latents of single frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.data.captions import article, familiar_noun
from layercli.data.latents import LEVELS
from layercli.data.layered_latents import placed_foregrounds
from layercli.data.pictures import draw_weights
from layercli.diffusion.schedule import Schedule
from layercli.models.embedded import MAX_TOKENS
from layercli.models.embedded_network import embedded_unet, load_unet, save_unet, with_placed
from layercli.models.family import KINDS
from layercli.models.precision import fast_layout
from layercli.models.rgba_autoencoder import load_autoencoder
from layercli.models.text_static import EMBEDDED_FOLDER, StaticTextEncoder
from layercli.train._loop import LoopOptions, OnStep, folder_weights, run_loop
from layercli.train._sheets import draw_samples


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """The loop's options, the network's widths, the text encoder, and how captions are drawn.

    data: folders of latents, comma-separated; data_weights: how much more often each one's pictures are
    drawn, 1 where none is given.
    common_share, familiar_share: of the foregrounds that are drawn, those of the nouns that stand first and
    those of the sixty other familiar ones.
    placed: folders of layered pictures' latents; their foregrounds, which lie in their places on a canvas,
    are a kind of their own, for the methods that draw layers so. smallest_box: of these, those whose box
    takes a smaller share of the canvas are left out.
    shares: how often a foreground, a background, a global frame and, with placed, one of these is drawn.
    text: the text encoder's folder; the one that ships with layercli when empty.
    autoencoder: its folder, to draw a sheet of samples at every checkpoint; none when empty.
    time_power: t is drawn as 1000 u^power: below 1, more of the times at which shapes are decided.
    snr_gamma: min-SNR weighting of the v-prediction loss; 0 leaves it unweighted.
    """

    data: str = "runs/latents"
    data_weights: tuple[float, ...] = ()
    out: str = "runs/base"
    steps: int = 30_000
    learning_rate: float = 8e-4
    autoencoder: str = ""
    channels: tuple[int, ...] = (96, 160, 192)
    text: str = ""
    caption_drop: float = 0.1
    style_share: float = 0.8
    noun_share: float = 0.5
    common_share: float = 0.6
    familiar_share: float = 0.0
    placed: str = ""
    smallest_box: float = 0.0
    shares: tuple[float, ...] = (0.64, 0.16, 0.2)
    snr_gamma: float = 0.0
    time_power: float = 0.75


class LatentFrames:
    """Cached latents with their rows, drawn by kind and weight; batches depend on (seed, step) alone."""

    def __init__(self, folders: Sequence[Path], options: Options) -> None:
        """folders: of one autoencoder's latents; a row's weight is multiplied by its folder's."""
        about = [_about(folder) for folder in folders]
        factors = folder_weights(folders, options.data_weights)
        for folder, other in zip(folders, about, strict=True):
            if other["encoder_sha256"] != about[0]["encoder_sha256"]:
                raise LayercliError(
                    f"The latents in {folder} and {folders[0]} are of different autoencoders.",
                    "Make them by one: layercli data latents -O autoencoder=DIR",
                )
        self.shift = torch.tensor(about[0]["shift"])[:, None, None]
        self.scale = torch.tensor(about[0]["scale"])[:, None, None]
        self.rows: list[dict[str, Any]] = []
        files = []
        for folder, known, factor in zip(folders, about, factors, strict=True):
            with (folder / "index.jsonl").open(encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            self.rows += [row | {"weight": row["weight"] * factor} for row in rows]
            files += [folder / f"latents-{n}.npy" for n in range(known["files"])]
        self.latents = np.concatenate([np.load(file) for file in files])
        self.options = options
        self.by_kind = []
        for kind in KINDS:
            chosen = np.array([i for i, row in enumerate(self.rows) if row["kind"] == kind], int)
            weights = draw_weights(
                [self.rows[i] for i in chosen], options.common_share, options.familiar_share
            )
            self.by_kind.append((chosen, weights.cumsum()))
        if options.placed:
            self._add_placed([Path(folder) for folder in options.placed.split(",")])
        if len(options.shares) != len(self.by_kind):
            raise LayercliError(
                f"{len(options.shares)} shares are given for {len(self.by_kind)} kinds of frames.",
                "Give one a kind: -O shares=0.64,0.16,0.2",
            )

    def _add_placed(self, folders: Sequence[Path]) -> None:
        """Foregrounds in their places, scaled latents as their encoder gave them; nouns as of foregrounds."""
        options = self.options
        rows, latents = placed_foregrounds(folders, options.autoencoder, options.smallest_box)
        first = len(self.rows)
        self.rows += rows
        levels = (latents * self.scale.numpy() + self.shift.numpy()) * LEVELS
        self.latents = np.concatenate([self.latents, levels.round().clip(-LEVELS, LEVELS).astype(np.int8)])
        weights = draw_weights(rows, options.common_share, options.familiar_share)
        self.by_kind.append((np.arange(first, len(self.rows)), weights.cumsum()))

    @property
    def channels(self) -> int:
        return int(self.latents.shape[2])

    def caption(self, row: dict[str, Any], rng: np.random.Generator) -> str:
        """What a person might have typed for this picture; empty for classifier-free guidance."""
        if rng.random() < self.options.caption_drop:
            return ""
        text, noun = row["caption"], familiar_noun(row["caption"])
        if noun and row["kind"] in ("foreground", "placed") and rng.random() < self.options.noun_share:
            text = article(noun)
        return f"{text}, {row['style']}" if rng.random() < self.options.style_share else text

    def batch_at(self, step: int) -> tuple[Tensor, list[str], Tensor]:
        """Latents (B, C, h, w) of unit variance, captions, kinds (B,)."""
        rng = np.random.default_rng((self.options.seed, 5, step))
        kinds = rng.choice(len(self.by_kind), self.options.batch, p=self.options.shares)
        picks = []
        for kind in kinds:
            chosen, cumulative = self.by_kind[kind]
            picks.append(chosen[min(np.searchsorted(cumulative, rng.random()), len(chosen) - 1)])
        flips = rng.integers(0, 2, len(picks))
        raw = torch.from_numpy(self.latents[np.array(picks), flips]).float() / LEVELS
        captions = [self.caption(self.rows[i], rng) for i in picks]
        return (raw - self.shift) / self.scale, captions, torch.from_numpy(kinds)


def _about(folder: Path) -> dict[str, Any]:
    if not (folder / "latents.json").is_file():
        raise LayercliError(
            f"No cached latents in {folder}.", f"Make them: layercli data latents -O out={folder}"
        )
    known: dict[str, Any] = json.loads((folder / "latents.json").read_text(encoding="utf-8"))
    return known


def v_prediction_loss(guess: Tensor, truth: Tensor, snr: Tensor, gamma: float) -> Tensor:
    """Mean squared error of v (B, C, h, w); min-SNR weight min(snr, gamma) / (snr + 1) where gamma > 0."""
    error = (guess.float() - truth).square().mean((1, 2, 3))
    return (error * (snr.clamp_max(gamma) / (snr + 1) if gamma > 0 else 1)).mean()


def train(options: Options, on_step: OnStep = lambda done, total: None) -> Path:
    """Train; every checkpoint writes `out/unet` (averaged weights, float16 shards) and `out/scheduler`."""
    frames = LatentFrames([Path(folder) for folder in options.data.split(",")], options)
    text = StaticTextEncoder.load(options.text or EMBEDDED_FOLDER)
    signal = Schedule.cosine().alphas_cumprod
    torch.manual_seed(options.seed)
    unet = load_unet(Path(options.init)) if options.init else embedded_unet(frames.channels, options.channels)
    if options.placed:
        unet = with_placed(unet)

    def loss_at(model: nn.Module, step: int, device: torch.device) -> Tensor:
        clean, captions, kinds = frames.batch_at(step)
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        noise = torch.randn(clean.shape, generator=generator)
        # Stratified times: one from each B-th part of the schedule, a steadier loss for the same cost.
        part = torch.rand(len(clean), generator=generator)
        times = (
            (((torch.arange(len(clean)) + part) / len(clean)) ** options.time_power * len(signal))
            .long()
            .clamp_max(len(signal) - 1)
        )
        alpha = signal[times, None, None, None]
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise  # DDPM, Eq 4
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean  # Salimans & Ho 2022, appendix D
        tokens, _ = text.encode(captions, MAX_TOKENS)
        guess = model(
            noisy.to(device, memory_format=fast_layout(device)),
            times.to(device),
            tokens.to(device),
            class_labels=kinds.to(device),
        ).sample
        snr = (alpha / (1 - alpha)).flatten().to(device)
        return v_prediction_loss(guess, velocity.to(device), snr, options.snr_gamma)

    folder = Path(options.out)

    autoencoder = load_autoencoder(options.autoencoder) if options.autoencoder else None

    def export(step: int) -> None:
        save_unet(unet, folder, torch.float16)
        if autoencoder is not None:
            draw_samples(unet, autoencoder, text, folder / f"samples-{step:06d}.png")

    run_loop(unet, loss_at, options, on_step, export)
    return folder
