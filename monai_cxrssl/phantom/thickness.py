# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tissue thickness along the rays of a view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ThicknessMaps", "TUBE_PROFILE", "CORTEX_PROFILE", "SHELL_PROFILE"]

# Shades across a band for nested drawing: (fraction of the half-width, path length over its peak).
TUBE_PROFILE = ((1.0, 0.35), (0.9, 0.55), (0.75, 0.75), (0.5, 0.92), (0.25, 1.0))
"""A solid round bar."""
CORTEX_PROFILE = ((1.0, 0.55), (0.93, 0.9), (0.82, 1.0), (0.7, 0.86), (0.55, 0.76), (0.3, 0.7))
"""A rib: thin dense cortex around spongy bone, brighter along its edges."""
SHELL_PROFILE = ((1.0, 0.7), (0.94, 1.0), (0.84, 0.8), (0.7, 0.62), (0.4, 0.55))
"""A long bone with a marrow cavity."""


@dataclass
class ThicknessMaps:
    """Thickness of the tissues in one view, each ``(H, W)`` float32 in cm, without any finding.

    Args:
        soft, lung, bone: soft tissue and bone substance; aerated lung; bone, as a surplus over soft tissue.
        lung_field: ``(H, W)`` bool, lung seen clear of heart and diaphragm: the lung mask.
        cage: ``(H, W)`` bool, lung including its parts behind heart and diaphragm.
        side: ``(H, W)`` int8, -1 over the right lung, +1 over the left, 0 elsewhere (all 0 in a lateral view).
    """

    soft: np.ndarray
    lung: np.ndarray
    bone: np.ndarray
    lung_field: np.ndarray
    cage: np.ndarray
    side: np.ndarray
