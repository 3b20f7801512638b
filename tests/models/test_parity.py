"""One frame of ours is one picture of diffusers' own pipelines: same weights, same latents, same steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import frame_noise
from layercli.diffusion.schedule import Schedule
from layercli.generate import _alone
from layercli.generate._harmonize import MethodOptions
from tests import tiny

CLOSE = 1e-4


def pipeline(model: Any, scheduler: DDIMScheduler, **settings: Any) -> Any:
    """diffusers' pipeline of a model's own networks."""
    parts = {"vae": model.codec.vae, "unet": model.unet, "scheduler": scheduler}
    parts |= {"text_encoder": model.text, "tokenizer": model.tokenizer}
    if hasattr(model, "second_text"):
        parts |= {"text_encoder_2": model.second_text, "tokenizer_2": model.second_tokenizer}
        pipe = StableDiffusionXLPipeline(**parts, add_watermarker=False, **settings)
    else:
        pipe = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def both(
    model: Any, scheduler: DDIMScheduler, request: GenerateRequest, **settings: Any
) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Latents and pictures, diffusers' first: (1, C, h, w) twice, (H, W, 3) twice."""
    start = frame_noise(request.seed, [0], model.latent_shape(request.size))
    asked = {
        "prompt": request.background,
        "negative_prompt": request.negative or None,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "width": request.size.width,
        "height": request.size.height,
        "latents": start,
    }
    pipe = pipeline(model, scheduler, **settings)
    theirs = pipe(**asked, output_type="latent").images
    with torch.no_grad():
        decoded = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor, return_dict=False)[0]
        ours = _alone.draw_alone(request, model, MethodOptions(), start)
        drawn = model.decode(ours, ["background"])[0]
    picture = pipe.image_processor.postprocess(decoded, output_type="np")[0]
    return theirs, ours, picture, drawn[:3].permute(1, 2, 0).numpy()


def check(theirs: Tensor, ours: Tensor, picture: np.ndarray, drawn: np.ndarray) -> None:
    assert theirs.std() > 0.1, "the latents are nothing"
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=CLOSE)
    assert picture.std() > 0.01
    np.testing.assert_allclose(drawn, picture, atol=CLOSE)


def asked(model: Any, **changes: Any) -> GenerateRequest:
    fields: dict[str, Any] = {"foregrounds": (), "background": "a sofa", "size": model.native_size}
    return GenerateRequest(**fields | {"steps": 5, "guidance": 7.5, "seed": 3} | changes)


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("steps", "guidance", "negative"), [(1, 7.5, ""), (4, 1.0, ""), (7, 7.5, "a dog"), (12, 7.5, "")]
)
def test_a_frame_is_the_pipelines_picture(
    model: Any, prediction: str, steps: int, guidance: float, negative: str
) -> None:
    scheduler = DDIMScheduler.from_config(tiny.SCHEDULE | {"prediction_type": prediction})
    model.schedule = Schedule.from_config(scheduler.config)
    request = asked(model, steps=steps, guidance=guidance, negative=negative)
    check(*both(model, scheduler, request))


@pytest.mark.parametrize(
    "changes",
    [
        {"set_alpha_to_one": True},
        {"steps_offset": 0},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        {"beta_schedule": "linear", "prediction_type": "v_prediction"},
        {"trained_betas": np.linspace(0.001, 0.011, 1000).tolist()},
    ],
)
def test_the_schedulers_settings_are_followed(model: Any, changes: dict[str, Any]) -> None:
    if changes == {"steps_offset": 0} and model.name == "sd15":
        changes = {"steps_offset": 1}  # StableDiffusionPipeline takes 1 whatever the file says
    scheduler = DDIMScheduler.from_config(tiny.SCHEDULE | changes)
    model.schedule = Schedule.from_config(scheduler.config)
    check(*both(model, scheduler, asked(model)))


class Landing(DDIMScheduler):
    """DDIM that lands on the time it asks next, and not T // steps below the last."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **rest: Any) -> Any:
        times = [*self.timesteps.tolist(), -1]
        stride = int(timestep) - times[times.index(int(timestep)) + 1]
        before = {"num_train_timesteps": self.config.num_train_timesteps}, self.num_inference_steps
        # It goes from t to t - T // steps: with one step, T is the stride.
        self.register_to_config(num_train_timesteps=stride)
        self.num_inference_steps = 1
        try:
            return super().step(model_output, timestep, sample, **rest)
        finally:
            self.register_to_config(**before[0])
            self.num_inference_steps = before[1]


@pytest.mark.parametrize(("spacing", "steps"), [("trailing", 7), ("linspace", 5), ("linspace", 6)])
def test_where_steps_do_not_divide_the_times_only_the_landing_differs(
    model: Any, spacing: str, steps: int
) -> None:
    settings = tiny.SCHEDULE | {"timestep_spacing": spacing}
    scheduler = Landing.from_config(settings)
    model.schedule = Schedule.from_config(settings)
    check(*both(model, scheduler, asked(model, steps=steps)))


def test_another_size_is_told_to_the_network(model: Any) -> None:
    scheduler = DDIMScheduler.from_config(tiny.SCHEDULE)
    model.schedule = Schedule.from_config(tiny.SCHEDULE)
    wide = Size(model.multiple * 12, model.multiple * 6)
    check(*both(model, scheduler, asked(model, size=wide)))


def test_an_empty_text_is_zeros_or_encoded_as_the_model_says(tmp_path: Path) -> None:
    scheduler = DDIMScheduler.from_config(tiny.SCHEDULE)
    drawn = []
    for zero in (True, False):
        model: Any = tiny.sdxl(tmp_path, zero_empty=zero)
        found = both(model, scheduler, asked(model), force_zeros_for_empty_prompt=zero)
        check(*found)
        drawn.append(found[1])
    assert (drawn[0] - drawn[1]).abs().max() > 10 * CLOSE
    empty = tiny.sdxl(tmp_path).encode_text(["", "a"], ["global"] * 2, Size(32, 32))
    assert not empty.tokens[0].any() and not empty.added["text_embeds"][0].any() and empty.tokens[1].any()


def test_the_stack_of_a_background_alone_is_that_frame(model: Any) -> None:
    scheduler = DDIMScheduler.from_config(tiny.SCHEDULE)
    model.schedule = Schedule.from_config(tiny.SCHEDULE)
    request = asked(model)
    told: list[tuple[int, int]] = []
    stack = _alone.generate(request, model, MethodOptions(), lambda done, total: told.append((done, total)))
    assert stack.names == ("background",) and stack.canvas == request.size
    assert told == [(step, 5) for step in range(1, 6)]
    start = frame_noise(request.seed, [0], model.latent_shape(request.size))
    pipe = pipeline(model, scheduler)
    asked_of_it = {"prompt": "a sofa", "num_inference_steps": 5, "guidance_scale": 7.5}
    sides = {"width": request.size.width, "height": request.size.height}
    picture = pipe(**asked_of_it, **sides, latents=start, output_type="np").images[0]
    np.testing.assert_allclose(stack.layers[0].rgba[..., :3], picture, atol=CLOSE)
    assert (stack.layers[0].rgba[..., 3] == 1).all()
