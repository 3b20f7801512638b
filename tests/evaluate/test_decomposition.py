"""LayerD's protocol: groups, the path of dynamic time warping, merges, and the cost by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from layercli.evaluate import decomposition
from tests.evaluate.samples import SIDE, sample, square


def placed(left: int, width: int = 10, colour: float = 0.5, alpha: float = 1.0) -> np.ndarray:
    rgba = np.zeros((SIDE, SIDE, 4), np.float32)
    rgba[10:20, left : left + width] = (colour, colour, colour, alpha)
    return rgba


def test_the_truth_scores_best():
    made = sample(square(), square(8), truth=sample(square(), square(8)))
    found = decomposition.measure(made, decomposition.Options())
    assert found["rgb_l1"] == pytest.approx(0, abs=1e-6)
    assert found["iou"] == pytest.approx(1)
    assert found["cost"] == pytest.approx(0, abs=1e-6)


def test_the_cost_of_one_pair_by_hand():
    l1, iou, cost = decomposition.compare(placed(5, colour=0.7), placed(10, colour=0.5), 0.0)
    # 100 true pixels: 50 differ by .2, and 50 see colour 0 where nothing was drawn.
    assert l1 == pytest.approx((50 * 0.2 + 50 * 0.5) / 100, rel=1e-5)
    assert iou == pytest.approx(50 / 150)
    assert cost == pytest.approx((l1 + 1 - iou) / 2)


def test_two_empty_layers_are_nothing_alike_in_layerds_code():
    empty = np.zeros((SIDE, SIDE, 4), np.float32)
    assert decomposition.compare(empty, empty, 0.0)[1] == 0
    assert decomposition.compare(empty, empty, 1.0)[1] == 1


def test_what_does_not_overlap_is_one_group_from_the_top():
    behind, left, right, over = placed(0, 30), placed(0), placed(15), placed(2, 4)
    groups = decomposition.grouped([behind, left, right, over])
    assert [int((group[..., 3] > 0).sum()) for group in groups] == [300, 100, 140]
    assert np.array_equal(groups[2][..., 3] > 0, (over[..., 3] > 0) | (right[..., 3] > 0))


def test_the_path_is_the_cheapest_of_all_paths():
    def paths(rows: int, columns: int):
        for steps in range(max(rows, columns) - 1, rows + columns - 1):
            for moves in product(((0, 1), (1, 0), (1, 1)), repeat=steps):
                path = [(0, 0)]
                for down, right in moves:
                    path.append((path[-1][0] + down, path[-1][1] + right))
                if path[-1] == (rows - 1, columns - 1) and max(p[0] for p in path) < rows:
                    yield path

    for seed in range(5):
        costs = np.random.default_rng(seed).uniform(size=(3, 4))
        best = min(sum(costs[p] for p in path) for path in paths(3, 4))
        found = decomposition.warp(costs)
        assert found[0] == (0, 0) and found[-1] == (2, 3)
        assert sum(costs[p] for p in found) == pytest.approx(best)


def test_merges_mend_what_was_cut_into_two():
    whole = np.ones((16, 16, 4), np.float32) * np.float32([0.9, 0.1, 0.1, 1])
    under = np.ones((8, 24, 4), np.float32) * np.float32([0.1, 0.1, 0.9, 1])
    halves = whole[:, :9], whole[:, 8:]  # they share a column, so they are no group of their own
    truth = sample(under, whole, at=(2, 10))
    layers = [*truth.stack.layers[:2]]
    from layercli.core.layers import Layer, LayerStack, Offset
    from layercli.evaluate._sample import Sample

    place = truth.stack.layers[2].offset
    layers.append(Layer(name="left", rgba=halves[0].copy(), offset=place))
    layers.append(Layer(name="right", rgba=halves[1].copy(), offset=Offset(place.left + 8, place.top)))
    made = Sample(name="a", stack=LayerStack(canvas=truth.stack.canvas, layers=tuple(layers)), truth=truth)
    found = decomposition.measure(made, decomposition.Options(merges=1))
    assert found["cost"] > 0.05
    assert found["cost_merged"] == pytest.approx(0, abs=1e-6)
    none = decomposition.measure(made, decomposition.Options(merges=0))
    assert none["cost_merged"] == none["cost"]
