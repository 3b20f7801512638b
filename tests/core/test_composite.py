from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layercli.core import composite as comp
from layercli.core.errors import LayercliError

UNIT = st.floats(0, 1, width=32)


def pictures(shape: tuple[int, ...] = (3, 4, 4)) -> st.SearchStrategy[np.ndarray]:
    """Straight-alpha pictures of 8-bit levels, alpha 0 and 1 among them."""
    return hnp.arrays(np.uint8, shape).map(lambda a: (a / np.float32(255)).astype(np.float32))


def reference(cb: float, ab: float, cs: float, a: float, blend: str) -> tuple[float, float]:
    """One channel by the formula of PDF 1.7, 11.3.6, typed from the specification, in double precision."""
    functions = {
        "normal": lambda b, s: s,
        "multiply": lambda b, s: b * s,
        "screen": lambda b, s: b + s - b * s,
        "overlay": lambda b, s: 2 * b * s if b <= 0.5 else 1 - 2 * (1 - b) * (1 - s),
    }
    alpha = ab + a - ab * a
    if alpha == 0:
        return 0.0, 0.0
    ratio = a / alpha
    return (1 - ratio) * cb + ratio * ((1 - ab) * cs + ab * functions[blend](cb, cs)), alpha


@given(pictures(), pictures(), st.sampled_from(comp.BLENDS), UNIT)
def test_composite_is_the_formula_of_the_specification(below, above, blend, opacity):
    found = comp.composite(below, above, blend, opacity)
    for index in np.ndindex(3, 4):
        for channel in range(3):
            b, s = below[index].astype(float), above[index].astype(float)
            colour, alpha = reference(b[channel], b[3], s[channel], s[3] * opacity, blend)
            assert found[index][3] == pytest.approx(alpha, abs=1e-5)
            if alpha > 1e-3:
                assert found[index][channel] == pytest.approx(colour, abs=1e-4)


@given(pictures(), pictures(), pictures())
def test_over_is_associative_on_premultiplied_values(a, b, c):
    a, b, c = (comp.premultiply(p).astype(np.float64) for p in (a, b, c))
    left = comp.over_premultiplied(comp.over_premultiplied(a, b), c)
    right = comp.over_premultiplied(a, comp.over_premultiplied(b, c))
    np.testing.assert_allclose(left, right, atol=1e-12)


@given(pictures(), pictures())
def test_over_is_over_premultiplied_divided_by_alpha(a, b):
    wanted = comp.unpremultiply(comp.over_premultiplied(comp.premultiply(a), comp.premultiply(b)))
    np.testing.assert_allclose(comp.over(a, b), wanted, atol=1e-4)


@given(pictures(), pictures(), st.sampled_from(comp.BLENDS))
def test_a_transparent_layer_changes_nothing(below, above, blend):
    above[..., 3] = 0
    found = comp.composite(below, above, blend)
    np.testing.assert_array_equal(found[..., 3], below[..., 3])
    seen = below[..., 3] > 0
    np.testing.assert_allclose(found[seen], below[seen], atol=1e-6)


@given(pictures(), pictures())
def test_an_opaque_layer_hides_everything(below, above):
    above[..., 3] = 1
    np.testing.assert_array_equal(comp.over(below, above), above)


@given(pictures())
def test_neutral_colours_of_multiply_screen_and_overlay(below):
    below[..., 3] = 1
    white, black, gray = (np.full_like(below, v) for v in (1.0, 0.0, 0.5))
    black[..., 3] = gray[..., 3] = 1
    np.testing.assert_allclose(comp.multiply(below, white), below, atol=1e-6)
    np.testing.assert_allclose(comp.screen(below, black), below, atol=1e-6)
    np.testing.assert_allclose(comp.overlay(below, gray), below, atol=1e-6)


@given(pictures((3, 4, 3)), pictures((3, 4, 3)), pictures((3, 4)))
def test_unblend_undoes_over(fg, background, alpha):
    a = alpha[..., None]
    photo = (a * fg + (1 - a) * background).astype(np.float32)
    found = comp.unblend(photo, background, alpha)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    # The photo's float rounding is divided by alpha, hence a tolerance that grows as alpha falls.
    error = np.abs(found - fg) * a
    assert error[alpha >= comp.ALPHA_FLOOR].max(initial=0) < 1e-6
    np.testing.assert_array_equal(found[alpha < comp.ALPHA_FLOOR], photo[alpha < comp.ALPHA_FLOOR])


@given(pictures(), UNIT)
def test_matte_is_over_an_even_gray(rgba, gray):
    ground = np.full_like(rgba, gray)
    ground[..., 3] = 1
    np.testing.assert_allclose(comp.matte(rgba, gray), comp.over(ground, rgba)[..., :3], atol=1e-5)


@given(pictures())
def test_unpremultiply_undoes_premultiply(rgba):
    found = comp.unpremultiply(comp.premultiply(rgba))
    seen = rgba[..., 3] > 0
    np.testing.assert_allclose(found[seen], rgba[seen], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threads", [False, True])
def test_merge_is_one_composite_after_the_other(seed, threads, monkeypatch):
    """Over several tiles, with sources that hide others, stick out, are masked, or are not seen at all."""
    monkeypatch.setattr("layercli.core.threads._WORTH", 1 if threads else 1 << 40)
    rng = np.random.default_rng(seed)
    width, height = 1300, 300
    sources, wanted = [], np.zeros((height, width, 4), dtype=np.float32)
    for index in range(7):
        w, h = int(rng.integers(1, 1700)), int(rng.integers(1, 400))
        left, top = int(rng.integers(-400, 1200)), int(rng.integers(-120, 280))
        planes = rng.integers(0, 256, (4, h, w), dtype=np.uint8)
        if index % 2 == 0:
            planes[3] = 255
        if index == 5:
            planes[3] = 0
        mask = rng.integers(0, 256, (h, w), dtype=np.uint8) if index == 3 else None
        blend = str(rng.choice(comp.BLENDS)) if index % 3 else "normal"
        opacity = 1.0 if index % 2 == 0 else float(rng.integers(0, 256)) / 255
        kept = planes if index % 3 else (planes / np.float32(255)).astype(np.float32)
        sources.append(comp.Source(planes=kept, left=left, top=top, opacity=opacity, blend=blend, mask=mask))
        above = np.zeros_like(wanted)
        y0, y1, x0, x1 = max(0, top), min(height, top + h), max(0, left), min(width, left + w)
        if y0 < y1 and x0 < x1:
            inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
            above[y0:y1, x0:x1] = np.moveaxis(planes, 0, -1)[inside] / np.float32(255)
            if mask is not None:
                above[y0:y1, x0:x1, 3] *= mask[inside] / np.float32(255)
        wanted = comp.composite(wanted, above, blend, opacity)
    found = comp.merge(width, height, sources)
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), wanted, atol=2e-5)
    levels = comp.merge(width, height, sources, quantized=True).astype(np.float32)
    assert np.abs(levels - found * 255).max() <= 0.501
    ground = np.moveaxis(comp.merge(width, height, sources, ground=0.25), 0, -1)
    np.testing.assert_allclose(ground[..., :3], comp.matte(wanted, 0.25), atol=2e-5)
    assert (ground[..., 3] == 1).all()


def test_an_unknown_blend_mode_is_refused_by_name():
    pixel = np.zeros((1, 1, 4), dtype=np.float32)
    with pytest.raises(LayercliError, match="dissolve") as caught:
        comp.composite(pixel, pixel, "dissolve")
    assert "screen" in caught.value.hint
