"""What a method sees of a model, whichever family it is of: text, latents, networks and a denoiser."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion.guidance import classifier_free_joint
from layercli.diffusion.sample import Denoiser
from layercli.diffusion.schedule import Schedule
from layercli.models.once import halves_begin_alike
from layercli.models.text_memory import TextMemory

Kind = Literal["foreground", "background", "global"]
"""One object on transparency, a complete scene, or the whole picture."""

KINDS: tuple[Kind, ...] = ("foreground", "background", "global")


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """Encoded prompts of B frames.

    tokens: (B, L, D) text features; summary: (B, L) weights of the tokens that stand for the whole content
    (LayerFusion's content prior reads the attention they get); kinds: B frame kinds; mask: (B, L), 0 where a
    token shall get no attention; added: further (B, …) tensors of the network; class_labels: (B,) or None.
    """

    tokens: Tensor
    summary: Tensor
    kinds: tuple[Kind, ...]
    mask: Tensor | None = None
    added: Mapping[str, Tensor] = field(default_factory=dict)
    class_labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def select(self, frames: Sequence[int]) -> Self:
        """The conditioning of some frames, in the order given."""
        index = torch.as_tensor(list(frames), dtype=torch.long, device=self.tokens.device)
        return type(self)(
            tokens=self.tokens[index],
            summary=self.summary[index],
            kinds=tuple(self.kinds[i] for i in frames),
            mask=None if self.mask is None else self.mask[index],
            added={name: value[index] for name, value in self.added.items()},
            class_labels=None if self.class_labels is None else self.class_labels[index],
        )

    def cat(self, *others: Conditioning) -> Self:
        """Several batches of frames as one; where texts differ in length, nothing reads what is filled up."""
        parts = _of_one_length((self, *others))
        if any(part.added.keys() != self.added.keys() for part in parts):
            raise ValueError("conditionings of different models cannot be joined")
        return type(self)(
            tokens=torch.cat([part.tokens for part in parts]),
            summary=torch.cat([part.summary for part in parts]),
            kinds=tuple(kind for part in parts for kind in part.kinds),
            mask=_cat([part.mask for part in parts]),
            added={name: torch.cat([part.added[name] for part in parts]) for name in self.added},
            class_labels=_cat([part.class_labels for part in parts]),
        )


def _of_one_length(parts: tuple[Conditioning, ...]) -> tuple[Conditioning, ...]:
    """The same texts, filled up with zeros to the length of the longest, and masks that leave these out."""
    length = max(part.tokens.shape[1] for part in parts)
    if all(part.tokens.shape[1] == length and part.mask is None for part in parts):
        return parts
    filled = []
    for part in parts:
        more = length - part.tokens.shape[1]
        mask = torch.ones_like(part.summary) if part.mask is None else part.mask
        filled.append(
            replace(
                part,
                tokens=F.pad(part.tokens, (0, 0, 0, more)),
                summary=F.pad(part.summary, (0, more)),
                mask=F.pad(mask, (0, more)),
            )
        )
    return tuple(filled)


def _cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    given = [tensor for tensor in tensors if tensor is not None]
    if len(given) not in (0, len(tensors)):
        raise ValueError("conditionings of different models cannot be joined")
    return torch.cat(given) if given else None


@dataclass(frozen=True, kw_only=True)
class Working:
    """The size a model works at for a canvas.

    made: by the network; used: the upper left part of it that is the picture, scaled to the canvas.
    """

    made: Size
    used: Size


class Model(ABC):
    """A text-to-layer diffusion model on one device.

    native_size: the size it was trained at; multiple: what sides must be multiples of; alpha: whether it
    makes transparency itself; early_alpha: whether `coarse_alpha` reads it off latents. Latents are
    scaled to about unit variance, float32, on the model's device.
    """

    name: str
    schedule: Schedule
    native_size: Size
    multiple: int
    alpha: bool
    early_alpha: bool = False
    device: torch.device
    dtype: torch.dtype
    weight_files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know about how the model was opened."""

    @property
    def prediction(self) -> str:
        """What the network predicts: "epsilon", "v_prediction" or "sample"."""
        return self.schedule.prediction

    @property
    def unet(self) -> nn.Module:
        """The network of scenes; foregrounds may have another one."""
        return self.unet_for("global")

    @abstractmethod
    def unet_for(self, kind: Kind) -> nn.Module:
        """The diffusers UNet2DConditionModel that denoises frames of a kind; kinds may share one."""

    @property
    def unets(self) -> list[nn.Module]:
        """Every network there is, each once."""
        return list({id(unet): unet for unet in map(self.unet_for, KINDS)}.values())

    @abstractmethod
    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture; raises LayercliError when a side is no multiple."""

    def working_size(self, canvas: Size) -> Working:
        """The size to make a picture of the canvas at.

        From half to 2.25 times the native area the canvas itself, padded to whole multiples; beyond that the
        canvas' shape at the native area, because a network drawn far from its size repeats its objects.
        """
        native = self.native_size.width * self.native_size.height
        share = canvas.width * canvas.height / native
        scale = 1.0 if 0.5 <= share <= 2.25 else share**-0.5
        used = Size(max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
        width, height = (-(-side // self.multiple) * self.multiple for side in (used.width, used.height))
        return Working(made=Size(width, height), used=used)

    @abstractmethod
    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        """Encode one prompt per frame; size: of the pictures to be made."""

    @abstractmethod
    def words(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), as `encode_text` places them, and (B, L) bool, where words of a prompt stand.

        Start, end and padding are no words; an empty prompt has none.
        """

    def notes_on(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """`notes`, and what a person should know about how these prompts are read."""
        return self.notes

    @abstractmethod
    def encode(self, rgba: Tensor) -> Tensor:
        """Straight-alpha pictures (B, 4, H, W) in [0, 1] -> scaled latents (B, C, h, w)."""

    @abstractmethod
    def decode(self, latents: Tensor, kinds: Sequence[Kind]) -> Tensor:
        """Scaled latents (B, C, h, w) -> straight-alpha pictures (B, 4, H, W) in [0, 1].

        "background" and "global" frames come with alpha 1.
        """

    def in_places(self, text: Conditioning) -> Conditioning:
        """The conditioning of frames whose foregrounds lie in their places on one canvas, rather than each
        filling its own; to most families that is the same."""
        return text

    def coarse_alpha(self, latents: Tensor) -> Tensor | None:
        """Alpha on the latents' own grid, (B, C, h, w) -> (B, h, w) in [0, 1]; None for families without."""
        return None

    def denoiser(self, conditioning: Conditioning, *, guided: bool = False) -> Denoiser:
        """The network's prediction for these frames, as a function of (x (B, C, h, w), t (B,)).

        guided: whether the batch is two halves of the same frames with other texts, whose latents may be the
        same (see models.once).
        """
        rows: dict[int, list[int]] = {}
        networks: dict[int, nn.Module] = {}
        for row, kind in enumerate(conditioning.kinds):
            network = self.unet_for(kind)
            networks[id(network)] = network
            rows.setdefault(id(network), []).append(row)
        if len(rows) == 1:
            return _network_denoiser(next(iter(networks.values())), conditioning, self.dtype, guided)
        parts = [
            (index, _network_denoiser(networks[key], conditioning.select(index), self.dtype, guided))
            for key, index in rows.items()
        ]

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            out = torch.empty_like(x)
            for index, part in parts:
                out[index] = part(x[index], t[index])
            return out

        return denoise

    def guided(
        self,
        positive: Conditioning,
        negative: Conditioning,
        scale: float,
        *,
        rescale: float = 0.0,
        tint: float = 1.0,
    ) -> Denoiser:
        """The denoiser with classifier-free guidance; inside, the batch is [negative, positive].

        scale 1 runs the positive frames alone, bit-identical to `denoiser(positive)`.
        """
        if scale == 1.0:
            return self.denoiser(positive)
        return classifier_free_joint(
            self.denoiser(negative.cat(positive), guided=True),
            scale,
            rescale=rescale,
            tint=tint,
        )

    def weight_hashes(self) -> dict[str, str]:
        """SHA-256 of every weight file, for the receipt."""
        return file_hashes(self.weight_files)


def _network_denoiser(
    unet: nn.Module, conditioning: Conditioning, dtype: torch.dtype, guided: bool
) -> Denoiser:
    settings: dict[str, Any] = {"encoder_hidden_states": conditioning.tokens.to(dtype), "return_dict": False}
    if conditioning.mask is not None:
        settings["encoder_attention_mask"] = conditioning.mask
    if conditioning.class_labels is not None:
        settings["class_labels"] = conditioning.class_labels
    if conditioning.added:
        settings["added_cond_kwargs"] = dict(conditioning.added)

    memory = TextMemory(unet)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(memory.reading())
            if guided:
                stack.enter_context(halves_begin_alike(unet, x, t, conditioning.class_labels))
            prediction: Tensor = unet(x.to(dtype), t, **settings)[0]
        return prediction.float()  # the state of the sampler is float32, whatever the network computes in

    return denoise


def file_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of weight files: "folder/file" -> hex digits."""
    return {f"{path.parent.name}/{path.name}": _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    blob = path.resolve().name
    if path.is_symlink() and len(blob) == 64:
        return blob  # a hub cache names large files by their hash
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def resolve_device(name: str) -> torch.device:
    """A device that is there, by name ("auto", "cuda", "cuda:1", "mps", "cpu"); raises LayercliError."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = name.partition(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in there:
        raise LayercliError(f'There is no kind of device called "{name}".', "Try: --device auto")
    if not there[kind]:
        raise LayercliError(f"This machine has no {kind} device that torch can use.", "Try: --device auto")
    try:
        return torch.device(name)
    except RuntimeError:
        raise LayercliError(f'There is no device called "{name}".', "Try: --device auto") from None


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """A number type by name; "auto" is float16 on a GPU and float32 elsewhere; raises LayercliError."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in known:
        raise LayercliError(
            f'There is no number type called "{name}".', f"Use one of: auto, {', '.join(known)}."
        )
    return known[name]
