# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reliability diagram before and after temperature scaling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_cxrssl.metrics.calibration import ReliabilityDiagram
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.plots.canvas import FADED, MARKERS, canvas, line_style, no_plot

__all__ = ["draw_reliability"]


def draw_reliability(diagrams: Mapping[str, ReliabilityDiagram], path: str | os.PathLike) -> bool:
    """Draw one diagram or several over each other, with the number of images in each bin below.

    Return whether there was a diagram; if none was assessable, there is no file.
    """
    from matplotlib.lines import Line2D

    drawn = {name: diagram for name, diagram in diagrams.items() if not diagram.reason and np.sum(diagram.count) > 0}
    if not drawn:
        return no_plot(path)
    with canvas(path, 5.8, 5.8) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        (line,) = upper.plot([0, 1], [0, 1], color=FADED, linewidth=1, linestyle=":", zorder=1)
        # Handles and words together: matplotlib leaves a label that begins with "_" out of a legend of its own making.
        entries: list[tuple[Any, str]] = [(line, "perfectly calibrated")]
        for number, (name, diagram) in enumerate(drawn.items()):
            style = line_style(number)
            full = diagram.count > 0
            x, y = diagram.mean_score[full], diagram.observed[full]
            # Never below 0, which rounding of the Wilson ends could give.
            reach = np.maximum([y - diagram.ci_low[full], diagram.ci_high[full] - y], 0)
            words = f"{printable(name, 40)}: ECE {diagram.ece:.3f}"
            bars = upper.errorbar(
                x, y, yerr=reach, marker=MARKERS[number % len(MARKERS)], markersize=6, linewidth=1.5, elinewidth=1,
                capsize=2.5, clip_on=False, **style,
            )  # fmt: skip
            entries.append((bars, words))
            lower.stairs(diagram.count, diagram.edges, baseline=0, linewidth=1.6, **style)
        for name in diagrams:
            if name not in drawn:
                entries.append((Line2D([], [], linestyle=""), f"{printable(name, 40)}: not assessable"))
        upper.set(ylabel="share that was right", xlim=(0, 1), ylim=(0, 1))
        handles, texts = zip(*entries, strict=True)
        upper.legend(handles, texts, frameon=False, loc="upper left")
        lower.set(xlabel="score of the model", ylabel="images (log scale)")
        lower.set_yscale("symlog", linthresh=10)
        lower.set_ylim(0, 1.6 * max(10, *(int(diagram.count.max()) for diagram in drawn.values())))
        lower.set_yticks(*_ticks(max(int(diagram.count.max()) for diagram in drawn.values())))
        lower.minorticks_off()
        for axes in (upper, lower):
            axes.grid(linewidth=0.6)
    return True


def _ticks(most: int) -> tuple[list[int], list[str]]:
    """0, 10, 100 ... up to the largest count."""
    places = [0] + [10**power for power in range(1, 9) if 10**power <= max(most, 10)]
    return places, [f"{place:,}" for place in places]
