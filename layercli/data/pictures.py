"""A prepared data set, read: memory-mapped pictures and their rows, drawn by weight from a seed."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.data.captions import familiar_noun, plain_noun

COMMON_SHARE = 0.6  # of the foreground draws go to the common nouns, an equal part to each


class Pictures:
    """Rows and pixels of one split of a prepared data set (see `layercli.data.corpus`)."""

    def __init__(self, folder: Path, split: str = "train", kinds: tuple[str, ...] = ()) -> None:
        index = folder / "index.jsonl"
        if not index.is_file():
            raise LayercliError(
                f"No prepared data set in {folder}.",
                f"Make one: layercli data corpus -O corpus=DIR -O out={folder}",
            )
        with index.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        self.rows: list[dict[str, Any]] = [
            row for row in rows if row["split"] == split and (not kinds or row["kind"] in kinds)
        ]
        self._shards = {
            shard: np.load(folder / f"pixels-{shard.removesuffix('.tar')}.npy", mmap_mode="r")
            for shard in sorted({row["shard"] for row in self.rows})
        }

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, i: int) -> np.ndarray:
        """Picture i: (size, size, 4) uint8, straight alpha."""
        row = self.rows[i]
        return self._shards[row["shard"]][row["row"]]


def draw_weights(
    rows: list[dict[str, Any]], common_share: float = COMMON_SHARE, familiar_share: float = 0.0
) -> np.ndarray:
    """Probability of drawing each row (sums to one).

    The common nouns share `common_share` evenly, the other familiar ones `familiar_share`.
    Raises LayercliError where the two are more than all.
    """
    if common_share + familiar_share > 1:
        raise LayercliError(
            f"Shares of {common_share:g} and {familiar_share:g} are more than all draws.",
            "Try: -O common_share=0.4 -O familiar_share=0.4",
        )
    weights = np.array([row["weight"] for row in rows], np.float64)
    common: dict[str, list[int]] = defaultdict(list)
    familiar: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row["kind"] not in ("foreground", "placed"):
            continue
        if noun := plain_noun(row["caption"]):
            common[noun].append(i)
        elif familiar_share and (noun := familiar_noun(row["caption"])):
            familiar[noun].append(i)
    groups = [
        (by_noun, share) for by_noun, share in ((common, common_share), (familiar, familiar_share)) if by_noun
    ]
    taken = sorted(i for by_noun, _ in groups for members in by_noun.values() for i in members)
    rest = np.ones(len(rows), bool)
    rest[taken] = False
    if not taken or not rest.any():
        return weights / weights.sum()
    weights[rest] *= (1 - sum(share for _, share in groups)) / weights[rest].sum()
    for by_noun, share in groups:
        for members in by_noun.values():
            weights[members] *= share / len(by_noun) / weights[members].sum()
    return weights
