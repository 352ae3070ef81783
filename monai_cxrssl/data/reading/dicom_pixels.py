# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM pixel data decoded to stored values, native or compressed."""

from __future__ import annotations

import io
import struct

import numpy as np

from monai_cxrssl.data.reading.codecs.turbo_jpeg import decode_jpeg, jpeg_size
from monai_cxrssl.data.reading.codestream import StreamHeader, ends_early, read_stream_header
from monai_cxrssl.data.reading.dicom_decoders import TRANSFER_SYNTAXES, decode_stream
from monai_cxrssl.data.reading.dicom_header import Header, refuse_colour
from monai_cxrssl.data.reading.display.colour import grey_channel, native_samples
from monai_cxrssl.data.reading.display.stored_bits import pattern_values
from monai_cxrssl.data.reading.file_kind import REFETCH, error_words, refuse_damage
from monai_cxrssl.data.reading.film import Fit, Note
from monai_cxrssl.errors import CXRReadError

__all__ = ["decode_pixels"]

# The tags of an item and of the end of them.
_LITTLE, _BIG = (b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"), (b"\xff\xfe\xe0\x00", b"\xff\xfe\xe0\xdd")
# Of the size that a lower resolution has over the one that is wanted.
_MARGIN = 1.5


def decode_pixels(
    header: Header, data: bytes, warnings: list[str], fit: Fit | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the pixels; what is odd is appended to ``warnings``.

    Args:
        header, data: of the image; its pixel data as stored or encapsulated.
        fit: JPEG and JPEG 2000 may be decoded at the lowest resolution that is not below the size that it gives.

    Returns:
        bit patterns ``(H, W)``, uint8 or uint16; and int32 ``(256,)`` or ``(65536,)``: the stored value that each bit
        pattern means (overlay bits masked off, sign extended).

    Raises:
        CXRReadError: the pixel data are cut, damaged, or do not fit the header.
    """
    path = header.path
    frame_bytes = header.rows * header.columns * header.samples * header.bits_allocated // 8
    begins_as_item = data[:4] in (_LITTLE[0], _BIG[0])
    # Native pixels may begin with the bytes of an item, and encapsulated ones may be as long as native ones.
    if not begins_as_item or (0 <= len(data) - frame_bytes <= 1 and not _begins_a_chain(data)):
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
    reduced = _reduced_jpeg2000(frame, stream, header, fit)
    if reduced is not None:
        return reduced, np.arange(1 << (8 * reduced.dtype.itemsize), dtype=np.int32)
    samples = stream.components or header.samples
    # The bits that the stream does not have cannot be stored ones; in those that it has, High Bit may say more.
    precision = stream.precision or header.bits_allocated
    stored = min(header.bits_stored, precision)
    high_bit = header.high_bit if header.high_bit < precision else stored - 1
    signed = header.signed and samples == 1
    pixels = _by_turbo(frame, stream, header, fit)
    if pixels is None:
        pixels = _by_pydicom(syntax, data, stream, header, samples)
    bits = 8 * pixels.dtype.itemsize
    if bits not in (8, 16):
        raise CXRReadError(path, f"decodes to {bits} bits per pixel", "A radiograph has 8 or 16.")
    if precision < header.bits_stored:
        said = f"its {stream.coding} stream has {precision} bits although the header says {header.bits_stored}"
        warnings.append(Note("bits", said))
    patterns = _grey(pixels.view(np.uint8 if bits == 8 else np.uint16), header)
    stored, high_bit = min(stored, bits), min(high_bit, bits - 1)
    return patterns, pattern_values(patterns, stored, high_bit, signed, header.has_overlay, warnings)


def _by_turbo(frame: bytes, stream: StreamHeader, header: Header, fit: Fit | None) -> np.ndarray | None:
    """Decode a grey JPEG of 8 bits; None for others, and for damage, which the slower way tells."""
    size = jpeg_size(frame) if stream.precision == 8 and stream.components == 1 else None
    if size is None:
        return None
    try:
        # The mean of signed values is not that of their bit patterns.
        return decode_jpeg(frame, size, None if header.signed or header.bits_stored < 8 else fit)
    except ValueError:
        return None


def _by_pydicom(syntax: str, data: bytes, stream: StreamHeader, header: Header, samples: int) -> np.ndarray:
    path, signed = header.path, header.signed and samples == 1
    options = {name: getattr(header, name) for name in ("rows", "columns", "bits_allocated", "bits_stored")}
    options |= {"number_of_frames": 1, "samples_per_pixel": samples, "pixel_representation": int(signed)}
    options["photometric_interpretation"] = "MONOCHROME2" if samples == 1 else header.photometric_interpretation
    if samples > 1:
        options["planar_configuration"] = int(header.planar)
    try:
        # Bits that are not stored are looked at below, in the same way for all codings.
        pixels = decode_stream(
            stream.coding, syntax, data, pixel_keyword="PixelData", correct_unused_bits=False, **options
        )
    except BaseException as error:  # each decoder has its own exceptions
        # A panic of pylibjpeg-rle, which is written in Rust, is no Exception, and would end the run.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CXRReadError(path, f"has a damaged {stream.coding} stream ({error_words(error)})", REFETCH) from error
    if pixels.shape[:2] != (header.rows, header.columns):
        cause = f"decodes to {pixels.shape} although its header says {header.rows} x {header.columns}"
        raise CXRReadError(path, cause, REFETCH)
    return pixels


def _grey(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Return ``(H, W)`` of one or three samples per pixel; colour is refused."""
    if pixels.ndim == 2:
        return pixels
    grey = grey_channel(pixels, header.photometric_interpretation, header.bits_stored)
    if grey is None:
        refuse_colour(header.path, header.photometric_interpretation, pixels.shape[2])
    return grey


def _native(header: Header, data: bytes, expected: int, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    path, count = header.path, header.rows * header.columns
    excess = len(data) - expected
    size = f"{header.rows} x {header.columns} pixels of {header.bits_allocated} bits ({expected} bytes)"
    if header.samples == 3:
        return _native_colour(header, data, warnings)
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
        warnings.append(Note("bytes", f"{excess} zero bytes after the pixels were left out"))
    if header.transfer_syntax in {syntaxes[0] for syntaxes in TRANSFER_SYNTAXES.values()}:
        said = "the pixels are uncompressed although the transfer syntax says otherwise"
        warnings.append(Note("transfer_syntax", said))
    pixels: np.ndarray
    if header.bits_allocated == 16:
        pixels = np.frombuffer(data, "<u2" if header.little_endian else ">u2", count).astype(np.uint16, copy=False)
    elif header.swapped_words:
        pixels = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").view(np.uint8)[:count]
        if pixels.size < count:
            raise CXRReadError(path, "has an odd number of bytes in OW pixel data", "Export the image again.")
    else:
        pixels = np.frombuffer(data, np.uint8, count)
    pixels = pixels.reshape(header.rows, header.columns)
    return pixels, _values_of(pixels, header, warnings)


def _native_colour(header: Header, data: bytes, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    words = data[: len(data) // (header.bits_allocated // 8) * (header.bits_allocated // 8)]
    flat: np.ndarray
    if header.bits_allocated == 16:
        flat = np.frombuffer(words, "<u2" if header.little_endian else ">u2").astype(np.uint16, copy=False)
    else:
        flat = np.frombuffer(words, np.uint8)
        if header.swapped_words:
            flat = flat[: flat.size // 2 * 2].view(">u2").astype("<u2").view(np.uint8)
    photometric = header.photometric_interpretation
    samples = native_samples(flat, header.rows, header.columns, header.planar, photometric)
    if samples is None:
        more = f"whose pixel data are truncated or not of {header.rows} x {header.columns} pixels"
        refuse_colour(header.path, photometric, header.samples, more)
    pixels = _grey(samples, header)
    return pixels, _values_of(pixels, header, warnings)


def _values_of(pixels: np.ndarray, header: Header, warnings: list[str]) -> np.ndarray:
    signed = header.signed and header.samples == 1
    return pattern_values(pixels, header.bits_stored, header.high_bit, signed, header.has_overlay, warnings)


def _begins_a_chain(data: bytes) -> bool:
    """Return whether another item or the end of them follows the first item (PS3.5 A.4), also where the rest is cut."""
    order, others = ("<", _LITTLE) if data[:4] == _LITTLE[0] else (">", _BIG)
    if len(data) < 8:
        return False
    second = 8 + int(struct.unpack(f"{order}I", data[4:8])[0])
    return data[second : second + 4] in others


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
        cause = f"holds {max(len(offsets), starts)} compressed frames, not one image"
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
        if stream.components not in (1, 3):
            cause = f"has {stream.components} colour components in its {stream.coding} stream"
            raise CXRReadError(header.path, cause, "Give a grey X-ray.")
        if stream.precision > 16:
            raise CXRReadError(header.path, f"has {stream.precision} bits per pixel", "A radiograph has up to 16.")
    syntax = header.transfer_syntax
    if syntax in TRANSFER_SYNTAXES[stream.coding]:
        return syntax
    state = f"is {syntax}" if syntax else "is missing"
    said = f"the transfer syntax UID {state}; the stream was recognised as {stream.coding}"
    warnings.append(Note("transfer_syntax", said))
    return TRANSFER_SYNTAXES[stream.coding][0]


def _reduced_jpeg2000(frame: bytes, stream: StreamHeader, header: Header, fit: Fit | None) -> np.ndarray | None:
    """Decode JPEG 2000 at a lower resolution level, four times faster per level; None where that does not apply."""
    signed_stream = frame[42] & 0x80
    if frame[:2] != b"\xff\x4f" or stream.components != 1 or stream.coding != "JPEG 2000" or fit is None:
        return None
    # A low pass of wavelets is no average; what follows it is one.
    wanted = [_MARGIN * side for side in fit(header.rows, header.columns)]
    factor = int(min(header.rows / wanted[0], header.columns / wanted[1]))
    if header.signed or signed_stream or factor < 2:
        return None
    from PIL import Image

    levels = factor.bit_length() - 1
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
            image.reduce = min(levels, 3)  # type: ignore[method-assign,assignment]
            image.load()
            pixels = np.asarray(image)
    except Exception:  # fewer levels in the stream than asked for: the full decode reports what is really wrong
        return None
    if pixels.ndim != 2 or pixels.shape[0] < wanted[0] or pixels.shape[1] < wanted[1]:
        return None
    # Pillow scales every precision up to its full 8 or 16 bits.
    shift = 8 * pixels.dtype.itemsize - stream.precision
    return np.right_shift(pixels, shift) if shift > 0 else pixels
