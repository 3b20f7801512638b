"""CLIP in open_clip's files: a tiny one with the real names, computed by torch's own attention beside ours.

The names and the layout are open_clip's (3.3.0), where every plain ViT and residual network of its list was
held against the same map by name and shape, and tiny ones by their numbers, to 3e-7.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from layercli.core.errors import LayercliError
from layercli.evaluate import aesthetic, clip, cmmd
from layercli.evaluate._rows import rows_from
from layercli.vision.aesthetic import WIDTHS
from layercli.vision.clip import load_clip
from layercli.vision.features import open_net
from layercli.vision.open_clip import renamed
from tests import tiny
from tests.evaluate.samples import ground, sample, square

WIDTH, HEADS, LAYERS, SIDE, PATCH, CONTEXT = 32, 4, 2, 32, 8, 16


class Activation(nn.Module):
    def __init__(self, quick: bool) -> None:
        super().__init__()
        self.quick = quick

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x) if self.quick else functional.gelu(x)


class Block(nn.Module):
    """Pre-norm attention and perceptron, by the names of open_clip."""

    def __init__(self, quick: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(WIDTH, 2 * WIDTH))
        self.mlp.add_module("gelu", Activation(quick))
        self.mlp.add_module("c_proj", nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Blocks(nn.Module):
    def __init__(self, quick: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(quick) for _ in range(LAYERS))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, quick: bool, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Blocks(quick)
        self.proj = nn.Parameter(torch.randn(WIDTH, out))

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(tokens), 1, -1)
        x = self.ln_pre(torch.cat([first, tokens], 1) + self.positional_embedding)
        return self.ln_post(self.transformer(x)[:, 0]) @ self.proj


class OpenClip(nn.Module):
    def __init__(self, words: int, quick: bool, out: int) -> None:
        super().__init__()
        self.visual = Visual(quick, out)
        self.token_embedding = nn.Embedding(words, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, WIDTH))
        self.transformer = Blocks(quick)
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, out))
        self.logit_scale = nn.Parameter(torch.tensor(3.0))

    def texts(self, ids: Tensor) -> Tensor:
        """The features at each text's end, which has the highest number of all."""
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)] @ self.text_projection


def made(folder: Path, *, quick: bool = False, out: int = 8, **preparing: Any) -> OpenClip:
    """A model with random weights in a folder as the hub has them; every weight is drawn, norms too."""
    words = tiny.tokenizer(folder)
    words.save_pretrained(folder)
    torch.manual_seed(1)
    net = OpenClip(len(words), quick, out).eval()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("bias") or "ln_" in name:
                value.add_(torch.randn_like(value) * 0.3)
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    tower = {"width": WIDTH, "layers": LAYERS, "mlp_ratio": 2.0}
    model = {
        "embed_dim": out,
        "vision_cfg": {**tower, "image_size": SIDE, "patch_size": PATCH, "head_width": WIDTH // HEADS},
        "text_cfg": {**tower, "heads": HEADS, "context_length": CONTEXT, "vocab_size": len(words)},
    }
    config = {"model_cfg": model | ({"quick_gelu": True} if quick else {}), "preprocess_cfg": preparing}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return net


def unit(values: Tensor) -> np.ndarray:
    return functional.normalize(values, dim=-1).numpy()


@pytest.mark.parametrize("quick", [False, True])
def test_pictures_and_texts_are_what_open_clips_layout_computes(tmp_path: Path, quick: bool):
    net = made(tmp_path, quick=quick, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25])
    ours = load_clip(tmp_path)
    picture = ground(3, SIDE)
    picture[8:20, 8:20, :3] = (0.9, 0.1, 0.2)
    pixels = (np.rint(picture[..., :3] * 255) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.25]
    prompts = ["a cat", "a cat that sits on a red sofa and never leaves it"]
    ids = torch.zeros(2, CONTEXT, dtype=torch.long)  # open_clip pads by nought
    for row, prompt in zip(ids, prompts, strict=True):
        found = ours.tokenizer(prompt, truncation=True, max_length=CONTEXT)["input_ids"]
        row[: len(found)] = torch.tensor(found)
    with torch.inference_mode():
        seen = unit(net.visual(torch.from_numpy(np.moveaxis(pixels, -1, 0)[None]).float()))
        read = unit(net.texts(ids))
    texts, cut = ours.texts(prompts)
    assert ours.images([picture]) == pytest.approx(seen, abs=2e-6)
    assert texts == pytest.approx(read, abs=2e-6) and cut == [False, True]
    assert ours.settings["net"] == f"CLIP {tmp_path.name} (open_clip)"
    assert abs(unit(net.visual(torch.zeros(1, 3, SIDE, SIDE)).detach()) - seen).max() > 0.01


Weights = dict[str, Tensor]
BLOCKS, NARROW, LARGE = (1, 2, 1, 1), 8, 64


def residual_weights(out: int) -> Weights:
    """Random weights of a narrow RN50, name by name."""
    found: Weights = {}

    def conv(name: str, norm: str, width_in: int, width: int, side: int) -> None:
        found[f"{name}.weight"] = torch.randn(width, width_in, side, side) / (width_in * side * side) ** 0.5
        found[f"{norm}.weight"], found[f"{norm}.bias"] = torch.rand(width) + 0.5, torch.randn(width) * 0.3
        found[f"{norm}.running_mean"] = torch.randn(width) * 0.3
        found[f"{norm}.running_var"] = torch.rand(width) + 0.5
        found[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    half = NARROW // 2
    for number, (a, b) in enumerate(((3, half), (half, half), (half, NARROW)), 1):
        conv(f"visual.conv{number}", f"visual.bn{number}", a, b, 3)
    before = NARROW
    for stage, count in enumerate(BLOCKS):
        middle = NARROW * 2**stage
        for block in range(count):
            start = f"visual.layer{stage + 1}.{block}"
            shapes = ((before, middle, 1), (middle, middle, 3), (middle, 4 * middle, 1))
            for number, (a, b, side) in enumerate(shapes, 1):
                conv(f"{start}.conv{number}", f"{start}.bn{number}", a, b, side)
            if block == 0:
                conv(f"{start}.downsample.0", f"{start}.downsample.1", before, 4 * middle, 1)
            before = 4 * middle
    found["visual.attnpool.positional_embedding"] = torch.randn((LARGE // 32) ** 2 + 1, before) * 0.3
    for name, width in (("q", before), ("k", before), ("v", before), ("c", out)):
        found[f"visual.attnpool.{name}_proj.weight"] = torch.randn(width, before) / before**0.5
        found[f"visual.attnpool.{name}_proj.bias"] = torch.randn(width) * 0.3
    return found


def residual_features(w: Weights, x: Tensor) -> Tensor:
    """What they compute, with torch's own many-headed attention."""

    def conv(name: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = w[f"{name}.weight"]
        x = functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        told = (w[f"{norm}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *told)

    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = conv(f"visual.conv{number}", f"visual.bn{number}", x, stride).relu()
    x = functional.avg_pool2d(x, 2)
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            start = f"visual.layer{stage + 1}.{block}"
            made = conv(f"{start}.conv1", f"{start}.bn1", x).relu()
            made = conv(f"{start}.conv2", f"{start}.bn2", made).relu()
            if stage > 0 and block == 0:
                made, x = functional.avg_pool2d(made, 2), functional.avg_pool2d(x, 2)
            made = conv(f"{start}.conv3", f"{start}.bn3", made)
            shortcut = conv(f"{start}.downsample.0", f"{start}.downsample.1", x) if block == 0 else x
            x = (made + shortcut).relu()
    tokens = x.flatten(2).permute(2, 0, 1)
    places = w["visual.attnpool.positional_embedding"][:, None]
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + places
    q, k, v, c = (
        (w[f"visual.attnpool.{name}_proj.weight"], w[f"visual.attnpool.{name}_proj.bias"]) for name in "qkvc"
    )
    found, _ = functional.multi_head_attention_forward(
        tokens[:1], tokens, tokens, tokens.shape[-1], NARROW * 32 // 64, None, torch.cat([q[1], k[1], v[1]]),
        None, None, False, 0.0, *c, use_separate_proj_weight=True, q_proj_weight=q[0], k_proj_weight=k[0],
        v_proj_weight=v[0], training=False, need_weights=False,
    )  # fmt: skip
    return found[0]


def test_residual_networks_are_what_open_clips_layout_computes(tmp_path: Path):
    net = made(tmp_path)
    weights = residual_weights(8)
    texts = {name: value for name, value in net.state_dict().items() if not name.startswith("visual.")}
    save_file({**texts, **weights}, tmp_path / "open_clip_model.safetensors")
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"] = {
        "image_size": LARGE, "layers": list(BLOCKS), "width": NARROW, "patch_size": None,
    }  # fmt: skip
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    ours = load_clip(tmp_path)
    pictures = np.random.default_rng(0).uniform(size=(2, LARGE, LARGE, 4)).astype(np.float32)
    pictures[..., 3] = 1
    pixels = (np.rint(pictures[..., :3] * 255) / 255 - np.array(ours.mean)) / np.array(ours.std)
    with torch.inference_mode():
        wanted = unit(residual_features(weights, torch.from_numpy(np.moveaxis(pixels, -1, 1)).float()))
        ids = torch.zeros(1, CONTEXT, dtype=torch.long)
        found = ours.tokenizer("a cat")["input_ids"]
        ids[0, : len(found)] = torch.tensor(found)
        read = unit(net.texts(ids))
    assert ours.images(list(pictures)) == pytest.approx(wanted, abs=2e-6)
    assert abs(wanted[0] - wanted[1]).max() > 0.001
    assert ours.texts(["a cat"])[0] == pytest.approx(read, abs=2e-6)
    assert ours.settings["resize"].startswith("bicubic to 64") and ours.settings["features"] == 8


def test_it_scores_prompts_sets_and_beauty(tmp_path: Path):
    made(tmp_path, out=768)
    one = sample(square())
    assert 0 <= clip.measure(one, clip.Options(model=str(tmp_path)))["layer"] <= 100
    net = open_net(str(tmp_path))
    sets = [rows_from(net.look([ground(seed + add) for seed in range(4)], "composite")) for add in (0, 9)]
    assert cmmd.distance(*sets, cmmd.Options(net=str(tmp_path), sigma=0.5))["cmmd"] > 0
    assert cmmd.distance(sets[0], sets[0], cmmd.Options())["cmmd"] == pytest.approx(0, abs=1e-9)
    widths = (768, *WIDTHS)
    head = {
        f"layers.{place}.{kind}": torch.randn(*shape) * 0.1
        for place, a, b in zip((0, 2, 4, 6, 7), widths, WIDTHS, strict=False)
        for kind, shape in (("weight", (b, a)), ("bias", (b,)))
    }
    save_file(head, tmp_path / "head.safetensors")
    options = aesthetic.Options(model=str(tmp_path), head=str(tmp_path / "head.safetensors"))
    assert np.isfinite(aesthetic.measure(one, options)["score"])
    assert aesthetic.settings(options)["net"] == f"CLIP {tmp_path.name} (open_clip)"


def test_pictures_are_squeezed_where_the_model_was_trained_so(tmp_path: Path):
    for name, mode in (("cut", "shortest"), ("squeezed", "squash")):
        made(tmp_path / name, resize_mode=mode)
    wide = np.ones((64, 128, 4), np.float32)
    wide[:, :32, :3], wide[20:40, 40:90, 1:3] = 0, 0
    middle = wide[:, 32:96]
    nets = {name: load_clip(tmp_path / name) for name in ("cut", "squeezed")}
    found = {name: net.images([wide, middle]) for name, net in nets.items()}
    assert found["cut"][0] == pytest.approx(found["cut"][1], abs=1e-3)
    assert abs(found["squeezed"][0] - found["squeezed"][1]).max() > 0.01
    assert "squeezed" in nets["squeezed"].settings["resize"]


def test_folders_of_transformers_go_before_and_timms_do_not(tmp_path: Path):
    made(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny"}')
    (tmp_path / "model.safetensors").write_bytes(b"an image tower of timm")
    assert load_clip(tmp_path).settings["net"].endswith("(open_clip)")
    tiny.clip(tmp_path)
    assert load_clip(tmp_path).settings["net"].endswith("(transformers)")


def test_what_is_not_read_is_refused_by_name(tmp_path: Path):
    made(tmp_path)
    config = tmp_path / "open_clip_config.json"
    whole = config.read_text()

    def said(where: str, **values: Any) -> str:
        found = json.loads(whole)
        (found["model_cfg"] if where == "model" else found["model_cfg"][where]).update(values)
        config.write_text(json.dumps(found))
        with pytest.raises(LayercliError) as caught:
            load_clip(tmp_path)
        return f"{caught.value.message} {caught.value.hint}"

    assert "Missing key" in said("vision_cfg", layers=[1, 1, 1, 1], patch_size=None)  # RN50 and its kin
    assert "has init_logit_bias=-10, which is not read. Use a model in" in said("model", init_logit_bias=-10)
    assert "The model of" in said("model", multimodal_cfg={"width": 8})
    assert "The image tower of" in said("vision_cfg", timm_model_name="convnext_base")
    assert "hf_model_name=roberta-base" in said("text_cfg", hf_model_name="roberta-base")
    assert "no square" in said("vision_cfg", image_size=[32, 16])
    assert "size mismatch" in said("text_cfg", layers=LAYERS, vocab_size=9)
    assert "Missing key" in said("vision_cfg", layers=LAYERS + 1)
    config.write_text("{}")
    with pytest.raises(LayercliError, match="cannot be read: 'model_cfg'"):
        load_clip(tmp_path)
    config.write_text(whole.replace('"preprocess_cfg": {}', '"preprocess_cfg": {"resize_mode": "longest"}'))
    with pytest.raises(LayercliError, match="prepares pictures by longest"):
        load_clip(tmp_path)
    config.write_text(whole)
    with pytest.raises(KeyError, match=r"visual\.head\.weight"):
        renamed({"visual.head.weight": torch.zeros(1)})
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(LayercliError, match=r"has no \.safetensors file"):
        load_clip(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"damaged")
    with pytest.raises(LayercliError, match="cannot be read"):
        load_clip(tmp_path)
    for file in (*tmp_path.glob("token*"), *tmp_path.glob("vocab*")):
        file.unlink()
    with pytest.raises(LayercliError, match="has no tokenizer"):
        load_clip(tmp_path)
