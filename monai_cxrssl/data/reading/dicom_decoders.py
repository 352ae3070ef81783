# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoder plug-ins per DICOM transfer syntax.

pydicom alone decodes neither JPEG lossless nor 12-bit JPEG. libjpeg-turbo 3 in imagecodecs does both, more than twice
as fast as the other open decoders, and CharLS there does JPEG-LS. Exactly one plug-in is used per file: pydicom
would try the next one after a failure, and that one may return a picture from a damaged stream.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.reading.codestream import ends_early, jpeg_lacks_data

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

__all__ = ["DECODER_DEPENDENCIES", "TRANSFER_SYNTAX_OF", "is_available", "decode_frame", "decode_stream"]

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")

# pydicom asks for this of every plug-in that is not available.
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS), ("numpy", "imagecodecs>=2024.9.22"))

# The plug-ins allowed per coding, best first. "pylibjpeg" stands only where it means openjpeg or rle: its libjpeg is
# GPL. GDCM is in none: open advisory CVE-2026-3650.
_PLUGINS = {
    "JPEG baseline": ("imagecodecs",),
    "JPEG extended": ("imagecodecs",),
    "JPEG lossless": ("imagecodecs",),
    "JPEG-LS": ("imagecodecs", "pyjpegls"),
    "JPEG 2000": ("pylibjpeg", "pillow"),
    "RLE": ("pylibjpeg", "pydicom"),
}

# A transfer syntax that decodes each coding, for headers that name none or a wrong one.
TRANSFER_SYNTAX_OF = {
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG extended": "1.2.840.10008.1.2.4.51",
    "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}

_lock = threading.Lock()
_state: dict[str, bool] = {}
_own_decode = threading.local()


def _raised_anyway(record: logging.LogRecord) -> bool:
    """Drop pydicom's traceback of a decoder that failed on our behalf: the same is raised, and reported by us."""
    return not getattr(_own_decode, "running", False)


def is_available(uid: str) -> bool:
    """Whether imagecodecs can decode this transfer syntax here; part of pydicom's plug-in interface."""
    try:
        import imagecodecs
    except ImportError:
        return False
    if uid in _JPEG:
        return bool(imagecodecs.JPEG8.available)
    return uid in _JPEG_LS and bool(imagecodecs.JPEGLS.available)


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame; part of pydicom's plug-in interface.

    Args:
        src: the compressed frame.
        runner: pydicom's options of the decode.

    Raises:
        ValueError: the stream is cut or holds less data than its pixels need.
    """
    import imagecodecs

    if runner.transfer_syntax in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(src)
    else:
        cause = ends_early(src, "JPEG")
        if cause:
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
        coding: as :class:`monai_cxrssl.data.reading.codestream.StreamHeader` names it.
        transfer_syntax: UID to decode as.
        source: the encapsulated pixel data.
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


def _register() -> None:
    """Add the plug-in to pydicom's decoders, once per process."""
    if _state.get("registered"):
        return
    with _lock:
        if _state.get("registered"):
            return
        from pydicom.pixels import get_decoder

        for uid in DECODER_DEPENDENCIES:
            decoder = get_decoder(uid)
            if "imagecodecs" not in (*decoder.available_plugins, *decoder._unavailable):
                decoder.add_plugin("imagecodecs", (__name__, "decode_frame"))
        logging.getLogger("pydicom.pixels.decoders.base").addFilter(_raised_anyway)
        _state["registered"] = True
