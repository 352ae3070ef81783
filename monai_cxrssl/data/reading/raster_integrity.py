# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""PNG checksums and truncated JPEG scans that Pillow passes over."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from monai_cxrssl.data.reading.codestream import jpeg_lacks_data
from monai_cxrssl.data.reading.file_kind import COPY_AGAIN
from monai_cxrssl.data.reading.film import Note, check_size
from monai_cxrssl.errors import CXRReadError

__all__ = ["check_png", "complete_jpeg", "check_jpeg_scan", "without_metadata"]

_MISSING_END = Note("end_marker", "the end marker is missing; all pixels are there")
# Texts, colour profiles and print sizes, which decide on no pixel.
_METADATA_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"gAMA", b"cHRM")


def check_png(path: str, data: bytes, max_pixels: int, notes: list[str]) -> None:
    """Check the size, and the chunks that hold pixels against their checksums, which Pillow does not do.

    Either fault is a CXRReadError; a missing end marker is noted, and whether pixels are missing with it shows in the
    decode.
    """
    if len(data) >= 33 and data[12:16] == b"IHDR":
        columns, rows = struct.unpack(">II", data[16:24])
        check_size(path, rows, columns, max_pixels)
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        end = position + 8 + length
        if end + 4 > len(data):
            break
        # Only chunks that decide on pixels; a comment may be wrong without harm.
        if kind in (b"IHDR", b"PLTE", b"IDAT"):
            stored = struct.unpack(">I", data[end : end + 4])[0]
            if zlib.crc32(memoryview(data)[position + 4 : end]) != stored:
                cause = f"is a damaged PNG (the checksum of its {kind.decode()} chunk is wrong)"
                raise CXRReadError(path, cause, COPY_AGAIN)
        if kind == b"IEND":
            return
        position = end + 4
    notes.append(_MISSING_END)


def without_metadata(data: bytes) -> bytes:
    """Return a PNG without texts and colour profiles; a chunk that is cut ends it."""
    parts, position = [data[:8]], 8
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        end = position + 12 + length
        if kind not in _METADATA_CHUNKS:
            parts.append(data[position:end])
        position = end
    return b"".join(parts)


def complete_jpeg(path: str, data: bytes, notes: list[str]) -> bytes:
    """Return a JPEG with an end marker, added where only that is missing. CXRReadError: it is missing from a
    progressive JPEG, whose last scans may then be missing as well."""
    if data.rfind(b"\xff\xd9", max(0, len(data) - 65536)) >= 0:
        return data
    if b"\xff\xc2" in data:
        raise CXRReadError(path, "is a truncated progressive JPEG (it has no end marker)", COPY_AGAIN)
    notes.append(_MISSING_END)
    # A last byte of 0xFF would swallow the marker.
    return data.rstrip(b"\xff") + b"\xff\xd9"


def check_jpeg_scan(path: str, data: bytes, decoded: np.ndarray) -> None:
    """Refuse a JPEG that ran out of coded data before all its pixels were ``decoded``, for which libjpeg draws grey."""
    from PIL import Image

    def decode(stream: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(stream), formats=("JPEG",)) as image:
            return np.asarray(image)

    if jpeg_lacks_data(data, decode, decoded):
        raise CXRReadError(path, "is a truncated or damaged JPEG (its coded data end before its pixels do)", COPY_AGAIN)
