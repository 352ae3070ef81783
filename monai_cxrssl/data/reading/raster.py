# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PNG, JPEG, TIFF and BMP images as one upright grey channel."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.codecs.jpeg import exif_block, first_picture, read_rare_jpeg
from monai_cxrssl.data.reading.codecs.png import decode_grey_png
from monai_cxrssl.data.reading.codecs.tiff import read_tiff
from monai_cxrssl.data.reading.codecs.turbo_jpeg import decode_jpeg, jpeg_size
from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.display.used_range import ValueCounts, count_values, fits, misfit, own_range
from monai_cxrssl.data.reading.file_kind import COPY_AGAIN, error_words, refuse_damage
from monai_cxrssl.data.reading.film import Film, Fit, Note, check_size, min_max_table
from monai_cxrssl.data.reading.raster_integrity import check_jpeg_scan, check_png, complete_jpeg, without_metadata
from monai_cxrssl.errors import CXRReadError

__all__ = ["check_finite", "read_raster", "to_unit"]

_WHITE_IS_ZERO = 0
_SIGNED = 2
_GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N", "I;16S")
_LUMINANCE = (0.299, 0.587, 0.114)
_MACHINE_ORDER = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def read_raster(
    path: str, data: bytes, kind: str, max_pixels: int, window: Window = "first", fit: Fit | None = None
) -> Film:
    """Read a file of ``kind`` ``"png"``, ``"jpeg"``, ``"tiff"`` or ``"bmp"``.

    Colours become luminance (ITU-R BT.601, as Pillow's ``convert("L")``), which leaves grey stored as RGB unchanged.
    Transparent pixels are laid over black, the background of an image. 8-bit values are divided by 255; deeper ones
    span the image's own minimum to maximum. Unless ``window`` is None, a range of which the image uses less than a
    tenth gives way to the image's own, without burnt-in markers, with a note. What Pillow lacks is read by tifffile and
    imagecodecs. Metadata that cannot be read is left out with a note. ``fit`` lets JPEG be decoded at a lower
    resolution.

    Raises:
        CXRReadError: truncated, damaged, several pages, or more than ``max_pixels`` (told before memory is taken).
    """
    notes: list[str] = []
    if kind == "png":
        check_png(path, data, max_pixels, notes)
    elif kind == "jpeg":
        first = first_picture(data)
        if len(first) < len(data):
            notes.append(Note("pictures", f"{len(data) - len(first)} bytes after the picture were left out"))
        data = complete_jpeg(path, first, notes)
    with refuse_damage(path, f"is a truncated or damaged {kind.upper()} ({{}})", COPY_AGAIN):
        film = _read(path, data, kind, max_pixels, notes, fit)
        if window is not None and not fits(film.pixels, film.table):
            if film.pixels.shape != film.shape:
                film = _read(path, data, kind, max_pixels, notes, None)
            _take_own_range(film)
    return film


def _read(path: str, data: bytes, kind: str, max_pixels: int, notes: list[str], fit: Fit | None) -> Film:
    if kind == "jpeg" and (film := _read_by_turbo(path, data, max_pixels, notes, fit)) is not None:
        return film
    if kind == "png" and (pixels := decode_grey_png(data)) is not None:
        bits = 8 * pixels.itemsize
        mode = "L" if bits == 8 else "I;16"
        return _film(path, *to_unit(path, pixels), pixels.shape, mode, bits, bits > 8, False, notes)
    if kind == "jpeg" and (rare := read_rare_jpeg(path, data, max_pixels)) is not None:
        pixels, bits = rare
        orientation = _orientation(lambda: _exif(exif_block(data)), notes)
        return _of_array(path, pixels, bits, orientation, False, notes)
    try:
        return _read_by_pillow(path, data, kind, max_pixels, notes)
    except CXRReadError as error:
        # Several pages may be one and its thumbnails.
        if kind != "tiff" or "pages or frames" not in (error.cause or ""):
            raise
        return _read_tiff(path, data, max_pixels, notes)
    except Exception as error:
        if kind == "png" and (plain := without_metadata(data)) != data:
            film = _read_by_pillow(path, plain, kind, max_pixels, notes)
            notes.append(Note("metadata", f"metadata in the file cannot be read ({error_words(error)}); left out"))
            return film
        if kind != "tiff":
            raise
        try:
            return _read_tiff(path, data, max_pixels, notes)
        except CXRReadError:
            raise
        except Exception:
            raise error from None


def _read_by_turbo(path: str, data: bytes, max_pixels: int, notes: list[str], fit: Fit | None) -> Film | None:
    """Read a usual JPEG without damage; None for others, of which slower ways tell what they are."""
    size = jpeg_size(data)
    if size is None or data.find(b"MPF\x00", 0, 65536) >= 0:
        return None
    rows, columns, _ = size
    check_size(path, rows, columns, max_pixels)
    try:
        pixels = decode_jpeg(data, size, fit)
    except ValueError as error:
        if "Huffman" in str(error):  # which Pillow would draw over
            raise
        return None
    orientation = _orientation(lambda: _exif(exif_block(data)), notes)
    shape, mode = (columns, rows) if orientation > 4 else (rows, columns), "L" if size[2] == "Gray" else "RGB"
    return _film(path, *to_unit(path, _upright(pixels, orientation)), shape, mode, 8, False, False, notes)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``(H, W)`` or ``(H, W, 3)`` pixels by an Exif orientation of 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _read_tiff(path: str, data: bytes, max_pixels: int, notes: list[str]) -> Film:
    picture = read_tiff(path, data, max_pixels, notes)
    bits = 8 * picture.pixels.dtype.itemsize
    return _of_array(path, picture.pixels, bits, picture.orientation, picture.white_is_zero, notes)


def _of_array(
    path: str, values: np.ndarray, bits: int, orientation: int, white_is_zero: bool, notes: list[str]
) -> Film:
    """Return the image of decoded values ``(H, W)`` or ``(H, W, 3)``, turned by an Exif orientation of 1 to 8."""
    if values.dtype == np.bool_:
        values, bits = values.astype(np.uint8) * 255, 1
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.ndim == 3:
        luminance = values @ np.array(_LUMINANCE)
        values = np.rint(luminance).astype(values.dtype) if values.dtype.kind in "iu" else luminance
    values = _upright(values, orientation)
    pixels, table = to_unit(path, values)
    return _film(
        path, pixels, table, pixels.shape, f"{values.dtype}", bits, values.dtype != np.uint8, white_is_zero, notes
    )


def _film(
    path: str,
    pixels: np.ndarray,
    table: np.ndarray | None,
    shape: tuple[int, int],
    mode: str,
    bits: int,
    is_deep: bool,
    white_is_zero: bool,
    notes: list[str],
) -> Film:
    if white_is_zero:
        if table is None:
            pixels = np.float32(1.0) - pixels
        else:
            table = 1.0 - table
    window = "min-max" if is_deep else "0 to 255"
    fields = {"photometric_interpretation": mode, "bits_stored": bits, "inverted": white_is_zero, "window": window}
    # From the least to the largest value the table is a straight line.
    slope = 0.0 if table is None else float(np.abs(np.diff(table)).max())
    return Film(path, pixels, table, shape, fields=fields, warnings=notes, slope=slope)


def _take_own_range(film: Film) -> None:
    """Give an image that uses little of its range its own range, with a note."""
    if film.table is None:
        values, counts = np.unique(film.pixels, return_counts=True)
        found = ValueCounts(values.astype(np.float64), counts)
        shown = found.values
    else:
        found = count_values(film.pixels, np.arange(len(film.table), dtype=np.float64))
        shown = film.table[found.values.astype(np.int64)]
    low, high, is_robust = own_range(found)
    if not is_robust and not misfit(found, shown):
        return
    if high <= low:
        return
    if film.table is None:
        film.pixels = np.clip((film.pixels - low) / (high - low), 0.0, 1.0).astype(np.float32)
    else:
        falling = film.fields["inverted"]
        film.table, film.slope = min_max_table(low, high, len(film.table)), 0.0
        film.table = 1.0 - film.table if falling else film.table
    what = f"the image uses little of the range {film.fields['window']}; its own range {low:g} to {high:g} was taken"
    film.warnings.append(Note("range_replaced", what))
    film.fields["window"] = f"own {low:g} {high:g}"


def _exif(block: bytes) -> Any:
    from PIL import Image

    exif = Image.Exif()
    if block:
        exif.load(block)
    return exif


def _orientation(exif: Callable[[], Any], notes: list[str]) -> int:
    """Return the orientation that Exif data name; damage in them, which no pixel depends on, is noted."""
    try:
        return int(exif().get(0x0112, 1) or 1)
    except Exception as error:  # anything from SyntaxError to struct.error
        notes.append(Note("metadata", f"the Exif data cannot be read ({error_words(error)}); left out"))
        return 1


def _read_by_pillow(path: str, data: bytes, kind: str, max_pixels: int, notes: list[str]) -> Film:
    from PIL import ImageOps

    with _open(path, data, kind) as image:
        columns, rows = image.size
        check_size(path, rows, columns, max_pixels)
        _check_pages(path, image, kind, notes)
        mode = image.mode
        if kind == "tiff" and max(_tag(image, 258) or (1,)) > 8 and mode not in _GREY_MODES:
            # Pillow takes the bytes of planes for pixels, and the upper half of colours.
            raise ValueError("its colours are of more than 8 bits")
        white_is_zero = kind == "tiff" and _tag(image, 262) == _WHITE_IS_ZERO and mode.startswith(("I", "F"))
        # Read now: loading a TIFF turns it and drops the tag.
        orientation = _orientation(image.getexif, notes)
        signed_bytes = kind == "tiff" and mode == "L" and _tag(image, 339) == (_SIGNED,)
        _check_coverage(path, image, kind, len(data))
        if kind == "tiff":
            _take_libtiff_order(image)
        image.load()
        decoded = np.asarray(image) if kind == "jpeg" else None
        if decoded is not None:
            check_jpeg_scan(path, data, decoded)
        upright = ImageOps.exif_transpose(image) if orientation > 1 and kind != "tiff" else image
        if signed_bytes:
            # Pillow takes them for 0 to 255, which puts the negative ones above the others.
            pixels, table, bits = *to_unit(path, np.asarray(upright).view(np.int8)), 8
        elif decoded is not None and decoded.ndim == 2 and upright is image:
            # Not a second time: each makes two copies.
            pixels, table, bits = *to_unit(path, decoded), 8
        else:
            pixels, table, bits = _grey(path, upright, mode)
    return _film(path, pixels, table, pixels.shape, mode, bits, bits > 8 or signed_bytes, white_is_zero, notes)


def to_unit(path: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return pixels and table of a Film for ``(H, W)`` values of any number type: 8 bits by 255, others by their
    range. CXRReadError: NaN or infinite values; the cause counts them."""
    if values.dtype == np.uint8:
        return values, np.arange(256) / 255.0
    low, high = values.min(), values.max()
    if values.dtype == np.uint16:
        return values, min_max_table(int(low), int(high))
    check_finite(path, values)
    if high <= low:
        return np.zeros(values.shape, np.float32), None
    if values.dtype.kind in "iu":
        # Unsigned differences wrap round to the true ones, which 64-bit numbers lose when they become float64 first.
        above = values.astype(np.uint64) - np.asarray(low).astype(np.uint64)
        return np.clip(above / float(int(high) - int(low)), 0.0, 1.0).astype(np.float32), None
    # Halved, so that the range of the largest numbers is still finite.
    low, high = float(low) / 2, float(high) / 2
    return np.clip((values.astype(np.float64) / 2 - low) / (high - low), 0.0, 1.0).astype(np.float32), None


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


def _open(path: str, data: bytes, kind: str) -> Any:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=(kind.upper(),))
    except Image.DecompressionBombError as error:
        cause = f"has too many pixels ({error})"
        raise CXRReadError(path, cause, "Its header is damaged, or it is no image.") from error


def _grey(path: str, image: Any, mode: str) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Return pixels, table and bits of an upright Pillow image."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return *to_unit(path, values), 8 * values.dtype.itemsize
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or ("transparency" in image.info and image.mode == "P"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    if image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    image = image if image.mode == "L" else image.convert("L")
    return *to_unit(path, np.ascontiguousarray(image)), 1 if mode == "1" else 8


def _check_coverage(path: str, image: Any, kind: str, size: int) -> None:
    """Refuse a TIFF whose strips leave rows black, and a BMP that holds more rows than its header says."""
    columns, rows = image.size
    if kind == "tiff":  # the size is already that of the turned image
        columns, rows = int(_tag(image, 256)), int(_tag(image, 257))
    boxes = [tile.extents for tile in image.tile if tile.extents]
    cause = ""
    if kind == "tiff" and boxes:
        covered = sum((min(x1, columns) - x0) * (min(y1, rows) - y0) for x0, y0, x1, y1 in boxes)
        if covered < columns * rows:
            cause = f"has data for {covered} of its {columns * rows} pixels"
    if kind == "bmp" and image.tile and image.tile[0].codec_name == "raw":
        stride = int(image.tile[0].args[1])
        surplus = size - image.tile[0].offset - stride * rows
        if surplus > stride:
            cause = f"holds {surplus} bytes more than its {rows} rows take"
    if cause:
        raise CXRReadError(path, cause, "Its header is damaged; fetch it again.")


def _take_libtiff_order(image: Any) -> None:
    """Keep Pillow (up to 13.0) from swapping the bytes of compressed signed and floating-point values of a big-endian
    file a second time: libtiff hands them over in the machine's own order."""
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
        notes.append(Note("pictures", f"{pages - 1} further picture(s) in the file were left out"))
        return
    raise CXRReadError(path, f"holds {pages} pages or frames, not one image", "Split it into one file per image.")


def _tag(image: Any, number: int) -> Any:
    return getattr(image, "tag_v2", {}).get(number)
