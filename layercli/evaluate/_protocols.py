"""The papers' protocols: which metrics with which settings, the papers' own tables, what differs from ours.

A paper's numbers are printed beside ours and never as ours. None can be reached with the embedded net: they
need the papers' feature nets, prompts and models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layercli.core.errors import LayercliError
from layercli.core.registry import suggest
from layercli.core.score import Score


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a paper: of which system, our metric and part that it corresponds to, and layer count."""

    system: str
    metric: str
    part: str
    layers: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """metrics, options: what to run; net: the paper's feature net; samples, pixels: its number and size of
    pictures; notes: what any comparison must say; rows: the paper's table.
    """

    paper: str
    metrics: tuple[str, ...]
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reference: bool = True
    net: str
    samples: int
    pixels: int
    notes: tuple[str, ...]
    rows: tuple[Row, ...]


def _by_count(
    system: str, metrics: Sequence[tuple[str, str]], values: Sequence[Sequence[float]]
) -> tuple[Row, ...]:
    """Rows of a table with one line a layer count (2, 3, 4) and one column a metric."""
    return tuple(
        Row(system=system, metric=metric, part=part, layers=str(count), value=value)
        for count, line in zip((2, 3, 4), values, strict=True)
        for (metric, part), value in zip(metrics, line, strict=True)
    )


_WHOLE = (("aesthetic.score", "composite"), ("clip.whole", "composite"), ("fid.fid", "composite"))
_LAYERS = (("fid.fid", "composite"), ("clip.layer", "foreground"), ("clip.whole", "composite"))

PROTOCOLS: Mapping[str, Protocol] = {
    "dreamlayer": Protocol(
        paper="DreamLayer (arXiv 2503.12838), composites of 2, 3 and 4 layers",
        metrics=("fid", "kid", "clip", "aesthetic", "layers", "leakage", "recomposition"),
        options={"fid": {"net": "inception"}, "kid": {"net": "inception"}},
        net="inception",
        samples=3000,
        pixels=512,
        notes=("its prompts and weights are not public", "its CLIP backbone is not stated"),
        rows=(
            *_by_count(
                "SD 1.5", _WHOLE, [(6.930, 34.678, 53.950), (6.363, 34.222, 55.198), (6.367, 35.000, 59.149)]
            ),
            *_by_count(
                "LayerDiffuse",
                _WHOLE,
                [(6.522, 32.466, 63.481), (6.058, 30.350, 67.118), (5.975, 29.158, 79.997)],
            ),
            *_by_count(
                "DreamLayer",
                _WHOLE,
                [(7.013, 34.835, 50.761), (6.441, 35.267, 54.508), (6.422, 35.723, 53.598)],
            ),
        ),
    ),
    "layerdiff": Protocol(
        paper="LayerDiff (ECCV 2024), 256 px, with and without self-mask guidance",
        metrics=("fid", "kid", "clip", "layers", "leakage"),
        options={"fid": {"net": "inception"}, "kid": {"net": "inception"}},
        net="inception",
        samples=27_000,
        pixels=256,
        notes=(
            "its test set and weights are not public",
            "its CLIP backbone is RN50",
            "its own FID of two layers is 108.9 on 500 prompts and 21.3 on all: FID is biased in N",
        ),
        rows=(
            *_by_count("LayerDiff", _LAYERS, [(35.1, 31.2, 33.7), (58.9, 25.9, 32.2), (83.9, 23.7, 30.5)]),
            *_by_count(
                "LayerDiff + SMG", _LAYERS, [(21.3, 33.1, 35.5), (42.8, 27.3, 33.7), (58.7, 25.4, 32.3)]
            ),
        ),
    ),
    "layerfusion": Protocol(
        paper="LayerFusion (arXiv 2412.04460), foregrounds and backgrounds against the base models'",
        metrics=("fid", "kid", "clip", "layers", "leakage", "seam"),
        options={"fid": {"net": "inception-64"}, "kid": {"net": "inception"}},
        net="inception-64 for FID",
        samples=0,
        pixels=1024,
        notes=(
            "its reference is samples of its own base models, not real pictures",
            "its FID is of the first 64 features and its CLIP is CLIP-G",
            "its number of samples is not given beside its table",
        ),
        rows=tuple(
            Row(system=system, metric=metric, part=part, layers="all", value=value)
            for system, values in (
                ("LayerDiffuse", (38.46, 0.0014, 38.27, 0.0400, 1.17)),
                ("LayerFusion", (38.97, 0.0012, 41.95, 0.0058, 0.14)),
            )
            for (metric, part), value in zip(
                (
                    ("clip.layer", "foreground"),
                    ("kid.kid", "foreground"),
                    ("clip.ground", "background"),
                    ("kid.kid", "background"),
                    ("fid.fid", "background"),
                ),
                values,
                strict=True,
            )
        ),
    ),
    "layerd": Protocol(
        paper="LayerD (arXiv 2509.25134) and Qwen-Image-Layered (arXiv 2512.15603) on Crello, no merges",
        metrics=("decomposition", "recomposition", "leakage", "layers"),
        net="none",
        samples=0,
        pixels=0,
        notes=("its data set is Crello's test split", "Qwen-Image-Layered was fine-tuned on Crello"),
        rows=(
            Row(system="LayerD", metric="decomposition.rgb_l1", part="layers", layers="all", value=0.0709),
            Row(system="LayerD", metric="decomposition.iou", part="layers", layers="all", value=0.7520),
            Row(
                system="Qwen-Image-Layered",
                metric="decomposition.rgb_l1",
                part="layers",
                layers="all",
                value=0.0594,
            ),
            Row(
                system="Qwen-Image-Layered",
                metric="decomposition.iou",
                part="layers",
                layers="all",
                value=0.8705,
            ),
        ),
    ),
}


def protocol(name: str) -> Protocol:
    """A protocol by name; raises LayercliError."""
    if name not in PROTOCOLS:
        raise LayercliError(f'There is no protocol "{name}".', suggest(name, PROTOCOLS))
    return PROTOCOLS[name]


def beside(chosen: Protocol, scores: Sequence[Score], sizes: Sequence[str]) -> list[dict[str, Any]]:
    """The paper's table with our number in the next column, and what differs in the last.

    scores: of our run; sizes: of its pictures, "256x256" say. A row that our run has no number for has none.
    """
    ours = {score.key: score for score in scores}
    rows = []
    for row in chosen.rows:
        score = ours.get((row.metric, row.part, row.layers))
        rows.append(
            {
                "system": row.system,
                "metric": row.metric,
                "part": row.part,
                "layers": row.layers,
                "paper": row.value,
                "ours": None if score is None else score.value,
                "differs": [] if score is None else _differs(chosen, score, sizes),
            }
        )
    return rows


def _differs(chosen: Protocol, score: Score, sizes: Sequence[str]) -> list[str]:
    found = ["other weights", "other prompts"]
    net = score.settings.get("net")
    if net is not None and score.metric.partition(".")[0] in ("fid", "kid"):
        wanted = chosen.options.get(score.metric.partition(".")[0], {}).get("net", "")
        if str(score.settings.get("options", {}).get("net", "")).partition("=")[0] != wanted:
            found.append(f"net: {net}, not {wanted}")
    if net is not None and score.metric.startswith(("clip", "aesthetic")):
        found.append(f"net: {net}")
    if chosen.samples and score.n != chosen.samples:
        found.append(f"N: {score.n}, not {chosen.samples}")
    if chosen.pixels and list(sizes) != [f"{chosen.pixels}x{chosen.pixels}"]:
        found.append(f"size: {', '.join(sizes)}, not {chosen.pixels} px")
    return found
