"""Contact sheets: what is drawn, and where; names of any language; nothing under alpha 0 shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.lettering import choose_font, lettering, spell
from layercli.core.sheet import PALETTES, draw_grid, draw_sheet

RED, GREEN, BLUE = (0.9, 0.05, 0.05), (0.05, 0.8, 0.05), (0.05, 0.05, 0.9)


def plain(name: str, colour: tuple[float, float, float], alpha: float = 1.0, side: int = 32) -> Layer:
    rgba = np.full((side, side, 4), alpha, dtype=np.float32)
    rgba[..., :3] = colour
    return Layer(name=name, rgba=rgba)


def stack_of(*layers: Layer, canvas: Size | None = None) -> LayerStack:
    return LayerStack(canvas=canvas or Size(32, 32), layers=layers)


def where(sheet: np.ndarray, colour: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(np.abs(sheet[..., :3] - np.float32(colour)).max(axis=-1) < 0.02)


def test_a_sheet_is_an_opaque_picture_of_the_width_asked_for():
    sheet = draw_sheet(stack_of(plain("a", RED)), width=640)
    assert sheet.dtype == np.float32 and sheet.shape[1:] == (640, 4)
    assert sheet.min() >= 0 and sheet.max() <= 1
    np.testing.assert_allclose(sheet[..., 3], 1, atol=1e-5)


def test_layers_go_from_left_to_right_back_to_front_and_the_composite_is_at_the_right():
    sheet = draw_sheet(stack_of(plain("a", RED), plain("b", GREEN), plain("c", BLUE)), width=900)
    red, green, blue = (where(sheet, colour)[1] for colour in (RED, GREEN, BLUE))
    assert red.size and red.mean() < green.mean() < np.median(blue)
    # The front layer hides the others, so the composite is all blue; its middle lies right of every plane.
    composite = blue[blue > 900 * 0.69]
    assert composite.size > 150**2 and red.max() < composite.min() and green.max() < composite.min()


def test_planes_stand_where_the_layer_is_on_the_canvas():
    corner = plain("corner", RED, side=8)
    at_left = draw_sheet(stack_of(corner), width=800)
    moved = dataclasses.replace(corner, offset=Offset(24, 24))
    at_right = draw_sheet(stack_of(moved), width=800)
    for axis in (0, 1):
        assert where(at_left, RED)[axis].max() < where(at_right, RED)[axis].max()


def test_transparent_places_show_both_squares_and_never_the_colour_under_them():
    sheet = draw_sheet(stack_of(plain("glass", RED, alpha=0.0)), width=700)
    light = PALETTES["light"]
    assert all(where(sheet, square)[0].size > 500 for square in light.squares)
    assert (sheet[..., 0] - sheet[..., 1]).max() < 0.05


def test_opacity_and_hiding_make_a_plane_paler():
    layer = plain("a", RED)
    full, half, hidden = (
        draw_sheet(stack_of(dataclasses.replace(layer, **change)), width=600)[:, :400, 1].min()
        for change in ({}, {"opacity": 0.5}, {"visible": False})
    )
    assert full < half and full < hidden


@pytest.mark.parametrize("canvas", [Size(1, 1), Size(2000, 3), Size(3, 2000), Size(640, 360)])
@pytest.mark.parametrize("count", [0, 1, 5, 17])
def test_any_shape_and_number_of_layers_can_be_drawn(canvas, count):
    layers = [plain(str(i), GREEN, side=3) for i in range(count)]
    sheet = draw_sheet(stack_of(*layers, canvas=canvas), width=400, background="dark")
    assert np.isfinite(sheet).all() and sheet.shape[1] == 400


def test_the_palette_is_the_papers():
    for background, palette in PALETTES.items():
        sheet = draw_sheet(stack_of(plain("a", RED)), width=400, background=background)
        np.testing.assert_allclose(sheet[0, 0, :3], palette.paper, atol=1e-6)


def test_a_caption_is_drawn_and_stays_outside_the_planes():
    named, renamed = (draw_sheet(stack_of(plain(name, RED)), width=600) for name in ("ball", "door"))
    rows, columns = np.nonzero(np.abs(named - renamed).max(axis=-1))
    assert rows.size and not set(zip(rows, columns, strict=True)) & set(zip(*where(named, RED), strict=True))


def test_the_same_stack_gives_the_same_sheet():
    stack = stack_of(plain("a", RED), plain("b", BLUE, alpha=0.3))
    np.testing.assert_array_equal(draw_sheet(stack, width=500), draw_sheet(stack, width=500))


@pytest.mark.parametrize("arguments", [{"width": 10}, {"width": 99_999}, {"background": "plaid"}])
def test_impossible_sheets_are_refused(arguments):
    with pytest.raises(LayercliError):
        draw_sheet(stack_of(plain("a", RED)), **arguments)


def test_a_grid_puts_pictures_in_rows():
    colours = [RED, GREEN, BLUE]
    pictures = [np.full((20, 20, 3), colour, dtype=np.float32) for colour in colours]
    grid = draw_grid(pictures, ["one", "two", "three"], columns=2, width=400)
    (red, green, blue) = (where(grid, colour) for colour in colours)
    assert red[1].max() < green[1].min() and red[0].max() < blue[0].min()
    assert abs(int(red[1].min()) - int(blue[1].min())) <= 1
    assert abs(int(red[0].min()) - int(green[0].min())) <= 1


def test_a_grid_keeps_each_pictures_own_shape():
    grid = draw_grid([np.full((10, 40, 4), (*GREEN, 1.0), dtype=np.float32)], columns=1, width=500)
    rows, columns = where(grid, GREEN)
    assert np.ptp(columns) == pytest.approx(4 * np.ptp(rows), rel=0.05)


def test_a_grids_title_makes_room_for_itself():
    pictures = [np.zeros((8, 8, 4), dtype=np.float32)]
    assert (
        draw_grid(pictures, columns=2, width=400, title="Nouns").shape[0]
        > draw_grid(pictures, columns=2, width=400).shape[0]
    )


@pytest.mark.parametrize(("count", "captions", "columns"), [(0, [], 3), (2, ["one"], 3), (1, [], 0)])
def test_a_grid_that_does_not_add_up_is_refused(count, captions, columns):
    with pytest.raises(LayercliError):
        draw_grid([np.zeros((4, 4, 4), dtype=np.float32)] * count, captions, columns)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12), st.integers(40, 200))
def test_any_name_can_be_written_within_its_room(text, room):
    coverage = lettering(text, 14, room)
    assert coverage.dtype == np.float32 and coverage.min() >= 0 and coverage.max() <= 1
    assert coverage.shape[1] <= room + 2 and coverage.shape[0] == round(14 * 1.45)


def test_plain_names_are_written_as_they_are_and_others_are_spelled_out():
    assert spell("a red fox, 2 (new)") == "a red fox, 2 (new)"
    assert spell("Zoë") == "Zoe"
    assert spell("\U0001f600 fox") == "(grinning face) fox"
    assert spell("日本") == "··"
    assert choose_font("a red fox") == ""


def test_a_long_name_ends_in_an_ellipsis():
    short, long = lettering("fox", 16, 90), lettering("fox " * 20, 16, 90)
    assert short.shape[1] < long.shape[1] <= 92
