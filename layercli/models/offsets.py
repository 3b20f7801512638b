"""Offsets of a UNet's weights: LayerDiffuse's files for SDXL in their published namings, put into networks.

Original: `diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight::lora::0` is up and
`::lora::1` down, `::diff::0` a whole offset, all in latent diffusion's names. Whole offsets also come in
diffusers' names (`down_blocks.1.attentions.0.….attn1.to_q.weight`), and low-rank ones converted for diffusers
(`unet.down_blocks.1.….attn1.processor.to_q_lora.up.weight`, or `….to_q.lora.up.weight`, or
`….to_q.lora_B.weight`). In all of them W += up·down, without any scale.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.models.ldm_names import parameter_names
from layercli.models.weight_files import FETCH_AGAIN, check_names, check_shape, read_tensors

Covers = Literal["attention", "all", "convolutions"]
"""What a file's offsets are of: q, k, v and out of attentions; all but q, k, v and embeddings; or all that is
in no transformer."""

WHAT: Mapping[Covers, str] = {
    "attention": "set of attention offsets",
    "all": "set of offsets of all layers",
    "convolutions": "set of convolution offsets",
}
_ORIGINAL = re.compile(r"(?:model\.)?diffusion_model\.(?P<name>.+?)::(?P<way>lora::[01]|diff::0)")
_CONVERTED = re.compile(
    r"(?:unet\.)?(?P<layer>.+?)\.(?:processor\.)?(?P<part>to_q|to_k|to_v|to_out(?:\.0)?)"
    r"(?:_lora\.|\.lora\.|\.lora_)(?P<place>up|down|A|B)\.weight"
)
_PLACES = {
    "lora::0": "up",
    "lora::1": "down",
    "diff::0": "",
    "up": "up",
    "down": "down",
    "B": "up",
    "A": "down",
}


class _Key(NamedTuple):
    """What a key stands for: diffusers' name of a parameter, and "up", "down" or "" for a whole offset."""

    parameter: str
    place: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Offset:
    """What is added to one parameter: whole, or as up·down."""

    whole: Tensor | None = None
    up: Tensor | None = None
    down: Tensor | None = None

    def tensor(self, device: torch.device) -> Tensor:
        """The offset itself, float32."""
        if self.whole is not None:
            return self.whole.to(device).float()
        assert self.up is not None and self.down is not None
        return self.up.to(device).float() @ self.down.to(device).float()


@dataclass(frozen=True, kw_only=True, eq=False)
class Offsets:
    """A file's offsets by diffusers' names; channels: what the network reads with them."""

    covers: Covers
    channels: int
    by_name: Mapping[str, Offset]


def covered(unet: Any, covers: Covers) -> list[str]:
    """diffusers' names of the parameters that a kind of file has offsets of."""
    return [name for name in unet.state_dict() if _belongs(name, covers)]


def _belongs(name: str, covers: Covers) -> bool:
    projection = re.search(r"\.attn[12]\.to_(q|k|v|out\.0)\.", name)
    if covers == "attention":
        return projection is not None and name.endswith("weight")
    if name.startswith(("time_embedding.", "add_embedding.")):
        return False
    if covers == "convolutions":
        return ".attentions." not in name
    return projection is None or projection[1] == "out.0"


def read_offsets(path: Path, unet: Any) -> Offsets:
    """Read a file in any of the namings, for a UNet of SDXL's kind.

    Raises LayercliError that names the key which is missing, one too many or of another shape, and says so
    where up and down are swapped.
    """
    return offsets_in(read_tensors(path), unet, path)


def offsets_in(tensors: Mapping[str, Tensor], unet: Any, path: Path) -> Offsets:
    """`read_offsets` on the tensors of a file; path: for messages."""
    keys = _keys(tensors, unet, path)
    present = {key.parameter for key in keys.values()}
    covers = _kind_of(present)
    shown = {key: name for name, key in keys.items()}  # messages speak of the file's own keys
    wanted: dict[str, object] = {}
    paired = any(key.place for key in shown)
    for name in covered(unet, covers):
        low_rank = paired and _Key(name, "") not in shown
        for place in ("up", "down") if low_rank else ("",):
            key = _Key(name, place)
            wanted[shown.get(key) or _spelt(key, tensors, unet)] = None
    # The biases of to_out may be beside attention weights: they are in one of the published files.
    also = {
        name
        for name, key in keys.items()
        if covers == "attention" and key.parameter.endswith("to_out.0.bias")
    }
    check_names({name: 0 for name in tensors if name not in also}, wanted, path, WHAT[covers])
    found: dict[str, dict[str, Tensor]] = {}
    for name, key in keys.items():
        found.setdefault(key.parameter, {})[key.place or "whole"] = tensors[name]
    state = unet.state_dict()
    for parameter, parts in found.items():
        _check_shapes(parameter, parts, state[parameter].shape, shown, path, WHAT[covers])
    by_name = {parameter: Offset(**parts) for parameter, parts in found.items()}
    entry = by_name["conv_in.weight"].whole if "conv_in.weight" in by_name else None
    channels = int(state["conv_in.weight"].shape[1]) if entry is None else int(entry.shape[1])
    return Offsets(covers=covers, channels=channels, by_name=by_name)


def _keys(tensors: Mapping[str, Tensor], unet: Any, path: Path) -> dict[str, _Key]:
    """What every key of a file stands for; a key that stands for nothing raises LayercliError."""
    originals = parameter_names(unet)
    ours = set(originals.values())
    keys = {}
    for name in tensors:
        key = _read_key(name, originals)
        if key is None or key.parameter not in ours:
            raise LayercliError(
                f"{path} is no file of offsets for this model: nothing in it is called {name}.", FETCH_AGAIN
            )
        keys[name] = key
    return keys


def _read_key(name: str, originals: Mapping[str, str]) -> _Key | None:
    if (match := _ORIGINAL.fullmatch(name)) is not None:
        parameter = originals.get(match["name"])
        return None if parameter is None else _Key(parameter, _PLACES[match["way"]])
    if (match := _CONVERTED.fullmatch(name)) is not None:
        part = "to_out.0" if match["part"].startswith("to_out") else match["part"]
        return _Key(f"{match['layer']}.{part}.weight", _PLACES[match["place"]])
    return _Key(name.removeprefix("unet."), "")


def _kind_of(present: set[str]) -> Covers:
    if not any(name.startswith("conv_in.") for name in present):
        return "attention"
    return "all" if any(".attentions." in name for name in present) else "convolutions"


def _spelt(key: _Key, tensors: Mapping[str, Tensor], unet: Any) -> str:
    """A key that is not in a file, as the file would have it."""
    if not any(map(_ORIGINAL.fullmatch, tensors)):
        return f"{key.parameter} ({key.place})" if key.place else key.parameter
    theirs = next(name for name, ours in parameter_names(unet).items() if ours == key.parameter)
    way = next(way for way, place in _PLACES.items() if place == key.place)
    return f"diffusion_model.{theirs}::{way}"


def _check_shapes(
    parameter: str,
    parts: Mapping[str, Tensor],
    shape: torch.Size,
    shown: Mapping[_Key, str],
    path: Path,
    what: str,
) -> None:
    if "whole" in parts:
        whole, wanted = parts["whole"], tuple(shape)
        if (
            parameter == "conv_in.weight"
            and whole.ndim == 4
            and whole.shape[1] in (2 * shape[1], 3 * shape[1])
        ):
            wanted = (shape[0], whole.shape[1], *shape[2:])
        check_shape(shown[_Key(parameter, "")], whole, wanted, path, what)
        return
    rank = min(parts["up"].shape)
    shapes = {"up": (shape[0], rank), "down": (rank, shape[1])}
    for place, other in (("up", "down"), ("down", "up")):
        name = shown[_Key(parameter, place)]
        check_shape(name, parts[place], shapes[place], path, what, twin=shapes[other])


def with_offsets(unet: Any, offsets: Offsets) -> nn.Module:
    """A second network that has the offsets; what they do not touch it shares with the first, which stays.

    Where the file reads further pictures, its first convolution is widened: the base's weights for the new
    channels are zeros, then the offset is added.
    """
    shared = {id(tensor): tensor for tensor in chain(unet.parameters(), unet.buffers())}
    network: Any = copy.deepcopy(unet, shared)
    if offsets.channels != network.conv_in.in_channels:
        network.conv_in = _widened(network.conv_in, offsets.channels)
        network.register_to_config(in_channels=offsets.channels)
    for name, offset in offsets.by_name.items():
        owner, _, kind = name.rpartition(".")
        module = network.get_submodule(owner)
        base = getattr(module, kind)
        changed = (base.float() + offset.tensor(base.device)).to(base.dtype)
        setattr(module, kind, nn.Parameter(changed, requires_grad=False))
    return network


def _widened(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The convolution with further input channels whose weights are 0."""
    weight = convolution.weight
    with torch.device("meta"):
        wide = nn.Conv2d(channels, len(weight), weight.shape[2], padding=convolution.padding)  # type: ignore[arg-type]
    zeros = weight.new_zeros(weight.shape[0], channels - weight.shape[1], *weight.shape[2:])
    wide.weight = nn.Parameter(torch.cat([weight.detach(), zeros], dim=1), requires_grad=False)
    wide.bias = convolution.bias
    return wide
