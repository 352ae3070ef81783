# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One file decoded to a small grey array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.film import shrink_to, small_size
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError

__all__ = ["Reader", "decoded_side", "read_small", "refuse_unreadable", "shrink"]

Reader = Callable[[str], np.ndarray | tuple[np.ndarray, Mapping[str, Any]]]

# Unreadable files, however few there are in all.
_ALWAYS_TOLERATED = 3


def decoded_side(image_size: int) -> int:
    """Return the shorter side, in pixels, to which runs reduce an image before the network's own resizing to its side.

    Example:
        >>> decoded_side(224)
        384
    """
    return image_size * 12 // 7


def read_small(
    path: str, reader: Reader, side: int, dtype: np.dtype, minimum_side: int
) -> tuple[np.ndarray, list[str]]:
    """Read an image, refuse what nothing can be learnt from, and reduce it; return ``(h, w)`` pixels and the warnings.

    Args:
        path: the file.
        reader: gives the ``(H, W)`` pixels of a path, alone or with a dictionary that may hold ``warnings``.
        side: shorter side of the result, in pixels (:func:`shrink`).
        dtype: what the reader must give, uint8 or uint16.
        minimum_side: shortest side, in pixels as read, that can be trained on.

    Raises:
        CXRReadError: the file cannot be read, is too small, or holds one value only.
        TypeError: the reader gave something else than such an array.
    """
    try:
        result = reader(path)
    except (CXRReadError, ConfigurationError):
        raise
    except Exception as error:  # a decoder may raise anything on a damaged file
        raise CXRReadError(path, f"could not be decoded ({type(error).__name__}: {error})") from error
    pixels, metadata = result if isinstance(result, tuple) else (result, {})
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.dtype != dtype:
        found = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise TypeError(f"The reader gave {found} for {path}; expected a (H, W) array of {dtype}.")
    # The reader may have reduced it to ``side`` already.
    if min(pixels.shape) < min(minimum_side, side):
        rows, columns = pixels.shape
        raise CXRReadError(path, f"is {columns} x {rows} pixels, below the minimum side of {minimum_side}")
    if pixels.min() == pixels.max():
        raise CXRReadError(path, f"holds one value only ({pixels.flat[0]} everywhere)")
    return shrink(pixels, side), list(metadata.get("warnings") or ())


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Reduce an image ``(H, W)`` of uint8 or uint16 by area averaging so that its shorter side is ``side`` pixels.

    One factor for both axes keeps the aspect; it is smaller still where the longer side would exceed ``2 * side``, and
    never above 1: small images stay as they are.
    """
    rows, columns = pixels.shape
    return shrink_to(pixels, small_size(rows, columns, side))


def refuse_unreadable(unreadable: Sequence[Mapping[str, str]], total: int, max_unreadable: float) -> None:
    """Raise a DatalistError when all of ``total`` items are unreadable, or more than the fraction ``max_unreadable``.

    Up to three are always lived with, unless that is 0. ``unreadable`` holds ``{"image": path, "cause": words}`` of
    each.
    """
    bad = len(unreadable)
    # Of a few dozen images, one or two damaged ones are no sign of a wrong folder.
    tolerated = max(_ALWAYS_TOLERATED, max_unreadable * total) if max_unreadable else 0
    if bad and (bad == total or bad > tolerated):
        causes = "; ".join(f"{entry['image']}: {entry['cause']}" for entry in unreadable[:3])
        share = "All" if bad == total else f"{bad} of"
        limit = "" if bad == total else f", more than the {max_unreadable:.0%} that a run may leave out"
        raise DatalistError(f"{share} {total} images are unreadable{limit}; the first: {causes}.")
