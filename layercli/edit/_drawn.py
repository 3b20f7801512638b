"""What every edit that draws may be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.requests import LARGEST_SEED, LONGEST_PROMPT, GenerateRequest, check_text


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """seed: the same one gives the same pixels; steps: of denoising; guidance: how closely to follow the
    words; negative: what shall not be seen; model: the model that draws, where it is not the one of the whole
    run.
    """

    seed: int = 0
    steps: int = GenerateRequest.steps
    guidance: float = GenerateRequest.guidance
    negative: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        check_text(self.negative, "A prompt")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise LayercliError(f"seed {self.seed} is not from 0 to {LARGEST_SEED}.", "Try: --seed 1")
        if not 1 <= self.steps <= 1000:
            raise LayercliError(f"steps {self.steps} is not from 1 to 1000.", "Try: --steps 30")
        if not (math.isfinite(self.guidance) and 0 <= self.guidance <= 100):
            raise LayercliError(f"guidance {self.guidance:g} is not from 0 to 100.", "Try: --guidance 4")


@dataclass(frozen=True, kw_only=True)
class Lit(Drawing):
    """light: give what is drawn fresh shadow and light."""

    light: bool = True


def check_prompt(prompt: str, example: str) -> None:
    """Refuse an empty prompt, or one that is no prompt any more; raises LayercliError."""
    if not prompt.strip() or len(prompt) > LONGEST_PROMPT:
        why = "is empty" if not prompt.strip() else f"has more than {LONGEST_PROMPT} characters"
        raise LayercliError(f"The prompt {why}.", f"Try: {example}")
    check_text(prompt, "A prompt")
