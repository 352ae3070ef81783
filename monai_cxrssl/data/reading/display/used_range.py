# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Grey range that an image uses, and the one it shows.

A range misfits where the image uses less than a tenth of it, or where more than 95 % of its pixels are black or white.
Padding, what a shutter hides and burnt-in markers are left out. A marker is a group of the smallest or largest values
of less than a tenth of the pixels, apart from all others by more than half of the range that those have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["ValueCounts", "count_values", "fits", "misfit", "own_range"]

_LEAST_USED = 0.1
_MOST_CLIPPED = 0.95
# Half a grey level of 8 bits from black or white is black or white.
_LEVEL = 0.5 / 255
_PERCENTILES = (0.01, 0.99)
_MARKER_SHARE = 0.1
# Without its markers, an image of its own range may use more than a tenth of it, and still be dark because of them.
_BESIDE_MARKERS = 0.25
# Masks and blank pictures have fewer values, and no range to find.
_LEAST_VALUES = 8
_SAMPLE = 1024


@dataclass(frozen=True)
class ValueCounts:
    """Distinct values of an image, rising, and how many pixels hold each: ``(N,)`` both."""

    values: np.ndarray
    counts: np.ndarray

    def without_markers(self) -> tuple[int, int]:
        """Return the slice of the values that is left without burnt-in markers."""
        start, stop, total = 0, len(self.values), self.counts.sum()
        while stop - start > 2:
            values, counts = self.values[start:stop], self.counts[start:stop]
            gaps = np.diff(values)
            cut = int(gaps.argmax()) + 1
            above = counts[cut:].sum() <= counts[:cut].sum()
            marker, rest = (slice(cut, None), values[:cut]) if above else (slice(cut), values[cut:])
            if counts[marker].sum() >= _MARKER_SHARE * total or gaps[cut - 1] * 2 <= rest[-1] - rest[0]:
                break
            start, stop = (start, start + cut) if above else (start + cut, stop)
        return start, stop

    def percentiles(self, start: int, stop: int) -> tuple[int, int]:
        """Return the slice of the values from the 1st to the 99th percentile of those in a slice."""
        sums = np.cumsum(self.counts[start:stop])
        first, last = np.searchsorted(sums, np.multiply(_PERCENTILES, sums[-1]))
        return start + int(first), start + min(int(last), len(sums) - 1) + 1


def count_values(
    pixels: np.ndarray, values: np.ndarray, left_out: np.ndarray | None = None, hidden: np.ndarray | None = None
) -> ValueCounts:
    """Count what an image holds.

    Args:
        pixels: uint8 or uint16 ``(H, W)`` bit patterns.
        values: ``(256,)`` or ``(65536,)``, what each pattern means.
        left_out: bool of the same shape, the patterns of padding.
        hidden: bool ``(H, W)``, the pixels that a shutter hides.
    """
    mask = None if hidden is None else (~hidden).astype(np.uint8)
    counts = cv2.calcHist([pixels], [0], mask, [len(values)], [0, len(values)]).ravel()
    if left_out is not None:
        counts[left_out] = 0
    present = np.flatnonzero(counts)
    found, numbers = values[present], counts[present].astype(np.int64)
    if np.any(np.diff(found) <= 0):  # signed values, or bits that do not count
        order = np.argsort(found, kind="stable")
        found, numbers = found[order], numbers[order]
        first = np.flatnonzero(np.append(True, np.diff(found) > 0))
        found, numbers = found[first], np.add.reduceat(numbers, first)
    return ValueCounts(found, numbers)


def fits(
    pixels: np.ndarray,
    table: np.ndarray | None,
    left_out: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
) -> bool:
    """Return whether a sample of ``(H, W)`` pixels, looked up, shows at a glance that the range fits.

    False asks for a count: the middle four fifths of the pixels take no tenth of the range, or most are at its ends.
    """
    step = max(1, math.isqrt(pixels.size // _SAMPLE))
    sample = pixels[::step, ::step]
    sample = sample.ravel() if hidden is None else sample[~hidden[::step, ::step]]
    if left_out is not None:
        sample = sample[~left_out[sample]]
    if sample.size < 10:
        return False
    shown = np.sort(sample if table is None else table[sample])
    tenth = shown.size // 10
    used = shown[shown.size - 1 - tenth] - shown[tenth]
    clipped = np.searchsorted(shown, _LEVEL, "right") + shown.size - np.searchsorted(shown, 1 - _LEVEL)
    return bool(used > 1.2 * _LEAST_USED and clipped < 0.9 * shown.size)


def misfit(film: ValueCounts, shown: np.ndarray) -> str:
    """Say how badly ``shown``, the intensities of the image's values ``(N,)``, fit it; ``""`` where they do."""
    start, stop = film.without_markers()
    if stop - start < _LEAST_VALUES:
        return ""
    first, last = film.percentiles(start, stop)
    used = float(np.ptp(shown[first:last]))
    if used < _LEAST_USED:
        return f"shows the image in {used:.1%} of the grey range"
    counts, ends = film.counts[start:stop], np.zeros(stop - start, bool)
    for end in (shown[start:stop] <= _LEVEL, shown[start:stop] >= 1 - _LEVEL):
        # One value that is black, or white, is a background: nothing in it is lost.
        if np.count_nonzero(end) > 1:
            ends |= end
    clipped = counts[ends].sum() / counts.sum()
    return f"makes {clipped:.1%} of the image black or white" if clipped > _MOST_CLIPPED else ""


def own_range(film: ValueCounts) -> tuple[float, float, bool]:
    """Return lowest and highest value of the image's own range, and whether it had to be found without markers or
    outliers: then it is that of the values from the 1st to the 99th percentile, or all where that is half of them."""
    values = film.values
    if not len(values):
        return 0.0, 0.0, False
    low, high = float(values[0]), float(values[-1])
    start, stop = film.without_markers()
    if stop - start < _LEAST_VALUES:
        return low, high, False
    first, last = film.percentiles(start, stop)
    inner, whole = values[last - 1] - values[first], values[stop - 1] - values[start]
    limit = _BESIDE_MARKERS if stop - start < len(values) else _LEAST_USED
    if inner >= limit * (high - low) or inner <= 0:
        return low, high, False
    if 2 * inner >= whole:
        first, last = start, stop
    return float(values[first]), float(values[last - 1]), True
