"""Where a net looks decides what it sees: the object that is asked for is looked for from several places."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.geometry import Size
from layercli.core.pixels import save_png
from layercli.decompose._looking import at_point, nearer_look
from layercli.decompose._objects import Names, named_objects, standing_out
from layercli.vision.grids import scaled
from layercli.vision.saliency import LOOK_PIXELS, to_look_at
from tests.decompose.made import ball, levels, over, soft_iou, wall

STRONG, FAINT = (0.9, 0.1, 0.1), (0.45, 0.62, 0.72)


class Contrast:
    """A finder as salient-object nets are: what differs most from a view's border, stretched to [0, 1]."""

    name = "contrast"
    side = 32

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
        apart = np.abs(rgb - np.median(border, axis=0)).max(axis=-1)
        return np.clip(1.6 * apart / max(float(apart.max()), 1e-6) - 0.3, 0, 1).astype(np.float32)


def photo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A strong ball on the left, a faint one on the right: the whole, and the alpha of both."""
    strong = ball(90, 160, centre=(0.45, 0.25), radius=0.3)
    faint = ball(90, 160, centre=(0.6, 0.76), radius=0.2)
    flat = levels(0.9 * np.full_like(wall(90, 160), 0.68) + 0.1 * wall(90, 160))
    return over(over(flat, faint, FAINT), strong, STRONG), strong, faint


class Counted(Contrast):
    """A finder that counts how often it is shown a whole photo."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.wholes = shape, 0

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        self.wholes += rgb.shape == self.shape
        return super().__call__(rgb)


def test_a_net_is_shown_the_whole_photo_once_for_all_points():
    look, strong, faint = photo()
    finder = Counted(look.shape)
    places = {"strong": (40 / 160, 40 / 90), "faint": (121 / 160, 54 / 90)}
    request = DecomposeRequest(photo="made", points=places)
    found = named_objects(request, look, Size(160, 90), finder, Names())
    assert finder.wholes == 1
    for entry, alpha in zip(found, (strong, faint), strict=True):
        assert soft_iou(entry.mask, alpha) > 0.8


class Closing:
    """A finder that sees a ring in the whole photo, and takes it for a disc from near."""

    name = "closing"
    side = 64

    def __init__(self, ring: np.ndarray, disc: np.ndarray) -> None:
        self.ring, self.disc = ring, disc

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        shape = self.ring.shape
        rows, columns = (rgb[0, 0, :2] * 255).round().astype(int)
        near = self.disc[rows : rows + len(rgb), columns : columns + rgb.shape[1]]
        return self.ring if rgb.shape[:2] == shape else near


@pytest.mark.parametrize("place", ["box", "point"])
def test_what_the_whole_view_sees_through_stays_open(place: str):
    rows, columns = np.mgrid[:90, :160].astype(np.float32) / 255
    look = np.stack([rows, columns, rows], axis=-1)  # by which the finder knows where it looks
    disc = ball(90, 160, centre=(0.5, 0.5), radius=0.4)
    ring = disc * (1 - ball(90, 160, centre=(0.5, 0.5), radius=0.2))
    top, bottom = (np.flatnonzero((disc > 0.5).any(axis=1))[end] for end in (0, -1))
    left, right = (np.flatnonzero((disc > 0.5).any(axis=0))[end] for end in (0, -1))
    where = {
        "box": {"boxes": {"ring": (left / 160, top / 90, (right + 1) / 160, (bottom + 1) / 90)}},
        "point": {"points": {"ring": ((left + 4) / 160, 0.5)}},
    }
    request = DecomposeRequest(photo="made", **where[place])
    (found,) = named_objects(request, look, Size(160, 90), Closing(ring, disc), Names())
    assert soft_iou(found.mask, ring) > 0.85


def test_what_a_whole_view_misses_is_found_at_its_point():
    look, strong, faint = photo()
    assert soft_iou(Contrast()(look), faint) < 0.1
    assert soft_iou(at_point(look, (121, 54), Contrast()), faint) > 0.8
    assert soft_iou(at_point(look, (40, 40), Contrast()), strong) > 0.8


def test_what_stands_out_is_looked_at_from_near():
    look, strong, faint = photo()
    found = standing_out(look, Contrast(), 3, 0.005)
    assert [entry.name for entry in found] == ["object"]
    assert soft_iou(found[0].mask, strong) > 0.8
    nearer = nearer_look(look, faint, Contrast())
    assert nearer is not None and soft_iou(nearer, faint) > 0.8
    nothing = ball(90, 160, centre=(0.15, 0.55), radius=0.1)
    assert nearer_look(look, nothing, Contrast()) is None


class Near:
    """A finder that sees red and blue from afar, and from near red alone."""

    name = "near"
    side = 32

    def __init__(self, sure: float = 1.0) -> None:
        self.sure = sure

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        red, blue = (np.clip(4 * (rgb[..., c] - rgb[..., 2 - c]), 0, 1) for c in (0, 2))
        if rgb.shape[:2] != (90, 160):
            return red
        both = np.clip(4 * np.abs(rgb - 0.6).max(axis=-1) - 0.5, 0, 1)  # where they touch as well
        return np.where(blue > 0.5, self.sure * both, both).astype(np.float32)


def touching(radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A red ball and a blue one of some radius at its side: the whole, and the alpha of both."""
    red, blue = ball(90, 160, (0.5, 0.5), 0.25), ball(90, 160, (0.5, 0.63 + radius * 90 / 160), radius)
    gray = np.full((90, 160, 3), 0.6, np.float32)
    return over(over(gray, blue, (0.1, 0.1, 0.9)), red, (0.9, 0.1, 0.1)), red, blue * (1 - red)


@pytest.mark.parametrize(("radius", "enough", "too_little"), [(0.1, 0.85, 0.75), (0.18, 0.95, 0.85)])
def test_what_the_whole_view_is_sure_of_stays_where_a_nearer_one_leaves_it_out(radius, enough, too_little):
    look, red, blue = touching(radius)
    (found,) = standing_out(look, Near(enough), 3, 0.005)
    assert soft_iou(found.mask > 0.5, red + blue) > 0.9
    (found,) = standing_out(look, Near(too_little), 3, 0.005)
    assert soft_iou(found.mask > 0.5, red) > 0.9


@pytest.mark.parametrize(
    ("places", "whole"),
    [
        ({"boxes": {"both": (0.36, 0.25, 0.75, 0.75)}}, True),
        ({"points": {"both": (0.5, 0.5)}}, True),
        ({"boxes": {"red": (0.36, 0.2, 0.62, 0.8)}}, False),
        ({"points": {"red": (0.5, 0.5)}, "masks": {"blue": "blue.png"}}, False),
    ],
)
def test_what_is_asked_for_keeps_its_small_pieces_but_nothing_outside_its_box_or_of_another(
    tmp_path, places, whole
):
    look, red, blue = touching(0.1)
    if "masks" in places:
        save_png(tmp_path / "blue.png", blue[..., None] * np.float32([1, 1, 1]))
        places = {**places, "masks": {"blue": str(tmp_path / "blue.png")}}
    request = DecomposeRequest(photo="made", **places)
    found = named_objects(request, look, Size(160, 90), Near(0.85), Names())
    (mask,) = (entry.mask for entry in found if entry.asked)
    assert soft_iou(mask > 0.5, red + blue if whole else red) > 0.9


@pytest.mark.parametrize(("sure", "stays"), [(0.9, True), (0.7, False)])
def test_a_thin_piece_is_not_doubted_for_its_rim(sure, stays):
    """A mask falls at its rim over a pixel of the net's own, and that of a thin piece is mostly rim."""
    red, bar = ball(90, 160, (0.5, 0.5), 0.25), np.zeros((90, 160), np.float32)
    bar[39:51, 100:124] = 1
    look = over(np.full((90, 160, 3), 0.6, np.float32), bar, (0.1, 0.1, 0.9))
    look = over(look, red, (0.9, 0.1, 0.1))

    class Blunt(Near):
        def __call__(self, rgb: np.ndarray) -> np.ndarray:
            return ndimage.gaussian_filter(super().__call__(rgb), 2.5)

    (found,) = standing_out(look, Blunt(sure), 3, 0.005)
    assert ((found.mask > 0.5)[43:47, 106:120].mean() > 0.9) == stays


def test_a_net_that_sees_all_of_the_whole_view_is_asked_once():
    """From near it sees red alone, and of the whole it is sure of less than a coarse net must be."""
    look, red, blue = touching(0.18)
    fine = Near(0.75)
    fine.side = 160
    (found,) = standing_out(look, fine, 3, 0.005)
    assert soft_iou(found.mask > 0.5, red + blue) > 0.9


def test_a_small_piece_belongs_whole_to_the_object_beside_it():
    large, small = ball(90, 160, (0.35, 0.5), 0.25), ball(90, 160, (0.68, 0.5), 0.05)
    look = over(np.full((90, 160, 3), 0.6, np.float32), large + small, (0.9, 0.1, 0.1))
    fine = Near()
    fine.side = 160
    (found,) = standing_out(look, fine, 3, 0.01)
    assert (found.mask > 0.5)[small > 0.9].all()
    assert soft_iou(found.mask, large + small) > 0.9


@pytest.mark.parametrize(("radius", "stays"), [(0.18, False), (0.06, True)])
def test_what_the_whole_view_is_sure_is_nothing_stays_out_unless_it_is_thin(radius, stays):
    look, red, blue = touching(radius)

    class Eager:
        name, side = "eager", 64

        def __call__(self, rgb: np.ndarray) -> np.ndarray:
            if rgb.shape[:2] == look.shape[:2]:
                return np.clip(4 * (rgb[..., 0] - rgb[..., 2]), 0, 1)
            return np.clip(4 * np.abs(rgb - 0.6).max(axis=-1) - 0.5, 0, 1)

    (found,) = standing_out(look, Eager(), 3, 0.005)
    assert soft_iou(found.mask > 0.5, red + stays * blue) > 0.9
    assert ((found.mask > 0.5)[blue > 0.9].mean() > 0.9) == stays


def test_a_net_that_answers_with_alpha_is_shown_nothing_but_the_whole():
    look, strong, _ = photo()
    seen: dict[str, list[tuple[int, ...]]] = {"contrast": [], "modnet": []}

    class Noted(Contrast):
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, rgb: np.ndarray) -> np.ndarray:
            seen[self.name].append(rgb.shape)
            return super().__call__(rgb)

    for name in seen:
        found = standing_out(look, Noted(name), 1, 0.005)
        assert soft_iou(found[0].mask, strong) > 0.8
    assert seen["modnet"] == [look.shape]
    assert len(seen["contrast"]) > 1


def test_a_photo_is_looked_at_as_sharp_as_it_can_be():
    finder = Contrast()
    stripes = np.zeros((900, 1000, 3), dtype=np.float32)
    stripes[:, ::4] = stripes[:, 1::4] = 1
    np.testing.assert_array_equal(to_look_at(stripes, finder), stripes)
    grown = np.repeat(np.repeat(stripes, 2, axis=0), 2, axis=1)
    look = to_look_at(grown, finder)
    assert look.shape == scaled(grown, LOOK_PIXELS).shape < grown.shape
    assert look.min() == 0 and look.max() == 1
    assert look.std() > 1.05 * scaled(grown, LOOK_PIXELS).std()
