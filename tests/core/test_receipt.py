from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.core.receipt import Receipt

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
WORDS = st.dictionaries(TEXT, TEXT, max_size=3)


@given(st.dictionaries(TEXT, JSON, max_size=3), WORDS, WORDS, st.floats(0, 1e9), TEXT, TEXT)
def test_round_trip(request, versions, weights, seconds, device, command):
    receipt = Receipt(
        request=request, versions=versions, weights=weights, seconds=seconds, device=device, command=command
    )
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_keys_of_later_versions_are_passed_over():
    assert Receipt.from_json('{"device": "cpu", "flavour": 3}') == Receipt(device="cpu")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"device": 3}', '{"seconds": true}', '{"seconds": -1}', "[" * 99999]
)
def test_damage_is_refused(text):
    with pytest.raises(LayercliError):
        Receipt.from_json(text)


@pytest.mark.parametrize("request_", [{"a": object()}, {"a": float("nan")}])
def test_what_is_not_json_is_refused(request_):
    with pytest.raises(LayercliError):
        Receipt(request=request_).to_json()
