"""A prepared data set, read: memory-mapped pictures and their rows, drawn by weight from a seed."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.data.captions import plain_noun

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


def draw_weights(rows: list[dict[str, Any]], common_share: float = COMMON_SHARE) -> np.ndarray:
    """Probability of drawing each row (sums to one): the common nouns share `common_share` evenly."""
    weights = np.array([row["weight"] for row in rows], np.float64)
    by_noun: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        noun = plain_noun(row["caption"])
        if noun and row["kind"] == "foreground":
            by_noun[noun].append(i)
    common = sorted(i for members in by_noun.values() for i in members)
    rest = np.ones(len(rows), bool)
    rest[common] = False
    if not common or not rest.any():
        return weights / weights.sum()
    weights[rest] *= (1 - common_share) / weights[rest].sum()
    for members in by_noun.values():
        weights[members] *= common_share / len(by_noun) / weights[members].sum()
    return weights
