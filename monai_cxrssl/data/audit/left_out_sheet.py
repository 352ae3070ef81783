# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of what an index left out, by reason.

One line per reason, with its count and some of the files; reasons whose files hold no picture stand below as text.
Which file a picture is stands on no sheet, which may be shown to others: ``show`` prints it.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.audit.contact_sheet import SIDE, check_format, save_figure
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import DOUBTS, KINDS
from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.file_kind import error_words, file_kind
from monai_cxrssl.data.reading.film import MAX_PIXELS, check_size, reduced_size
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drawn_examples", "plot_left_out"]

#: Kinds without a picture.
_TEXT_ONLY = ("no_pixels", "dicomdir", "packed", "other_file")
_INCHES = 1.6
_FAULT = "#b00020"


def plot_left_out(datalist: Datalist, path: str | os.PathLike | None = None, count: int = 8) -> Figure:
    """Draw examples of what was left out, at most ``count`` of each reason, into a figure that is tied to no screen.

    Colour captures are drawn in colour, and of several frames the first. The figure is written to ``path``, where one
    is given, as :func:`~monai_cxrssl.data.audit.contact_sheet.plot_datalist` does.

    Raises:
        ConfigurationError: nothing was left out, count is below 1, or the path names no picture.
    """
    check_format(path)
    examples = drawn_examples(datalist, count)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = _records(datalist)
    kinds = list(dict.fromkeys(kind for kind, _ in examples))
    columns = max((sum(kind == other for other, _ in examples) for kind in kinds), default=1)
    texts = "\n".join(_words(kind, record) for kind, record in records.items() if kind in _TEXT_ONLY)
    height = (_INCHES + 0.15) * max(len(kinds), 1) + 0.4 + 0.16 * (texts.count("\n") + 1)
    figure = Figure(figsize=(_INCHES * (columns + 1), height), layout="constrained")
    FigureCanvasAgg(figure)
    total = sum(record["count"] for record in (datalist.extra.get("left_out") or {}).values())
    figure.suptitle(f"{datalist.name}: {total} files left out", fontsize=10)
    figure.supxlabel(texts, fontsize=7, x=0.01, ha="left")
    cells = figure.subplots(max(len(kinds), 1), columns + 1, squeeze=False)
    for cell in cells.ravel():
        cell.set_axis_off()
    number = 0
    for row, kind in zip(cells, kinds, strict=False):
        row[0].text(0, 0.5, _words(kind, records[kind], 22), va="center", fontsize=8, transform=row[0].transAxes)
        for cell, (_, file) in zip(row[1:], (example for example in examples if example[0] == kind), strict=False):
            number += 1
            cell.set_title(str(number), fontsize=6, pad=2)
            _draw(cell, file)
    save_figure(figure, path)
    return figure


def drawn_examples(datalist: Datalist, count: int = 8) -> list[tuple[str, str]]:
    """Return (reason, absolute path) of the files that :func:`plot_left_out` draws, in its order; errors as there.

    The reason of a file that is kept with a word is its kind and ``"?"``.
    """
    if count < 1:
        raise ConfigurationError(f"count is {count}; expected how many files of each reason to draw, 1 or more.")
    records = _records(datalist)
    if not records:
        raise ConfigurationError(
            f"{datalist.name} names nothing that was left out: its index found chest films alone, or it was not "
            "written by index."
        )
    root = "" if datalist.root is None else str(datalist.root)
    return [
        (kind, os.path.join(root, path))  # noqa: PTH118 (absolute ones stay)
        for kind, record in records.items()
        if kind not in _TEXT_ONLY
        for path in record["examples"][:: max(1, len(record["examples"]) // count)][:count]
    ]


def _records(datalist: Datalist) -> dict[str, Any]:
    left_out = dict(datalist.extra.get("left_out") or {})
    return left_out | {f"{kind}?": record for kind, record in (datalist.extra.get("doubtful") or {}).items()}


def _words(kind: str, record: Mapping[str, Any], width: int = 0) -> str:
    what = KINDS.get(kind) or DOUBTS.get(kind.rstrip("?")) or kind
    details = ", ".join(f"{name} {number}" for name, number in list(record["details"].items())[:8])
    text = f"{what}: {record['count']}" + (f" ({details})" if details else "")
    return "\n".join(textwrap.wrap(text, width)) if width else text


def _draw(cell: Axes, path: str) -> None:
    """Fill a cell with a picture, or with the reason why there is none."""
    try:
        cell.imshow(_picture(path), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    except CXRReadError as error:
        message = "\n".join(textwrap.wrap(f"This file {error.cause}", 24)[:9])
        cell.text(0.5, 0.5, message, ha="center", va="center", fontsize=5.5, color=_FAULT, transform=cell.transAxes)


def _picture(path: str) -> np.ndarray:
    """Intensities ``(H, W)`` in [0, 1], or colours ``(H, W, 3)`` uint8, of a file that may be no film."""
    if file_kind(path) != "dicom":
        return read_film(path, max_side=SIDE).intensities()
    try:
        return read_film(path, max_side=SIDE).intensities()
    except CXRReadError:
        return _frame(path)


def _frame(path: str) -> np.ndarray:
    """The first frame of a DICOM file that the reader refuses, in colour where it has one."""
    from pydicom.pixels import pixel_array

    header, _ = read_without_pixels(path)
    check_size(path, int(header.get("Rows") or 0), int(header.get("Columns") or 0), MAX_PIXELS)
    try:
        pixels = pixel_array(path, index=0)
    except Exception as error:  # a decoder may raise anything on what is no film
        raise CXRReadError(path, f"cannot be drawn ({error_words(error)})", "Look at it in a viewer.") from error
    rows, columns = reduced_size(pixels.shape[0], pixels.shape[1], SIDE)
    small = cv2.resize(pixels.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    scaled = (small - small.min()) / max(float(np.ptp(small)), 1e-6)
    return (scaled * 255).astype(np.uint8) if scaled.ndim == 3 else scaled
