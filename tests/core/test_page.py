"""The page of a stack: one file, every layer in it, nothing fetched, no name that breaks out of it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from layercli.core import page
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Size
from layercli.core.pixels import quantize
from tests.formats.stacks import noise, sample_stack


class Parsed(HTMLParser):
    """The elements of a page, and the text of those that have an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


def data_of(text: str) -> dict:
    return json.loads(Parsed(text).texts["data"])


def picture(url: str) -> np.ndarray:
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_every_layer_is_in_it_as_it_is():
    stack = sample_stack()
    data = data_of(page.draw_page(stack, "a.psd"))
    assert (data["file"], data["width"], data["height"]) == ("a.psd", 24, 24)
    np.testing.assert_array_equal(picture(data["picture"]), stack.flatten_quantized())
    assert [entry["name"] for entry in data["layers"]] == list(stack.names)
    for entry, layer in zip(data["layers"], stack.layers, strict=True):
        assert (entry["left"], entry["top"]) == (layer.offset.left, layer.offset.top)
        assert (entry["blend"], entry["visible"]) == (layer.blend, layer.visible)
        assert entry["opacity"] == pytest.approx(layer.opacity, abs=1e-4)
        assert entry["group"] == "/".join(layer.group)
        wanted = quantize(layer.rgba)
        if layer.mask is not None:
            wanted[..., 3] = quantize(layer.rgba[..., 3] * layer.mask)
        np.testing.assert_array_equal(picture(entry["picture"]), wanted)


def test_layers_that_go_together():
    stack = sample_stack()
    data = data_of(page.draw_page(stack, "a.psd", {"soft": ["multiply light", "screen light"], "ground": []}))
    assert [entry["together"] for entry in data["layers"]][:3] == [[], [], [5, 6]]
    assert [entry["effect"] for entry in data["layers"]].count(True) == 2


def test_nothing_is_fetched():
    text = page.draw_page(sample_stack(), "a.psd")
    parsed = Parsed(text)
    [policy] = [a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    assert not re.findall(r"https?://|//[a-z]+\.[a-z]|@import|url\(|src=\"|fetch\(|XMLHttp", text)
    assert not [attrs for _, attrs in parsed.tags if {"src", "href"} & set(attrs)]
    wanted = {"frame", "stage", "before", "wipe", "layers", "reset", "copy", "command", "data"}
    assert wanted <= {attrs.get("id") for _, attrs in parsed.tags}


def test_names_stay_names():
    evil = '</script><img src=x onerror=alert(1)> & "quoted" \u2028'
    stack = LayerStack(
        canvas=Size(4, 4), layers=(Layer(name=evil, rgba=noise(4, 4, 1), group=("<b>", "@data@")),)
    )
    text = page.draw_page(stack, f"{evil}@data@.psd".replace("@data@", ""))
    parsed = Parsed(text)
    assert "img" not in {tag for tag, _ in parsed.tags}
    [entry] = data_of(text)["layers"]
    assert (entry["name"], entry["group"]) == (evil, "<b>/@data@")
    assert parsed.texts["title"] == f"{evil}.psd"


def test_a_page_that_would_be_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(page, "MOST_PIXELS", 100)
    with pytest.raises(LayercliError, match=r"big.psd has .* too many for one page"):
        page.draw_page(sample_stack(), "big.psd")


def test_a_file_name_cannot_stand_for_the_data():
    stack = dataclasses.replace(sample_stack(), layers=sample_stack().layers[:1])
    assert data_of(page.draw_page(stack, "@data@.psd"))["file"] == "@data@.psd"
