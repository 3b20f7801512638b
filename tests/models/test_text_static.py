"""The text encoder and the list of known words that ship with the embedded model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.models.text_static import EMBEDDED_FOLDER, MAX_LENGTH, StaticTextEncoder
from layercli.models.vocabulary import VOCABULARY, KnownWords, embedded_words, unknown_words

COMMON_NOUNS = (
    "cat dog car tree house bird fish flower apple chair sofa table lamp bed boat bus truck airplane "
    "bicycle ball clock phone guitar umbrella hat shoe bear horse cow pig rabbit cup bottle banana "
    "pizza cake castle robot book butterfly"
)


@pytest.fixture(scope="module")
def encoder() -> StaticTextEncoder:
    return StaticTextEncoder.load()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "text"))


def similarity(encoder: StaticTextEncoder, a: str, b: str) -> float:
    first, second = encoder.phrase_vectors([a, b])
    return float(first @ second)


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("kitty", "cat", "car"),
        ("automobile", "car", "cat"),
        ("puppy", "dog", "chair"),
        ("armchair", "chair", "car"),
        ("sofa", "couch", "bed"),
        ("airplane", "plane", "boat"),
        ("a kitten", "a cat", "a dog"),
        ("a piglet", "a pig", "a dog"),
        ("an ocean", "a sea", "a forest"),
    ],
)
def test_a_word_outside_the_captions_is_nearer_to_its_kin(
    encoder: StaticTextEncoder, word: str, near: str, far: str
) -> None:
    assert similarity(encoder, word, near) > similarity(encoder, word, far) + 0.1


def test_nearest_known_names_the_kin_first(encoder: StaticTextEncoder) -> None:
    nouns = COMMON_NOUNS.split()
    expected = {
        "a puppy": "dog",
        "kitty": "cat",
        "an automobile": "car",
        "a couch": "sofa",
        "fortress": "castle",
    }
    for prompt, noun in expected.items():
        (first, best), (_, second) = encoder.nearest_known(prompt, nouns, 2)
        assert first == noun and best > second


def test_common_nouns_are_one_piece_of_unit_size_and_apart(encoder: StaticTextEncoder) -> None:
    nouns = COMMON_NOUNS.split()
    vectors, mask = encoder.encode(nouns)
    assert mask.sum(1).tolist() == [1] * len(nouns)
    rms = vectors[:, 0].square().mean(1).sqrt()
    assert rms.min() > 0.5 and rms.max() < 1.3
    unit = encoder.phrase_vectors(nouns)
    assert np.triu(unit @ unit.T, 1).max() < 0.5  # the nearest pair is bird and airplane, .41


def test_components_have_unit_rms_over_the_vocabulary(encoder: StaticTextEncoder) -> None:
    rms = np.sqrt(np.square(encoder.codes * encoder.scale[:, None]).mean(0))
    assert encoder.dimension == 256
    np.testing.assert_allclose(rms, 1.0, atol=0.01)


def test_padding_is_zero_and_the_null_prompt_is_one_zero_token(encoder: StaticTextEncoder) -> None:
    vectors, mask = encoder.encode(["a cat", "", "猫"])
    assert vectors.shape == (3, MAX_LENGTH, 256) and vectors.dtype == torch.float32
    assert mask.sum(1).tolist() == [2, 1, 1]
    assert not vectors[mask == 0].any()
    assert not vectors[1:].any()
    assert vectors[0, 1].any()


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_any_text_encodes_alike_alone_and_in_a_batch(encoder: StaticTextEncoder, prompts: list[str]) -> None:
    vectors, mask = encoder.encode(prompts)
    assert torch.isfinite(vectors).all() and (mask.sum(1) >= 1).all()
    alone, _ = encoder.encode(prompts[-1:])
    assert torch.equal(alone[0], vectors[-1])


def test_two_loads_give_the_same_numbers(encoder: StaticTextEncoder) -> None:
    again = StaticTextEncoder.load()
    prompts = ["a red 3d render of a sofa", "Kitty!"]
    assert torch.equal(encoder.encode(prompts)[0], again.encode(prompts)[0])


def test_case_and_accents_do_not_matter(encoder: StaticTextEncoder) -> None:
    ids, _ = encoder.tokenize(["A Café", "a cafe"])
    assert torch.equal(ids[0], ids[1])


def test_names_of_special_tokens_are_plain_text(encoder: StaticTextEncoder) -> None:
    ids, mask = encoder.tokenize(["[PAD] [UNK]"])
    assert (ids[mask == 1] > 1).all()


def test_truncation_is_reported(encoder: StaticTextEncoder) -> None:
    long = "dog " * 24 + "cat and bird"
    assert encoder.truncated([long, "dog " * 24, ""]) == ["cat and bird", "", ""]
    _, mask = encoder.tokenize([long])
    assert mask.sum() == MAX_LENGTH


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("left", [0, 4, 200])
def test_a_truncated_file_is_named(folder: Path, name: str, left: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:left])
    with pytest.raises(LayercliError, match=name) as caught:
        StaticTextEncoder.load(folder)
    assert caught.value.hint


def test_weights_cut_near_the_end_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LayercliError, match="damaged"):
        StaticTextEncoder.load(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LayercliError, match=r"tokenizer\.json is missing"):
        StaticTextEncoder.load(folder)


def test_a_tokenizer_of_another_vocabulary_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    del tokenizer["model"]["vocab"]["cat"]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(LayercliError, match="does not fit together"):
        StaticTextEncoder.load(folder)


def test_the_folder_is_small_and_states_its_licence(encoder: StaticTextEncoder) -> None:
    assert sum(path.stat().st_size for path in EMBEDDED_FOLDER.iterdir()) <= 7_500_000
    assert encoder.config["licence"].startswith("MIT, Copyright")
    assert all(len(digest) == 64 for digest in encoder.config["sha256_of_originals"].values())


def test_known_words_hold_the_common_nouns_and_counts() -> None:
    counts = json.loads(VOCABULARY.read_text(encoding="utf-8"))
    assert len(counts) <= 2500 and min(counts.values()) >= 3
    assert set(COMMON_NOUNS.split()) <= set(counts)


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat",
        "two wolves and the foxes",
        "a kitty, a puppy on a sofa",
        "the dog's ball",
        "a plane, 3d render",
        "",
    ],
)
def test_words_the_model_understands_give_no_warning(prompt: str) -> None:
    assert unknown_words(prompt) == []


def test_an_unseen_word_comes_with_its_neighbours() -> None:
    (unknown,) = unknown_words("a zebrafish on a table")
    assert unknown.word == "zebrafish"
    assert set(unknown.nearest[:2]) == {"zebra", "fish"}
    assert unknown.similarity > 0.7


def test_a_whole_word_that_is_far_from_all_trained_ones_is_unknown() -> None:
    words = [item.word for item in unknown_words("a cathedral with a submarine and a cathedral")]
    assert words == ["cathedral", "submarine"]


def test_a_word_in_another_script_is_unknown_without_neighbours() -> None:
    (unknown,) = unknown_words("猫")
    assert (unknown.word, unknown.nearest, unknown.similarity) == ("猫", (), 0.0)


def test_neighbours_do_not_repeat_each_other() -> None:
    terms = " ".join(term for term, _ in embedded_words().nearest("bluebird", 5)).split()
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"cat": "many"}', "{}"])
def test_a_damaged_word_list_is_named(tmp_path: Path, encoder: StaticTextEncoder, content: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LayercliError, match=r"vocabulary\.json"):
        KnownWords.load(path, encoder)
