# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JSRT raw images (``.IMG``), which have no header.

A JSRT image is 2048 x 2048 pixels of two bytes, high byte first, 12 bits used, rows from the top, 0.175 mm wide. Values
follow the optical density of the film: 0 is bright as bone is, 4095 is black.
"""

from __future__ import annotations

import os

import numpy as np

from monai_cxrssl.data.reading.film import Film, check_size

__all__ = ["JSRT_BYTES", "read_jsrt_image"]

JSRT_SIDE = 2048
JSRT_BYTES = 2 * JSRT_SIDE**2
JSRT_SPACING = 0.175
TOP = 4095


def read_jsrt_image(name: str, data: bytes, max_pixels: int) -> Film | None:
    """Read a JSRT image; None if the file can be anything else.

    Name, size and values must all fit: ``.IMG`` (in any case), exactly 8,388,608 bytes, no value above 4095, not all
    zero as an interrupted copy leaves it, and no ``.hdr`` beside it (a pair of NIfTI or Analyze). Every other format
    has bytes in its header that no 12-bit image has. CXRReadError: the image has more pixels than ``max_pixels``.
    """
    stem, extension = os.path.splitext(name)  # noqa: PTH122 (odd names pass unchanged)
    if extension.lower() != ".img" or len(data) != JSRT_BYTES:
        return None
    if any(os.path.lexists(stem + header) for header in (".hdr", ".HDR")):
        return None
    pixels = np.frombuffer(data, dtype=">u2").reshape(JSRT_SIDE, JSRT_SIDE).astype(np.uint16)
    if pixels.max() > TOP or not pixels.any():
        return None
    check_size(name, JSRT_SIDE, JSRT_SIDE, max_pixels)
    table = np.clip((TOP - np.arange(65536.0)) / TOP, 0.0, 1.0)
    fields = {"photometric_interpretation": "MONOCHROME1", "bits_stored": 12, "inverted": True}
    return Film(name, pixels, table, (JSRT_SIDE, JSRT_SIDE), (JSRT_SPACING, JSRT_SPACING), fields=fields)
