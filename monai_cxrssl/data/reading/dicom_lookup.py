# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM grey-scale pipeline as one lookup table (PS3.3 C.11).

Stored value -> modality LUT or rescale -> VOI LUT, window or the image's own range -> inversion -> padding to 0. All
of it depends on the stored value alone, so it is computed once for the 256 or 65,536 possible values instead of for
millions of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Window", "check_window", "modality_values", "voi_intensities", "is_inverted", "padding_values", "numbers"]

Window = int | str | Sequence[float] | None

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def check_window(window: Window) -> Window:
    """Return a valid ``window`` option unchanged, ``"none"`` as None.

    Raises:
        ConfigurationError: it is none of ``"first"``, None, ``"none"``, an index from 0, ``[center, width]``.
    """
    if window is None or window == "none":
        return None
    if window == "first":
        return window
    if isinstance(window, (int, np.integer)) and not isinstance(window, bool) and window >= 0:
        return int(window)
    if isinstance(window, Sequence) and not isinstance(window, str) and len(window) == 2:
        try:
            center, width = float(window[0]), float(window[1])
        except (TypeError, ValueError):
            center = width = math.nan
        if math.isfinite(center) and math.isfinite(width) and width >= 1:
            return (center, width)
    raise ConfigurationError(
        f"window is {window!r}; expected 'first' (what the file prefers), 'none' or null (the image's own range), "
        "the index of a window of the file counted from 0, or [center, width] with a width of at least 1."
    )


def modality_values(ds: Dataset, stored: np.ndarray, path: str, notes: list[str]) -> np.ndarray:
    """Map stored values through the modality LUT or the rescale slope and intercept.

    Args:
        ds: the data set.
        stored: ``(N,)`` stored values.
        path: the file, for messages.
        notes: warnings are appended here.

    Returns:
        float64 ``(N,)``.

    Raises:
        CXRReadError: a slope of 0 or one that is not a number.
    """
    sequence = ds.get("ModalityLUTSequence")
    if sequence:
        lut = _read_lut(ds, sequence[0], stored)
        if lut is not None:
            return _look_up(lut, stored)[0]
        notes.append("the modality LUT is incomplete and was left out")
    slope, intercept = numbers(ds, "RescaleSlope"), numbers(ds, "RescaleIntercept")
    values = stored.astype(np.float64)
    if slope is None or intercept is None:
        raise CXRReadError(path, "has a rescale slope or intercept that is not a number", "Correct the DICOM header.")
    if bool(slope) != bool(intercept):
        notes.append(f"rescale {'intercept' if slope else 'slope'} missing, taken for {0 if slope else 1}")
    factor = slope[0] if slope else 1.0
    if factor == 0:
        raise CXRReadError(
            path,
            "has a rescale slope of 0, which gives every pixel the same value",
            "Export it again with the true RescaleSlope (usually 1).",
        )
    return values * factor + (intercept[0] if intercept else 0.0)


def voi_intensities(
    ds: Dataset, values: np.ndarray, window: Window, path: str, notes: list[str]
) -> tuple[np.ndarray | None, str]:
    """Map modality values to [0, 1] by the VOI LUT or window asked for.

    Args:
        ds: the data set.
        values: float64 ``(N,)`` modality values.
        window: as :func:`check_window` returns it.
        path: the file, for messages.
        notes: warnings are appended here.

    Returns:
        float64 ``(N,)`` in [0, 1], or None where the image's own range is to be used; and what was used, in words.

    Raises:
        CXRReadError: the file has windows, but not the one asked for.
    """
    if window is None:
        return None, ""
    if isinstance(window, tuple):
        return _apply_window(values, window[0], window[1], "LINEAR"), f"LINEAR {window[0]:g} {window[1]:g} (given)"
    windows = _windows(ds, notes)
    luts = list(ds.get("VOILUTSequence") or [])
    if window == "first" and luts:
        lut = _read_lut(ds, luts[0], values)
        if lut is not None:
            return _lut_intensities(lut, values, notes), "VOI LUT 0"
        notes.append("the VOI LUT is incomplete and was left out")
        luts = []
    if not windows and not luts:
        return None, ""
    index = 0 if window == "first" else int(str(window))
    if index >= len(windows or luts):
        what = f"{len(windows)} window(s)" if windows else f"{len(luts)} VOI LUT(s)"
        raise CXRReadError(
            path, f"has {what}, but number {index} (counted from 0) was asked for", "Use window='first' for all files."
        )
    if windows:
        center, width, function = windows[index]
        least = 1 if function == "LINEAR" else 0
        if not math.isfinite(center) or not math.isfinite(width) or width < least or width == 0:
            notes.append(f"window {index} has center {center:g} and width {width:g}; it was left out")
            return None, ""
        return _apply_window(values, center, width, function), f"{function} {center:g} {width:g}"
    lut = _read_lut(ds, luts[index], values)
    if lut is None:
        notes.append("the VOI LUT is incomplete and was left out")
        return None, ""
    return _lut_intensities(lut, values, notes), f"VOI LUT {index}"


def is_inverted(ds: Dataset, notes: list[str]) -> bool:
    """Whether small values are the bright ones: MONOCHROME1, or a presentation LUT of INVERSE. Both together invert
    once, for INVERSE is how a MONOCHROME1 image says the same thing again."""
    photometric = str(ds.get("PhotometricInterpretation") or "").strip().upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        said = f"is {photometric!r}" if photometric else "is missing"
        notes.append(f"photometric interpretation {said}, taken for MONOCHROME2")
    shape = str(ds.get("PresentationLUTShape") or "").strip().upper()
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def padding_values(ds: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Return bool ``(N,)``, true for the stored values that mark pixels without image; None if there are none."""
    first = numbers(ds, "PixelPaddingValue")
    if not first:
        return None
    limit = numbers(ds, "PixelPaddingRangeLimit") or first
    # The elements may have been written in the other signedness: compare what both mean in 16 bits.
    bounds = [int(value) for value in (first[0], limit[0])]
    if stored.min() < 0:
        bounds = [value - 65536 if value >= 32768 else value for value in bounds]
    else:
        bounds = [value + 65536 if value < 0 else value for value in bounds]
    return (stored >= min(bounds)) & (stored <= max(bounds))


def numbers(ds: Dataset, keyword: str) -> list[float] | None:
    """Return the finite or infinite numbers of an element: empty when it is absent, None when one is no number."""
    try:
        value = ds.get(keyword)
        if value is None or value == "":
            return []
        several = (isinstance(value, Sequence) and not isinstance(value, (str, bytes))) or hasattr(value, "__iter__")
        found = [float(part) for part in value] if several and not isinstance(value, str) else [float(str(value))]
    except (TypeError, ValueError, OverflowError):
        return None
    return None if any(math.isnan(number) for number in found) else found


def _windows(ds: Dataset, notes: list[str]) -> list[tuple[float, float, str]]:
    centers, widths = numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth")
    if centers is None or widths is None or len(centers) != len(widths):
        notes.append("window center and width do not make pairs of numbers; they were left out")
        return []
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS and centers:
        notes.append(f"VOI LUT function {function!r} is unknown, taken for LINEAR")
        function = "LINEAR"
    return [(center, width, function) for center, width in zip(centers, widths, strict=True)]


def _apply_window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT), with the output range [0, 1]."""
    if function == "SIGMOID":
        # Beyond this the exponential overflows and the result is 0 or 1 anyway.
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    if width == 0:  # LINEAR of width 1 is a step
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _read_lut(ds: Dataset, item: Any, values: np.ndarray) -> tuple[np.ndarray, int, int] | None:
    """Return (entries, first value mapped, bits per entry) of a LUT sequence item, or None if it is incomplete."""
    entries: np.ndarray
    descriptor = numbers(item, "LUTDescriptor")
    data = item.get("LUTData")
    if not descriptor or len(descriptor) != 3 or data is None:
        return None
    # A count of 65,536 is written as 0; a parser that takes the element for signed makes large counts negative.
    count = int(descriptor[0]) % 65536 or 65536
    first, bits = int(descriptor[1]), int(descriptor[2])
    if first >= 32768 and values.min() < 0:
        first -= 65536
    if isinstance(data, (bytes, bytearray)):
        little = bool(ds.original_encoding[1]) if ds.original_encoding[1] is not None else True
        if len(data) in (count, count + count % 2) and bits <= 8:
            entries = np.frombuffer(bytes(data), np.uint8)
        else:
            entries = np.frombuffer(bytes(data)[: len(data) // 2 * 2], "<u2" if little else ">u2")
    else:
        entries = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
        if bits <= 8 and len(entries) == (count + 1) // 2 and count > 1:  # two entries packed into each word
            entries = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel()
    if len(entries) < count or not 1 <= bits <= 16:
        return None
    return entries[:count].astype(np.float64), first, bits


def _look_up(lut: tuple[np.ndarray, int, int], values: np.ndarray) -> tuple[np.ndarray, int]:
    entries, first, bits = lut
    # Values outside take the first or last entry; between entries (a fractional rescale) the nearer one.
    index = np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(np.int64)
    return entries[index], bits


def _lut_intensities(lut: tuple[np.ndarray, int, int], values: np.ndarray, notes: list[str]) -> np.ndarray:
    entries, bits = _look_up(lut, values)
    top = 2**bits - 1
    if lut[0].max() > top:
        top = 2 ** int(lut[0].max()).bit_length() - 1
        notes.append(f"the VOI LUT claims {bits} bits but reaches {lut[0].max():.0f}; scaled by {top}")
    return entries / top
