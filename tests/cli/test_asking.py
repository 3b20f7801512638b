"""Words become a request, and a request becomes the words that make it again."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from layercli.cli.app import app
from layercli.cli.asking import box, build_request, command_line, pairs
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and not text.startswith("-")
)
KEYS = WORDS.filter(lambda text: "=" not in text and "." not in text)


@given(
    st.builds(
        GenerateRequest,
        foregrounds=st.lists(WORDS, min_size=1, max_size=3).map(tuple),
        background=WORDS,
        negative=WORDS | st.just(""),
        size=st.builds(Size, st.integers(1, 999), st.integers(1, 999)),
        seed=st.integers(0, 10**6),
        guidance=st.integers(0, 200).map(lambda tenths: tenths / 10),
        harmonize=st.sampled_from(["irh", "over", "none"]),
        options=st.dictionaries(KEYS, WORDS, max_size=2),
        boxes=st.dictionaries(st.just("1"), st.just((0.1, 0.25, 0.5, 0.9)), max_size=1),
    )
)
def test_the_command_line_of_a_request_makes_the_same_request(request_: GenerateRequest):
    import json

    words = shlex.split(command_line(request_))
    assert words[0] == "layercli"
    result = CliRunner().invoke(app, [*words[1:], "--dry-run", "--json"])
    assert result.exit_code == 0, result.stderr
    [picture] = json.loads(result.stdout)["pictures"]
    assert GenerateRequest.from_dict(picture["request"]) == request_
    assert shlex.split(picture["command"]) == words


def test_pairs_keep_everything_after_the_first_equals_sign():
    assert pairs(["cat=a=b", " dog = m.png "], "--mask") == {"cat": "a=b", "dog": "m.png"}


@pytest.mark.parametrize("text", ["cat", "=0.5", "", " =x"])
def test_what_is_no_pair_is_quoted(text: str):
    with pytest.raises(LayercliError) as caught:
        pairs([text], "--mask")
    assert caught.value.message == f'"{text}" is not KEY=VALUE.'
    assert caught.value.hint == "Try: --mask key=value"


def test_a_key_twice_is_refused():
    with pytest.raises(LayercliError, match='--mask gives "cat" twice'):
        pairs(["cat=a", "cat=b"], "--mask")


def test_a_box_is_four_numbers():
    assert box("cat", "0.1,0.4,.5,1") == (0.1, 0.4, 0.5, 1.0)
    for text in ("", "1,2,3", "a,b,c,d", "0,0,1,1,1"):
        with pytest.raises(LayercliError, match="is not four numbers"):
            box("cat", text)


def given_options(**more: Any) -> dict[str, Any]:
    return {
        "foregrounds": ["a cat"],
        "background": "a sofa",
        "seed": None,
        "boxes": [],
        "force": False,
        **more,
    }


def test_what_is_left_out_is_the_default():
    plain = GenerateRequest(foregrounds=("a cat",), background="a sofa")
    assert build_request(given_options()) == plain.replace(steps=20)  # the embedded model's own
    assert build_request(given_options(model="sdxl")) == plain.replace(model="sdxl")
    assert build_request(given_options(steps=7)).steps == 7


@pytest.mark.parametrize(("steps", "said"), [(20, ""), (30, " --steps 30")])
def test_steps_are_said_where_the_model_would_take_others(steps: int, said: str) -> None:
    request = GenerateRequest(foregrounds=("a cat",), background="a sofa", steps=steps)
    assert command_line(request) == f"layercli generate --fg 'a cat' --bg 'a sofa'{said}"


def test_what_is_said_changes_a_stored_request_and_no_more():
    stored = GenerateRequest(foregrounds=("a dog",), background="a beach", seed=5, steps=9)
    asked = {"foregrounds": None, "background": None, "seed": 6, "steps": None}
    assert build_request(asked, stored) == stored.replace(seed=6)


@pytest.mark.parametrize(("foregrounds", "told"), [(["a cat", "a dog"], "background"), (None, "picture")])
def test_what_must_be_said_is_asked_for(foregrounds: list[str] | None, told: str):
    with pytest.raises(LayercliError, match=f"no {told} to draw") as caught:
        build_request(given_options(foregrounds=foregrounds, background=None))
    assert "--bg" in caught.value.hint


def test_a_foreground_is_asked_for_alone():
    request = build_request(given_options(foregrounds=["a cat"], background=None))
    assert request.foregrounds == ("a cat",) and request.background == ""
    assert "--bg" not in command_line(request)
    assert build_request({**given_options(background="a sofa"), "foregrounds": None}, request).background


def test_a_background_is_asked_for_alone():
    request = build_request(given_options(foregrounds=None))
    assert request.foregrounds == () and request.background
    assert build_request({**given_options(foregrounds=None), "seed": 3}, request).foregrounds == ()
