# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM pixel data decoded to stored values, native or compressed."""

from __future__ import annotations

import io

import numpy as np

from monai_cxrssl.data.reading.codestream import StreamHeader, ends_early, read_stream_header
from monai_cxrssl.data.reading.dicom_decoders import TRANSFER_SYNTAXES, decode_stream
from monai_cxrssl.data.reading.dicom_header import Header
from monai_cxrssl.data.reading.file_kind import REFETCH, error_words, refuse_damage
from monai_cxrssl.data.reading.film import reduced_size
from monai_cxrssl.errors import CXRReadError

__all__ = ["decode_pixels"]

_ITEM_LITTLE, _ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
_GREY_FRAME = {"number_of_frames": 1, "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2"}


def decode_pixels(
    header: Header, data: bytes, warnings: list[str], max_side: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the pixels; what is odd is appended to ``warnings``.

    Args:
        header, data: of the film; its pixel data as stored or encapsulated.
        max_side: JPEG 2000 may be decoded at the smallest resolution level whose longer side is at least this.

    Returns:
        bit patterns ``(H, W)``, uint8 or uint16; and int32 ``(256,)`` or ``(65536,)``: the stored value that each bit
        pattern means (overlay bits masked off, sign extended).

    Raises:
        CXRReadError: the pixel data are cut, damaged, or do not fit the header.
    """
    path = header.path
    frame_bytes = header.rows * header.columns * header.bits_allocated // 8
    if data[:4] not in (_ITEM_LITTLE, _ITEM_BIG) or 0 <= len(data) - frame_bytes <= 1:
        return _native(header, data, frame_bytes, warnings)
    frame = _single_frame(data, path)
    stream = read_stream_header(frame)
    if stream is None:
        raise CXRReadError(
            path,
            f"has a compressed stream that is none of JPEG, JPEG-LS, JPEG 2000 and RLE (begins {frame[:4].hex(' ')})",
            "Transcode it to an uncompressed transfer syntax, or fetch it again: it may be damaged.",
        )
    syntax = _checked_syntax(stream, header, warnings)
    if cut := ends_early(frame, stream.coding):
        raise CXRReadError(path, f"is truncated: {cut}", REFETCH)
    reduced = _reduced_jpeg2000(frame, stream, header, max_side)
    if reduced is not None:
        return reduced, np.arange(1 << (8 * reduced.dtype.itemsize), dtype=np.int32)
    try:
        stated = {name: getattr(header, name) for name in ("rows", "columns", "bits_allocated", "bits_stored")}
        stated["pixel_representation"] = int(header.signed)
        pixels = decode_stream(stream.coding, syntax, data, pixel_keyword="PixelData", **stated, **_GREY_FRAME)
    except BaseException as error:  # each decoder has its own exceptions
        # A panic of pylibjpeg-rle, which is written in Rust, is no Exception, and would end the run.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CXRReadError(path, f"has a damaged {stream.coding} stream ({error_words(error)})", REFETCH) from error
    if pixels.shape != (header.rows, header.columns):
        cause = f"decodes to {pixels.shape} although its header says {header.rows} x {header.columns}"
        raise CXRReadError(path, cause, REFETCH)
    signed, bits = pixels.dtype.kind == "i", 8 * pixels.dtype.itemsize
    if bits not in (8, 16):
        raise CXRReadError(path, f"decodes to {bits} bits per pixel", "A radiograph has 8 or 16.")
    patterns = pixels.view(np.uint8 if bits == 8 else np.uint16)
    return patterns, _meaning(bits, bits, bits - 1, signed)


def _native(header: Header, data: bytes, expected: int, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    path, count = header.path, header.rows * header.columns
    excess = len(data) - expected
    size = f"{header.rows} x {header.columns} pixels of {header.bits_allocated} bits ({expected} bytes)"
    if excess < 0:
        cause = f"is truncated or has wrong rows or columns: its header promises {size}, it holds {len(data)} of them"
        raise CXRReadError(path, cause, REFETCH)
    # One byte pads to an even length. A short run of zeros is block padding; more means that the header is wrong.
    if excess > 1 and (excess > expected // header.rows or any(data[expected:])):
        raise CXRReadError(
            path,
            f"has wrong rows or columns or more than one frame: its header promises {size}, it holds {len(data)} bytes",
            "Fetch the file again from its source, or correct Rows and Columns.",
        )
    if excess > 1:
        warnings.append(f"{excess} zero bytes after the pixels were left out")
    if header.transfer_syntax in {syntaxes[0] for syntaxes in TRANSFER_SYNTAXES.values()}:
        warnings.append("the pixels are uncompressed although the transfer syntax says otherwise")
    pixels: np.ndarray
    if header.bits_allocated == 16:
        pixels = np.frombuffer(data, "<u2" if header.little_endian else ">u2", count).astype(np.uint16, copy=False)
    elif header.swapped_words:
        pixels = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").view(np.uint8)[:count]
        if pixels.size < count:
            raise CXRReadError(path, "has an odd number of bytes in OW pixel data", "Export the image again.")
    else:
        pixels = np.frombuffer(data, np.uint8, count)
    if header.high_bit != header.bits_stored - 1:
        warnings.append(f"the stored bits end at bit {header.high_bit} instead of {header.bits_stored - 1}; shifted")
    meaning = _meaning(header.bits_allocated, header.bits_stored, header.high_bit, header.signed)
    return pixels.reshape(header.rows, header.columns), meaning


def _meaning(bits: int, stored: int, high_bit: int, signed: bool) -> np.ndarray:
    values = (np.arange(1 << bits, dtype=np.int32) >> (high_bit + 1 - stored)) & ((1 << stored) - 1)
    if signed:
        values = np.where(values >> (stored - 1), values - (1 << stored), values)
    return values.astype(np.int32)


def _single_frame(data: bytes, path: str) -> bytes:
    """Return the one compressed frame in encapsulated pixel data, joined from its fragments."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    with refuse_damage(path, "has damaged or truncated encapsulated pixel data ({})"):
        buffer = io.BytesIO(data)
        offsets = parse_basic_offsets(buffer)
        fragments = [bytes(fragment) for fragment in generate_fragments(buffer)]
    if not fragments:
        raise CXRReadError(path, "has no fragment in its compressed pixel data", "Fetch the file again.")
    starts = sum(read_stream_header(fragment) is not None for fragment in fragments)
    if len(offsets) > 1 or starts > 1:
        cause = f"holds {max(len(offsets), starts)} compressed frames, not one film"
        raise CXRReadError(path, cause, "Split it and keep the single frame that is the X-ray.")
    return b"".join(fragments)


def _checked_syntax(stream: StreamHeader, header: Header, warnings: list[str]) -> str:
    """Return the transfer syntax to decode with, after comparing the stream with the header."""
    if stream.coding != "RLE":
        if (stream.rows, stream.columns) != (header.rows, header.columns):
            raise CXRReadError(
                header.path,
                f"has a {stream.coding} stream of {stream.rows} x {stream.columns} pixels, but its header says "
                f"{header.rows} x {header.columns}",
                "Fetch the file again from its source, or correct Rows and Columns.",
            )
        if stream.components != 1:
            cause = f"has {stream.components} colour components in its {stream.coding} stream"
            raise CXRReadError(header.path, cause, "Give a grey X-ray.")
        if stream.precision > 16:
            raise CXRReadError(header.path, f"has {stream.precision} bits per pixel", "A radiograph has up to 16.")
    syntax = header.transfer_syntax
    if syntax in TRANSFER_SYNTAXES[stream.coding]:
        return syntax
    state = f"is {syntax}" if syntax else "is missing"
    warnings.append(f"the transfer syntax UID {state}; the stream was recognised as {stream.coding}")
    return TRANSFER_SYNTAXES[stream.coding][0]


def _reduced_jpeg2000(frame: bytes, stream: StreamHeader, header: Header, max_side: int | None) -> np.ndarray | None:
    """Decode JPEG 2000 at a lower resolution level, four times faster per level; None where that does not apply."""
    longer = max(header.rows, header.columns)
    signed_stream = stream.coding == "JPEG 2000" and frame[42] & 0x80
    if stream.coding != "JPEG 2000" or max_side is None or header.signed or signed_stream or longer < 2 * max_side:
        return None
    from PIL import Image

    levels = (longer // max_side).bit_length() - 1
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
            image.reduce = min(levels, 5)  # type: ignore[method-assign,assignment]
            image.load()
            pixels = np.asarray(image)
    except Exception:  # fewer levels in the stream than asked for: the full decode reports what is really wrong
        return None
    if pixels.ndim != 2 or max(pixels.shape) < max(reduced_size(header.rows, header.columns, max_side)):
        return None
    # Pillow scales every precision up to its full 8 or 16 bits.
    shift = 8 * pixels.dtype.itemsize - stream.precision
    return np.right_shift(pixels, shift) if shift > 0 else pixels
