# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawing of contact sheets by OpenCV and Pillow."""

from __future__ import annotations

import os
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.errors import ConfigurationError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["Cell", "check_format", "draw_sheet", "save_sheet"]

FORMATS = (".png", ".jpg", ".pdf")
_DPI = 130
_HEADING, _TEXT, _GAP = 18, 13, 8
#: Width of a letter as a share of its height.
_LETTER = 0.52
_LUNG, _BOX, _FAULT = (40, 200, 255), (255, 176, 0), (176, 0, 32)
#: Bits of the fractions of pixels that OpenCV draws at.
_SHIFT = 4
#: Fonts with more letters than Pillow's own, which has those of ASCII, by their files' names.
_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "NotoSans-Regular.ttf")


@dataclass
class Cell:
    """One place of a sheet.

    Args:
        title: lines above.
        picture: intensities ``(H, W)`` in [0, 1], or colours ``(H, W, 3)`` uint8.
        outlines: closed lines ``(N, 2)`` of x and y, in pixels of the picture, whose centres are whole numbers.
        boxes: x1, y1, x2, y2 in the same.
        fault: what is wrong, in red: in place of a picture, or at its foot.
        text: in place of a picture.
    """

    title: str = ""
    picture: np.ndarray | None = None
    outlines: list[np.ndarray] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    fault: str = ""
    text: str = ""


def check_format(path: str | os.PathLike | None) -> None:
    """Refuse a path that names no picture with a ConfigurationError."""
    if path is not None and Path(path).suffix.lower() not in FORMATS:
        raise ConfigurationError(f"A contact sheet cannot be written as {path}; expected {', '.join(FORMATS)}.")


def draw_sheet(rows: Sequence[Sequence[Cell]], heading: str, side: int, notes: str = "") -> Image:
    """Draw a sheet.

    Args:
        rows: of cells; they may differ in length.
        heading: above all.
        side: of the square for each picture, pixels.
        notes: lines below all.

    Returns:
        An RGB image.
    """
    from PIL import Image, ImageDraw

    width = max(map(len, rows), default=1) * (side + _GAP) + _GAP
    heading, notes = _wrapped(heading, width, _HEADING), _wrapped(notes, width, _TEXT)
    titles = [
        _height(max((cell.title for cell in row), key=lambda title: title.count("\n"), default="")) for row in rows
    ]
    top = _height(heading, _HEADING) + 2 * _GAP
    tops = [top + sum(titles[:n]) + n * (side + _GAP) for n in range(len(rows) + 1)]
    canvas = np.full((tops[-1] + sum(titles[len(rows) :]) + _height(notes) + _GAP, width, 3), 255, np.uint8)
    for row, above, title in zip(rows, tops, titles, strict=False):
        for column, cell in enumerate(row):
            _draw_picture(canvas, cell, _GAP + column * (side + _GAP), above + title, side)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    _write(draw, heading, (width / 2, _GAP), "ma", _HEADING)
    for row, above, title in zip(rows, tops, titles, strict=False):
        for column, cell in enumerate(row):
            left = _GAP + column * (side + _GAP)
            middle, centre = left + side / 2, above + title + side / 2
            _write(draw, cell.title, (middle, above), "ma")
            _write(draw, _wrapped(cell.text, side, _TEXT), (left, centre), "lm")
            fault = _wrapped(cell.fault, side, _TEXT)
            if cell.picture is None:
                _write(draw, fault, (middle, centre), "mm", colour=_FAULT)
            else:
                _write(draw, fault, (middle, above + title + side), "md", colour=_FAULT)
    _write(draw, notes, (_GAP, tops[-1]), "la")
    return image


def save_sheet(image: Image, path: str | os.PathLike | None) -> None:
    """Write a sheet, where a path is given, so that ``index`` knows it for no image; its folder is made."""
    from PIL.PngImagePlugin import PngInfo

    if path is None:
        return
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    told = PngInfo()
    told.add_text("Software", "monai_cxrssl")
    kinds: dict[str, dict[str, Any]] = {
        ".png": {"pnginfo": told},
        ".jpg": {"quality": 92},
        ".pdf": {"resolution": _DPI},
    }
    image.save(target, **kinds[target.suffix.lower()])


def _draw_picture(canvas: np.ndarray, cell: Cell, left: int, top: int, side: int) -> None:
    """Draw a picture with its lines into the middle of its square."""
    if cell.picture is None:
        return
    pixels = cell.picture if cell.picture.ndim == 3 else np.rint(cell.picture * 255).clip(0, 255).astype(np.uint8)
    scale = side / max(pixels.shape[:2])
    height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
    shrinks = scale < 1
    drawn = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    drawn = np.ascontiguousarray(drawn if drawn.ndim == 3 else np.repeat(drawn[..., None], 3, axis=2))
    for line in cell.outlines:
        _line(drawn, line, scale, _LUNG)
    for x1, y1, x2, y2 in cell.boxes:
        _line(drawn, np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), scale, _BOX)
    above, before = top + (side - height) // 2, left + (side - width) // 2
    canvas[above : above + height, before : before + width] = drawn


def _line(picture: np.ndarray, points: np.ndarray, scale: float, colour: tuple[int, int, int]) -> None:
    places = (points + 0.5) * scale - 0.5
    whole = np.rint(places * 2**_SHIFT).astype(np.int32)
    cv2.polylines(picture, [whole.reshape(-1, 1, 2)], True, colour, 2, cv2.LINE_AA, _SHIFT)


def _height(text: str, size: int = _TEXT) -> int:
    return (text.count("\n") + 1) * (size + 4) if text else 0


def _wrapped(text: str, width: int, size: int) -> str:
    letters = max(8, int(width / (_LETTER * size)))
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, letters))


def _write(
    draw: object, text: str, place: tuple[float, float], anchor: str, size: int = _TEXT,
    colour: tuple[int, int, int] = (0, 0, 0),
) -> None:  # fmt: skip
    """Write lines; the anchor is Pillow's for the first letter, and top, middle or bottom of all lines."""
    if not text:
        return
    font, text = _font(text, size)
    lines = text.split("\n")
    x, y = place
    y -= _height(text, size) * {"a": 0.0, "m": 0.5, "d": 1.0}[anchor[1]]
    for number, line in enumerate(lines):
        draw.text((x, y + number * (size + 4)), line, fill=colour, font=font, anchor=f"{anchor[0]}a")  # type: ignore[attr-defined]


def _font(text: str, size: int) -> tuple[FreeTypeFont | ImageFont, str]:
    """Return a font for a text, and the text; where no font has its letters, without their accents."""
    from PIL import ImageFont

    own = ImageFont.load_default(size)
    if text.replace("…", "").isascii():
        return own, text
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size), text
        except OSError:
            continue
    plain = unicodedata.normalize("NFKD", text.replace("…", "..."))
    return own, "".join(letter if letter.isascii() else "?" for letter in plain if not unicodedata.combining(letter))
