"""A score: one number with everything that must be said beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from layercli.core.errors import LayercliError
from layercli.core.registry import suggest

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of one metric over n samples; a value that is not a number raises LayercliError.

    metric: "file.number", "alpha.sad" say; part: what of the picture was looked at; layers: the layer count
    of the samples, or "all"; settings: whatever must agree for two scores to be compared; low, high: a 95%
    interval; skipped: samples without a value; failing: the value with those counted as failures; note: what
    a reader must know.
    """

    metric: str
    value: float
    better: Better
    n: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    part: str = "composite"
    layers: str = "all"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    skipped: int = 0
    failing: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high", "failing"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise LayercliError(
                    f'The {name} of "{self.metric}" is not a finite number.',
                    "Look for broken pictures: layercli show FILE",
                )
        if self.better not in get_args(Better):
            raise LayercliError(
                f'A score cannot be better "{self.better}".', suggest(self.better, get_args(Better))
            )

    @property
    def key(self) -> tuple[str, str, str]:
        """What two runs share: metric, part and layer count."""
        return self.metric, self.part, self.layers

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {**dataclasses.asdict(self), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; raises LayercliError for values of another shape."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except (TypeError, AttributeError) as error:
            raise LayercliError(f"A stored score is damaged: {error}.", "Evaluate the run again.") from error
