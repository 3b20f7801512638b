"""Words that no caption holds are read as nouns that captions hold, and the script finds which."""

from __future__ import annotations

import json
import runpy
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.evaluate._board import SYNONYMS
from layercli.models.kin import FILE, Kin
from layercli.models.text_static import EMBEDDED_FOLDER, StaticTextEncoder
from layercli.models.vocabulary import VOCABULARY, KnownWords, read_as, unknown_words

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "rebuild_kin.py"


@pytest.fixture(scope="module")
def encoder() -> StaticTextEncoder:
    return StaticTextEncoder.load()


def test_a_word_without_captions_is_read_as_its_noun_to_the_bit(encoder: StaticTextEncoder) -> None:
    asked = encoder.encode(
        ["a stallion, flat", "two Hounds' bones", "an  infant on a Jet", "a 3d aeroplane"]
    )[0]
    plain = encoder.encode(["a horse, flat", "two dog' bones", "a  baby on an airplane", "a 3d airplane"])[0]
    assert torch.equal(asked, plain)


def test_words_that_captions_hold_are_left_alone(encoder: StaticTextEncoder) -> None:
    counts = json.loads(VOCABULARY.read_text(encoding="utf-8"))
    assert [word for word in counts if encoder.kin.read(word) != word] == []
    assert set(encoder.kin.nouns.values()) <= set(counts)


def test_every_synonym_of_the_scoreboard_is_read_as_its_noun(encoder: StaticTextEncoder) -> None:
    """None is in a caption: what the captions taught is all that the network can draw for it."""
    assert {word: encoder.kin.of(word) for word in SYNONYMS} == dict(SYNONYMS)


def test_a_word_that_is_read_as_another_is_told_and_is_no_guess() -> None:
    assert read_as("a stallion beside a cat and two cottages") == {"stallion": "horse", "cottages": "house"}
    assert read_as("hills with grapes") == {}  # plurals that captions hold
    assert [item.word for item in unknown_words("a stallion and a zygote")] == ["zygote"]


def test_a_folder_without_the_list_reads_every_word_as_it_is(tmp_path: Path) -> None:
    assert Kin.load(tmp_path).read("a Stallion") == "a Stallion"


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"a": 1}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(LayercliError, match=FILE):
        Kin.load(tmp_path)


DATA = """\
  1 This software and database is being provided under a license
00000001 05 n 01 carnivore 0 000 | a meat eater
00000002 05 n 02 horse 0 Equus_caballus 0 002 @ 00000009 n 0000 ~ 00000003 n 0000 | solid-hoofed
00000003 05 n 01 stallion 0 001 @ 00000002 n 0000 | uncastrated adult male horse
00000004 05 n 02 pig 0 hog 0 001 @ 00000009 n 0000 | domestic swine
00000005 05 n 01 piglet 0 001 @ 00000008 n 0000 | a young pig
00000006 07 n 01 freedom 0 000 | the condition of being free
00000007 06 n 01 gallop 0 001 @ 00000002 n 0000 | a thing mostly done
00000008 05 n 01 young_mammal 0 000 | any immature mammal
00000009 05 n 01 ungulate 0 002 ~ 00000002 n 0000 ~ 00000004 n 0000 | hoofed
"""
INDEX = "".join(
    f"{word} n 1 1 @ 1 0 0000000{number}\n"
    for word, number in (
        ("horse", 2), ("stallion", 3), ("pig", 4), ("hog", 4), ("piglet", 5), ("freedom", 6), ("gallop", 7),
    )
)  # fmt: skip
TAGGED = "gallop%1:06:00:: 00000007 1 1\ngallop%2:38:00:: 00000099 1 9\n" + "".join(
    f"{word}%1:05:00:: 0000000{n} 1 2\n"
    for word, n in (("stallion", 3), ("hog", 4), ("piglet", 5), ("freedom", 6))
)


def test_the_script_finds_kin_in_definitions_and_above(encoder: StaticTextEncoder) -> None:
    script: dict[str, Any] = runpy.run_path(str(SCRIPT))
    known = KnownWords({"horse": 20, "pig": 20, "ant": 20}, encoder)
    found = script["kin"](script["WordNet"](DATA, INDEX, TAGGED), known)
    assert found == {
        "stallion": "horse",
        "hog": "pig",
        "piglet": "pig",
    }  # a gallop is done, freedom has no shape


def test_the_script_refuses_another_archive(tmp_path: Path) -> None:
    archive = tmp_path / "other.tgz"
    with tarfile.open(archive, "w:gz") as files:
        files.add(SCRIPT, "package/other.py")
    with pytest.raises(SystemExit, match="npm pack"):
        runpy.run_path(str(SCRIPT))["read_archive"](archive)


def test_what_ships_stands_beside_the_encoder() -> None:
    assert len(Kin.load(EMBEDDED_FOLDER).nouns) > 1000
