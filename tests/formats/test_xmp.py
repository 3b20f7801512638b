from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.receipt import Receipt
from layercli.formats._xmp import NAMESPACE, packet, read_packet

TEXT = st.text(max_size=20) | st.sampled_from(
    ["]]>", "&amp;", "\x00\x1f\x7f\x85", "\ud800", "\ufffe", "\u2028"]
)


@given(st.dictionaries(TEXT, TEXT, max_size=3), st.dictionaries(TEXT, TEXT, max_size=3))
def test_any_text_comes_back_and_the_packet_is_xml(request, prompts):
    receipt = Receipt(request=request, device="cpu")
    data = packet(receipt, prompts)
    ElementTree.fromstring(data)
    found, found_prompts = read_packet(data)
    assert found == receipt
    assert found_prompts == {name: prompt for name, prompt in prompts.items() if prompt}


def test_without_a_receipt_there_is_none():
    assert read_packet(packet(None, {"a": ""})) == (None, {})


def test_attributes_and_other_prefixes_are_read_as_other_programs_write_them():
    data = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
    <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <r:Description xmlns:q="{NAMESPACE}" q:Receipt='{{"device": "cuda"}}'>
    <q:Prompts>{{"a": "b", "c": 3}}</q:Prompts></r:Description></r:RDF></x:xmpmeta>"""
    assert read_packet(data.encode()) == (Receipt(device="cuda"), {"a": "b"})


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
BROKEN = packet(Receipt(), {"a": "b"}).replace(b'"seconds": 0.0', b'"seconds": "x"').replace(b'{"a"', b'["a"')


@pytest.mark.parametrize("data", [b"", b"junk", b"<x:xmpmeta><", b"<x:xmpmeta></x:xmpmeta>", BOMB, BROKEN])
def test_damage_is_passed_over(data):
    assert read_packet(data) == (None, {})
