# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Stored pixel values of a DICOM image, checked and decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monai_cxrssl.data.reading.codestream import StreamHeader, ends_early, read_stream_header
from monai_cxrssl.data.reading.dicom_decoders import TRANSFER_SYNTAX_OF, decode_stream
from monai_cxrssl.data.reading.dicom_lookup import numbers
from monai_cxrssl.data.reading.film import check_size, reduced_size
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["PixelModule", "read_pixel_module", "read_stored_pixels"]

_COLOURS = ("RGB", "PALETTE COLOR", "ARGB", "CMYK", "HSV", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_ITEM_LITTLE, _ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"


@dataclass
class PixelModule:
    """The elements of group 0028 that say how the pixels are stored."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool


def read_pixel_module(ds: Dataset, path: str, max_pixels: int, notes: list[str]) -> PixelModule:
    """Read and check the pixel description.

    Raises:
        CXRReadError: it does not describe one grey-scale frame of 8 or 16 bits.
    """

    def whole(keyword: str, default: int | None = None) -> int:
        found = numbers(ds, keyword)
        if found == [] and default is not None:
            return default
        if not found or found[0] != int(found[0]):
            what = "has no" if found == [] else "has no whole number as"
            raise CXRReadError(path, f"{what} {keyword} in its header", "Export the image again.")
        return int(found[0])

    if ds.get("PixelRepresentation") is None:
        # Without it pydicom leaves the padding value and LUT descriptors of implicit VR as bytes that nothing can use.
        ds.PixelRepresentation = 0
    frames = whole("NumberOfFrames", 1)
    if frames > 1:
        raise CXRReadError(
            path, f"holds {frames} frames, not one film", "Split it and keep the single frame that is the X-ray."
        )
    samples = whole("SamplesPerPixel", 1)
    photometric = str(ds.get("PhotometricInterpretation") or "").strip()
    if samples != 1 or photometric.upper() in _COLOURS:
        raise CXRReadError(
            path,
            f"is a colour image ({photometric or 'unnamed'}, {samples} sample(s) per pixel), not a radiograph",
            "Give the grey-scale original, not a screenshot or an annotated copy.",
        )
    module = PixelModule(
        rows=whole("Rows"),
        columns=whole("Columns"),
        bits_allocated=whole("BitsAllocated"),
        bits_stored=whole("BitsStored", 0),
        high_bit=whole("HighBit", -1),
        signed=whole("PixelRepresentation", 0) == 1,
    )
    check_size(path, module.rows, module.columns, max_pixels)
    if module.bits_allocated not in (8, 16):
        raise CXRReadError(
            path,
            f"has {module.bits_allocated} bits per pixel; a radiograph has 8 or 16",
            "It is probably a mask, a dose map or a derived image; give the X-ray itself.",
        )
    if not 1 <= module.bits_stored <= module.bits_allocated:
        notes.append(f"BitsStored is {module.bits_stored or 'missing'}, taken for {module.bits_allocated}")
        module.bits_stored = module.bits_allocated
    if not module.bits_stored - 1 <= module.high_bit < module.bits_allocated:
        if module.high_bit >= 0:
            notes.append(f"HighBit {module.high_bit} is impossible, taken for {module.bits_stored - 1}")
        module.high_bit = module.bits_stored - 1
    return module


def read_stored_pixels(
    ds: Dataset, module: PixelModule, path: str, notes: list[str], max_side: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the pixels.

    Args:
        ds: the data set, with its pixel data.
        module: its checked description.
        path: the file, for messages.
        notes: warnings are appended here.
        max_side: JPEG 2000 may be decoded at the smallest resolution level whose longer side is at least this.

    Returns:
        bit patterns ``(H, W)``, uint8 or uint16; and int32 ``(256,)`` or ``(65536,)``: the stored value that each bit
        pattern means (overlay bits masked off, sign extended).

    Raises:
        CXRReadError: the pixel data are missing, cut, damaged, or do not fit the header.
    """
    data = ds.get("PixelData")
    if not data:
        raise CXRReadError(path, "has empty pixel data", "Export or download the file again.")
    syntax = str(getattr(ds, "file_meta", {}).get("TransferSyntaxUID", ""))
    frame_bytes = module.rows * module.columns * module.bits_allocated // 8
    encapsulated = data[:4] in (_ITEM_LITTLE, _ITEM_BIG) and not 0 <= len(data) - frame_bytes <= 1
    if not encapsulated:
        return _native(ds, data, module, path, notes, syntax, frame_bytes)
    frame = _single_frame(data, path)
    header = read_stream_header(frame)
    if header is None:
        raise CXRReadError(
            path,
            f"has a compressed stream that is none of JPEG, JPEG-LS, JPEG 2000 and RLE (begins {frame[:4].hex(' ')})",
            "Transcode it to an uncompressed transfer syntax, or fetch it again: it may be damaged.",
        )
    use = _checked_syntax(syntax, header, module, path, notes)
    cut = ends_early(frame, header.coding)
    if cut:
        raise CXRReadError(path, f"is truncated: {cut}", "Fetch the file again from its source.")
    reduced = _reduced_jpeg2000(frame, header, module, max_side)
    if reduced is not None:
        return reduced, np.arange(1 << (8 * reduced.dtype.itemsize), dtype=np.int32)
    try:
        pixels = decode_stream(
            header.coding,
            use,
            data,
            rows=module.rows,
            columns=module.columns,
            number_of_frames=1,
            samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2",
            bits_allocated=module.bits_allocated,
            bits_stored=module.bits_stored,
            pixel_representation=int(module.signed),
            pixel_keyword="PixelData",
        )
    except BaseException as error:  # each decoder has its own exceptions
        # A panic of pylibjpeg-rle, which is written in Rust, is no Exception, and would end the run.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        words = " ".join(str(error).split())
        raise CXRReadError(
            path, f"has a damaged {header.coding} stream ({words})", "Fetch the file again from its source."
        ) from error
    if pixels.shape != (module.rows, module.columns):
        raise CXRReadError(
            path,
            f"decodes to {pixels.shape} although its header says {module.rows} x {module.columns}",
            "Fetch the file again from its source.",
        )
    signed, bits = pixels.dtype.kind == "i", 8 * pixels.dtype.itemsize
    if bits not in (8, 16):
        raise CXRReadError(path, f"decodes to {bits} bits per pixel", "A radiograph has 8 or 16.")
    patterns = pixels.view(np.uint8 if bits == 8 else np.uint16)
    return patterns, _meaning(bits, bits, bits - 1, signed)


def _native(
    ds: Dataset, data: bytes, module: PixelModule, path: str, notes: list[str], syntax: str, expected: int
) -> tuple[np.ndarray, np.ndarray]:
    excess = len(data) - expected
    size = f"{module.rows} x {module.columns} pixels of {module.bits_allocated} bits ({expected} bytes)"
    if excess < 0:
        raise CXRReadError(
            path,
            f"is truncated or has wrong rows or columns: its header promises {size}, it holds {len(data)} of them",
            "Fetch the file again from its source.",
        )
    # One byte pads to an even length. A short run of zeros is block padding; more means that the header is wrong.
    if excess > 1 and (excess > expected // module.rows or any(data[expected:])):
        raise CXRReadError(
            path,
            f"has wrong rows or columns or more than one frame: its header promises {size}, it holds {len(data)} bytes",
            "Fetch the file again from its source, or correct Rows and Columns.",
        )
    if excess > 1:
        notes.append(f"{excess} zero bytes after the pixels were left out")
    if syntax and syntax in TRANSFER_SYNTAX_OF.values():
        notes.append("the pixels are uncompressed although the transfer syntax says otherwise")
    little = ds.original_encoding[1] is not False
    if module.bits_allocated == 8:
        pixels = np.frombuffer(data, np.uint8, module.rows * module.columns)
        if not little and ds["PixelData"].VR == "OW":  # words were swapped, bytes must be swapped back
            words = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2")
            pixels = words.view(np.uint8)[: module.rows * module.columns]
            if pixels.size < module.rows * module.columns:
                raise CXRReadError(path, "has an odd number of bytes in OW pixel data", "Export the image again.")
    else:
        pixels = np.frombuffer(data, "<u2" if little else ">u2", module.rows * module.columns)
        pixels = pixels.astype(np.uint16, copy=False)
    if module.high_bit != module.bits_stored - 1:
        notes.append(f"the stored bits end at bit {module.high_bit} instead of {module.bits_stored - 1}; shifted")
    meaning = _meaning(module.bits_allocated, module.bits_stored, module.high_bit, module.signed)
    return pixels.reshape(module.rows, module.columns), meaning


def _meaning(bits: int, stored: int, high_bit: int, signed: bool) -> np.ndarray:
    values = (np.arange(1 << bits, dtype=np.int32) >> (high_bit + 1 - stored)) & ((1 << stored) - 1)
    if signed:
        values = np.where(values >> (stored - 1), values - (1 << stored), values)
    return values.astype(np.int32)


def _single_frame(data: bytes, path: str) -> bytes:
    """Return the one compressed frame in encapsulated pixel data, joined from its fragments."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    try:
        buffer = io.BytesIO(data)
        offsets = parse_basic_offsets(buffer)
        fragments = [bytes(fragment) for fragment in generate_fragments(buffer)]
    except Exception as error:
        raise CXRReadError(
            path, f"has damaged or truncated encapsulated pixel data ({error})", "Fetch the file again from its source."
        ) from error
    if not fragments:
        raise CXRReadError(path, "has no fragment in its compressed pixel data", "Fetch the file again.")
    starts = sum(read_stream_header(fragment) is not None for fragment in fragments)
    if len(offsets) > 1 or starts > 1:
        raise CXRReadError(
            path,
            f"holds {max(len(offsets), starts)} compressed frames, not one film",
            "Split it and keep the single frame that is the X-ray.",
        )
    return b"".join(fragments)


def _checked_syntax(syntax: str, header: StreamHeader, module: PixelModule, path: str, notes: list[str]) -> str:
    """Return the transfer syntax to decode with, after comparing the stream with the header."""
    if header.coding != "RLE":
        if (header.rows, header.columns) != (module.rows, module.columns):
            raise CXRReadError(
                path,
                f"has a {header.coding} stream of {header.rows} x {header.columns} pixels, but its header says "
                f"{module.rows} x {module.columns}",
                "Fetch the file again from its source, or correct Rows and Columns.",
            )
        if header.components != 1:
            raise CXRReadError(
                path, f"has {header.components} colour components in its {header.coding} stream", "Give a grey X-ray."
            )
        if header.precision > 16:
            raise CXRReadError(path, f"has {header.precision} bits per pixel", "A radiograph has up to 16.")
    # pydicom reads these with other options than the coding alone tells (JPEG-LS near-lossless, HTJ2K …).
    families = {
        "JPEG baseline": ("4.50", "4.51"),
        "JPEG extended": ("4.51",),
        "JPEG lossless": ("4.57", "4.70"),
        "JPEG-LS": ("4.80", "4.81"),
        "JPEG 2000": ("4.90", "4.91", "4.201", "4.202", "4.203"),
        "RLE": ("5",),
    }[header.coding]
    if syntax in {f"1.2.840.10008.1.2.{end}" for end in families}:
        return syntax
    said = f"is {syntax}" if syntax else "is missing"
    notes.append(f"the transfer syntax UID {said}; the stream was recognised as {header.coding}")
    return TRANSFER_SYNTAX_OF[header.coding]


def _reduced_jpeg2000(
    frame: bytes, header: StreamHeader, module: PixelModule, max_side: int | None
) -> np.ndarray | None:
    """Decode JPEG 2000 at a lower resolution level, four times faster per level; None where that does not apply."""
    longer = max(module.rows, module.columns)
    signed_stream = header.coding == "JPEG 2000" and frame[42] & 0x80
    if header.coding != "JPEG 2000" or max_side is None or module.signed or signed_stream or longer < 2 * max_side:
        return None
    from PIL import Image

    levels = 0
    while longer >> (levels + 1) >= max_side:
        levels += 1
    try:
        with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
            image.reduce = min(levels, 5)  # type: ignore[method-assign,assignment]
            image.load()
            pixels = np.asarray(image)
    except Exception:  # fewer levels in the stream than asked for: the full decode reports what is really wrong
        return None
    if pixels.ndim != 2 or max(pixels.shape) < max(reduced_size(module.rows, module.columns, max_side)):
        return None
    # Pillow scales every precision up to its full 8 or 16 bits.
    shift = 8 * pixels.dtype.itemsize - header.precision
    return np.right_shift(pixels, shift) if shift > 0 else pixels
