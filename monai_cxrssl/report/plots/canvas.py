# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the plots of the report share: size of type, colours for every kind of colour vision, writing the PNG."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "FADED", "GRID", "INK", "LINE_STYLES", "MARKERS", "canvas", "line_style", "no_plot"]

#: M. Okabe, K. Ito, "Color Universal Design", 2008, without its yellow, which is lost on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#56b4e9", "#3a3a3a")
#: A round of colours later the dashes differ, so that 28 classes are told apart.
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FADED, GRID, ACCENT = "#1b1b1b", "#595959", "#d9d9d9", _COLOURS[0]
# The width of a picture on the page is about 700 CSS pixels: 7.2 inches of 10-point type are then read as 13 pixels.
_TYPE: Any = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FADED,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    # A class may be called "$x_1": its name, not a formula.
    "text.parse_math": False,
}


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number, from 0."""
    dashes = LINE_STYLES[number // len(_COLOURS) % len(LINE_STYLES)]
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": dashes}


@contextmanager
def canvas(path: str | os.PathLike, width: float, height: float) -> Iterator[Figure]:
    """Give a figure to draw on, and write it as PNG in one step when nothing went wrong.

    Args:
        path: the PNG file; its folder is made.
        width: inches.
        height: inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_TYPE), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the tables beside the plot have the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path) as partial:
            figure.savefig(partial, dpi=140, format="png")


def no_plot(path: str | os.PathLike) -> bool:
    """Return False, for a plot with nothing to show; a picture of an earlier run shall not pass for its own."""
    Path(path).unlink(missing_ok=True)
    return False
