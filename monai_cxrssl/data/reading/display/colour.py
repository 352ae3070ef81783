# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Grey images saved in colour (RGB, YBR, palette), told from colour pictures."""

from __future__ import annotations

import numpy as np

__all__ = ["grey_channel", "is_grey_palette", "native_samples"]

# Of 255, what JPEG makes of equal channels; a coloured mark of a few pixels differs by far more.
_NOISE = 10


def grey_channel(samples: np.ndarray, photometric_interpretation: str, bits: int) -> np.ndarray | None:
    """Return the grey ``(H, W)`` in three samples per pixel, None where they show colour.

    Args:
        samples: uint8 or uint16 ``(H, W, 3)``.
        photometric_interpretation: of the header; a decoder may have turned YBR into RGB already.
        bits: that the samples use.
    """
    noise = _NOISE * 2.0 ** (bits - 8) if bits > 8 else _NOISE
    first, second, third = (samples[..., channel].astype(np.int32) for channel in range(3))
    if max(np.abs(first - second).max(), np.abs(third - second).max()) <= noise:
        return np.ascontiguousarray(samples[..., 1])
    middle = 1 << (bits - 1)
    is_ybr = photometric_interpretation.startswith("YBR")
    if is_ybr and max(np.abs(second - middle).max(), np.abs(third - middle).max()) <= noise:
        return np.ascontiguousarray(samples[..., 0])
    return None


def is_grey_palette(palette: np.ndarray, present: np.ndarray) -> bool:
    """Return whether the colours ``(N, 3)`` of all values that are ``present``, bool ``(N,)``, are grey."""
    colours = palette[present].astype(np.int32)
    return bool(np.ptp(colours, axis=1).max(initial=0) * 255 <= _NOISE * colours.max(initial=0))


def native_samples(
    values: np.ndarray, rows: int, columns: int, planar: bool, photometric_interpretation: str
) -> np.ndarray | None:
    """Return uncompressed samples ``(H, W, 3)`` of a flat array; None where there are too few or many of them."""
    pixels = rows * columns
    if photometric_interpretation == "YBR_FULL_422" and values.size in (2 * pixels, 2 * pixels + 1):
        # Two of Y, one each of Cb and Cr (PS3.3 C.7.6.3.1.2).
        pairs = values[: 2 * pixels].reshape(-1, 4)
        luma, chroma = pairs[:, :2].reshape(rows, columns), np.repeat(pairs[:, 2:], 2, axis=0)
        return np.dstack([luma, chroma.reshape(rows, columns, 2)])
    if values.size not in (3 * pixels, 3 * pixels + 1):
        return None
    samples = values[: 3 * pixels]
    return np.moveaxis(samples.reshape(3, rows, columns), 0, 2) if planar else samples.reshape(rows, columns, 3)
