"""What light and shadow may and may not change in a composite."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layercli.generate._light import PIVOT, Transfer, changed, contact_shadow, light_on, shades

BARE = Transfer(contact=0.0)


def pictures(side: int = 64) -> tuple[Tensor, Tensor]:
    """A composite with fine detail, and the alpha of a square object in its middle."""
    composite = 0.3 + 0.4 * torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    alpha = torch.zeros(side, side)
    alpha[side // 4 : side // 2, side // 4 : side // 2] = 1
    return composite, alpha


@given(st.floats(-2, 1.4))
def test_a_pixel_of_middle_brightness_changes_by_so_many_stops(stops: float) -> None:
    before = torch.full((3, 2, 2), PIVOT)
    shadows, light = shades(torch.full((3, 2, 2), stops))
    after = 1 - (1 - before * shadows) * (1 - light)
    torch.testing.assert_close(after, before * 2**stops, atol=1e-5, rtol=0)
    assert bool((shadows == 1).all()) or not light.any()  # never both


def test_what_changed_is_counted_in_stops() -> None:
    before = torch.full((3, 2, 2), 0.4)
    floor = 4 / 255
    torch.testing.assert_close(changed(before, before), torch.zeros(3, 2, 2))
    torch.testing.assert_close(changed((before + floor) / 2 - floor, before), torch.full((3, 2, 2), -1.0))


@given(st.floats(0, 0.2), st.floats(0, 1), st.sampled_from([32, 64]))
def test_no_change_is_no_light(reach: float, colour: float, side: int) -> None:
    transfer = Transfer(reach=reach, colour=colour, contact=0.0)
    found = light_on(pictures()[1], torch.zeros(3, side, side), None, [], transfer)
    assert found.shape == (3, 64, 64) and not found.any()


def test_a_shadow_on_the_ground_darkens_the_ground_and_not_the_object() -> None:
    _, alpha = pictures()
    stops = torch.zeros(3, 64, 64)
    stops[:, 32:40, 12:36] = -1  # under the object
    found = light_on(alpha, stops, None, [], BARE)
    assert found[:, 33:38, 18:30].mean() < -0.3
    torch.testing.assert_close(found[:, 16:32, 16:32], torch.zeros(3, 16, 16), atol=0.05, rtol=0)
    torch.testing.assert_close(found[:, :, 60:], torch.zeros(3, 64, 4), atol=0.05, rtol=0)


def test_what_happens_without_the_objects_too_is_not_their_shadow() -> None:
    _, alpha = pictures()
    everywhere = torch.full((3, 64, 64), -0.5)
    found = light_on(alpha, everywhere, everywhere, [], Transfer(reach=0.0, contact=0.0))
    assert not (found * (1 - alpha)).any()
    assert (found[:, 16:32, 16:32] < -0.3).all()  # the objects do take on the light of the scene


def test_fine_detail_of_the_harmonised_picture_stays_out() -> None:
    _, alpha = pictures()
    grain = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = light_on(alpha, grain, None, [], Transfer(reach=0.0, colour=1.0, contact=0.0, strongest=9.0))
    assert found.abs().mean() < 0.4 * grain.abs().mean()
    smoother = light_on(alpha, grain, None, [], Transfer(reach=0.0, colour=1.0, contact=0.0, smooth=0.1))
    assert smoother.abs().mean() < 0.5 * found.abs().mean()


def test_no_change_is_stronger_than_allowed() -> None:
    _, alpha = pictures()
    found = light_on(
        alpha, torch.full((3, 64, 64), -9.0), None, [alpha], Transfer(strongest=1.0, contact=5.0)
    )
    assert found.min() >= -1.0


def test_neutral_light_has_no_hue() -> None:
    red = torch.tensor([0.6, -0.3, -0.3])[:, None, None].expand(3, 32, 32)
    gray = light_on(torch.zeros(32, 32), red, None, [], Transfer(reach=0.0, colour=0.0, contact=0.0))
    torch.testing.assert_close(gray[0], gray[1])
    tinted = light_on(torch.zeros(32, 32), red, None, [], Transfer(reach=0.0, colour=1.0, contact=0.0))
    assert (tinted[0] > tinted[1] + 0.5).all()


def test_a_standing_object_has_a_contact_shadow_at_least() -> None:
    _, alpha = pictures(160)
    found = light_on(alpha, torch.zeros(3, 160, 160), None, [alpha], Transfer(contact=1.0))
    assert found[:, 80:82, 45:75].max() < -0.3
    assert not (found * alpha).any() and found.max() <= 0
    deep = torch.full((3, 160, 160), -1.2)
    deeper = light_on(alpha, deep, None, [alpha], Transfer(contact=0.1, reach=0.0))
    torch.testing.assert_close(deeper, light_on(alpha, deep, None, [], Transfer(contact=0.0, reach=0.0)))


def test_the_contact_shadow_lies_at_the_foot() -> None:
    _, alpha = pictures(160)
    shadow = contact_shadow(alpha)
    assert shadow.max() == 1.0 and shadow.min() >= 0.0 and shadow[79:82, 45:75].min() > 0.4
    assert shadow[:68].max() < 0.05 and shadow[92:].max() < 0.05
    assert not contact_shadow(torch.zeros(8, 8)).any()


def test_the_contact_shadow_of_a_thing_at_the_lower_edge_is_cut() -> None:
    alpha = torch.zeros(100, 100)
    alpha[20:, 30:60] = 1
    assert contact_shadow(alpha)[98:, 35:55].min() > 0.5
