"""Features of many pictures, with the sample and the prompt that each one comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from layercli.core.errors import LayercliError


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """features: (N, D) float64; samples, prompts: (N,) names, several rows may share one."""

    features: np.ndarray
    samples: np.ndarray
    prompts: np.ndarray

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or not np.isfinite(self.features).all():
            raise LayercliError(
                "Some features are not finite numbers.",
                "Use another feature net, or look for broken pictures.",
            )

    def __len__(self) -> int:
        return len(self.features)

    def of(self, samples: np.ndarray) -> Self:
        """The rows of some samples."""
        kept = np.isin(self.samples, samples)
        return type(self)(
            features=self.features[kept], samples=self.samples[kept], prompts=self.prompts[kept]
        )


def rows_from(features: np.ndarray) -> Rows:
    """Rows that each come from a sample of their own."""
    names = np.array([str(i) for i in range(len(features))])
    return Rows(features=np.asarray(features, np.float64), samples=names, prompts=names)


def enough(rows: Rows, reference: Rows, least: int, metric: str) -> None:
    """Refuse sets too small for a metric; raises LayercliError."""
    for what, count in (("run", len(rows)), ("reference", len(reference))):
        if count < least:
            raise LayercliError(
                f"{metric} needs {least} pictures or more, and the {what} has {count}.",
                "Make more, or choose other metrics: --metrics recomposition,leakage,layers,health",
            )
    if rows.features.shape[1] != reference.features.shape[1]:
        raise LayercliError(
            "The run and the reference have features of different nets.", "Evaluate both again."
        )
