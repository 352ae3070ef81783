# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Matplotlib canvas of the report: type sizes, colours, contours, PNG writing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    *("ACCENT", "FADED", "GRID", "INK", "LINE_STYLES", "MARKERS", "canvas", "draw_outlines", "line_style", "no_plot"),
    "square_cell",
]

#: M. Okabe, K. Ito, "Color Universal Design", 2008, without its yellow, which is lost on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#56b4e9", "#3a3a3a")
#: A round of colours later the dashes differ, so that 28 classes are told apart.
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FADED, GRID, ACCENT = "#1b1b1b", "#595959", "#d9d9d9", _COLOURS[0]
# The width of a picture on the page is about 700 CSS pixels: 7.2 inches of 10-point type are then read as 13 pixels.
_TYPE: Any = {
    **{"font.size": 10, "axes.labelsize": 10, "axes.titlesize": 11},
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **{"axes.edgecolor": FADED, "grid.color": GRID, "axes.spines.top": False, "axes.spines.right": False},
    # A class may be called "$x_1": its name, not a formula.
    "text.parse_math": False,
}


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number, from 0."""
    dashes = LINE_STYLES[number // len(_COLOURS) % len(LINE_STYLES)]
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": dashes}


@contextmanager
def canvas(
    path: str | os.PathLike | None, width: float, height: float, dpi: int = 140, style: Any = _TYPE
) -> Iterator[Figure]:
    """Give a figure of some inches to draw on, and write it as PNG (path None: not at all) when nothing went wrong."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(style), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the tables beside the plot have the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        if path is not None:
            with atomic_write(path) as partial:
                figure.savefig(partial, dpi=dpi, format="png")


def draw_outlines(cell: Axes, mask: np.ndarray, colour: str, width: float, dots: bool = False) -> None:
    """Draw the outlines of what is not 0 in a mask ``(H, W)``; ``dots`` marks parts whose line would not be seen."""
    binary = np.ascontiguousarray(np.asarray(mask) != 0).astype(np.uint8)
    for outline in cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
        x, y = np.concatenate([outline, outline[:1]])[:, 0].T
        cell.plot(x, y, color=colour, linewidth=width, marker="." if dots and len(outline) < 3 else None, markersize=3)


def square_cell(cell: Axes, shape: tuple[int, ...], spacing: tuple[float, float] = (1.0, 1.0)) -> None:
    """Give an image ``(rows, columns)`` of this pixel spacing a square around it, so that titles stand in line."""
    (rows, columns), (row, column) = shape, spacing
    side = max(rows * row, columns * column) / 2
    middle, down, across = ((columns - 1) / 2, (rows - 1) / 2), side / row, side / column
    cell.set(xlim=(middle[0] - across, middle[0] + across), ylim=(middle[1] + down, middle[1] - down))


def no_plot(path: str | os.PathLike) -> bool:
    """Return False, for a plot with nothing to show; a picture of an earlier run shall not pass for its own."""
    Path(path).unlink(missing_ok=True)
    return False
