"""Less memory, the same picture: offloading, slices, tiles; the arithmetic of memory is what is counted."""

from __future__ import annotations

import ast
import re
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion import scaling
from layercli.diffusion.sample import frame_noise
from layercli.models import codecs, offload, published
from layercli.models.catalog import load_model
from layercli.models.codecs import RGBCodec
from layercli.models.memory import SHAPES, drawn_pixels, need, smaller
from tests import tiny

CPU = torch.device("cpu")
PACKAGE = Path(offload.__file__).parents[1]


def results(model: Any) -> tuple[Tensor, ...]:
    """What the text encoders, the UNet and the autoencoder of a model make of the same input."""
    kinds = ["foreground", "background"]
    text = model.encode_text(["a cat", "a sofa"], kinds, model.native_size)
    x = frame_noise(0, [0, 1], model.latent_shape(model.native_size))
    with torch.no_grad():
        latents = model.denoiser(text)(x, torch.tensor([500, 500]))
    pictures = model.decode(latents, kinds)
    return text.tokens, latents, pictures, model.encode(pictures)


@pytest.mark.parametrize("how", ["model", "sequential"])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_an_offloaded_model_computes_the_same(tmp_path: Path, family: str, how: str) -> None:
    folder = str(tiny.save(family, tmp_path / family))
    plain, moved = load_model(folder, "cpu"), load_model(folder, "cpu", offload=how)
    networks = list(offload.networks_of(moved))
    assert len(networks) == {"sd15": 3, "sdxl": 4}[family]
    where = {parameter.device.type for network in networks for parameter in network.parameters()}
    assert where == ({"meta"} if how == "sequential" else {"cpu"})  # meta: nothing is held between calls
    for _ in range(2):
        assert all(torch.equal(*pair) for pair in zip(results(plain), results(moved), strict=True))


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_layerdiffuse_is_offloaded_with_its_second_network(tmp_path: Path, how: str) -> None:
    """Its UNets share the weights that are the same in both; each still finds them where it works."""
    folder = tiny.save("sdxl", tmp_path / "sdxl")
    tiny.layerdiffuse(folder / "layerdiffuse", "sdxl")
    plain, moved = load_model(str(folder), "cpu"), load_model(str(folder), "cpu", offload=how)
    assert len(list(offload.networks_of(moved))) == 7
    for _ in range(2):
        assert all(torch.equal(*pair) for pair in zip(results(plain), results(moved), strict=True))


def test_whole_networks_come_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny.sdxl(tmp_path)
    names = {id(model.text): "text", id(model.second_text): "second", id(model.unet): "unet"}
    there: set[str] = set()
    most: list[set[str]] = []

    def move(network: Any, device: torch.device) -> None:
        name = names.get(id(network), "vae")
        there.add(name) if device.type == "meta" else there.discard(name)
        most.append(set(there))

    # the device is named "meta" to be told from the CPU; nothing is moved, so that all can be computed
    monkeypatch.setattr(offload, "_move", move)
    monkeypatch.setattr(offload, "send_to_device", lambda given, device: given)
    offload.offload(model, "model", torch.device("meta"))
    model.device = CPU
    results(model)
    assert max(map(len, most)) == 1
    seen = [next(iter(held)) for held in most if held]
    assert list(dict.fromkeys(seen)) == ["text", "second", "unet", "vae"]


def test_the_embedded_model_is_not_offloaded() -> None:
    with pytest.raises(LayercliError, match="nothing to gain"):
        load_model("embedded", "cpu", offload="model")


def test_large_batches_are_decoded_one_by_one_to_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = RGBCodec(tiny.vae())
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = codec.decode(latents)
    assert not codec.vae.use_slicing and not codec.vae.use_tiling
    monkeypatch.setattr(codecs, "SLICED", 3 * 16 * 16 - 1)
    calls: list[int] = []
    decode = codec.vae._decode
    monkeypatch.setattr(codec.vae, "_decode", lambda z, **more: (calls.append(len(z)), decode(z, **more))[1])
    assert torch.allclose(codec.decode(latents), plain, atol=1e-5)
    assert calls == [1, 1, 1]
    assert torch.allclose(codec.encode(plain), RGBCodec(tiny.vae()).encode(plain), atol=1e-4)


def test_large_pictures_are_taken_in_tiles_that_are_blended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of several tiles: as large as without tiles, and with no step where tiles meet."""
    codec = RGBCodec(tiny.vae())
    smooth = F.interpolate(
        torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic"
    )
    plain = codec.decode(smooth)
    monkeypatch.setattr(codecs, "TILED", 64 * 64)
    tiled = codec.decode(smooth)
    assert codec.vae.use_tiling and tiled.shape == plain.shape
    assert not torch.equal(tiled, plain)
    steps = (tiled[:, :3, :, 1:] - tiled[:, :3, :, :-1]).abs()
    assert steps.max() < 3 * (plain[:, :3, :, 1:] - plain[:, :3, :, :-1]).abs().max()
    small = codec.decode(smooth[..., :16, :16])
    assert not codec.vae.use_tiling and small.shape[-1] == 32


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are alive at once, those of a network apart; works on shapes alone."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        tensors = [*network.parameters(), *network.buffers()]
        self.own = {tensor.untyped_storage()._cdata for tensor in tensors}
        self.held: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.own and storage._cdata not in self.held:
                    self.held[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._let_go, storage._cdata)
        self.most = max(self.most, self.now)
        return out

    def _let_go(self, storage: int) -> None:
        self.now -= self.held.pop(storage)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_what_is_alive_at_once_is_what_the_table_says(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published shapes on the meta device, 256 px: numbers per pixel do not depend on the size."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v, *_, **__: torch.empty_like(q))
    side, more = 256, {}
    with torch.device("meta"):
        unet = (published.sd15_unet if family == "sd15" else published.sdxl_unet)().eval()
        vae = published.sd15_vae().eval()
        latents = torch.zeros(1, 4, side // 8, side // 8)
        text = torch.zeros(1, 77, unet.config.cross_attention_dim)
        if family == "sdxl":
            more = {"added_cond_kwargs": {"text_embeds": torch.zeros(1, 1280), "time_ids": torch.zeros(1, 6)}}
        with torch.no_grad(), Alive(unet) as in_unet:
            unet(latents, torch.zeros(1), encoder_hidden_states=text, **more)
        with torch.no_grad(), Alive(vae) as in_vae:
            vae.decode(latents)
    assert in_unet.most / 4 / side**2 == pytest.approx(SHAPES[family].frame, rel=0.05)
    assert in_vae.most / 4 / side**2 == pytest.approx(SHAPES[family].picture, rel=0.05)
    layers = [
        module for network in (unet, vae) for module in network.modules() if not list(module.children())
    ]
    assert max(sum(p.numel() for p in layer.parameters()) for layer in layers) == SHAPES[family].layer


def test_each_way_needs_less_and_larger_pictures_more() -> None:
    for family, size in (("sd15", Size(512, 512)), ("sdxl", Size(1024, 1024))):
        none, whole, single = (
            need(SHAPES[family], bytes_each=2, offload=how, size=size, frames=6)
            for how in ("none", "model", "sequential")
        )
        assert none > whole > single
        assert none < need(SHAPES[family], bytes_each=4, offload="none", size=size, frames=6)
        assert none < need(SHAPES[family], bytes_each=2, offload="none", size=size, frames=60)
    sdxl = SHAPES["sdxl"]
    assert 2**33 < need(sdxl, bytes_each=2, offload="none", size=Size(1024, 1024), frames=6) < 2**34


def test_the_pixels_that_are_drawn_are_those_a_model_works_at(tmp_path: Path) -> None:
    """The arithmetic knows no model, but says the same: SD 1.5's native side is 16 times the tiny one's."""
    model = tiny.sd15(tmp_path)
    assert model.native_size.width * 16 == SHAPES["sd15"].native
    for width, height in ((32, 32), (16, 16), (26, 26), (46, 46), (60, 60), (64, 16), (20, 26)):
        made = model.working_size(Size(width, height)).used
        drawn = drawn_pixels(SHAPES["sd15"], Size(width * 16, height * 16))
        assert drawn == pytest.approx(made.width * made.height * 256, rel=0.05)
    assert smaller(SHAPES["sdxl"], Size(1024, 1024)) == Size(768, 768)
    assert smaller(SHAPES["sdxl"], Size(4000, 2000)) == Size(1088, 512)
    assert smaller(SHAPES["sd15"], Size(384, 384)) is None


def test_no_number_of_64_bits_and_no_generator_goes_to_a_device() -> None:
    """Apple's GPUs have no float64, and seeds give the same pixels only from the CPU's generator."""
    on_cpu = {("attention.py", "_overlaps"), ("codecs.py", "coarse_alpha")}
    found = set()
    for path in (
        file for room in ("diffusion", "models", "generate", "edit") for file in (PACKAGE / room).glob("*.py")
    ):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr in ("float64", "double"):
                    found.add((path.name, function.name))
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("torch.Generator"):
                    assert ast.unparse(node) in ("torch.Generator()", "torch.Generator('cpu')"), path
    assert found == on_cpu


def test_what_apples_gpus_lack_is_in_one_place() -> None:
    """Averages over uneven cells, and filters that shrink: scaling.py takes them to the CPU."""
    lacking = re.compile(r"adaptive_avg_pool2d|antialias=")
    rooms = (room for name in ("diffusion", "models", "generate", "edit") for room in [PACKAGE / name])
    found = {path.name for room in rooms for path in room.glob("*.py") if lacking.search(path.read_text())}
    assert found == {"scaling.py", "single.py"}  # the latter's pictures lie on the CPU
    values = torch.rand(1, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(scaling.averaged(values, (3, 4)), F.adaptive_avg_pool2d(values, (3, 4)))
    assert scaling.scaled(values, (14, 18)).shape == (1, 2, 14, 18)
    assert scaling.scaled(torch.ones(1, 1, 8, 8), (3, 3), "bicubic").allclose(torch.ones(1, 1, 3, 3))


def test_what_qwen_holds_at_once_is_what_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its published widths on the meta device, with two of the 60 layers, which are all alike."""
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda query, *_, **__: torch.empty_like(query))
    side, frames, shape = 256, 6, SHAPES["qwen"]
    cells = side // 16
    with torch.device("meta"):
        network = QwenImageTransformer2DModel(num_layers=2, **published.QWEN_TRANSFORMER).eval()
        vae = published.qwen_vae().eval()
        with torch.no_grad(), Alive(network) as drawing:
            network(
                torch.zeros(1, frames * cells**2, 64),
                torch.zeros(1, 64, 3584),
                None,
                torch.zeros(1),
                [[(1, cells, cells)] * frames],
                additional_t_cond=torch.zeros(1, dtype=torch.long),
            )
        with torch.no_grad(), Alive(vae) as decoding:
            vae.decode(torch.zeros(1, 16, 1, side // 8, side // 8))
    assert drawing.most / 4 / side**2 / frames == pytest.approx(shape.frame, rel=0.05)
    assert decoding.most / 4 / side**2 == pytest.approx(shape.picture, rel=0.05)
    assert published.QWEN_WORDS["vocab_size"] * published.QWEN_WORDS["hidden_size"] == shape.layer
