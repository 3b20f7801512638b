"""A request is checked where it is born and survives the trip through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.requests import LARGEST_SEED, GenerateRequest

PROMPTS = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "")
FRACTIONS = st.integers(0, 100).map(lambda percent: percent / 100)


@st.composite
def boxes(draw) -> tuple[float, float, float, float]:
    left, right = sorted(draw(st.lists(FRACTIONS, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(FRACTIONS, min_size=2, max_size=2, unique=True)))
    return (left, top, right, bottom)


REQUESTS = st.builds(
    GenerateRequest,
    foregrounds=st.lists(PROMPTS, min_size=1, max_size=4).map(tuple),
    background=PROMPTS,
    prompt=st.text(max_size=20),
    negative=st.text(max_size=20),
    size=st.builds(Size, st.integers(1, 4096), st.integers(1, 4096)),
    seed=st.integers(0, LARGEST_SEED),
    steps=st.integers(1, 1000),
    guidance=st.floats(0, 100),
    options=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    harmonize=st.sampled_from(["irh", "over", "none"]),
    boxes=st.dictionaries(st.just("1"), boxes(), max_size=1),
    given=st.text(max_size=8),
    style=st.text(max_size=8),
)


def cat_on_sofa(**changes) -> GenerateRequest:
    return GenerateRequest(foregrounds=("a cat",), background="a sofa").replace(**changes)


@given(REQUESTS)
def test_json_round_trips(request_: GenerateRequest):
    assert GenerateRequest.from_json(request_.to_json()) == request_


@given(REQUESTS)
def test_a_dict_of_plain_values_round_trips_too(request_: GenerateRequest):
    plain = request_.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert GenerateRequest.from_dict(plain) == request_


@given(st.lists(PROMPTS, min_size=1, max_size=6).map(tuple))
def test_layer_names_are_unique_and_in_order(prompts: tuple[str, ...]):
    names = GenerateRequest(foregrounds=prompts, background="a beach").layer_names
    assert len(set(names)) == len(names) == len(prompts)
    assert all(name.startswith(prompt.strip()) for name, prompt in zip(names, prompts, strict=True))


def test_a_background_may_stand_alone() -> None:
    request = GenerateRequest(foregrounds=(), background=" a beach ")
    assert request.layer_names == () and request.global_prompt == "a beach"
    assert GenerateRequest.from_json(request.to_json()) == request
    assert request.replace(prompt="a beach at noon").global_prompt == "a beach at noon"


def test_one_foreground_may_stand_alone() -> None:
    request = GenerateRequest(foregrounds=("a cat",), background="")
    assert request.alone and request.layer_names == ("a cat",) and request.global_prompt == "a cat"
    assert GenerateRequest.from_json(request.to_json()) == request
    assert not request.replace(background="a sofa").alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"foregrounds": ["a cat"]}, "Foregrounds are a tuple"),
        ({"foregrounds": ("a cat", "  ")}, "The foreground prompt is empty"),
        ({"background": "", "foregrounds": ()}, "The background prompt is empty"),
        ({"background": " ", "foregrounds": ("a cat",)}, "The background prompt is empty"),
        ({"background": "", "foregrounds": ("a cat",), "given": "a.png"}, "The background prompt is empty"),
        ({"background": "x" * 2001}, "has 2001 characters"),
        ({"background": "a \udcff"}, r"A prompt is not UTF-8 text: 'a \udcff'."),
        ({"style": "\udcfe"}, "A prompt is not UTF-8 text"),
        ({"seed": -1}, "seed -1 is not from 0"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"steps": 0}, "steps 0 is not from 1 to 1000"),
        ({"steps": True}, "steps is a whole number"),
        ({"guidance": float("nan")}, "guidance is a number"),
        ({"guidance": -1.0}, "guidance -1 is not from 0"),
        ({"harmonize": "irhh"}, 'harmonize cannot be "irhh"'),
        ({"boxes": {"dog": (0.0, 0.0, 1.0, 1.0)}}, 'No foreground is called "dog"'),
        ({"boxes": {"cat": (0.5, 0.0, 0.5, 1.0)}}, "0.5,0,0.5,1, is not inside the canvas"),
        ({"boxes": {"cat": (0.0, 0.0, 1.0, 1.5)}}, "is not inside the canvas"),
        ({"boxes": {"cat": (0.0, 0.0, 1.0)}}, "is not four numbers"),
        ({"boxes": {"cat": (float("nan"), 0.0, 1.0, 1.0)}}, "is not inside the canvas"),
        ({"masks": {"dog": "m.png"}}, 'No foreground is called "dog"'),
        ({"foregrounds": (), "given": "photo.jpg"}, "nothing to draw with photo.jpg"),
        ({"boxes": {"cat": (0.0, 0.0, 1.0, 1.0)}, "masks": {"1": "m.png"}}, "has a box and a mask"),
        ({"masks": {"cat": "n.png", "1": "m.png"}}, "is given two places"),
    ],
)
def test_values_out_of_range_are_refused_with_what_and_which(changes, message):
    with pytest.raises(LayercliError) as caught:
        cat_on_sofa(**changes)
    assert message in caught.value.message


def test_a_key_means_a_number_a_prompt_or_words_of_one_prompt_alone():
    request = cat_on_sofa(foregrounds=("a cat", "a cat on a mat", "a dog, asleep"))
    assert request.foreground_index("a cat") == 0
    assert request.foreground_index("Dog") == 2
    assert request.foreground_index("mat") == 1
    assert request.foreground_index("3") == 2
    with pytest.raises(LayercliError, match="means more than one foreground") as caught:
        request.foreground_index("cat")
    assert "2 a cat on a mat" in caught.value.hint
    with pytest.raises(LayercliError, match="No foreground is called"):
        request.foreground_index("ca")


def test_places_are_found_by_index():
    request = cat_on_sofa(
        foregrounds=("a cat", "a ball"), boxes={"ball": (0.1, 0.2, 0.3, 0.4)}, masks={"1": "m.png"}
    )
    assert (request.box_of(0), request.box_of(1)) == (None, (0.1, 0.2, 0.3, 0.4))
    assert (request.mask_of(0), request.mask_of(1)) == ("m.png", None)


def test_the_global_text_is_made_of_the_parts_unless_given():
    assert cat_on_sofa(foregrounds=("a dog", "a ball")).global_prompt == "a dog and a ball, a sofa"
    assert cat_on_sofa(prompt=" a cat sleeping on a sofa ").global_prompt == "a cat sleeping on a sofa"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"foregrounds": ["a"], "background": "b", "sees": 1}', 'no field "sees"'),
        ('{"background": "b"}', "cannot be read"),
        ('{"foregrounds": [1], "background": "b"}', "cannot be read"),
        ('{"foregrounds": ["a"], "background": "b", "size": [1]}', "cannot be read"),
        ('{"foregrounds": ["a"], "background": "b", "boxes": 3}', "cannot be read"),
        ('{"foregrounds": ["a"], "background": "b", "size": [0, 0]}', "cannot be 0x0"),
    ],
)
def test_a_damaged_stored_request_is_refused(text: str, message: str):
    with pytest.raises(LayercliError) as caught:
        GenerateRequest.from_json(text)
    assert message in caught.value.message
