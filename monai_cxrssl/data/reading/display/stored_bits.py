# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Values by Bits Stored and High Bit, compared with the pixels."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.data.reading.film import Note

__all__ = ["pattern_values"]

# Fewer neighbours say nothing about which reading of the bits is the smoother one.
_LEAST_PAIRS = 16
_SAMPLE = 2**18


def pattern_values(
    pixels: np.ndarray, stored: int, high_bit: int, signed: bool, has_overlay: bool, notes: list[str]
) -> np.ndarray:
    """Return int32 ``(256,)`` or ``(65536,)``: the stored value that each bit pattern means (PS3.5 8.1.1).

    Bits above the stored ones are masked off, as those of an overlay, unless the image is smooth with them only: then
    the header names too few bits, and they count.

    Args:
        pixels: uint8 or uint16 ``(H, W)`` bit patterns.
        stored, high_bit: of the header, or of the compressed stream where that has fewer bits.
        signed: whether the value is a two's complement.
        has_overlay: whether the header says that bits above are an overlay.
        notes: what is odd is appended here.
    """
    bits = 8 * pixels.dtype.itemsize
    if high_bit != stored - 1:
        notes.append(Note("bits", f"the stored bits end at bit {high_bit} instead of {stored - 1}; shifted"))
    meaning = _meaning(bits, stored, high_bit, signed)
    # Rows apart suffice: no image has a single row of values too large.
    sample = pixels[:: max(1, pixels.size // _SAMPLE)]
    if high_bit == bits - 1 or has_overlay or not _exceeds(sample, stored, high_bit, signed):
        return meaning
    whole = _meaning(bits, bits, bits - 1, signed)
    if _smoother(whole[sample], meaning[sample], sample >> (high_bit + 1)):
        reach = max(int(sample.max()).bit_length(), high_bit + 1)
        notes.append(Note("bits", f"pixels reach {reach} bits although the header says {stored}; all of them count"))
        return whole
    notes.append(Note("bits", f"bits above the {stored} stored ones are set without an overlay; they were masked off"))
    return meaning


def _meaning(bits: int, stored: int, high_bit: int, signed: bool) -> np.ndarray:
    values = (np.arange(1 << bits, dtype=np.int32) >> (high_bit + 1 - stored)) & ((1 << stored) - 1)
    if signed:
        values = np.where(values >> (stored - 1), values - (1 << stored), values)
    return values.astype(np.int32)


def _exceeds(sample: np.ndarray, stored: int, high_bit: int, signed: bool) -> bool:
    """Return whether bits above the high bit are set, other than those of a negative number."""
    if int(sample.max()) >> (high_bit + 1) == 0:
        return False
    if not signed:
        return True
    above = sample >> (high_bit + 1)
    ones = (1 << (8 * sample.dtype.itemsize - high_bit - 1)) - 1
    negative = (sample >> high_bit) & 1 == 1
    return bool(np.any((above != 0) & ((above != ones) | ~negative)))


def _smoother(whole: np.ndarray, masked: np.ndarray, above: np.ndarray) -> bool:
    """Return whether neighbours in a row that differ in the bits above differ less with those than without."""
    differ = above[:, 1:] != above[:, :-1]
    if np.count_nonzero(differ) < _LEAST_PAIRS:
        return False
    steps = (float(np.median(np.abs(np.diff(values, axis=1))[differ])) for values in (whole, masked))
    return next(steps) < next(steps)
