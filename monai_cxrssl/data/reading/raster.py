# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PNG, JPEG, TIFF and BMP images as one upright grey channel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.film import Film, check_size, min_max_table
from monai_cxrssl.data.reading.raster_integrity import check_jpeg_scan, check_png, complete_jpeg
from monai_cxrssl.errors import CXRReadError

__all__ = ["read_raster", "unit_float", "check_finite"]

_FORMATS = {"png": ("PNG",), "jpeg": ("JPEG",), "tiff": ("TIFF",), "bmp": ("BMP",)}
_REFETCH = "Copy or download the file again."
_WHITE_IS_ZERO = 0
_SIGNED = 2
_MACHINE_ORDER = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def read_raster(path: str, data: bytes, kind: str, max_pixels: int) -> Film:
    """Read a PNG, JPEG, TIFF or BMP file.

    Colours become luminance (ITU-R BT.601, as Pillow's ``convert("L")``): it leaves grey pixels stored as RGB
    unchanged, and coloured marks keep the brightness they are seen with. Transparent pixels are laid over black, the
    background of a film. 8-bit values are divided by 255; deeper ones span the image's own minimum to maximum.

    Args:
        path: the file, for messages.
        data: its content.
        kind: ``"png"``, ``"jpeg"``, ``"tiff"`` or ``"bmp"``.
        max_pixels: a larger image is refused before memory is taken.

    Raises:
        CXRReadError: truncated, damaged, several pages, or more pixels than allowed.
    """
    from PIL import Image, ImageOps

    notes: list[str] = []
    if kind == "png":
        check_png(path, data, max_pixels, notes)
    elif kind == "jpeg":
        data = complete_jpeg(path, data, notes)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS[kind]) as image:
            columns, rows = image.size
            check_size(path, rows, columns, max_pixels)
            _check_pages(path, image, kind, notes)
            fields: dict[str, Any] = {"photometric_interpretation": image.mode}
            white_is_zero = kind == "tiff" and _tag(image, 262) == _WHITE_IS_ZERO and image.mode.startswith(("I", "F"))
            # Read now: loading a TIFF turns it and drops the tag.
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            signed_bytes = kind == "tiff" and image.mode == "L" and _tag(image, 339) == (_SIGNED,)
            _check_coverage(path, image, kind, len(data))
            if kind == "tiff":
                _take_libtiff_order(image)
            image.load()
            if kind == "jpeg":
                check_jpeg_scan(path, data, np.asarray(image))
            upright = ImageOps.exif_transpose(image)
            if signed_bytes:
                # Pillow takes them for 0 to 255, which puts the negative ones above the others.
                pixels, table, bits = unit_float(path, np.asarray(upright).view(np.int8)), None, 8
            else:
                pixels, table, bits = _grey(path, upright, fields["photometric_interpretation"])
    except CXRReadError:
        raise
    except Image.DecompressionBombError as error:
        raise CXRReadError(
            path, f"has too many pixels ({error})", "Its header is damaged, or it is no film."
        ) from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error … on damaged files
        words = " ".join(str(error).split()) or type(error).__name__
        raise CXRReadError(path, f"is a truncated or damaged {kind.upper()} ({words})", _REFETCH) from error
    shape = (columns, rows) if turned else (rows, columns)
    if white_is_zero:
        if table is None:
            pixels = np.float32(1.0) - pixels
        else:
            table = 1.0 - table
    fields |= {"bits_stored": bits, "inverted": bool(white_is_zero)}
    fields["window"] = "0 to 255" if bits <= 8 and not signed_bytes else "min-max"
    return Film(path, pixels, table, shape, fields=fields, warnings=notes)


def unit_float(path: str, values: np.ndarray) -> np.ndarray:
    """Map an array of any number type from its own range to float32 in [0, 1]; one value maps to 0.

    Raises:
        CXRReadError: NaN or infinite values; the cause counts them.
    """
    check_finite(path, values)
    low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(values.shape, np.float32)
    if values.dtype.kind in "iu":
        # Unsigned differences wrap round to the true ones, which 64-bit numbers lose when they become float64 first.
        above = values.astype(np.uint64) - np.asarray(low).astype(np.uint64)
        return np.clip(above / float(int(high) - int(low)), 0.0, 1.0).astype(np.float32)
    # Halved, so that the range of the largest numbers is still finite.
    low, high = float(low) / 2, float(high) / 2
    return np.clip((values.astype(np.float64) / 2 - low) / (high - low), 0.0, 1.0).astype(np.float32)


def check_finite(path: str, values: np.ndarray) -> None:
    """Refuse NaN and infinite values, one of which would spoil a whole image."""
    if values.dtype.kind != "f":
        return
    nans, infinities = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if nans or infinities:
        raise CXRReadError(
            path,
            f"holds {nans} NaN and {infinities} infinite values among its {values.size} pixels",
            "Export it again without the processing step that divides by zero, or fill them in on purpose.",
        )


def _grey(path: str, image: Any, mode: str) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Return pixels, table and bits of an upright Pillow image."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if values.dtype.kind == "u" and values.dtype.itemsize == 2:
            pixels = values.astype(np.uint16, copy=False)
            return pixels, min_max_table(int(pixels.min()), int(pixels.max())), 16
        return unit_float(path, values), None, 8 * values.dtype.itemsize
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or ("transparency" in image.info and image.mode == "P"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    if image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    pixels = np.asarray(image.convert("L"))
    return np.ascontiguousarray(pixels), np.arange(256) / 255.0, 1 if mode == "1" else 8


def _check_coverage(path: str, image: Any, kind: str, size: int) -> None:
    """Refuse a TIFF whose strips leave rows black, and a BMP that holds more rows than its header says."""
    columns, rows = image.size
    if kind == "tiff":  # the size is already that of the turned image
        columns, rows = int(_tag(image, 256)), int(_tag(image, 257))
    boxes = [tile.extents for tile in image.tile if tile.extents]
    if kind == "tiff" and boxes:
        covered = sum((min(x1, columns) - x0) * (min(y1, rows) - y0) for x0, y0, x1, y1 in boxes)
        if covered < columns * rows:
            raise CXRReadError(
                path, f"has data for {covered} of its {columns * rows} pixels", "Its header is damaged; fetch it again."
            )
    if kind == "bmp" and image.tile and image.tile[0].codec_name == "raw":
        stride = int(image.tile[0].args[1])
        surplus = size - image.tile[0].offset - stride * rows
        if surplus > stride:
            raise CXRReadError(
                path, f"holds {surplus} bytes more than its {rows} rows take", "Its header is damaged; fetch it again."
            )


def _take_libtiff_order(image: Any) -> None:
    """Let Pillow read compressed signed and floating-point values in the order in which libtiff hands them over, which
    is the machine's own; it swaps the bytes of a big-endian file a second time (up to 13.0, without a word)."""
    image.tile = [
        tile._replace(args=(_MACHINE_ORDER.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]


def _check_pages(path: str, image: Any, kind: str, notes: list[str]) -> None:
    pages = int(getattr(image, "n_frames", 1))
    if pages == 1:
        return
    if kind == "jpeg":  # a telephone adds a preview to its photograph
        notes.append(f"{pages - 1} further picture(s) in the file were left out")
        return
    raise CXRReadError(path, f"holds {pages} pages or frames, not one film", "Split it into one file per image.")


def _tag(image: Any, number: int) -> Any:
    return getattr(image, "tag_v2", {}).get(number)
