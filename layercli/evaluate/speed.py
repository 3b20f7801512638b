"""Speed: seconds a picture, as the receipts of the files say."""

from __future__ import annotations

from dataclasses import dataclass

from layercli.evaluate._sample import NotJudged, Sample

NEEDS = ""
NUMBERS = {"seconds": ("composite", "lower", "s", None)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """There is nothing to choose."""


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """The wall time that the receipt holds; compare runs of one machine alone."""
    if not sample.seconds:
        raise NotJudged("its file holds no time")
    return {"seconds": float(sample.seconds)}
