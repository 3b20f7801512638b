"""Prompts longer than the encoder reads: in chunks, nothing lost, short prompts as before and undisturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from layercli.core import registry
from layercli.models.clip_text import chunked, end_of_text, parts_of, read_mask, words_in
from layercli.models.dreamlayer import DreamLayer
from layercli.models.dreamlayer_text import layered_text
from layercli.models.frames import LayerPrompts
from layercli.models.layerdiff import LayerDiff, Settings
from layercli.models.layerdiff_text import layer_denoiser, layer_text
from tests import tiny
from tests.generate.asking import asked, same

LONG = "a small red boat on calm water at noon"
"""30 tokens of the tiny tokenizer, for which a letter is one and which takes 14 at a time."""
PARTS = ["a small red boat", "on calm water at", "noon"]


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def test_short_prompts_are_the_tokenizers_own_bit_for_bit(tmp_path: Path) -> None:
    words = tiny.tokenizer(tmp_path)
    prompts = ["a cat", "", "a b c d e f g h i j k l m n"]
    padded = words(prompts, padding="max_length", truncation=True, max_length=16, return_tensors="pt")
    ids = chunked(words, prompts, 16)
    assert torch.equal(ids[:, 0], padded.input_ids) and ids.shape[1] == 1 and read_mask(ids, words) is None


def test_long_prompts_lose_nothing_and_are_cut_between_words(tmp_path: Path) -> None:
    words = tiny.tokenizer(tmp_path)
    (parts,) = parts_of(words, [LONG], 14)
    assert [words.decode(part).strip() for part in parts] == PARTS
    endless = "x" * 40
    (cut,) = parts_of(words, [endless], 14)
    assert [len(part) for part in cut] == [14, 14, 12]  # one word longer than a chunk is cut where it must be
    ids = chunked(words, [LONG, "a cat", endless], 16)
    assert ids.shape == (3, 3, 16)
    assert words.decode(ids[0][words_in(ids[0], words)]).replace(" ", "") == LONG.replace(" ", "")
    assert words_in(ids, words).sum(dim=(1, 2)).tolist() == [30, 4, 40]
    mask, ends = read_mask(ids, words), end_of_text(ids, words)
    assert mask is not None and mask.sum(dim=1).tolist() == [48, 16, 48]
    assert ends.sum(dim=1).tolist() == [3, 1, 3]
    assert all(int(ids.flatten(1)[row, place]) == words.eos_token_id for row, place in ends.nonzero())


@torch.no_grad()
def test_every_part_is_encoded_by_itself(model: Any) -> None:
    text = model.encode_text([LONG], ["global"], model.native_size)
    parts = model.encode_text(PARTS, ["global"] * 3, model.native_size)
    torch.testing.assert_close(text.tokens[0], parts.tokens.flatten(0, 1))
    assert torch.equal(text.summary[0], parts.summary.flatten())
    for name in text.added:  # the pooled text is the first part's
        torch.testing.assert_close(text.added[name][0], parts.added[name][0])


@torch.no_grad()
def test_a_short_prompt_is_not_disturbed_by_a_long_one(model: Any) -> None:
    size = model.native_size
    x = torch.randn(2, *model.latent_shape(size), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([400, 400])
    mixed = model.denoiser(model.encode_text(["a cat", LONG], ["global"] * 2, size))(x, t)
    short, long = (model.encode_text([prompt], ["global"], size) for prompt in ("a cat", LONG))
    for row, text in enumerate((short, long)):
        alone = model.denoiser(text)(x[row : row + 1], t[:1])
        torch.testing.assert_close(mixed[row : row + 1], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.denoiser(short.cat(long))(x, t), mixed, atol=1e-5, rtol=1e-4)
    cut = model.denoiser(model.encode_text([PARTS[0]], ["global"], size))(x[1:], t[:1])
    assert (cut - mixed[1:]).abs().max() > 1e-3  # what lies beyond the first part counts


def test_words_and_their_places_go_together(model: Any) -> None:
    ids, words = model.words([LONG, "a cat"])
    tokens = model.encode_text([LONG, "a cat"], ["global"] * 2, model.native_size).tokens
    assert ids.shape == words.shape == tokens.shape[:2]
    assert words.sum(dim=1).tolist() == [30, 4] and not words[1, 16:].any()


def test_dreamlayers_spans_reach_over_parts(model: Any) -> None:
    adapter = DreamLayer(model.unet)
    texts = LayerPrompts(
        background="a sea", foregrounds=("a small red boat on water",), whole=f"{LONG}, a sea"
    )
    text = layered_text(model, adapter, [texts], model.native_size)
    assert text.spans.sum() == text.own.sum() == 20
    whole, alone = text.conditioning.tokens[2], text.conditioning.tokens[1]
    assert torch.equal(whole[text.spans[0, 0] > 0], alone[text.own[0, 0] > 0])
    assert text.conditioning.mask is not None
    assert (text.conditioning.mask[2][text.spans[0, 0] > 0] == 1).all()


@torch.no_grad()
def test_layerdiff_leaves_out_what_a_short_prompt_does_not_fill(model: Any) -> None:
    torch.manual_seed(0)
    adapter = LayerDiff(model.unet, Settings(width=8, heads=2, rank=2))
    for parameter in adapter.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    size, t = model.native_size, torch.tensor([400, 400])
    x = torch.randn(2, *model.latent_shape(size), generator=torch.Generator().manual_seed(0))
    answers = []
    for whole in ("a boat on a sea", LONG):
        texts = LayerPrompts(background="a sea", foregrounds=("a boat",), whole=whole)
        text = layer_text(model, adapter, [texts], size)
        padded = layer_text(model, adapter, [texts, texts.empty(1, LONG)], size)
        assert text.read is None and padded.read is not None
        with adapter.injected(model.unet) as injection:
            answers.append(layer_denoiser(model, injection, text)(x, t))
            both = layer_denoiser(model, injection, padded)(torch.cat([x, x]), torch.cat([t, t]))
        torch.testing.assert_close(both[:2], answers[-1], atol=1e-4, rtol=1e-3)
    assert (answers[0] - answers[1]).abs().max() > 1e-4


@pytest.mark.parametrize("prior", ["both", "content"])
def test_a_picture_is_drawn_from_long_prompts(model: Any, prior: str) -> None:
    method = registry.load("layercli.generate", "layerfusion")
    options = registry.options_for(method, {"prior": prior})
    request = asked(model, foregrounds=(LONG, "a dog"), steps=2)
    stack = method.generate(request, model, options)
    assert same(stack, method.generate(request, model, options))
    other = method.generate(request.replace(foregrounds=(PARTS[0], "a dog")), model, options)
    assert not same(stack, other)


def test_it_is_said(model: Any) -> None:
    (note,) = model.notes_on(["a cat", LONG, ""])
    assert note == (
        "The model reads 14 tokens at a time; longer prompts are read in parts: "
        '"a small red boat on calm water…" in 3 parts (30 tokens).'
    )
    assert model.notes_on(["a cat"]) == ()
