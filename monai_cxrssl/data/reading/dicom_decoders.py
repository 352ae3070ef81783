# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""pydicom decoder plug-in on imagecodecs, and the plug-ins per transfer syntax.

pydicom alone decodes neither JPEG lossless nor 12-bit JPEG. libjpeg-turbo 3 in imagecodecs does both, more than twice
as fast as the other open decoders, CharLS there does JPEG-LS, and OpenJPEG works with several threads. Exactly one
plug-in is used per file: pydicom would try the next one after a failure, and that one may return a picture from a
damaged stream.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.reading.codestream import ends_early, jpeg_lacks_data

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

__all__ = ["DECODER_DEPENDENCIES", "TRANSFER_SYNTAXES", "is_available", "decode_frame", "decode_stream"]

# The plug-ins allowed per coding, best first. "pylibjpeg" stands only where it means openjpeg or rle: its libjpeg is
# GPL. GDCM is in none: open advisory CVE-2026-3650.
_PLUGINS = {
    **dict.fromkeys(("JPEG baseline", "JPEG extended", "JPEG lossless"), ("imagecodecs",)),
    "JPEG-LS": ("imagecodecs", "pyjpegls"),
    "JPEG 2000": ("imagecodecs", "pylibjpeg", "pillow"),
    "RLE": ("pylibjpeg", "pydicom"),
}

# The transfer syntaxes of each coding; the first decodes it where the header names none or a wrong one. pydicom reads
# the others with options that the coding alone does not tell (JPEG-LS near-lossless, HTJ2K …).
TRANSFER_SYNTAXES = {
    coding: tuple(f"1.2.840.10008.1.2.{end}" for end in ends)
    for coding, ends in {
        "JPEG baseline": ("4.50", "4.51"),
        "JPEG extended": ("4.51",),
        "JPEG lossless": ("4.57", "4.70"),
        "JPEG-LS": ("4.80", "4.81"),
        "JPEG 2000": ("4.90", "4.91", "4.201", "4.202", "4.203"),
        "RLE": ("5",),
    }.items()
}

# pydicom asks for this of every plug-in that is not available.
DECODER_DEPENDENCIES = {
    uid: ("numpy", "imagecodecs>=2024.9.22")
    for coding, uids in TRANSFER_SYNTAXES.items()
    if "imagecodecs" in _PLUGINS[coding]
    for uid in uids
}

_lock = threading.Lock()
_own_decode = threading.local()


def _raised_anyway(record: logging.LogRecord) -> bool:
    """Drop pydicom's traceback of a decoder that failed for this package, which reports the same exception."""
    return not getattr(_own_decode, "running", False)


def is_available(uid: str) -> bool:
    """Return whether imagecodecs can decode this transfer syntax here; part of pydicom's plug-in interface."""
    try:
        import imagecodecs
    except ImportError:
        return False
    names = {"JPEG-LS": "JPEGLS", "JPEG 2000": "JPEG2K"}
    codec = getattr(imagecodecs, next((names[coding] for coding in names if uid in TRANSFER_SYNTAXES[coding]), "JPEG8"))
    return uid in DECODER_DEPENDENCIES and bool(codec.available)


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one compressed frame by pydicom's options; part of its plug-in interface. ValueError: the stream is cut or
    holds less data than its pixels need."""
    import imagecodecs

    if runner.transfer_syntax in TRANSFER_SYNTAXES["JPEG-LS"]:
        pixels = imagecodecs.jpegls_decode(src)
    elif runner.transfer_syntax in TRANSFER_SYNTAXES["JPEG 2000"]:
        # Where files are decoded side by side, OpenCV was told to take one thread each.
        pixels = imagecodecs.jpeg2k_decode(src, numthreads=cv2.getNumThreads())
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")
    else:
        if cause := ends_early(src, "JPEG"):
            raise ValueError(cause)
        pixels = imagecodecs.jpeg8_decode(src)
        if jpeg_lacks_data(src, imagecodecs.jpeg8_decode, pixels):
            raise ValueError("the JPEG stream holds less data than its pixels need")
    if pixels.ndim == 3:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return bytearray(np.ascontiguousarray(pixels).tobytes())


def decode_stream(coding: str, transfer_syntax: str, source: bytes, **options: Any) -> np.ndarray:
    """Decode encapsulated pixel data of one frame with the best decoder allowed for its coding.

    Args:
        coding: of :class:`monai_cxrssl.data.reading.codestream.StreamHeader`.
        transfer_syntax, source: UID to decode as, and the encapsulated pixel data.
        options: pydicom's decoding options (``rows``, ``columns``, ``bits_stored`` …).

    Returns:
        ``(H, W)`` stored values in the integer type that the header asks for.

    Raises:
        RuntimeError: no decoder is installed, or the decoder reports damage.
    """
    from pydicom.pixels import get_decoder

    _register()
    decoder = get_decoder(transfer_syntax)
    plugin = next((name for name in _PLUGINS[coding] if name in decoder.available_plugins), "")
    if not plugin:
        raise RuntimeError(f"none of the decoders for {coding} is installed ({', '.join(_PLUGINS[coding])})")
    _own_decode.running = True
    try:
        pixels, _ = decoder.as_array(source, index=0, raw=True, decoding_plugin=plugin, **options)
    finally:
        _own_decode.running = False
    return pixels


@functools.cache
def _register() -> None:
    """Add the plug-in to pydicom's decoders."""
    from pydicom.pixels import get_decoder

    with _lock:
        for uid in DECODER_DEPENDENCIES:
            decoder = get_decoder(uid)
            if "imagecodecs" not in (*decoder.available_plugins, *decoder._unavailable):
                decoder.add_plugin("imagecodecs", (__name__, "decode_frame"))
        logging.getLogger("pydicom.pixels.decoders.base").addFilter(_raised_anyway)
