# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from monai_cxrssl.metrics import Interval
from monai_cxrssl.report.paired import apart_difference, match_films, p_of_interval


def test_apart_difference_covers_the_truth():
    """Means of normal samples: the interval is that of the textbook, sqrt(s1^2 / n1 + s2^2 / n2)."""
    first, second = (
        Interval(3.0, 3.0 - 1.96 * 0.3, 3.0 + 1.96 * 0.3, 9),
        Interval(1.0, 1.0 - 1.96 * 0.4, 1.0 + 1.96 * 0.4, 9),
    )
    found = apart_difference(first, second)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((2.0, 2 - 1.96 * 0.5, 2 + 1.96 * 0.5))
    nothing = apart_difference(first, Interval(math.nan, math.nan, math.nan, 0, "there are no positive images"))
    assert math.isnan(nothing.value)
    assert nothing.reason == "there are no positive images"


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(1.96, 0.0, 3.92, 9), 0.05),
        (Interval(0.0, -1.0, 1.0, 9), 1.0),
        (Interval(-2.576, -4.536, -0.616, 9), 0.01),
    ],
)
def test_p_of_interval(interval, expected):
    assert p_of_interval(interval) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("interval", [Interval(0.1, math.nan, math.nan, 0), Interval(0.0, 0.0, 0.0, 9)])
def test_no_p_without_a_width(interval):
    assert math.isnan(p_of_interval(interval))


def test_match_films_keeps_the_order_of_the_first():
    films = [{"image": name, "patient_id": 1} for name in "abcd"]
    here, there = match_films(films, [films[3], films[1], {"image": "a", "patient_id": 2}])
    assert here.tolist() == [1, 3]
    assert there.tolist() == [1, 0]
    assert match_films(films, [])[0].shape == (0,)
