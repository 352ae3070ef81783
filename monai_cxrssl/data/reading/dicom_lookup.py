# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM grey-scale pipeline (modality LUT, VOI LUT, inversion) as one table.

Stored value -> modality LUT or rescale -> VOI LUT, window or the image's own range -> inversion -> padding to 0
(PS3.3 C.11.1, C.11.2; PS3.4 N.2). All of it depends on the stored value alone, so it is computed once for the 256 or
65,536 possible values instead of for millions of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import cv2
import numpy as np

from monai_cxrssl.data.reading.dicom_header import Header, Lut, Window
from monai_cxrssl.errors import ConfigurationError, CXRReadError

__all__ = ["check_window", "lookup_table"]

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def check_window(window: Window) -> Window:
    """Return a valid ``window`` option unchanged, ``"none"`` as None.

    It is ``"first"``, None, ``"none"``, an index from 0 or ``[center, width]``; all else is a ConfigurationError.
    """
    if window is None or window == "none":
        return None
    if window == "first":
        return window
    if isinstance(window, (int, np.integer)) and not isinstance(window, bool) and window >= 0:
        return int(window)
    if isinstance(window, Sequence) and not isinstance(window, str) and len(window) == 2:
        with suppress(TypeError, ValueError):
            center, width = map(float, window)
            if math.isfinite(center) and math.isfinite(width) and width >= 1:
                return (center, width)
    raise ConfigurationError(
        f"window is {window!r}; expected 'first' (what the file prefers), 'none' or null (the image's own range), "
        "the index of a window of the file counted from 0, or [center, width] with a width of at least 1."
    )


def lookup_table(
    header: Header, pixels: np.ndarray, meaning: np.ndarray, window: Window, warnings: list[str]
) -> tuple[np.ndarray, bool, str]:
    """Compose the lookup table from bit patterns to intensities.

    Args:
        header, pixels: of the film; uint8 or uint16 ``(H, W)`` bit patterns.
        meaning: int32 ``(N,)``, the stored value of each bit pattern, N of 256 or 65,536.
        window: as :func:`check_window` returns it, and as the header was read with.
        warnings: what is odd is appended here.

    Returns:
        float64 ``(N,)`` in [0, 1]; whether it inverts; and the window in words.

    Raises:
        CXRReadError: a slope of 0 or one that is not a number, or the file has windows but not the one asked for.
    """
    values = _modality_values(header, meaning, warnings)
    padding = _padding_values(header, meaning)
    inverted = _is_inverted(header, warnings)
    table, used = _windowed(header, values, window, warnings)
    if table is None:
        counts = cv2.calcHist([pixels], [0], None, [len(meaning)], [0, len(meaning)])
        present = counts.ravel() > 0
        if padding is not None:
            present &= ~padding
        low = high = 0.0
        if present.any():
            low, high = values[present].min(), values[present].max()
        else:
            warnings.append("every pixel is padding")
        used = f"min-max {low:g} {high:g}"
        # An image of one value has no contrast to invert.
        if high <= low:
            return np.zeros(len(values)), inverted, used
        table = np.clip((values - low) / (high - low), 0.0, 1.0)
    if inverted:
        table = 1.0 - table
    if padding is not None:
        table[padding] = 0.0
    return table, inverted, used


def _modality_values(header: Header, stored: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Map int32 ``(N,)`` stored values to float64 modality values."""
    if header.modality_lut is not None:
        if header.modality_lut.entries.size:
            return _look_up(header.modality_lut, stored)
        warnings.append("the modality LUT is incomplete and was left out")
    slope, intercept = header.rescale_slope, header.rescale_intercept
    if slope is None or intercept is None:
        cause = "has a rescale slope or intercept that is not a number"
        raise CXRReadError(header.path, cause, "Correct the DICOM header.")
    if bool(slope) != bool(intercept):
        warnings.append(f"rescale {'intercept' if slope else 'slope'} missing, taken for {0 if slope else 1}")
    factor = slope[0] if slope else 1.0
    if factor == 0:
        cause = "has a rescale slope of 0, which gives every pixel the same value"
        raise CXRReadError(header.path, cause, "Export it again with the true RescaleSlope (usually 1).")
    return stored.astype(np.float64) * factor + (intercept[0] if intercept else 0.0)


def _padding_values(header: Header, stored: np.ndarray) -> np.ndarray | None:
    """Return bool ``(N,)``, true for the stored values that mark pixels without image; None if there are none."""
    if header.padding is None:
        return None
    # The elements may have been written in the other signedness: compare what both mean in 16 bits.
    if stored.min() < 0:
        bounds = [value - 65536 if value >= 32768 else value for value in header.padding]
    else:
        bounds = [value + 65536 if value < 0 else value for value in header.padding]
    return (stored >= min(bounds)) & (stored <= max(bounds))


def _is_inverted(header: Header, warnings: list[str]) -> bool:
    """Whether small values are the bright ones: MONOCHROME1, or a presentation LUT of INVERSE. Both together invert
    once, for INVERSE is how a MONOCHROME1 image says the same thing again."""
    photometric = header.photometric_interpretation
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        state = f"is {photometric!r}" if photometric else "is missing"
        warnings.append(f"photometric interpretation {state}, taken for MONOCHROME2")
    return photometric == "MONOCHROME1" or header.presentation_lut_shape == "INVERSE"


def _windowed(header: Header, values: np.ndarray, window: Window, warnings: list[str]) -> tuple[np.ndarray | None, str]:
    """Map modality values to [0, 1] by the VOI LUT or window asked for; None: by the image's own range."""
    if window is None:
        return None, ""
    if isinstance(window, tuple):
        return _apply_window(values, window[0], window[1], "LINEAR"), f"LINEAR {window[0]:g} {window[1]:g} (given)"
    if header.windows is None:
        warnings.append("window center and width do not make pairs of numbers; they were left out")
    windows, function = header.windows or (), header.voi_lut_function
    if function not in _FUNCTIONS:
        warnings.append(f"VOI LUT function {function!r} is unknown, taken for LINEAR")
        function = "LINEAR"
    index = 0 if window == "first" else int(str(window))
    if header.voi_lut is not None:
        if header.voi_lut.entries.size:
            return _lut_intensities(header.voi_lut, values, warnings), f"VOI LUT {index}"
        warnings.append("the VOI LUT is incomplete and was left out")
        if not windows:
            return None, ""
    if not windows and not header.voi_lut_count:
        return None, ""
    if index >= len(windows or range(header.voi_lut_count)):
        what = f"{len(windows)} window(s)" if windows else f"{header.voi_lut_count} VOI LUT(s)"
        cause = f"has {what}, but number {index} (counted from 0) was asked for"
        raise CXRReadError(header.path, cause, "Use window='first' for all files.")
    center, width = windows[index]
    least = 1 if function == "LINEAR" else 0
    if not math.isfinite(center) or not math.isfinite(width) or width < least or width == 0:
        warnings.append(f"window {index} has center {center:g} and width {width:g}; it was left out")
        return None, ""
    return _apply_window(values, center, width, function), f"{function} {center:g} {width:g}"


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


def _look_up(lut: Lut, values: np.ndarray) -> np.ndarray:
    first = lut.first - 65536 if lut.first >= 32768 and values.min() < 0 else lut.first
    # Values outside take the first or last entry; between entries (a fractional rescale) the nearer one.
    index = np.clip(np.rint(values) - first, 0, len(lut.entries) - 1).astype(np.int64)
    return lut.entries[index]


def _lut_intensities(lut: Lut, values: np.ndarray, warnings: list[str]) -> np.ndarray:
    top, highest = 2**lut.bits - 1, lut.entries.max()
    if highest > top:
        top = 2 ** int(highest).bit_length() - 1
        warnings.append(f"the VOI LUT claims {lut.bits} bits but reaches {highest:.0f}; scaled by {top}")
    return _look_up(lut, values) / top
