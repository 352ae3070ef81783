# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlap, surface distances and areas of masks.

The contour of a mask is its pixels that have a neighbour (above, below, left or right) outside of it; pixels on the
border of the image count as such. Distances are between centres of contour pixels, each to the nearest one of the
other mask: the 95 % Hausdorff distance is the larger of the 95th percentiles of the two directions, the mean surface
distance the mean over both contours together. Both are MONAI's definitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics import get_mask_edges, get_surface_distance

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.segmentation import overlap_per_image

__all__ = ["SegmentationFigures", "segmentation_figures", "segmentation_measures"]


@dataclass(frozen=True)
class SegmentationFigures:
    """The figures of one image; NaN where there is none, and ``problem`` says why."""

    dice: float  #: in [0, 1]; 1 where both masks are empty.
    iou: float  #: in [0, 1]; 1 where both masks are empty.
    hd95: float  #: 95 % Hausdorff distance in ``unit``; NaN where a mask is empty.
    surface_distance: float  #: mean symmetric surface distance in ``unit``; NaN where a mask is empty.
    area_ratio: float  #: predicted over true area, from 0; NaN where the true mask is empty.
    unit: str  #: ``"mm"``, or ``"pixel"`` where the spacing is unknown.
    problem: str = ""  #: why figures are NaN, in words; empty where none is.


def segmentation_figures(
    prediction: Any, mask: Any, spacing: Sequence[float] | None = None, unit: str | None = None
) -> SegmentationFigures:
    """Compare one predicted mask with the true one.

    Args:
        prediction: ``(H, W)`` or ``(1, H, W)`` array or tensor, bool or numbers; what is not 0 belongs to the mask.
            Threshold it first.
        mask: the truth, of the same shape.
        spacing: size of a pixel of these masks, rows and columns, in mm
            (:func:`monai_cxrssl.data.reading.spacing.grid_spacing`). None or NaN: unknown, pixels of these masks are
            the unit.
        unit: of ``spacing``; ``"mm"`` by default, ``"pixel"`` where it is counted in pixels of the image.

    Raises:
        DatalistError: the masks differ in shape or hold NaN, or the spacing is not two positive numbers.

    Example:
        >>> square = np.zeros((8, 8)); square[2:6, 2:6] = 1
        >>> figures = segmentation_figures(np.roll(square, 1, axis=1), square, spacing=(0.5, 0.5))
        >>> figures.dice, figures.hd95, figures.unit
        (0.75, 0.5, 'mm')
    """
    found, true = _plane(prediction, "predicted"), _plane(mask, "true")
    if found.shape != true.shape:
        raise DatalistError(
            f"The predicted mask is {found.shape[0]} x {found.shape[1]} pixels and the true one {true.shape[0]} x "
            f"{true.shape[1]}; bring them to one grid first."
        )
    if spacing is not None and all(math.isnan(value) for value in spacing):
        spacing = None
    if spacing is not None and (len(spacing) != 2 or not all(0 < value < math.inf for value in spacing)):
        raise DatalistError(f"The spacing is {tuple(spacing)}; expected two positive numbers, for rows and columns.")
    if unit not in (None, "mm", "pixel") or (unit == "mm" and spacing is None):
        raise DatalistError(f"The unit is {unit!r}; expected 'pixel', or 'mm' together with a spacing.")
    unit = unit or ("pixel" if spacing is None else "mm")
    first, second = (torch.from_numpy(plane)[None, None] for plane in (found, true))
    dice, iou = (float(overlap_per_image(first, second, metric)) for metric in ("dice", "iou"))
    predicted, expected = int(found.sum()), int(true.sum())
    ratio = predicted / expected if expected else math.nan
    if not predicted or not expected:
        which = "both masks are" if predicted == expected else "the true mask is" if predicted else "the prediction is"
        return SegmentationFigures(dice, iou, math.nan, math.nan, ratio, unit, f"{which} empty, so there is no contour")
    # MONAI's parts rather than its compute_hausdorff_distance and compute_average_surface_distance: those find the
    # contours and the distances once each, and warn of a deprecation of their own at every call.
    edges = [np.asarray(edge, dtype=bool) for edge in get_mask_edges(found, true)]
    there = np.asarray(get_surface_distance(edges[0], edges[1], spacing=spacing), dtype=np.float64)
    back = np.asarray(get_surface_distance(edges[1], edges[0], spacing=spacing), dtype=np.float64)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    mean = np.concatenate([there, back]).mean()
    return SegmentationFigures(dice, iou, float(hd95), float(mean), ratio, unit)


def segmentation_measures(figures: Iterable[SegmentationFigures | None]) -> dict[str, np.ndarray]:
    """Return the figures of many images (None: no true mask) as columns, distances in mm and in pixels apart.

    Returns:
        ``dice``, ``iou``, ``area_ratio``, ``hd95_mm``, ``surface_distance_mm``, ``hd95_pixel``,
        ``surface_distance_pixel``, each float64 ``(N,)`` with NaN where an image has no such figure.
    """
    rows = list(figures)

    def column(name: str, *units: str) -> np.ndarray:
        return np.array([math.nan if row is None or row.unit not in units else getattr(row, name) for row in rows])

    columns = {name: column(name, "mm", "pixel") for name in ("dice", "iou", "area_ratio")}
    return columns | {
        f"{name}_{unit}": column(name, unit) for unit in ("mm", "pixel") for name in ("hd95", "surface_distance")
    }


def _plane(mask: Any, which: str) -> np.ndarray:
    values = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or not values.size:
        raise DatalistError(f"The {which} mask has the shape {values.shape}; expected (H, W) or (1, H, W).")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DatalistError(f"The {which} mask holds NaN; expected numbers, 0 outside of the mask.")
    return np.ascontiguousarray(values != 0)
