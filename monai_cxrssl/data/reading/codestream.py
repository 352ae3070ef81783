# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG, JPEG-LS, JPEG 2000 and RLE streams: coding, size, missing data.

Decoders draw grey or noise where a stream stops early; these checks come before and beside them. Marker layouts: ITU-T
T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000), DICOM PS3.5 annex G (RLE).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["StreamHeader", "read_stream_header", "ends_early", "jpeg_lacks_data"]

_START_OF_FRAME = {
    0xC0: "JPEG baseline",
    **dict.fromkeys((0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE), "JPEG extended"),
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "JPEG lossless"),
    0xF7: "JPEG-LS",
}

# Huffman codes of these bytes decode to coefficients that a decoder does not make up by itself. No 0xFF: no markers.
_FILLER = bytes(np.random.default_rng(5).integers(0, 255, 384, dtype=np.uint8))


@dataclass(frozen=True)
class StreamHeader:
    """Coding (``"JPEG baseline"``, ``"JPEG extended"``, ``"JPEG lossless"``, ``"JPEG-LS"``, ``"JPEG 2000"``,
    ``"RLE"``), rows, columns, components and precision in bits; zeros where the coding does not record them."""

    coding: str
    rows: int = 0
    columns: int = 0
    components: int = 0
    precision: int = 0


def read_stream_header(data: bytes) -> StreamHeader | None:
    """Return the coding and size of a compressed image; None for none of the six codings."""
    if data[:12] == b"\x00\x00\x00\x0cjP  \r\n\x87\n":  # a JP2 file around the stream
        return read_stream_header(data[max(data.find(b"\xff\x4f\xff\x51"), 12) :])
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) > 42:
        x1, y1, x0, y0 = struct.unpack(">4I", data[8:24])
        components, depth = struct.unpack(">HB", data[40:43])
        return StreamHeader("JPEG 2000", y1 - y0, x1 - x0, components, (depth & 0x7F) + 1)
    if data[:2] == b"\xff\xd8":
        return _jpeg_header(data)
    if len(data) > 64:
        segments, first = struct.unpack("<2I", data[:8])
        if 1 <= segments <= 15 and first == 64:
            return StreamHeader("RLE")
    return None


def _jpeg_header(data: bytes) -> StreamHeader | None:
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
            continue
        length = struct.unpack(">H", data[position + 2 : position + 4])[0]
        if marker in _START_OF_FRAME:
            if position + 10 > len(data):
                return None
            precision, rows, columns, components = struct.unpack(">BHHB", data[position + 4 : position + 10])
            return StreamHeader(_START_OF_FRAME[marker], rows, columns, components, precision)
        if marker in (0xD9, 0xDA) or length < 2:
            return None
        position += 2 + length
    return None


def ends_early(data: bytes, coding: str) -> str:
    """Say, without decoding, why a stream cannot be complete; an empty string when nothing speaks against it."""
    if coding == "RLE":
        return ""  # its decoder counts the pixels
    # Encapsulation pads to an even length, some writers with 0x00 and some with 0xFF.
    tail = data[-64:].rstrip(b"\x00")
    end = tail.endswith(b"\xff\xd9") or tail.rstrip(b"\xff").endswith(b"\xff\xd9") or b"\xff\xd9" in data[-4:]
    return "" if end else f"its {coding} stream has no end marker, so it was cut"


def jpeg_lacks_data(data: bytes, decode: Callable[[bytes], np.ndarray], decoded: np.ndarray) -> bool:
    """Return whether a JPEG decoder ran out of data before the end marker and made up the rest of ``decoded``.

    libjpeg only warns. But a complete scan ignores bytes put before its end marker, whereas one that ran out takes them
    for the missing coefficients: the picture changes.
    """
    end = data.rfind(b"\xff\xd9")
    if end < 0:
        return True
    try:
        again = decode(data[:end] + _FILLER + data[end:])
    except Exception:  # a decoder that refuses the filler reached it
        return True
    return not np.array_equal(again, decoded)
