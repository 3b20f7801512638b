"""Alpha: stretched where it is given, found from attention where it is not."""

from __future__ import annotations

import torch

from layercli.generate._alpha import alpha_from_hint, levelled, without_specks


def test_levels_clear_haze_and_holes_and_keep_soft_edges() -> None:
    alpha = torch.tensor([0.0, 0.05, 0.06, 0.5, 0.94, 0.97, 1.0])
    rgba = torch.cat([torch.full((1, 3, 1, 7), 0.3), alpha.reshape(1, 1, 1, 7)], dim=1)
    found = levelled(rgba, (0.06, 0.94))
    torch.testing.assert_close(found[0, 3, 0], torch.tensor([0.0, 0, 0, 0.5, 1, 1, 1]))
    assert torch.equal(found[:, :3], rgba[:, :3])
    assert torch.equal(levelled(rgba, (0.0, 1.0)), rgba)


def test_alpha_from_attention_follows_the_pictures_edge() -> None:
    """A coarse 8 x 8 hint of a disc becomes an outline that agrees with the disc in the picture."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((x - 31.5) ** 2 + (y - 31.5) ** 2) < 20**2).float()
    rgb = (0.5 + 0.4 * disc).expand(1, 3, -1, -1)
    hint = torch.nn.functional.avg_pool2d(disc[None], 8)
    rgba = alpha_from_hint(rgb, hint)
    assert rgba.shape == (1, 4, 64, 64) and rgba.min() >= 0 and rgba.max() <= 1
    assert torch.equal(rgba[:, :3], rgb)
    coarse = torch.nn.functional.interpolate(hint[None], size=(64, 64), mode="bilinear")[0, 0]
    assert (rgba[0, 3] - disc).abs().mean() < 0.5 * (coarse - disc).abs().mean()
    overlap = torch.minimum(rgba[0, 3], disc).sum() / torch.maximum(rgba[0, 3], disc).sum()
    assert overlap > 0.93


def test_small_loose_pieces_go_and_large_ones_stay() -> None:
    rgba = torch.full((2, 4, 64, 64), 0.5)
    rgba[:, 3] = 0
    rgba[:, 3, 8:40, 8:40] = 1
    rgba[:, 3, 8:40, 40:42] = 0.1  # a soft edge
    rgba[0, 3, 50:60, 50:60] = 1  # a large piece
    rgba[1, 3, 53:55, 53:55] = 1  # a speck
    rgba[1, 3, 52, 52] = 0.1  # its rim
    found = without_specks(rgba, 0.02)
    assert torch.equal(found[0], rgba[0])
    assert not found[1, 3, 45:, 45:].any()
    assert torch.equal(found[1, 3, :45, :45], rgba[1, 3, :45, :45])


def test_pieces_that_touch_by_a_bent_line_are_one() -> None:
    rgba = torch.zeros(1, 4, 64, 64)
    rgba[0, 3, 4:40, 4:40] = 1
    rgba[0, 3, 40:60, 36:38] = 1
    rgba[0, 3, 58:60, 38:60] = 1
    assert torch.equal(without_specks(rgba, 0.5), rgba)
    assert torch.equal(without_specks(torch.zeros(1, 4, 30, 31), 0.5), torch.zeros(1, 4, 30, 31))
