# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Plot of the confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.report.page.printable import printable
from monai_cxrssl.report.plots.canvas import INK, canvas, no_plot

__all__ = ["draw_confusion"]


def draw_confusion(matrix: Any, class_names: Sequence[str], path: str | os.PathLike) -> bool:
    """Draw counts, shaded by the share of the row, that is, of the images of one class.

    The matrix is ``(C, C)`` of :func:`~monai_cxrssl.metrics.confusion_matrix`, true classes in rows. Return whether
    there were images; if not, or if the matrix is NaN, there is no file.

    Raises:
        DatalistError: the matrix is not ``(C, C)``.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(class_names)
    if counts.shape != (size, size):
        raise DatalistError(f"The confusion matrix is {counts.shape}; expected ({size}, {size}) for {size} classes.")
    if not np.isfinite(counts).all() or counts.sum() == 0:
        return no_plot(path)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    names = [printable(name, 22) for name in class_names]
    inches = min(7.2, max(4.6, 2.2 + 0.8 * size))
    type_size = float(np.clip(95 / size, 5, 10))
    with canvas(path, inches, 0.9 * inches) as figure:
        axes = figure.subplots()
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        # Beyond this the numbers would run into each other; the shade stays.
        for row, column in np.ndindex(size, size) if size <= 20 else ():
            words = f"{counts[row, column]:,.0f}"
            if total[row, 0] == 0:
                words = "–"
            elif size <= 8:
                words += f"\n{100 * share[row, column]:.0f} %"
            colour = "white" if share[row, column] > 0.6 else INK
            axes.text(column, row, words, ha="center", va="center", fontsize=type_size, color=colour)
        small = 9 if size <= 12 else 7
        axes.set_xticks(range(size), names, fontsize=small)
        axes.set_yticks(range(size), names, fontsize=small)
        if size > 3 or max(map(len, names)) > 12:
            axes.tick_params(axis="x", rotation=40)
            for tick in axes.get_xticklabels():
                tick.set(ha="right", rotation_mode="anchor")
        axes.set(xlabel="class of the highest score", ylabel="true class")
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.5, 1])
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
    return True
