# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""TIFF kinds that Pillow lacks, decoded by tifffile."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monai_cxrssl.data.reading.film import Note, check_size
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["TiffPicture", "read_tiff"]

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_GREY_REMEDY = "Save it as a grey TIFF or PNG."


@dataclass(frozen=True)
class TiffPicture:
    """Stored values of the one picture in a TIFF: ``(H, W)`` or, in colour, ``(H, W, 3)``; and its orientation tag."""

    pixels: np.ndarray
    orientation: int = 1
    white_is_zero: bool = False


def read_tiff(path: str, data: bytes, max_pixels: int, notes: list[str]) -> TiffPicture:
    """Decode a TIFF of any sample type, layout and compression that tifffile and imagecodecs know.

    Smaller copies and masks beside the picture are left out; grey with alpha is laid over black.

    Raises:
        CXRReadError: several pictures, or more than ``max_pixels``, or a kind that is named.
        Exception: anything that tifffile and imagecodecs raise on damage.
    """
    import tifffile

    # It logs what it then raises.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [page.aspage() for page in file.pages]
        pictures = [page for page in pages if not int(page.subfiletype or 0) & (_REDUCED | _MASK)]
        if not pictures:
            raise ValueError("its directory of pages cannot be read")
        if len(pictures) > 1:
            cause = f"holds {len(pictures)} pages or frames, not one image"
            raise CXRReadError(path, cause, "Split it into one file per image.")
        if len(pages) > 1:
            notes.append(Note("pictures", f"{len(pages) - 1} smaller copy or mask in the file was left out"))
        page = pictures[0]
        check_size(path, page.imagelength, page.imagewidth, max_pixels)
        if page.imagedepth > 1 or page.samplesperpixel > 4 or page.photometric not in (0, 1, _RGB):
            kind = getattr(page.photometric, "name", page.photometric)
            cause = f"is a TIFF of a kind that is not read ({kind}, {page.samplesperpixel} samples per pixel)"
            raise CXRReadError(path, cause, _GREY_REMEDY)
        _check_segments(page, len(data))
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, 2)
        orientation = page.tags.valueof("Orientation", 1)
        return TiffPicture(_without_alpha(pixels, page), int(orientation), page.photometric == _WHITE_IS_ZERO)


def _check_segments(page: TiffPage, size: int) -> None:
    """Raise ValueError where a strip or tile is missing, cut, or decodes to less than its part of the picture, all of
    which tifffile fills with zeros."""
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    down = -(-page.imagelength // (page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)))
    across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
    if len(spans) < down * across * planes:
        raise ValueError(f"{len(spans)} of its {down * across * planes} strips or tiles are there")
    if any(count == 0 or offset + count > size for offset, count in spans):
        raise ValueError("strips or tiles lie beyond the end of the file")
    if page.compression == 1:
        needed = page.imagelength * ((page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8)
        if not page.is_tiled and sum(count for _, count in spans) < needed:
            raise ValueError("its strips hold fewer bytes than its rows need")
        return
    data = page.parent.filehandle
    for index, (offset, count) in enumerate(spans):
        data.seek(offset)
        decoded, _, shape = page.decode(data.read(count), index, jpegtables=page.jpegtables, _fullsize=False)
        if decoded is None or decoded.size < int(np.prod(shape)):
            raise ValueError(f"strip or tile {index} decodes to less than its part of the picture")


def _without_alpha(pixels: np.ndarray, page: TiffPage) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels
    colours = 3 if page.photometric == _RGB else 1
    samples = pixels[..., :colours]
    if pixels.shape[2] > colours and page.extrasamples and page.extrasamples[0] in (1, 2):
        alpha = pixels[..., colours : colours + 1]
        top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
        # Associated alpha (1) was multiplied in already.
        if page.extrasamples[0] == 2 and not (alpha == top).all():
            samples = np.rint(samples * (alpha / top)) if alpha.dtype.kind in "iu" else samples * alpha
            samples = samples.astype(pixels.dtype)
    return samples[..., 0] if colours == 1 else samples
