"""Noise schedules: how much of a picture is left at each time, and which times a sampler visits.

Notation of Ho et al. 2020 and Song et al. 2020 (DDIM): x_t = √ᾱ_t x_0 + √(1-ᾱ_t) ε, t in 0..T-1, T-1 noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from layercli.core.errors import LayercliError

Prediction = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]

PREDICTIONS: tuple[str, ...] = ("epsilon", "v_prediction", "sample")
SPACINGS: tuple[str, ...] = ("leading", "trailing", "linspace")

CLEAN = -1
"""The time after the last step: no noise is left (ᾱ = final_alpha)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """ᾱ of every time, what the network predicts, and how sampling times are spread.

    alphas_cumprod: (T,) float32, falling; final_alpha: ᾱ at the time CLEAN; steps_offset: added to the
    times of "leading" spacing. Raises LayercliError for an unknown prediction or spacing.
    """

    alphas_cumprod: Tensor
    prediction: Prediction = "epsilon"
    spacing: Spacing = "leading"
    steps_offset: int = 0
    final_alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise LayercliError(
                f'A network cannot predict "{self.prediction}".', f"Use one of: {', '.join(PREDICTIONS)}."
            )
        if self.spacing not in SPACINGS:
            raise LayercliError(
                f'Times cannot be spaced "{self.spacing}".', f"Use one of: {', '.join(SPACINGS)}."
            )

    @classmethod
    def cosine(cls, times: int = 1000, **settings: Any) -> Self:
        """Nichol & Dhariwal 2021, Eq 17, β clipped at 0.999 (diffusers: "squaredcos_cap_v2")."""

        def alpha_bar(share: float) -> float:
            return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [min(1 - alpha_bar((i + 1) / times) / alpha_bar(i / times), 0.999) for i in range(times)]
        return cls.from_betas(torch.tensor(betas, dtype=torch.float32), **settings)

    @classmethod
    def linear(cls, times: int = 1000, start: float = 1e-4, end: float = 0.02, **settings: Any) -> Self:
        """β rising linearly (Ho et al. 2020, section 4)."""
        return cls.from_betas(torch.linspace(start, end, times, dtype=torch.float32), **settings)

    @classmethod
    def scaled_linear(
        cls, times: int = 1000, start: float = 0.00085, end: float = 0.012, **settings: Any
    ) -> Self:
        """√β rising linearly: the schedule of latent diffusion, SD1.5 and SDXL."""
        roots = torch.linspace(start**0.5, end**0.5, times, dtype=torch.float32)
        return cls.from_betas(roots**2, **settings)

    @classmethod
    def from_betas(cls, betas: Tensor, **settings: Any) -> Self:
        """betas: (T,) float32; ᾱ_t = Π_{s≤t} (1-β_s)."""
        return cls(alphas_cumprod=torch.cumprod(1.0 - betas, dim=0), **settings)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read a diffusers scheduler_config.json; raises LayercliError for a schedule we do not have."""
        times = int(config.get("num_train_timesteps", 1000))
        name = config.get("beta_schedule", "linear")
        settings = {
            "prediction": config.get("prediction_type", "epsilon"),
            "spacing": config.get("timestep_spacing", "leading"),
            "steps_offset": int(config.get("steps_offset", 0)),
        }
        start, end = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
        if config.get("trained_betas") is not None:
            schedule = cls.from_betas(torch.tensor(config["trained_betas"], dtype=torch.float32), **settings)
        elif name == "squaredcos_cap_v2":
            schedule = cls.cosine(times, **settings)
        elif name == "linear":
            schedule = cls.linear(times, start, end, **settings)
        elif name == "scaled_linear":
            schedule = cls.scaled_linear(times, start, end, **settings)
        else:
            raise LayercliError(
                f'The model\'s noise schedule "{name}" is not known.',
                "Known: squaredcos_cap_v2, linear, scaled_linear.",
            )
        if config.get("rescale_betas_zero_snr"):
            schedule = schedule.rescaled_to_zero_snr()
        if config.get("set_alpha_to_one", True):
            return schedule
        return replace(schedule, final_alpha=float(schedule.alphas_cumprod[0]))

    def rescaled_to_zero_snr(self) -> Self:
        """The schedule stretched so that nothing is left of a picture at T-1 (Lin et al. 2023, Algorithm 1).

        Raises LayercliError for a network that predicts ε, from which no x_0 follows where ᾱ = 0.
        """
        if self.prediction == "epsilon":
            raise LayercliError(
                "The model's schedule ends in pure noise, where a network that predicts noise cannot start.",
                'Set "prediction_type" in its scheduler_config.json to "v_prediction" if it was trained so.',
            )
        roots = self.alphas_cumprod.sqrt()
        first, last = roots[0].clone(), roots[-1].clone()
        bar = ((roots - last) * (first / (first - last))) ** 2
        alphas = torch.cat([bar[:1], bar[1:] / bar[:-1]])
        return replace(self, alphas_cumprod=torch.cumprod(1 - (1 - alphas), dim=0))

    @property
    def times(self) -> int:
        """T, the number of times the network knows."""
        return len(self.alphas_cumprod)

    def alpha(self, t: int) -> Tensor:
        """ᾱ_t as a 0-dim float32 tensor; final_alpha at CLEAN."""
        return self.alphas_cumprod[t] if t >= 0 else torch.tensor(self.final_alpha)

    def timesteps(self, steps: int) -> tuple[int, ...]:
        """The times at which the network is asked, falling.

        The three spacings of Lin et al. 2023 (arXiv 2305.08891), Table 2, as diffusers has them.
        Raises LayercliError when there are more steps than times.
        """
        if not 1 <= steps <= self.times:
            raise LayercliError(
                f"{steps} steps cannot be taken; the model knows {self.times} times.", "Try: --steps 30"
            )
        if self.spacing == "leading":
            ratio = self.times // steps
            return tuple(i * ratio + self.steps_offset for i in reversed(range(steps)))
        if self.spacing == "trailing":
            return tuple(round(self.times - i * (self.times / steps)) - 1 for i in range(steps))
        gap = (self.times - 1) / max(1, steps - 1)
        return tuple(round(i * gap) for i in reversed(range(steps)))

    def path(self, steps: int, *, start: int | None = None) -> tuple[int, ...]:
        """The times that x visits, falling, from noise to CLEAN: steps + 1 of them.

        start: leave out the times above it (an image-to-image path). Reversed, it is the path of inversion.
        Where steps do not divide T, x lands on the time asked next; diffusers' DDIMScheduler lands T//steps
        below the last one, which for "leading" is the same and for the other spacings is near it.
        """
        visited = (*self.timesteps(steps), CLEAN)
        return visited if start is None else tuple(t for t in visited if t <= start)

    def add_noise(self, x0: Tensor, noise: Tensor, t: int) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1-ᾱ_t) ε: tensors of one shape (DDPM, Eq 4)."""
        alpha = self.alpha(t).to(x0.device)
        return alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise

    def lesson(self, x0: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """What a network is shown and what it shall answer: (x_t, target), both of x0's shape.

        x0, noise: (B, C, h, w); times: (B,) long, one for each row.
        """
        alpha = self.alphas_cumprod.to(x0.device)[times.to(x0.device)][:, None, None, None]
        a, b = alpha.sqrt(), (1 - alpha).sqrt()
        shown = a * x0 + b * noise  # DDPM, Eq 4
        if self.prediction == "epsilon":
            return shown, noise
        if self.prediction == "v_prediction":
            return shown, a * noise - b * x0  # Salimans & Ho 2022, appendix D
        return shown, x0

    def answer(self, x: Tensor, x0: Tensor, t: int) -> Tensor:
        """What a network would say at time t if x_0 were clean latents: `split` undone, of x's shape."""
        alpha = self.alpha(t).to(x.device)
        a, b = alpha.sqrt(), (1 - alpha).sqrt()
        if self.prediction == "epsilon":
            return (x - a * x0) / b
        if self.prediction == "v_prediction":
            return (a * x - x0) / b
        return x0

    def split(self, x: Tensor, output: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """A network's output at time t -> (x_0, ε), both of x's shape.

        ε: x_0 = (x - √(1-ᾱ) ε)/√ᾱ (DDIM, Eq 9). v = √ᾱ ε - √(1-ᾱ) x_0 (Salimans & Ho 2022, appendix D).
        """
        alpha = self.alpha(t).to(x.device)
        a, b = alpha.sqrt(), (1 - alpha).sqrt()
        if self.prediction == "epsilon":
            return (x - b * output) / a, output
        if self.prediction == "v_prediction":
            return a * x - b * output, a * output + b * x
        return output, (x - a * output) / b
