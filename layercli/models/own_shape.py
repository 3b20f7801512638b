"""What a model of one's own counts for memory: its folder or its file, by the headers of its weights.

No weights are read, and nothing of torch is imported.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from layercli.core.errors import LayercliError
from layercli.models.catalog import CATALOG, family_of
from layercli.models.checkpoint_kinds import PARTS
from layercli.models.integrity import read_header
from layercli.models.memory import SHAPES, Shape

Sides = tuple[int, ...]
Header = Mapping[str, Sides]
"""Names of tensors -> their sides; of those that are weights, which integers are not."""

_ATTENTION = re.compile(r"\.to_(q|k|v|out\.0)\.weight$")
_ENTRANCES = ("conv_in.weight", "input_blocks.0.0.weight", "img_in.weight", "encoder.conv_in.weight")
"""The tensor by which a network is entered: its first side is the width that the network works at."""


def shape_of(model: str) -> Shape | None:
    """What a row of the table counts, as published, or a folder or a file, by what lies in it.

    None for families that are too small to ask, and for what cannot be read, which is told when it is opened.
    """
    if model in CATALOG:
        return SHAPES.get(CATALOG[model].family.partition(":")[0])
    path = Path(model).expanduser()
    try:
        family = family_of(path).partition(":")[0] if path.exists() else ""
        return _own(path, family, SHAPES[family]) if family in SHAPES else None
    except (LayercliError, KeyError, TypeError, ValueError):
        return None


def _own(path: Path, family: str, published: Shape) -> Shape:
    network, vae = published.parts[:2]
    headers = _in_file(path, family, published) if path.is_file() else _in_folder(path, published)
    settings, of_vae = (_settings(path / part.partition(".")[2]) for part in (network, vae))
    levels = len(of_vae.get("block_out_channels", ()))
    native = int(settings.get("sample_size", 0)) << (levels - 1) if levels else 0
    layers = [size for part in (network, vae) for size in _layers(headers[part])]
    return replace(
        published,
        counts={part: numbers_in(header) for part, header in headers.items() if header}
        | _second_network(path / "layerdiffuse", headers[network]),
        native=native or published.native,
        layer=max(layers, default=published.layer),
        frame=published.frame * (_width(headers[network]) or published.width) / published.width,
        picture=published.picture * (_width(headers[vae]) or published.vae_width) / published.vae_width,
        wide_vae=published.wide_vae and bool(of_vae.get("force_upcast", True)),
    )


def weights_in(folder: Path) -> list[Path]:
    """The safetensors files of a network's folder that are read: without those of a second number type."""
    files = sorted(folder.glob("*.safetensors"))
    return [file for file in files if ".fp16" not in file.name] or files


def numbers_in(header: Header) -> int:
    """How many numbers tensors hold together."""
    return sum(map(math.prod, header.values()))


def _in_folder(folder: Path, published: Shape) -> dict[str, Header]:
    return {
        part: _header(weights_in(folder / part.partition(".")[2]))
        for part in published.parts
        if not part.startswith("layerdiffuse.")
    }


def _in_file(file: Path, family: str, published: Shape) -> dict[str, Header]:
    whole = _header([file])
    return {
        part: {name.removeprefix(prefix): sides for name, sides in whole.items() if name.startswith(prefix)}
        for part, prefix in zip(published.parts, PARTS[family].values(), strict=True)
    }


def _header(files: Iterable[Path]) -> Header:
    return {
        name: tuple(entry["shape"])  # type: ignore[arg-type]
        for file in files
        for name, entry in read_header(file).items()
        if str(entry["dtype"]).startswith(("F", "BF"))
    }


def _second_network(folder: Path, unet: Header) -> dict[str, int]:
    """LayerDiffuse's own: the layers of a copy of the UNet that its file changes, and two small networks."""
    if not folder.is_dir():
        return {}
    attends = any("attn" in file.name for file in weights_in(folder))
    changed = {name: sides for name, sides in unet.items() if _ATTENTION.search(name)}
    return {"layerdiffuse.diffusers_sdxl_attn": numbers_in(changed if attends else unet)} | {
        f"layerdiffuse.{part}": numbers_in(
            _header(sorted(folder.glob(f"*vae_transparent_{part}.safetensors"))[:1])
        )
        for part in ("decoder", "encoder")
    }


def _layers(header: Header) -> list[int]:
    """Numbers of each layer: what lies under one name but for its last part."""
    sizes: dict[str, int] = {}
    for name, sides in header.items():
        layer = name.rpartition(".")[0]
        sizes[layer] = sizes.get(layer, 0) + math.prod(sides)
    return list(sizes.values())


def _width(header: Header) -> int:
    return next((header[name][0] for name in _ENTRANCES if name in header), 0)


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # what is wrong with it is said when it is opened
        return {}
    return found if isinstance(found, dict) else {}
