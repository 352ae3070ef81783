# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG of 8 bits by libjpeg-turbo, straight to a smaller size.

libjpeg counts damage as warnings and draws grey; here a warning is an error. A scan is decoded to its end at any size,
so that missing data show without a second decode.
"""

from __future__ import annotations

import numpy as np

from monai_cxrssl.data.reading.film import Fit

__all__ = ["decode_jpeg", "jpeg_size"]

# Scaled decoding cuts frequencies off where averaging damps them. Of images as detectors give them, decoded at three
# times the wanted size or more, the two stay within a grey level on average; of smaller pictures, with all their edges
# within few pixels, not, and these are fast anyway.
_LEAST_SIDE, _MARGIN = 1024, 3

# Those that libjpeg turns into grey; CMYK is left to Pillow, which knows whether it is inverted.
_GREY, _COLOURS = "Gray", "YCbCr"


def jpeg_size(data: bytes) -> tuple[int, int, str] | None:
    """Return rows, columns and colour space of a JPEG that :func:`decode_jpeg` takes, None for others."""
    import simplejpeg

    try:
        rows, columns, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (rows, columns, colours) if colours in (_GREY, _COLOURS) else None


def decode_jpeg(data: bytes, size: tuple[int, int, str], fit: Fit | None) -> np.ndarray:
    """Decode a grey or colour JPEG to grey levels.

    Args:
        data: the file.
        size: of :func:`jpeg_size`.
        fit: the size that is wanted; a large image is decoded at a half of its size or less, and at three times what is
            wanted or more.

    Returns:
        uint8 ``(h, w)``: luminance.

    Raises:
        ValueError: damage that libjpeg warns of, data that are missing among it.
    """
    import simplejpeg

    rows, columns, colours = size
    least: dict[str, float] = {}
    if fit is not None and min(rows, columns) >= _LEAST_SIDE:
        wanted = fit(rows, columns)
        room = min(rows / wanted[0], columns / wanted[1]) / _MARGIN
        factor = max((n for n in (2, 4, 8) if n <= room), default=1)
        if factor > 1:
            # Of eighths, 3, 5, 6 and 7 take longer, and end a whole pixel beyond the image more often.
            least = {"min_height": -(-rows // factor), "min_width": -(-columns // factor), "min_factor": 2.0}
    if colours == _GREY or least:
        return simplejpeg.decode_jpeg(data, "GRAY", **least)[..., 0]
    from PIL import Image

    # At full size colours are mixed as everywhere else here, which differs from the file's own luminance by rounding.
    return np.asarray(Image.fromarray(simplejpeg.decode_jpeg(data, "RGB")).convert("L"))
