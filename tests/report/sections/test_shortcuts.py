# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from monai_cxrssl.metrics import Interval
from monai_cxrssl.report.sections.shortcuts import probe_flag


def around(value, half=0.03):
    return Interval(value, value - half, value + half, 100)


@pytest.mark.parametrize(
    ("region", "whole", "blanked", "drop", "level", "words"),
    [
        ("lungs", around(0.95), around(0.93), around(0.02), "bad", "the score stays high"),
        ("lungs", around(0.95), around(0.75), around(0.2), "bad", "outside the lungs"),
        ("lungs", around(0.58), around(0.56), around(0.02), "bad", "the score stays high"),
        ("lungs", around(0.95), around(0.57), around(0.38), "warning", "stays above chance"),
        ("lungs", around(0.95), around(0.51), around(0.44), "good", "falls to chance"),
        ("lungs", around(0.95), around(0.3), around(0.65), "good", "falls to chance"),
        ("lungs", around(0.95), around(0.7, 0.25), around(0.25), "unknown", "too few patients"),
        ("lungs", around(0.51), around(0.52), around(-0.01), "unknown", "not above chance on whole images"),
        ("outside_lungs", around(0.95), around(0.6), around(0.35), "warning", "the score falls"),
        ("outside_lungs", around(0.95), around(0.94), around(0.01), "good", "no loss is shown"),
        ("corners", around(0.95), around(0.55), around(0.4), "bad", "where markers are"),
        ("border", around(0.95), around(0.86), around(0.09), "warning", "or misses the usual look"),
        ("border", around(0.95), around(0.96), around(-0.01), "good", "no loss is shown"),
    ],
)
def test_rule(region, whole, blanked, drop, level, words):
    flag = probe_flag(region, whole, blanked, drop)
    assert flag.level == level
    assert words in flag.text


def test_missing_figure_is_told():
    nothing = Interval(math.nan, math.nan, math.nan, 0, "the images are of fewer than two patients")
    flag = probe_flag("lungs", around(0.9), nothing, nothing)
    assert flag.level == "unknown"
    assert "fewer than two patients" in flag.text
