# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures inlined into the HTML report as data URLs."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.report.content import Picture

__all__ = ["inline_picture"]

_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def inline_picture(picture: Picture, folder: Path) -> tuple[dict[str, str | int], str]:
    """Return ``src``, ``width`` and ``height`` of a picture's element, and what is wrong with it (else empty).

    It is a PNG or JPEG file below the folder; other kinds (an SVG may hold scripts) are not shown.
    """
    path = folder / picture.file
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read ({getattr(error, 'strerror', None) or error})."
    kind = next((kind for start, kind in _KINDS if data.startswith(start)), "")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if kind else None
    if pixels is None:
        return {}, f"{path.name} is no whole PNG or JPEG file."
    if (pixels == pixels[0, 0]).all():
        return {}, f"{path.name} is empty, of one colour."
    height, width = pixels.shape[:2]
    scale = min(1.0, 96 / _dots_per_inch(data))
    source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"src": source, "width": round(width * scale), "height": round(height * scale)}, ""


def _dots_per_inch(data: bytes) -> float:
    """Of a PNG that tells (chunk pHYs), so that the type of all plots is of one size; else 96, as of browsers."""
    start = data.find(b"pHYs", 0, 4096)
    if start < 0 or data[start + 12 : start + 13] != b"\x01":
        return 96.0
    per_metre = int.from_bytes(data[start + 4 : start + 8], "big")
    return per_metre * 0.0254 or 96.0
