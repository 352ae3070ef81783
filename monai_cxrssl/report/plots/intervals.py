# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of metrics with intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from monai_cxrssl.metrics.patient_bootstrap import Interval
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.plots.canvas import ACCENT, FADED, GRID, canvas, no_plot

__all__ = ["IntervalRow", "draw_intervals", "draw_probes", "interval_row"]

IntervalRow = tuple[str, float | None, float | None, float | None]


def interval_row(name: str, interval: Interval) -> IntervalRow:
    """Return a row of a plot."""
    return name, interval.value, interval.ci_low, interval.ci_high


def draw_intervals(
    rows: Sequence[IntervalRow], path: str | os.PathLike, reference: float | None = None, xlabel: str = "macro AUROC"
) -> bool:
    """Draw a forest plot, the figures in words beside it.

    Return whether a row had a figure; if none had, there is no file.

    Args:
        rows: name, figure, and both ends of its interval; None or NaN for what is not assessable, which is said.
        reference: a line to compare with, such as the figure on all images.
    """
    marks = [] if reference is None else [(reference, "--", "all images")]
    return _forest(rows, path, marks, xlabel, whole=False)


def draw_probes(
    rows: Sequence[IntervalRow], path: str | os.PathLike, chance: float | None = 0.5, xlabel: str = "macro AUROC"
) -> bool:
    """Draw the score on whole images and on images with a region blanked, with the lines of chance and of whole images.

    A model that reads the lungs falls to chance when they are blanked, and keeps its score when all else is. The rows
    are as for :func:`draw_intervals`, the whole images first, and so is the answer; with chance None there is no such
    line.
    """
    marks = [] if chance is None else [(chance, ":", "chance")]
    if rows and rows[0][1] is not None:
        marks.append((rows[0][1], "--", "whole images"))
    return _forest(rows, path, marks, xlabel, whole=True)


def _forest(
    rows: Sequence[IntervalRow],
    path: str | os.PathLike,
    marks: Sequence[tuple[float, Any, str]],
    xlabel: str,
    whole: bool,
) -> bool:
    ends = [[math.nan if end is None else float(end) for end in row[1:]] for row in rows]
    marks = [mark for mark in marks if math.isfinite(mark[0])]
    if not any(math.isfinite(value) for value, _, _ in ends):
        return no_plot(path)
    shown = [end for row in ends for end in row if math.isfinite(end)] + [mark[0] for mark in marks]
    space = 0.06 * (max(shown) - min(shown)) or 0.05
    with canvas(path, 6.4, 1.3 + 0.32 * len(rows)) as figure:
        axes = figure.subplots()
        for number in range(0, len(rows), 2):
            axes.axhspan(number - 0.5, number + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)
        for place, dashes, words in marks:
            axes.axvline(place, color=FADED, linestyle=dashes, linewidth=1.2, zorder=1, label=words)
        for number, (value, low, high) in enumerate(ends):
            words = "not assessable"
            if math.isfinite(value):
                words = f"{value:.3f}"
                if math.isfinite(low) and math.isfinite(high):
                    axes.plot([low, high], [number, number], color=ACCENT, linewidth=2, marker="|", markersize=7)
                    words += f" ({low:.3f} to {high:.3f})"
                first = whole and number == 0
                axes.plot([value], [number], color=ACCENT, marker="D" if first else "o", markersize=7, zorder=3)
            at: Any = {"xy": (1.02, number), "xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 9}
            axes.annotate(words, annotation_clip=False, color=FADED if words[0] == "n" else "black", **at)
        axes.set_yticks(range(len(rows)), [printable(row[0], 34) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5), xlim=(min(shown) - space, max(shown) + space))
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        if marks:
            figure.legend(loc="outside upper right", ncols=len(marks), frameon=False)
    return True
