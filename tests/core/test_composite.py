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


def test_strips_do_not_show():
    rng = np.random.default_rng(0)
    planes = rng.random((4, 700, 300), dtype=np.float32)
    sources = [
        comp.Source(planes=planes, left=-20, top=-30),
        comp.Source(planes=planes[:, ::-1], left=40, top=90, blend="overlay", opacity=0.5, mask=planes[0]),
    ]
    whole = np.moveaxis(comp.merge(400, 800, sources), 0, -1)
    first, second = np.zeros((2, 800, 400, 4), dtype=np.float32)
    first[:670, :280] = np.moveaxis(planes, 0, -1)[30:, 20:]
    second[90:790, 40:340] = np.moveaxis(planes[:, ::-1], 0, -1)
    second[90:790, 40:340, 3] *= planes[0]
    np.testing.assert_allclose(whole, comp.composite(first, second, "overlay", 0.5), atol=1e-4)


def test_an_unknown_blend_mode_is_refused_by_name():
    pixel = np.zeros((1, 1, 4), dtype=np.float32)
    with pytest.raises(LayercliError, match="dissolve") as caught:
        comp.composite(pixel, pixel, "dissolve")
    assert "screen" in caught.value.hint
