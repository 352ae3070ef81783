# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheet of what an index left out, by reason.

One line per reason, with its count and some of the files; reasons whose files hold no picture stand below as text.
Which file a picture is stands on no sheet, which may be shown to others: ``show`` prints it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.audit.contact_sheet import SIDE
from monai_cxrssl.data.audit.sheet import Cell, check_format, draw_sheet, save_sheet
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.left_out import DOUBTS, KINDS
from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.file_kind import error_words, file_kind
from monai_cxrssl.data.reading.film import MAX_PIXELS, check_size, reduced_size
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_left_out", "drawn_examples", "left_out_rows"]

#: Kinds without a picture.
_TEXT_ONLY = ("no_pixels", "dicomdir", "packed", "other_file")
_CELL = 208


def draw_left_out(datalist: Datalist, path: str | os.PathLike | None = None, count: int = 8) -> Image:
    """Draw examples of what was left out, at most ``count`` of each reason.

    Colour captures are drawn in colour, and of several frames the first. The sheet is written to ``path``, where one
    is given, as :func:`~monai_cxrssl.data.audit.contact_sheet.draw_datalist` does.

    Raises:
        ConfigurationError: nothing was left out, count is below 1, or the path names no picture.
    """
    check_format(path)
    rows, notes = left_out_rows(datalist, count)
    total = sum(record["count"] for record in (datalist.extra.get("left_out") or {}).values())
    sheet = draw_sheet(rows, f"{datalist.name}: {total} files left out", _CELL, notes)
    save_sheet(sheet, path)
    return sheet


def left_out_rows(datalist: Datalist, count: int = 8) -> tuple[list[list[Cell]], str]:
    """Return a row of cells per reason, and lines on what has no picture; errors as :func:`drawn_examples`."""
    examples, records = drawn_examples(datalist, count), _records(datalist)
    rows: dict[str, list[Cell]] = {}
    for number, (kind, file) in enumerate(examples, start=1):
        cell = Cell(str(number))
        try:
            cell.picture = _picture(file)
        except CXRReadError as error:
            cell.fault = f"This file {error.cause}"
        rows.setdefault(kind, [Cell(text=_words(kind, records[kind]))]).append(cell)
    notes = "\n".join(_words(kind, record) for kind, record in records.items() if kind in _TEXT_ONLY)
    return list(rows.values()), notes


def drawn_examples(datalist: Datalist, count: int = 8) -> list[tuple[str, str]]:
    """Return (reason, absolute path) of the files that :func:`draw_left_out` draws, in its order; errors as there.

    The reason of a file that is kept with a word is its kind and ``"?"``.
    """
    if count < 1:
        raise ConfigurationError(f"count is {count}; expected how many files of each reason to draw, 1 or more.")
    records = _records(datalist)
    if not records:
        raise ConfigurationError(
            f"{datalist.name} names nothing that was left out: its index found chest X-rays alone, or it was not "
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


def _words(kind: str, record: Mapping[str, Any]) -> str:
    what = KINDS.get(kind) or DOUBTS.get(kind.rstrip("?")) or kind
    details = ", ".join(f"{name} {number}" for name, number in list(record["details"].items())[:8])
    return f"{what}: {record['count']}" + (f" ({details})" if details else "")


def _picture(path: str) -> np.ndarray:
    """Intensities ``(H, W)`` in [0, 1], or colours ``(H, W, 3)`` uint8, of a file that may be no image."""
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
    except Exception as error:  # a decoder may raise anything on what is no image
        raise CXRReadError(path, f"cannot be drawn ({error_words(error)})", "Look at it in a viewer.") from error
    rows, columns = reduced_size(pixels.shape[0], pixels.shape[1], SIDE)
    small = cv2.resize(pixels.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    scaled = (small - small.min()) / max(float(np.ptp(small)), 1e-6)
    return (scaled * 255).astype(np.uint8) if scaled.ndim == 3 else scaled
