# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saliency blended over an image in colour."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["blend_heatmap"]

# Strongest opacity of the heatmap, so that the image can be seen through it.
_OPACITY = 0.6


def blend_heatmap(grey: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Return the colours ``(h, w, 3)`` uint8, blue first as OpenCV has them, of an image and its saliency.

    The saliency is scaled to its own maximum; where it is 0, the image stays. The image is ``(h, w)`` uint8, the
    saliency ``(h, w)`` float, finite, 0 or more.
    """
    strength = np.clip(saliency / max(float(saliency.max()), np.finfo(np.float32).tiny), 0, 1).astype(np.float32)
    # Inferno grows evenly brighter, so it reads the same for the colour-blind and in print.
    heat = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    opacity = _OPACITY * strength[..., None]
    return np.rint(grey[..., None] * (1 - opacity) + heat * opacity).astype(np.uint8)
