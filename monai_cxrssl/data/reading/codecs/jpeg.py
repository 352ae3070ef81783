# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG kinds that Pillow lacks, and what follows a picture.

The kinds: lossless, 12 bits, arithmetic coding and JPEG-LS.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from monai_cxrssl.data.reading.codestream import ends_early, jpeg_lacks_data, read_stream_header
from monai_cxrssl.data.reading.film import check_size
from monai_cxrssl.errors import CXRReadError

__all__ = ["exif_block", "first_picture", "read_rare_jpeg"]

# A marker that ends a scan: neither a stuffed 0xFF00 nor a restart.
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_SCAN, _END = 0xDA, 0xD9


def first_picture(data: bytes) -> bytes:
    """Return a JPEG file without what follows its first picture: previews, the video of a motion photo."""
    # Multi-picture files name their index early; a search of the whole file would cost a tenth of its decoding.
    if data[-64:].rstrip(b"\x00").endswith(b"\xff\xd9") and data.find(b"MPF\x00", 0, 65536) < 0:
        return data
    for marker, _, end in _segments(data):
        if marker == _END and end < len(data):
            # A few bytes pad to a block.
            return data[:end] if data[end:].strip(b"\x00\xff") else data
    return data


def exif_block(data: bytes) -> bytes:
    """Return the content of the Exif segment of a JPEG, empty where there is none."""
    for marker, start, end in _segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\x00\x00":
            return data[start:end]
        if marker == _SCAN:
            break
    return b""


def read_rare_jpeg(path: str, data: bytes, max_pixels: int) -> tuple[np.ndarray, int] | None:
    """Decode a JPEG that is not of 8 bits with Huffman-coded transform, which Pillow reads; None for those.

    Returns:
        ``(H, W)`` or ``(H, W, 3)`` of uint8 or uint16, and the bits of its values.

    Raises:
        CXRReadError: its size is impossible, or its kind is none that is read; the cause names it.
        Exception: anything that imagecodecs raises on damage.
    """
    import imagecodecs

    header = read_stream_header(data)
    process = _process(data)
    if header is None or (header.precision == 8 and process in (0xC0, 0xC1, 0xC2)):
        return None
    check_size(path, header.rows, header.columns, max_pixels)
    if header.components not in (1, 3) or process in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF):
        cause = f"is a JPEG of a kind that is not read (marker 0xFF{process:02X}, {header.components} components)"
        raise CXRReadError(path, cause, "Save it as PNG or as a usual JPEG.")
    if cut := ends_early(data, header.coding):
        raise ValueError(cut)
    if header.coding == "JPEG-LS":
        return imagecodecs.jpegls_decode(data), header.precision
    pixels = imagecodecs.jpeg8_decode(data)
    if jpeg_lacks_data(data, imagecodecs.jpeg8_decode, pixels):
        raise ValueError("its coded data end before its pixels do")
    return pixels, header.precision


def _process(data: bytes) -> int:
    """Return the marker of the start of frame, 0 where there is none."""
    for marker, _, _ in _segments(data):
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return marker
    return 0


def _segments(data: bytes):
    """Yield marker, start and end of the content of each segment, through the scans to the end of the picture."""
    position = 2
    while position + 4 <= len(data) or data[position : position + 2] == b"\xff\xd9":
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _END:
            yield marker, position + 2, position + 2
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        end = position + 2 + struct.unpack(">H", data[position + 2 : position + 4])[0]
        yield marker, position + 4, end
        if marker == _SCAN:
            found = _AFTER_SCAN.search(data, end)
            if found is None:
                return
            end = found.end() - 2
        position = end
