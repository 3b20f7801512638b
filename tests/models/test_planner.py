"""A language model splits descriptions: a real one, tiny, that was taught one answer by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from layercli.core.errors import LayercliError
from layercli.models.planner import Planner, split_in

ANSWER = {"foregrounds": ["a cup", "a red cat"], "background": "a table"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of one layer over bytes, in a folder, with random weights."""
    folder = tmp_path_factory.mktemp("language") / "small"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate([*letters, "<end>"])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    wrapped.save_pretrained(str(folder))
    torch.manual_seed(0)
    end = words["<end>"]
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 32, "n_positions": 1024}
    config = GPT2Config(vocab_size=len(words), bos_token_id=end, eos_token_id=end, **sizes)
    GPT2LMHeadModel(config).save_pretrained(str(folder))
    return folder


def test_what_a_model_says_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    planner = Planner(folder)
    asked: list[torch.Tensor] = []
    model, tokenizer = planner._model, planner._tokenizer
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda t, **more: (asked.append(t), generate(t, **more))[1])
    with pytest.raises(LayercliError, match='"small" gave no split that can be read'):
        planner.split("a red cat behind a cup on a table")  # random weights say nothing
    # Taught by heart what follows this question, it answers with it, and the answer is the split.
    wanted = torch.tensor([tokenizer(json.dumps(ANSWER))["input_ids"] + [tokenizer.eos_token_id]])
    tokens = torch.cat([asked[0], wanted], dim=1)
    labels = torch.where(torch.arange(tokens.shape[1]) < asked[0].shape[1], -100, tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(300):
        loss = model(tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if float(loss.detach()) < 0.01:
            break
    model.eval()
    split = planner.split("a red cat behind  a cup on a table")
    assert split.foregrounds == ("a cup", "a red cat")
    assert (split.background, split.by) == ("a table", "small")
    assert split.whole == "a red cat behind a cup on a table"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A cat.",
        "{",
        "[1]",
        '{"foregrounds": ["a cat"]}',
        '{"foregrounds": [], "background": "a sofa"}',
        '{"foregrounds": "a cat", "background": "a sofa"}',
        '{"foregrounds": [3], "background": "a sofa"}',
    ],
)
def test_an_answer_that_is_no_split_is_told(answer: str):
    with pytest.raises(LayercliError, match="no split") as caught:
        split_in(answer, "a cat", "small")
    assert "leave out --planner" in caught.value.hint


def test_talk_around_the_answer_is_passed_over():
    split = split_in(f"Sure! {json.dumps(ANSWER)} Is that all?", "a cat", "small")
    assert split.background == "a table"


def test_a_folder_without_a_model_is_told(tmp_path: Path):
    with pytest.raises(LayercliError, match="holds no language model"):
        Planner(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no such kind"}')
    with pytest.raises(LayercliError, match="cannot be read"):
        Planner(tmp_path)
