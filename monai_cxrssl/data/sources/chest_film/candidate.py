# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""First bytes of a file that may be an image."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from monai_cxrssl.data.reading.file_kind import file_kind, open_regular_file
from monai_cxrssl.errors import CXRReadError

__all__ = ["Candidate", "look_at_file"]

_HEAD = 4096
_SAMPLE = 4096
_PACKED_MAGIC = {
    b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x1f\x8b": "gz", b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
}  # fmt: skip
#: Bytes per pixel under which a compressed picture may be of two values. Images have 0.3 to 1.5 as PNG and 0.08 to 0.4
#: as JPEG; masks have 0.005 to 0.05.
_LIGHT = {"png": 0.1, "jpeg": 0.07, "dicom": 0.05, "nifti": 0.1, "tiff": 0.1}
#: Bytes that a JPEG file has before its first pixel.
_JPEG_TABLES = 600
_OWN_PICTURE = b"Software\x00monai_cxrssl"


@dataclass(slots=True)
class Candidate:
    """A file that may be a chest X-ray, and what its first bytes tell."""

    path: str
    #: Path relative to the folder that the user named, with slashes.
    relative: str
    #: As :func:`~monai_cxrssl.data.reading.file_kind.file_kind` says; empty where the file is no image.
    kind: str = ""
    size: int = 0
    #: Rows and columns as stored; None where the first bytes do not tell.
    shape: tuple[int, int] | None = None
    #: Whether the file is so small for its pixels, or its bytes so uniform, that it may be of two values.
    light: bool = False
    #: What packs the file, by its first bytes, or empty.
    packed: str = ""
    #: Whether this package drew the picture.
    own: bool = False
    #: Of a DICOM file: see :func:`~monai_cxrssl.data.sources.chest_film.header.read_film_header`.
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> int | None:
        """The longer side in pixels, where known."""
        rows, columns = self.shape or (self.header.get("rows"), self.header.get("columns"))
        return max(rows, columns) if rows and columns else None


def look_at_file(path: str, relative: str) -> Candidate:
    """Read the first 4 KiB of a file, and of uncompressed pixels three samples; no pixel is decoded."""
    candidate = Candidate(path, relative)
    head = b""
    try:
        with open_regular_file(path) as file:
            head = file.read(_HEAD)
            candidate.size = os.fstat(file.fileno()).st_size
            candidate.kind = file_kind(path, head)
            _measure(candidate, file, head)
    except (CXRReadError, OSError):  # the reader names the cause
        candidate.packed = next((name for magic, name in _PACKED_MAGIC.items() if head.startswith(magic)), "")
    return candidate


def _measure(candidate: Candidate, file: BinaryIO, head: bytes) -> None:
    kind, size = candidate.kind, candidate.size
    if kind == "png" and head[12:16] == b"IHDR":
        columns, rows = struct.unpack(">II", head[16:24])
        candidate.shape = (rows, columns) if rows and columns else None
        candidate.own = _OWN_PICTURE in head
    elif kind == "jpeg":
        candidate.shape = _jpeg_shape(head)
        size = max(size - _JPEG_TABLES, 0)
    elif kind == "nifti":
        candidate.shape = _nifti_shape(head)
    elif kind == "tiff":
        candidate.shape = _tiff_shape(file)
    if candidate.shape and kind in _LIGHT:
        candidate.light = size < _LIGHT[kind] * candidate.shape[0] * candidate.shape[1]
    if not candidate.light and kind in ("bmp", "tiff", "nifti", "metaimage", "nrrd"):
        candidate.light = _is_uniform(file, candidate.size)


def _jpeg_shape(head: bytes) -> tuple[int, int] | None:
    """Rows and columns of the frame header, when it stands in the first bytes."""
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], struct.unpack(">H", head[place + 2 : place + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            rows, columns = struct.unpack(">HH", head[place + 5 : place + 9])
            return (rows, columns) if rows and columns else None
        place += 2 + length
    return None


def _nifti_shape(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x1f\x8b"):
        head = zlib.decompressobj(31).decompress(head, 560)
    for order in "<>":
        if struct.unpack(f"{order}i", head[:4])[0] == 348:
            columns, rows = struct.unpack(f"{order}2h", head[42:46])
            return (rows, columns) if min(rows, columns) > 0 else None
    return None


def _tiff_shape(file: BinaryIO) -> tuple[int, int] | None:
    from PIL import Image

    try:
        file.seek(0)
        with Image.open(file, formats=("TIFF",)) as image:
            return image.size[1], image.size[0]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _is_uniform(file: BinaryIO, size: int) -> bool:
    """Whether samples from three places are nearly all of two byte values, as uncompressed masks are."""
    counts: Counter[int] = Counter()
    for part in (0.3, 0.5, 0.7):
        file.seek(int(size * part))
        counts.update(file.read(_SAMPLE))
    return bool(counts) and sum(count for _, count in counts.most_common(2)) >= 0.95 * counts.total()
