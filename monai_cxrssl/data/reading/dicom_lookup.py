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

import numpy as np

from monai_cxrssl.data.reading.dicom_header import Header, Window, refuse_colour
from monai_cxrssl.data.reading.display.colour import is_grey_palette
from monai_cxrssl.data.reading.display.lut import lut_intensities, lut_outputs
from monai_cxrssl.data.reading.display.used_range import ValueCounts, count_values, fits, misfit, own_range
from monai_cxrssl.data.reading.film import Note
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
    header: Header,
    pixels: np.ndarray,
    meaning: np.ndarray,
    window: Window,
    warnings: list[str],
    hidden: np.ndarray | None = None,
) -> tuple[np.ndarray, bool, str]:
    """Compose the lookup table from bit patterns to intensities.

    A range of the header that does not fit the pixels gives way to the image's own, which a warning says; one that
    ``window`` names by its numbers or its index stays, with a warning.

    Args:
        header, pixels: of the image; uint8 or uint16 ``(H, W)`` bit patterns.
        meaning: int32 ``(N,)``, the stored value of each bit pattern, N of 256 or 65,536.
        window: as :func:`check_window` returns it, and as the header was read with.
        warnings: what is odd is appended here.
        hidden: bool ``(H, W)``, the pixels behind a display shutter, of which no range is taken.

    Returns:
        float64 ``(N,)`` in [0, 1]; whether it inverts; and the window in words.

    Raises:
        CXRReadError: a slope of 0 or one that is not a number, the file has windows but not the one asked for, or it
            shows colour.
    """
    padding = _padding_values(header, meaning)
    table: np.ndarray | None
    if header.samples == 3 or header.palette is not None:
        values, inverted = meaning.astype(np.float64), False
        table, used = _displayed(header, pixels, meaning)
    else:
        values = _modality_values(header, meaning, warnings)
        inverted = _is_inverted(header, warnings)
        table, used = _windowed(header, values, window, warnings)
    if table is not None and not fits(pixels, table, padding, hidden):
        film = count_values(pixels, values, padding, hidden)
        if (fault := misfit(film, _of_values(film, values, table))) and window == "first":
            low, high, _ = own_range(film)
            warnings.append(
                Note("range_replaced", f"{used} {fault}; the image's own range {low:g} to {high:g} was taken instead")
            )
            table, used = _between(values, low, high), f"own {low:g} {high:g}"
        elif fault:
            warnings.append(Note("range", f"{used} {fault}; it was asked for and stays"))
    elif table is None:
        film = count_values(pixels, values, padding, hidden)
        if not len(film.values):
            warnings.append(Note("padding", "every pixel is padding"))
        low, high, is_robust = own_range(film) if window == "first" else (*_ends(film), False)
        if is_robust:
            least, most = _ends(film)
            warnings.append(
                Note(
                    "range_replaced",
                    f"markers or outliers stretch the image's range to {least:g} to {most:g}; {low:g} to {high:g} was "
                    "taken instead",
                )
            )
        used = f"{'own' if is_robust else 'min-max'} {low:g} {high:g}"
        # An image of one value has no contrast to invert.
        if high <= low:
            return np.zeros(len(values)), inverted, used
        table = _between(values, low, high)
    if inverted:
        table = 1.0 - table
    if padding is not None:
        table[padding] = 0.0
    return table, inverted, used


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _ends(film: ValueCounts) -> tuple[float, float]:
    return (float(film.values[0]), float(film.values[-1])) if len(film.values) else (0.0, 0.0)


def _of_values(film: ValueCounts, values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the intensity of each value of the image."""
    order = np.argsort(values, kind="stable")
    return table[order[np.searchsorted(values, film.values, sorter=order)]]


def _displayed(header: Header, pixels: np.ndarray, meaning: np.ndarray) -> tuple[np.ndarray, str]:
    """Map stored values of an image saved in colour to [0, 1]: no window applies to them (PS3.3 C.11.2)."""
    if header.palette is None:
        top = (1 << header.bits_stored) - 1
        return np.clip(meaning / top, 0.0, 1.0), f"0 to {top}"
    index = np.clip(meaning, 0, len(header.palette) - 1)
    present = np.zeros(len(header.palette), bool)
    present[index[np.unique(pixels)]] = True
    if not is_grey_palette(header.palette, present):
        refuse_colour(header.path, header.photometric_interpretation, header.samples)
    return header.palette[index, 1] / float(np.iinfo(header.palette.dtype).max), "palette"


def _modality_values(header: Header, stored: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Map int32 ``(N,)`` stored values to float64 modality values."""
    if header.modality_lut is not None:
        outputs = lut_outputs(header.modality_lut, stored)
        if outputs is not None:
            return outputs
        warnings.append(Note("lut", "the modality LUT is incomplete and was left out"))
    slope, intercept = header.rescale_slope, header.rescale_intercept
    if slope is None or intercept is None:
        cause = "has a rescale slope or intercept that is not a number"
        raise CXRReadError(header.path, cause, "Correct the DICOM header.")
    if bool(slope) != bool(intercept):
        missing = "intercept missing, taken for 0" if slope else "slope missing, taken for 1"
        warnings.append(Note("rescale", f"rescale {missing}"))
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
        warnings.append(Note("photometric", f"photometric interpretation {state}, taken for MONOCHROME2"))
    shape = header.presentation_lut_shape
    if {(photometric, shape)} & {("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")}:
        warnings.append(
            Note("photometric", f"{photometric} and presentation LUT shape {shape} contradict each other; inverted")
        )
    return photometric == "MONOCHROME1" or shape == "INVERSE"


def _windowed(header: Header, values: np.ndarray, window: Window, warnings: list[str]) -> tuple[np.ndarray | None, str]:
    """Map modality values to [0, 1] by the VOI LUT or window asked for; None: by the image's own range."""
    if window is None:
        return None, ""
    if isinstance(window, tuple):
        return _apply_window(values, window[0], window[1], "LINEAR"), f"LINEAR {window[0]:g} {window[1]:g} (given)"
    if header.windows is None:
        warnings.append(Note("window", "window center and width do not make pairs of numbers; they were left out"))
    windows, function = header.windows or (), header.voi_lut_function
    if function not in _FUNCTIONS:
        warnings.append(Note("window", f"VOI LUT function {function!r} is unknown, taken for LINEAR"))
        function = "LINEAR"
    index = 0 if window == "first" else int(str(window))
    if header.voi_lut is not None:
        intensities = lut_intensities(header.voi_lut, values, warnings)
        if intensities is not None:
            return intensities, f"VOI LUT {index}"
        warnings.append(Note("lut", "the VOI LUT is incomplete and was left out"))
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
        warnings.append(Note("window", f"window {index} has center {center:g} and width {width:g}; it was left out"))
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
