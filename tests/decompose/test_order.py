"""Which object is in front: what lies inside another, then what stands lower, then what is larger."""

from __future__ import annotations

import numpy as np

from layercli.decompose._order import front_first


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((100, 100), np.float32)
    mask[top:bottom, left:right] = 1
    return mask


def test_what_stands_lower_is_nearer():
    assert front_first([box(10, 10, 60, 40), box(20, 50, 90, 80), box(0, 0, 30, 30)]) == [1, 0, 2]


def test_of_two_that_stand_alike_the_larger_is_nearer():
    assert front_first([box(60, 0, 90, 20), box(10, 40, 90, 90)]) == [1, 0]


def test_what_lies_inside_another_is_in_front_of_it():
    assert front_first([box(10, 10, 95, 90), box(30, 30, 50, 50)]) == [1, 0]


def test_a_depth_net_counts_more_than_where_things_stand():
    lower, upper = box(60, 10, 95, 40), box(10, 50, 60, 80)
    near = np.where(upper > 0, 9.0, 1.0)
    assert front_first([lower, upper]) == [0, 1]
    assert front_first([lower, upper], near) == [1, 0]
    inner = box(70, 15, 80, 30)  # but what lies inside another is in front of it, however far it seems
    assert front_first([lower, inner], np.where(inner > 0, 0.0, 1.0)) == [1, 0]
    assert front_first([lower, np.zeros((100, 100), np.float32)], near) == [0, 1]


def test_one_is_one_and_none_is_none():
    assert front_first([box(1, 1, 2, 2)]) == [0]
    assert front_first([]) == []
