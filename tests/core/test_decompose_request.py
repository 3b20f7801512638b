"""A decompose request is checked where it is born and survives the trip through JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError

SIDES = st.integers(0, 1000).map(lambda n: n / 1000)
NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() != "")


@given(
    st.builds(
        DecomposeRequest,
        photo=st.text(min_size=1, max_size=20),
        layers=st.sampled_from([0, 2, 5, 32]),
        boxes=st.dictionaries(
            NAMES.map(lambda n: f"b{n}"),
            st.just((0.1, 0.2, 0.5, 0.9)) | st.just((10.0, 20.0, 50.0, 90.0)),
            max_size=1,
        ),
        points=st.dictionaries(NAMES.map(lambda n: f"p{n}"), st.tuples(SIDES, SIDES), max_size=0),
        options=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_plain_values_round_trip(request_):
    plain = json.loads(request_.to_json())
    assert plain == request_.to_dict()
    assert DecomposeRequest.from_dict(plain) == request_


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photo": ""}, "There is no photo"),
        ({"layers": 1}, "One layer is the photo itself"),
        ({"layers": 33}, "layers 33 is not"),
        ({"layers": True}, "layers True is not"),
        ({"seed": -1}, "seed -1 is not"),
        ({"boxes": {"cat": (0.1, 0.2, 0.5)}}, 'The box of "cat" is not 4 numbers'),
        ({"boxes": {"cat": (0.5, 0.2, 0.5, 0.9)}}, 'The box of "cat" is empty'),
        ({"boxes": {"cat": (-0.1, 0.2, 0.5, 0.9)}}, "from 0 on"),
        ({"boxes": {"cat": (float("nan"), 0.2, 0.5, 0.9)}}, "is not 4 numbers"),
        ({"points": {"cat": (0.5,)}}, 'The point of "cat" is not 2 numbers'),
        ({"points": {" ": (0.5, 0.5)}}, "has no name"),
        ({"points": {"cat": (0.5, 0.5)}, "masks": {"cat": "m.png"}}, '"cat" is given two places'),
        ({"points": {"a": (0.5, 0.5), "b": (0.1, 0.1)}, "layers": 2}, "2 objects and a background are more"),
    ],
)
def test_values_out_of_range_are_refused_with_what_and_which(changes, message):
    with pytest.raises(LayercliError) as caught:
        DecomposeRequest(**{"photo": "a.jpg", **changes})
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "values",
    [
        {"photo": "a", "sees": 1},
        {"photo": 3},
        {"photo": "a", "boxes": 3},
        {"photo": "a", "masks": {"m": 1}},
        {},
    ],
)
def test_a_damaged_stored_request_is_refused(values):
    with pytest.raises(LayercliError):
        DecomposeRequest.from_dict(values)
