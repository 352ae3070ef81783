# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Sizes of drawn lungs, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.metrics import LungExtent, lung_extent


def test_two_lungs_with_a_spacing():
    mask = np.zeros((100, 100), bool)
    mask[20:70, 10:40] = True  # 50 x 30
    mask[30:80, 60:80] = True  # 50 x 20
    assert lung_extent(mask, (0.5, 2.0)) == LungExtent(2500.0, 1500.0, 1000.0, 140.0, 30.0)


def test_width_is_of_one_level_and_touching_lungs_are_parted():
    mask = np.zeros((60, 60), np.uint8)
    mask[10:20, 5:25] = 1
    mask[30:50, 10:50] = 1
    mask[30:45, 28:32] = 0  # they touch below
    extent = lung_extent(mask)
    assert extent.thoracic_width == 40
    assert extent.height == 40
    assert extent.left_area + extent.right_area == extent.area == mask.sum()
    assert extent.left_area == mask[:, :28].sum()


def test_nothing_and_nonsense():
    assert lung_extent(np.zeros((5, 5))) is None
    with pytest.raises(ConfigurationError, match="expected \\(h, w\\)"):
        lung_extent(np.zeros((1, 5, 5)))
    with pytest.raises(ConfigurationError, match="two positive numbers"):
        lung_extent(np.ones((5, 5)), (0, 1))
