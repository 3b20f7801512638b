"""What every method keeps to, whichever file it is in: names, alpha, seeds, places, a clean network."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import WHOLE
from layercli.core.pixels import quantize
from layercli.models.dreamlayer import DreamLayer
from layercli.models.family import Model
from layercli.models.layerdiff import LayerDiff, Settings
from tests import tiny
from tests.apple import AppleHas
from tests.generate.asking import asked, same

PACKAGE = "layercli.generate"
METHODS = sorted(registry.plugins(PACKAGE))
FITS = registry.constants(PACKAGE, "MODELS")
"""The families that a method draws with, where it is made for some alone."""
PAIRS = [(family, method) for method in METHODS for family in FITS.get(method, tiny.FAMILIES)]
ADAPTERS: dict[str, Any] = {
    "dreamlayer": lambda model: DreamLayer(model.unet),
    "layerdiff": lambda model: LayerDiff(model.unet, Settings(masks=not model.alpha)),
}


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    if request.param == "embedded":
        return tiny.embedded(latents=8)
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Method and model -> the folder of an adapter whose parameters are all somewhere else than at first."""
    root = tmp_path_factory.mktemp("adapters")

    @cache
    def folder(method: str, model: Model) -> str:
        if method == "layerdiffuse":
            return str(tiny.layerdiffuse(root / method, model.name))
        torch.manual_seed(0)
        adapter = ADAPTERS[method](model)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return str(adapter.save(root / f"{method}-{model.name}"))

    return folder


def options_of(method: str, model: Model, adapters: Any, **more: str) -> tuple[ModuleType, Any]:
    module = registry.load(PACKAGE, method)
    own = {"adapter": adapters(method, model)} if method in ADAPTERS else {}
    if method == "layerdiffuse":
        own = {"weights": adapters(method, model)}
    return module, registry.options_for(module, own | more)


every_method = pytest.mark.parametrize(("model", "method"), PAIRS, indirect=["model"])


@pytest.mark.parametrize("harmonize", ["irh", "over", "none"])
@every_method
def test_a_stack_keeps_the_contract(model: Model, adapters: Any, method: str, harmonize: str) -> None:
    module, options = options_of(method, model, adapters)
    request = asked(model, harmonize=harmonize, style="flat")
    told: list[tuple[int, int]] = []
    stack = module.generate(request, model, options, lambda done, total: told.append((done, total)))
    effects = ("shadows", "light") if harmonize == "irh" else ()
    assert stack.names == ("background", "a dog", "a ball", *effects)
    assert stack.canvas == request.size
    assert [layer.prompt for layer in stack.layers[:3]] == ["a beach", "a dog", "a ball"]
    assert (stack.placed("background")[..., 3] == 1).all() and (stack.flatten()[..., 3] == 1).all()
    assert all(np.isfinite(layer.rgba).all() and layer.rgba.dtype == np.float32 for layer in stack.layers)
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    assert len({total for _, total in told}) == 1
    assert same(stack, module.generate(request, model, options))
    assert not same(stack, module.generate(request.replace(seed=8), model, options))


@every_method
def test_nothing_is_asked_that_apples_gpus_lack(model: Model, adapters: Any, method: str) -> None:
    module, options = options_of(method, model, adapters, fast="4")
    with AppleHas():
        stack = module.generate(asked(model), model, options)
    assert len(stack.layers) > 2


def test_the_guard_for_apples_gpus_sees_what_they_lack() -> None:
    with AppleHas(), pytest.raises(AssertionError, match="float64"):
        torch.ones(2).double()
    with AppleHas(), pytest.raises(AssertionError, match="aa"):
        torch.nn.functional.interpolate(torch.ones(1, 1, 8, 8), (3, 3), mode="bilinear", antialias=True)


@every_method
def test_the_network_is_itself_again(model: Model, adapters: Any, method: str) -> None:
    module, options = options_of(method, model, adapters)
    denoise = model.denoiser(model.encode_text(["a cat"], ["global"], model.native_size))
    x = torch.ones((1, *model.latent_shape(model.native_size)))
    with torch.no_grad():
        before, processors = denoise(x, torch.tensor([500])), dict(model.unet.attn_processors)  # type: ignore[arg-type]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module.generate(asked(model), model, options, interrupt)
    module.generate(asked(model, steps=1), model, options)
    assert all(model.unet.attn_processors[name] is processors[name] for name in processors)  # type: ignore[index]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.unet.modules())
    with torch.no_grad():
        assert torch.equal(denoise(x, torch.tensor([500])), before)


@every_method
def test_fast_is_a_little_different_and_always_the_same(model: Model, adapters: Any, method: str) -> None:
    module, options = options_of(method, model, adapters)
    _, fast = options_of(method, model, adapters, fast="4")  # over 300 of 1000 times, of which a step has 250
    request = asked(model, foregrounds=("a dog",), steps=4)
    plain, quick = (module.generate(request, model, chosen) for chosen in (options, fast))
    assert options.fast == 1 and not same(plain, quick)
    assert plain.names == quick.names
    assert same(quick, module.generate(request, model, fast))
    assert all("forward" not in vars(part) for part in model.unet.modules())


@every_method
def test_any_size_and_guidance_one(model: Model, adapters: Any, method: str) -> None:
    module, options = options_of(method, model, adapters)
    size = Size(round(model.native_size.width * 1.3) + 3, model.native_size.height + 1)
    stack = module.generate(asked(model, size=size, steps=1, guidance=1.0), model, options)
    assert stack.canvas == size and stack.layers[0].size == size
    assert (stack.flatten()[..., 3] == 1).all()


@every_method
def test_a_box_is_kept(model: Model, adapters: Any, method: str) -> None:
    module, options = options_of(method, model, adapters)
    request = asked(model, boxes={"ball": (0.5, 0.25, 1.0, 0.75)}, harmonize="over")
    alpha = module.generate(request, model, options).placed("a ball")[..., 3] >= 8 / 255
    rows, columns = np.nonzero(alpha)
    width, height = request.size.width, request.size.height
    assert columns.min() >= width * 0.5 - 2 and rows.min() >= height * 0.25 - 2
    assert rows.max() <= height * 0.75 + 1 and rows.max() >= height * 0.75 - 3


@every_method
def test_a_mask_holds_its_foreground(model: Model, adapters: Any, method: str, tmp_path: Path) -> None:
    module, options = options_of(method, model, adapters, hold="0")
    size = model.native_size
    drawn = np.zeros((size.height, size.width), np.uint8)
    drawn[size.height // 2 :, : size.width // 2] = 255
    Image.fromarray(drawn).save(tmp_path / "m.png")
    request = asked(model, masks={"dog": str(tmp_path / "m.png")}, harmonize="over")
    held = module.generate(request, model, options)
    assert not same(held, module.generate(asked(model, harmonize="over"), model, options))
    alpha = held.placed("a dog")[..., 3]
    inside = alpha[size.height // 2 :, : size.width // 2].sum()
    # Random decoders make alpha where they will; found from attention it is cut to the mask.
    assert inside > (0 if model.alpha or method == "layerdiffuse" else 0.7 * alpha.sum())


@pytest.mark.parametrize(
    ("model", "method"), [pair for pair in PAIRS if pair[0] != "sdxl"], indirect=["model"]
)  # SDXL goes SD1.5's way
def test_a_given_picture_stays_what_it_is(model: Model, adapters: Any, method: str, tmp_path: Path) -> None:
    module, options = options_of(method, model, adapters)
    size = model.native_size
    opaque = np.random.default_rng(0).integers(0, 255, (size.height, size.width, 4), dtype=np.uint8)
    opaque[..., 3] = 255
    clear = opaque.copy()
    clear[: size.height // 4] = clear[:, : size.width // 3] = 0
    for name, picture, layer in (("ground", opaque, "background"), ("thing", clear, "a dog")):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        request = asked(
            model, foregrounds=("a dog",), given=str(tmp_path / f"{name}.png"), harmonize="over", steps=2
        )
        stack = module.generate(request, model, options)
        assert (quantize(stack.placed(layer)) == picture).all(), name
        other = "a dog" if layer == "background" else "background"
        free = module.generate(request.replace(given=""), model, options)
        assert not np.array_equal(stack.placed(other), free.placed(other)), "the drawn layer never saw it"


@pytest.mark.parametrize("method", sorted(FITS))
def test_a_method_made_for_some_families_refuses_the_others(method: str) -> None:
    module = registry.load(PACKAGE, method)
    with pytest.raises(LayercliError, match="embedded") as caught:
        module.generate(asked(tiny.embedded(latents=8)), tiny.embedded(latents=8), module.Options())
    assert f"--model {FITS[method][0]}" in caught.value.hint


@pytest.mark.parametrize("method", sorted(ADAPTERS))
def test_without_an_adapter_it_says_how_to_train_one(model: Model, method: str, tmp_path: Path) -> None:
    module = registry.load(PACKAGE, method)
    for options in (module.Options(), module.Options(adapter=str(tmp_path))):
        with pytest.raises(LayercliError) as caught:
            module.generate(asked(model), model, options)
        assert f"layercli train {method}" in caught.value.hint and "-O adapter=" in caught.value.hint


@pytest.mark.parametrize("method", METHODS)
def test_impossible_options_are_refused(method: str) -> None:
    module = registry.load(PACKAGE, method)
    for wrong in ({"window": (600, 400)}, {"levels": (0.5, 0.5)}, {"levels": (-0.1, 1.0)}):
        with pytest.raises(LayercliError):
            module.Options(**wrong)


def test_the_whole_picture_is_kept_hidden(model: Model, adapters: Any) -> None:
    """LayerFusion's blended frame and DreamLayer's global one; the composite stays what it was."""
    for method in ("layerfusion", "dreamlayer"):
        module, options = options_of(method, model, adapters)
        request = asked(model, steps=2)
        plain = module.generate(request, model, options)
        kept = module.generate(request, model, dataclasses.replace(options, whole=True))
        assert kept.names == (*plain.names, WHOLE) and not kept.layer(WHOLE).visible
        assert np.array_equal(kept.flatten(), plain.flatten())
        whole = kept.placed(WHOLE)
        assert (whole[..., 3] == 1).all() and not np.array_equal(whole, kept.flatten())
    module, options = options_of("layerfusion", model, adapters, whole="yes")
    with pytest.raises(LayercliError, match="do not meet"):
        module.generate(asked(model, harmonize="none"), model, options)
    with pytest.raises(LayercliError, match="not drawn to its end"):
        options_of("layerfusion", model, adapters, whole="yes", exchange="200-1000")


CHANGES: dict[str, dict[str, Any]] = {
    "dreamlayer": {"refine": False, "share": False, "carry": False, "carry_from": 2000, "extra": False}
    | {"whole": True},
    "layerdiff": {"inter": False, "intra": False, "feed": False, "enhance": "none", "inject": False}
    | {"own_text": "whole", "negatives": "none", "smg": 0.0, "sigma": 0.3, "conceal": "outside"}
    | {"marked": "attention"},
}


@pytest.mark.parametrize("model", ["sd15"], indirect=True)  # has all the pieces, mask latents too
@pytest.mark.parametrize("method", sorted(ADAPTERS))
def test_every_piece_of_a_trained_method_changes_the_picture(
    model: Model, adapters: Any, method: str
) -> None:
    more = {"smg": "1"} if method == "layerdiff" else {}  # without it nothing is blurred
    module, options = options_of(method, model, adapters, **more)
    # This model reads text at one level alone.
    shared = {field.name for field in dataclasses.fields(module.Options.__mro__[1])} | {"adapter", "level"}
    assert set(CHANGES[method]) == {field.name for field in dataclasses.fields(options)} - shared
    # The first of eight times is above T_G whatever the spacing; LayerDiff has no such threshold.
    request = asked(model, harmonize="over", steps=8 if method == "dreamlayer" else 2)
    plain = module.generate(request, model, options)
    for name, value in CHANGES[method].items():
        changed = dataclasses.replace(options, **{name: value})
        assert not same(plain, module.generate(request, model, changed)), name
