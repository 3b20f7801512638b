"""The folder is the registry: listed without importing, and Options are checked honestly."""

import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core import registry
from layercli.core.errors import LayercliError

PLUGIN = '''
"""Blend frames with a window.

More about it.
"""
from __future__ import annotations
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EXTENSIONS: tuple[str, ...] = (".aa", ".ab")

@dataclass(frozen=True, kw_only=True)
class Options:
    window: tuple[int, int] = (400, 600)
    strength: float = 0.5
    passes: int = 2
    soft: bool = True
    word: str = ""
    mode: Literal["first", "last"] = "first"
    limit: int | None = None
    levels: tuple[int, ...] = (1, 2)
    folder: Path = Path("here")

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError("passes is at least 1")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two plug-ins, one of which cannot be imported, a private file and a plain module."""
    folder = tmp_path / "verbs_for_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "two_words.py").write_text(PLUGIN)
    (folder / "broken.py").write_text('"""Fails when imported."""\nclass Options: ...\nraise SystemExit\n')
    (folder / "_private.py").write_text("class Options: ...\n")
    (folder / "heir.py").write_text(
        '"""Inherits."""\nfrom verbs_for_test._base import Base\n'
        "class Options(Base):\n    steps: int = 20\n    data: str\n"
    )
    (folder / "dotted.py").write_text(
        '"""Inherits by a dotted name."""\nfrom verbs_for_test import _base as kept\n'
        "class Options(kept.Base):\n    steps: int = 30\n"
    )
    (folder / "_base.py").write_text("class Base:\n    seed: int = 0\n    steps: int = 10\n")
    (folder / "plain.py").write_text('"""Not a plug-in."""\nEXTENSIONS = (".zz",)\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "verbs_for_test"
    for name in [name for name in sys.modules if name.startswith("verbs_for_test")]:
        del sys.modules[name]


@pytest.fixture
def module(package):
    return registry.load(package, "two-words")


def test_plugins_are_listed_with_their_first_line_and_not_imported(package):
    assert registry.plugins(package) == {
        "broken": "Fails when imported.",
        "dotted": "Inherits by a dotted name.",
        "heir": "Inherits.",
        "two-words": "Blend frames with a window.",
    }
    assert f"{package}.broken" not in sys.modules


def test_constants_are_read_without_importing(package):
    assert registry.constants(package, "EXTENSIONS") == {"two-words": (".aa", ".ab")}
    assert f"{package}.two_words" not in sys.modules


def test_options_are_outlined_without_importing(package):
    outline = registry.outline(package, "two-words")
    assert outline["window"] == "tuple[int, int] = (400, 600)"
    assert outline["word"] == "str = ''"
    assert f"{package}.two_words" not in sys.modules


def test_an_outline_holds_what_options_inherit(package):
    outline = registry.outline(package, "heir")
    assert outline == {"seed": "int = 0", "steps": "int = 20", "data": "str"}
    assert registry.outline(package, "dotted") == {"seed": "int = 0", "steps": "int = 30"}
    assert f"{package}._base" not in sys.modules


def test_an_unknown_plugin_lists_those_there_are(package):
    for ask in (registry.load, registry.outline):
        with pytest.raises(LayercliError) as caught:
            ask(package, "two-wrds")
        assert caught.value.message == 'There is no "two-wrds" in verbs_for_test.'
        assert caught.value.hint == "Did you mean two-words? There are: broken, dotted, heir, two-words."


def test_a_name_with_a_path_in_it_is_not_a_plugin(package):
    with pytest.raises(LayercliError, match="There is no"):
        registry.load(package, "../two-words")


def test_options_take_every_kind_of_value(module):
    options = registry.options_for(
        module,
        {
            "window": "300-500",
            "strength": "-1.5",
            "passes": "3",
            "soft": "No",
            "word": "a=b",
            "mode": "last",
            "limit": "none",
            "levels": "4,5,6",
            "folder": "there",
        },
    )
    assert (options.window, options.strength, options.passes) == ((300, 500), -1.5, 3)
    assert (options.soft, options.word, options.mode) == (False, "a=b", "last")
    assert (options.limit, options.levels, str(options.folder)) == (None, (4, 5, 6), "there")
    assert registry.options_for(module, {"limit": "7"}).limit == 7
    assert registry.options_for(module, {}) == module.Options()


@given(st.integers(0, 999), st.integers(0, 999))
def test_a_range_may_be_written_with_a_dash_or_a_comma(first: int, last: int):
    text = textwrap.dedent(PLUGIN)
    namespace = type(sys)("ranges")
    sys.modules["ranges"] = namespace
    exec(compile(text, "ranges", "exec"), namespace.__dict__)
    for separator in "-,":
        options = registry.options_for(namespace, {"window": f"{first}{separator}{last}"})
        assert options.window == (first, last)


def test_an_unknown_key_lists_the_valid_ones(module):
    with pytest.raises(LayercliError) as caught:
        registry.options_for(module, {"windw": "1-2"})
    assert caught.value.message == 'two-words has no option "windw".'
    assert caught.value.hint.startswith("Did you mean window? There are: window, strength, passes")


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("window", "300", "2 whole numbers (a-b)"),
        ("window", "1-2-3", "2 whole numbers (a-b)"),
        ("strength", "much", "a number"),
        ("strength", "nan", "a number"),
        ("passes", "2.5", "a whole number"),
        ("soft", "maybe", "yes or no"),
        ("mode", "middle", "one of first, last"),
        ("limit", "x", "a whole number or none"),
        ("levels", "1,b", "a list of whole numbers (a,b,c)"),
    ],
)
def test_a_value_of_another_type_says_what_is_wanted(module, key, text, wanted):
    with pytest.raises(LayercliError) as caught:
        registry.options_for(module, {key: text})
    assert caught.value.message == f'two-words: {key}="{text}" is not {wanted}.'


def test_what_the_options_themselves_refuse_is_told(module):
    with pytest.raises(LayercliError, match="two-words: passes is at least 1"):
        registry.options_for(module, {"passes": "0"})


def test_a_required_option_is_asked_for(module):
    source = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    data: str\n"
    exec(source, module.__dict__)
    with pytest.raises(LayercliError, match='needs the option "data"'):
        registry.options_for(module, {})
