# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the page of a report, written into it, so that the page is one file."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.report.content import Picture
from monai_cxrssl.report.page.table import text_markup

__all__ = ["picture_markup"]

_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def picture_markup(picture: Picture, folder: Path) -> str:
    """A picture as markup with its content inside; a sentence in its place where there is nothing to see.

    Args:
        picture: PNG or JPEG; other kinds (an SVG may hold scripts) are not shown.
        folder: what its file is relative to.
    """
    caption = f"<figcaption>{text_markup(picture.caption)}</figcaption>" if picture.caption else ""
    kind, size, data, problem = _read(folder / picture.file)
    if problem:
        return f'<figure><p class="missing">No picture: {text_markup(problem)}</p>{caption}</figure>'
    source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    width, height = size
    return (
        f'<figure><img src="{source}" width="{width}" height="{height}" alt="{text_markup(picture.alt)}">'
        f"{caption}</figure>"
    )


def _read(path: Path) -> tuple[str, tuple[int, int], bytes, str]:
    """Kind, width and height as to be shown, content, and what is wrong with it."""
    nothing = ("", (0, 0), b"")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        return (*nothing, f"{path.name} cannot be read ({getattr(error, 'strerror', None) or error}).")
    kind = next((kind for start, kind in _KINDS if data.startswith(start)), "")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if kind else None
    if pixels is None:
        return (*nothing, f"{path.name} is no whole PNG or JPEG file.")
    if (pixels == pixels[0, 0]).all():
        return (*nothing, f"{path.name} is empty, of one colour.")
    height, width = pixels.shape[:2]
    scale = min(1.0, 96 / _dots_per_inch(data))
    return kind, (round(width * scale), round(height * scale)), data, ""


def _dots_per_inch(data: bytes) -> float:
    """Of a PNG that tells (chunk pHYs), so that the type of all plots is of one size; else 96, as of browsers."""
    start = data.find(b"pHYs", 0, 4096)
    if start < 0 or data[start + 12 : start + 13] != b"\x01":
        return 96.0
    per_metre = int.from_bytes(data[start + 4 : start + 8], "big")
    return per_metre * 0.0254 or 96.0
