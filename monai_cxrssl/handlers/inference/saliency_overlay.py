# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saliency heatmap over an image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.files import atomic_write

__all__ = ["write_overlay"]

# Strongest opacity of the heatmap, so that the film can be seen through it.
_OPACITY = 0.6


def write_overlay(film: np.ndarray, saliency: np.ndarray, path: Path) -> Path:
    """Write a colour PNG of a film and its saliency, which is scaled to its own maximum; where it is 0, the film stays.

    The film is ``(h, w)`` uint8 or uint16 of full range, the saliency ``(h, w)`` float, finite, 0 or more.
    """
    grey = (film if film.dtype == np.uint8 else film // 257).astype(np.uint8)
    strength = np.clip(saliency / max(float(saliency.max()), np.finfo(np.float32).tiny), 0, 1).astype(np.float32)
    # Inferno grows evenly brighter, so it reads the same for the colour-blind and in print.
    heat = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    opacity = _OPACITY * strength[..., None]
    picture = np.rint(grey[..., None] * (1 - opacity) + heat * opacity).astype(np.uint8)
    with atomic_write(path) as partial:
        partial.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path
