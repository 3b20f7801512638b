"""LayerDiffuse's attention sharing: frames of one picture, each with weights of its own, that see each other.

Zhang and Agrawala 2024 (arXiv 2402.17113), section 3.3 and Fig 4, in the published form for SD1.5. In every
attention layer a frame has a low-rank part of its own on the base's projections; afterwards each position
attends to itself in all frames. Where a file has it, a picture that is given enters every layer through a
small encoder and the frame's own convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.diffusion.sample import Denoiser
from layercli.models.adapters import LowRank, layer_sizes
from layercli.models.hooks import AttentionCall, AttentionEdit, edited_attention
from layercli.models.merged_sharing import MergedUnit, attended
from layercli.models.text_memory import TextMemory
from layercli.models.weight_files import FETCH_AGAIN, fill, read_tensors

WHAT = "attention-sharing file"
ENCODER_WIDTHS = (32, 64, 128, 256)
LEVELS = 4
"""Sizes at which the encoder of a given picture answers: 1/8 of its side, and three halvings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """frames: of one picture; rank: of each low-rank part; control: the widths of the encoder of a given
    picture, none where the file takes none.
    """

    frames: int = 1
    rank: int = 256
    control: tuple[int, ...] = ()

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The settings of a file, by its keys and shapes."""
        first = re.compile(r"hookers\.layers\.0\.to_q_lora\.(\d+)\.down\.weight")
        found = [match for match in map(first.fullmatch, tensors) if match]
        widths: list[int] = []
        while (name := f"kwargs_encoder.blocks_0.{4 * len(widths)}.weight") in tensors:
            widths.append(int(tensors[name].shape[0]))
        return cls(
            frames=max(1, len(found)),
            rank=int(tensors[found[0].string].shape[0]) if found else 256,
            control=tuple(widths),
        )


class SharingUnit(nn.Module):
    """The trained part of one attention layer."""

    def __init__(self, query: int, source: int, width: int, settings: Settings) -> None:
        super().__init__()

        def parts(read: int, out: int) -> nn.ModuleList:
            return nn.ModuleList(LowRank(read, out, settings.rank) for _ in range(settings.frames))

        self.to_q_lora, self.to_k_lora = parts(query, width), parts(source, width)
        self.to_v_lora, self.to_out_lora = parts(source, width), parts(width, query)
        self.temporal_i = nn.Linear(width, width)
        self.temporal_n = nn.LayerNorm(width, eps=1e-6)
        self.temporal_q, self.temporal_k = nn.Linear(width, width), nn.Linear(width, width)
        self.temporal_v, self.temporal_o = nn.Linear(width, width), nn.Linear(width, width)
        self.control_convs = None
        if settings.control:
            inner = settings.control[-1]
            self.control_convs = nn.ModuleList(
                nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1), nn.SiLU(), nn.Conv2d(inner, width, 1))
                for _ in range(settings.frames)
            )

    def controls(self, signal: Tensor) -> Tensor:
        """What a given picture adds to each frame: (1, C, h, w) -> (frames, h·w, D)."""
        convolutions = self.control_convs or ()
        return torch.cat([part(signal).flatten(2).transpose(1, 2) for part in convolutions])

    def forward(self, x: Tensor, text: Tensor | None, base: Any, bias: Tensor | None) -> Tensor:
        """x: (P, frames, N, D); text: (P, frames, L, E) or None for self-attention; base: the layer's own."""
        source = x if text is None else text
        query, key, value = (
            projection(read) + _own(parts, read)
            for projection, parts, read in (
                (base.to_q, self.to_q_lora, x),
                (base.to_k, self.to_k_lora, source),
                (base.to_v, self.to_v_lora, source),
            )
        )
        mixed = attended(query, key, value, base.heads, bias)
        x = x + base.to_out[1](base.to_out[0](mixed) + _own(self.to_out_lora, mixed))
        across = self.temporal_i(self.temporal_n(x)).transpose(1, 2)  # (P, N, frames, D)
        query, key, value = (layer(across) for layer in (self.temporal_q, self.temporal_k, self.temporal_v))
        met: Tensor = self.temporal_o(attended(query, key, value, base.heads))
        return x + met.transpose(1, 2)


class ConditionEncoder(nn.Module):
    """A picture (B, 3, H, W) in [-1, 1] -> features at 1/8, 1/16, 1/32 and 1/64 of its side."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        source = 3
        for level, width in enumerate(widths):
            layers += [nn.Conv2d(source, width, 3, stride=2 if level else 1, padding=1), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.SiLU()]
            source = width
        self.blocks_0 = nn.Sequential(*layers)
        self.blocks_1, self.blocks_2, self.blocks_3 = (
            nn.Sequential(
                nn.Conv2d(source, source, 3, stride=2, padding=1), nn.SiLU(),
                nn.Conv2d(source, source, 3, padding=1), nn.SiLU(),
            )
            for _ in range(LEVELS - 1)
        )  # fmt: skip

    def forward(self, picture: Tensor) -> list[Tensor]:
        answers = [self.blocks_0(picture)]
        for block in (self.blocks_1, self.blocks_2, self.blocks_3):
            answers.append(block(answers[-1]))
        return answers


class AttentionSharing(nn.Module):
    """The trained parts for one UNet, named as the published files name them."""

    def __init__(self, unet: Any, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        sizes = layer_sizes(unet)
        # LayerDiffuse counts the way down, the way up, and then the middle.
        sizes.sort(key=lambda size: size[0].startswith("mid_block"))
        self.places = [name for name, *_ in sizes]
        self.hookers = nn.Module()
        self.hookers.layers = nn.ModuleList(
            SharingUnit(read, source, width, settings) for _, read, source, width in sizes
        )
        self.kwargs_encoder = ConditionEncoder(settings.control) if settings.control else None

    @classmethod
    def load(cls, path: Path, unet: Any) -> Self:
        """Read a file as it is published; frames, rank and control are the file's own.

        Raises LayercliError that names the key which is missing, one too many or of another shape.
        """
        tensors = read_tensors(path)
        with torch.device("meta"):
            sharing = cls(unet, Settings.of(tensors))
        fill(sharing, tensors, path, WHAT)
        return sharing.eval().requires_grad_(False)

    def edit(self, unet: Any, given: Tensor | None = None) -> AttentionEdit:
        """What `edited_attention` puts into the network; the batch of every call is picture by picture.

        given: (1, 3, H, W) in [0, 1], for files with control alone, which need one.
        """
        if (given is None) == (self.kwargs_encoder is not None):
            raise ValueError("a file with control takes a given picture, any other none")
        signals: dict[int, Tensor] = {}
        if given is not None and self.kwargs_encoder is not None:
            weight = next(self.kwargs_encoder.parameters())
            for answer in self.kwargs_encoder(given.to(weight) * 2 - 1):
                signals.setdefault(answer.shape[2] * answer.shape[3], answer)
        return _Edit(self, unet, signals)

    def shared(self, denoise: Denoiser, unet: Any, given: Tensor | None = None) -> Denoiser:
        """A denoiser whose frames share attention; between its calls the network is as it was."""
        edit = self.edit(unet, given)

        def sharing(x: Tensor, t: Tensor) -> Tensor:
            with edited_attention(unet, edit):
                return denoise(x, t)

        return sharing


class _Edit:
    """The attention edit: every layer's unit in the layer's place, multiplied out when it is first asked."""

    def __init__(self, sharing: AttentionSharing, unet: Any, signals: Mapping[int, Tensor]) -> None:
        units: Any = sharing.hookers.layers
        self._units = dict(zip(sharing.places, units, strict=True))
        self._bases = {place: unet.get_submodule(place) for place in sharing.places}
        self._frames, self._signals = sharing.settings.frames, signals
        self._controls: dict[str, Tensor] = {}  # they are the same at every step
        self._merged: dict[str, MergedUnit] = {}
        self._memory = TextMemory(unet)

    def __call__(self, call: AttentionCall) -> Tensor:
        if call.hidden.shape[0] % self._frames:
            raise ValueError(f"a batch of {call.hidden.shape[0]} is no multiple of {self._frames} frames")
        if call.once and (call.hidden.shape[0] // 2) % self._frames == 0:
            answer = self(call.first_half())
            return torch.cat([answer, answer])
        place = call.layer.name
        unit, base = self._units[place], self._bases[place]
        x = hidden = self._apart(call.hidden)
        added = None if unit.control_convs is None else self._control(place, x).to(x.dtype)
        if added is not None:
            x = x + added
        bias = call.bias()
        bias = None if bias is None else self._apart(bias)
        if torch.is_grad_enabled() or base.to_q.weight.is_meta:  # weights that come one layer at a time
            text = None if call.text is None else self._apart(call.text)
            change = unit(x, text, base, bias) - hidden
        else:
            if place not in self._merged:
                self._merged[place] = MergedUnit(unit, base, call.layer.cross)
            merged, words = self._merged[place], call.text
            read = None
            if words is not None:
                read = self._memory.of(merged, words, lambda: merged.read(self._apart(words)))
            change = merged(x, read, bias)
            change = change if added is None else change + added
        result: Tensor = change.flatten(0, 1)
        return result

    def _apart(self, batch: Tensor) -> Tensor:
        return batch.unflatten(0, (-1, self._frames))

    def _control(self, place: str, x: Tensor) -> Tensor:
        if place not in self._controls:
            positions = x.shape[2]
            if positions not in self._signals:
                raise ValueError(f"the given picture has no features for {positions} positions")
            self._controls[place] = self._units[place].controls(self._signals[positions])
        return self._controls[place]


def check_frames(sharing: AttentionSharing, path: Path, frames: int, *, control: bool) -> None:
    """Raise LayercliError for a file with another number of frames, or with or without control."""
    settings = sharing.settings
    if settings.frames == frames and bool(settings.control) == control:
        return

    def said(count: int, controlled: bool) -> str:
        return f"{count} frame{'s' * (count > 1)} {'and' if controlled else 'without'} a given picture"

    raise LayercliError(
        f"{path} is for {said(settings.frames, bool(settings.control))}; this needs {said(frames, control)}.",
        FETCH_AGAIN,
    )


def _own(parts: Any, x: Tensor) -> Tensor:
    """Each frame's low-rank part on that frame: (P, frames, N, D) -> (P, frames, N, D')."""
    return torch.stack([part(frame) for part, frame in zip(parts, x.unbind(1), strict=True)], dim=1)
