# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saliency heatmap over an image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.data.dicom_results.heatmap import blend_heatmap
from monai_cxrssl.files import atomic_write

__all__ = ["write_overlay"]


def write_overlay(film: np.ndarray, saliency: np.ndarray, path: Path) -> Path:
    """Write a colour PNG of an image and its saliency, which is scaled to its maximum; where it is 0, the image stays.

    The image is ``(h, w)`` uint8 or uint16 of full range, the saliency ``(h, w)`` float, finite, 0 or more.
    """
    grey = (film if film.dtype == np.uint8 else film // 257).astype(np.uint8)
    with atomic_write(path) as partial:
        partial.write_bytes(cv2.imencode(".png", blend_heatmap(grey, saliency))[1].tobytes())
    return path
