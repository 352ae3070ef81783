# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung areas and thoracic diameter of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_cxrssl.errors import ConfigurationError

__all__ = ["LungExtent", "lung_extent"]


@dataclass(frozen=True)
class LungExtent:
    """Sizes of the lungs on a frontal image, in mm and mm2 where the spacing is known, else in pixels.

    Attributes:
        area: of both lungs.
        left_area, right_area: of the lung on the image's left side, which is the patient's right one as images are
            hung, and of the other; parted where the mask is thinnest in its middle third.
        thoracic_width: largest distance along a row between the outer borders of the lungs, the transverse diameter
            that a cardiothoracic ratio divides by.
        height: from the highest to the lowest row.
    """

    area: float
    left_area: float
    right_area: float
    thoracic_width: float
    height: float


def lung_extent(mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)) -> LungExtent | None:
    """Measure the lungs of a frontal image.

    Args:
        mask: ``(h, w)``, lung is what is not 0.
        spacing: distance of rows and of columns.

    Returns:
        The sizes; ``None`` of a mask that marks nothing.

    Raises:
        ConfigurationError: the mask has another number of axes, or the spacing is not two positive numbers.
    """
    lung = np.asarray(mask) != 0
    if lung.ndim != 2 or len(spacing) != 2 or not all(0 < side < np.inf for side in spacing):
        raise ConfigurationError(
            f"A lung mask of shape {lung.shape} with the spacing {tuple(spacing)} cannot be measured; expected (h, w) "
            "and two positive numbers."
        )
    columns, rows = np.flatnonzero(lung.any(0)), np.flatnonzero(lung.any(1))
    if not len(columns):
        return None
    pixel = float(spacing[0]) * float(spacing[1])
    counts = lung.sum(0)
    first, last = int(columns[0]), int(columns[-1])
    third = (last - first + 1) // 3
    middle = counts[first + third : last - third + 1]
    parting = first + third + int(middle.argmin())
    inside = lung[rows[0] : rows[-1] + 1]
    widths = lung.shape[1] - inside[:, ::-1].argmax(1) - inside.argmax(1)
    return LungExtent(
        area=float(counts.sum()) * pixel,
        left_area=float(counts[:parting].sum()) * pixel,
        right_area=float(counts[parting:].sum()) * pixel,
        thoracic_width=float(widths[inside.any(1)].max()) * float(spacing[1]),
        height=float(rows[-1] - rows[0] + 1) * float(spacing[0]),
    )
