# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of worst and ordinary segmentations."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.surface_distance import SegmentationFigures
from monai_cxrssl.report.plots.canvas import INK, canvas, draw_outlines, square_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["SegmentationCase", "choose_segmentation_cases", "draw_segmentation_figure"]

# Blue and orange are told apart by all kinds of colour vision, and both from grey. The truth is the wider line, so that
# it shows on both sides of a prediction that lies on it.
_TRUE, _PREDICTED = "#3fc1ff", "#ff8c1a"
_TRUE_WIDTH, _PREDICTED_WIDTH = 2.8, 1.5
_INCHES, _COLUMNS = 2.5, 4
_TITLE, _HEADING, _LEGEND = 0.4, 0.3, 0.35


@dataclass(frozen=True)
class SegmentationCase:
    """One image to show."""

    image: np.ndarray  #: ``(H, W)`` float in [0, 1].
    prediction: np.ndarray  #: ``(H, W)``, what is not 0 belongs to the mask.
    mask: np.ndarray  #: the truth, ``(H, W)``.
    figures: SegmentationFigures  #: of :func:`monai_cxrssl.metrics.surface_distance.segmentation_figures`.
    caption: str = ""  #: what may be written above the image; no patient id.
    spacing: tuple[float, float] = (1.0, 1.0)  #: of rows and columns, in any unit: shows a stretched image as it is.


def choose_segmentation_cases(
    dice: Any, hd95: Any = None, worst: int = 4, median: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the worst images, and those around the median.

    Two int64 arrays of indices: the worst first, and the others by Dice; fewer than asked where images are few.

    Args:
        dice: ``(N,)``; NaN where an image has none, which leaves it out.
        hd95: ``(N,)``, decides between images of one Dice, the larger first; NaN counts as larger than any.

    Raises:
        DatalistError: the arrays differ in length.
    """
    scores = np.asarray(dice, dtype=np.float64).ravel()
    far = np.zeros(len(scores)) if hd95 is None else np.asarray(hd95, dtype=np.float64).ravel()
    if len(far) != len(scores):
        raise DatalistError(f"There are {len(scores)} Dice and {len(far)} distances; expected one of each per image.")
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.lexsort((known, -np.where(np.isnan(far[known]), np.inf, far[known]), scores[known]))]
    poorest = order[: max(0, worst)]
    # The images whose ranks are nearest to the middle one.
    rest = np.arange(len(poorest), len(order))
    near = rest[np.argsort(np.abs(rest - (len(order) - 1) / 2), kind="stable")][: max(0, median)]
    return poorest, order[np.sort(near)]


def draw_segmentation_figure(
    worst: Sequence[SegmentationCase], typical: Sequence[SegmentationCase] = (), path: str | os.PathLike | None = None
) -> Figure:
    """Draw images with both contours, Dice and 95 % Hausdorff distance above each; write them as PNG if asked to.

    Raises:
        DatalistError: no image at all, or the masks of one differ from it in shape.
    """
    groups = [("Lowest Dice", worst), ("Around the median", typical)]
    groups = [(heading, cases) for heading, cases in groups if cases]
    if not groups:
        raise DatalistError("There is no image with a true mask to draw; leave the figure out.")
    for case in (case for _, cases in groups for case in cases):
        if not case.image.shape == case.prediction.shape == case.mask.shape or case.image.ndim != 2:
            raise DatalistError(
                f"An image of shape {case.image.shape} has a prediction of {case.prediction.shape} and a mask of "
                f"{case.mask.shape}; expected (H, W) three times."
            )
    from matplotlib.lines import Line2D

    columns = min(_COLUMNS, max(len(cases) for _, cases in groups))
    heights = [math.ceil(len(cases) / columns) * (_INCHES + _TITLE) + _HEADING for _, cases in groups]
    # Two columns are the least that the legend fits under.
    with canvas(path, max(columns, 2) * _INCHES, sum(heights) + _LEGEND, 130, {}) as figure:
        parts = figure.subfigures(len(groups) + 1, 1, height_ratios=[*heights, _LEGEND], squeeze=False).ravel()
        for part, (heading, cases) in zip(parts, groups, strict=False):
            _draw_group(part, heading, cases, columns)
        lines = [
            Line2D([], [], color=_TRUE, linewidth=_TRUE_WIDTH, label="true contour"),
            Line2D([], [], color=_PREDICTED, linewidth=_PREDICTED_WIDTH, label="predicted contour"),
        ]
        parts[-1].legend(handles=lines, loc="center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_group(part: SubFigure, heading: str, cases: Sequence[SegmentationCase], columns: int) -> None:
    part.suptitle(heading, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    cells = part.subplots(math.ceil(len(cases) / columns), columns, squeeze=False).ravel()
    for cell in cells:
        cell.set_axis_off()
    for cell, case in zip(cells, cases, strict=False):
        _draw_case(cell, case)


def _draw_case(cell: Axes, case: SegmentationCase) -> None:
    figures = case.figures
    distance = f"HD95 {figures.hd95:.1f} {'px' if figures.unit == 'pixel' else figures.unit}"
    if math.isnan(figures.hd95):
        distance = figures.problem.split(",")[0] or "no distance"
    caption = textwrap.shorten(case.caption, 36, placeholder=" …")
    cell.set_title("\n".join(filter(None, [caption, f"Dice {figures.dice:.3f}, {distance}"])), fontsize=8, color=INK)
    row, column = case.spacing
    cell.imshow(case.image, cmap="gray", vmin=0, vmax=1, aspect=row / column, interpolation="antialiased")
    draw_outlines(cell, case.mask, _TRUE, _TRUE_WIDTH, dots=True)
    draw_outlines(cell, case.prediction, _PREDICTED, _PREDICTED_WIDTH, dots=True)
    square_cell(cell, case.image.shape, case.spacing)
