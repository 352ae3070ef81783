# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG by the fast decoders against Pillow, at full size and straight to the size that is wanted."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data.reading.codecs.png import decode_grey_png
from monai_cxrssl.data.reading.codecs.turbo_jpeg import decode_jpeg, jpeg_size
from monai_cxrssl.data.reading.film import fit_of, small_size
from monai_cxrssl.data.reading.read import read_cxr, read_cxr_uint
from monai_cxrssl.errors import ConfigurationError, CXRReadError


def film(rows: int, columns: int, noise: float = 2.0) -> np.ndarray:
    """Smooth shapes as a detector sees them, with its noise."""
    generator = np.random.default_rng(3)
    shapes = cv2.GaussianBlur(generator.random((rows, columns), dtype=np.float32), (0, 0), rows / 60)
    shapes = (shapes - shapes.min()) / np.ptp(shapes)
    return np.clip(shapes * 240 + 8 + generator.normal(0, noise, shapes.shape), 0, 255).astype(np.uint8)


def coded(pixels: np.ndarray, form: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("colours", [False, True])
def test_full_size_is_that_of_pillow(options, colours):
    pixels = film(83, 70)
    if colours:
        pixels = np.stack([pixels, 255 - pixels, pixels // 2], -1)
    data = coded(pixels, quality=90, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    np.testing.assert_array_equal(decode_jpeg(data, jpeg_size(data), None), expected)


@pytest.mark.parametrize(("shape", "side"), [((1300, 1100), 96), ((1100, 1300), 150), ((2100, 1700), 256)])
@pytest.mark.parametrize("colours", [False, True])
def test_large_films_are_decoded_smaller_and_stay_close(tmp_path, shape, side, colours):
    pixels = film(*shape)
    (tmp_path / "film.jpg").write_bytes(coded(np.stack([pixels] * 3, -1) if colours else pixels, quality=95))
    data = (tmp_path / "film.jpg").read_bytes()
    assert decode_jpeg(data, jpeg_size(data), fit_of(None, side)).shape[0] <= (shape[0] + 1) // 2
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    wanted = small_size(*shape, side)
    expected = cv2.resize(whole, wanted[::-1], interpolation=cv2.INTER_AREA).astype(int)
    small, metadata = read_cxr_uint(tmp_path / "film.jpg", side=side, with_metadata=True)
    difference = np.abs(small - expected)
    assert difference.mean() <= 1
    assert np.percentile(difference, 99.9) <= 3
    assert metadata["spatial_shape"] == wanted
    # Centres of the first and of the last pixel lie where the image's are.
    assert metadata["affine"][0, 1] == pytest.approx(-shape[1] / wanted[1])


def test_small_pictures_are_averaged_from_all_their_pixels(tmp_path):
    (tmp_path / "film.jpg").write_bytes(coded(film(512, 480), quality=95))
    whole = np.asarray(Image.open(tmp_path / "film.jpg"))
    expected = cv2.resize(whole, (48, 51), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(read_cxr_uint(tmp_path / "film.jpg", side=48), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_film_decoded_smaller(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "film.jpg").write_bytes(coded(film(1200, 1060), exif=exif.tobytes(), quality=95))
    with Image.open(tmp_path / "film.jpg") as image:
        upright = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's names of the turns
        whole = np.asarray(image.transpose(upright[orientation]) if orientation > 1 else image)
    small, metadata = read_cxr_uint(tmp_path / "film.jpg", side=64, with_metadata=True)
    assert small.shape == metadata["spatial_shape"] == small_size(*whole.shape, 64)
    expected = cv2.resize(whole, small.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).max() <= 3


def test_a_dark_film_gets_its_own_range_at_any_size(tmp_path):
    dark = (film(1400, 1200) // 16 + 3).astype(np.uint8)
    (tmp_path / "film.jpg").write_bytes(coded(dark, quality=98))
    whole, small = (read_cxr(tmp_path / "film.jpg", max_side=side) for side in (None, 128))
    assert whole[1]["window"] == small[1]["window"]
    assert small[1]["window"].startswith("own")


def test_damage_that_libjpeg_only_warns_of_is_refused(tmp_path):
    data = bytearray(coded(film(200, 220), quality=92, progressive=True))
    path = tmp_path / "film.jpg"
    causes = set()
    for position in range(len(data) // 4, len(data) - 2, 31):
        broken = bytearray(data)
        broken[position] ^= 16
        path.write_bytes(broken)
        try:
            read_cxr_uint(path)
        except CXRReadError as error:
            causes.add(error.cause)
    assert any("bad Huffman code" in cause for cause in causes)


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of ``(H, W)`` pixels with further chunks before them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8 * pixels.itemsize, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in parts)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_png_is_that_of_pillow(dtype):
    pixels = film(60, 47).astype(dtype) * (1 if dtype == np.uint8 else 200)
    data = png(pixels, (b"gAMA", struct.pack(">I", 45455)), (b"sBIT", b"\x07"), (b"tEXt", b"Comment\0chest"))
    np.testing.assert_array_equal(decode_grey_png(data), pixels)
    np.testing.assert_array_equal(decode_grey_png(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "chunk",
    [(b"tRNS", b"\0\7"), (b"eXIf", b"MM\0*"), (b"tEXt", b"Raw profile type exif\0x"), (b"iTXt", b"XML:com.adobe.xmp\0"),
     (b"acTL", bytes(8))],
)  # fmt: skip
def test_png_that_is_seen_otherwise_than_stored_is_left_to_pillow(chunk):
    assert decode_grey_png(png(film(9, 8), chunk)) is None


@pytest.mark.parametrize("form", ["LA", "RGB", "P", "1"])
def test_png_of_other_kinds_is_left_to_pillow(form):
    stream = io.BytesIO()
    Image.fromarray(film(9, 8)).convert(form).save(stream, "PNG")
    assert decode_grey_png(stream.getvalue()) is None


@pytest.mark.parametrize("cut", [100, 13, 1])
def test_png_whose_pixels_are_cut_is_refused(tmp_path, cut):
    pixels = film(40, 40)
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    whole = png(pixels)
    data = whole.replace(zlib.compress(raw), zlib.compress(raw[:-cut]))
    start = data.index(b"IDAT")
    length = len(zlib.compress(raw[:-cut]))
    body = data[start : start + 4 + length]
    data = data[: start - 4] + struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "film.png").write_bytes(data + whole[-12:])
    with pytest.raises(CXRReadError):
        read_cxr(tmp_path / "film.png")


def test_deep_films_are_averaged_before_they_are_looked_up(tmp_path):
    pixels = film(600, 500).astype(np.uint16) * 257
    (tmp_path / "film.png").write_bytes(png(pixels))
    low, high = float(pixels.min()), float(pixels.max())
    unit = (pixels - low) / (high - low)
    expected = cv2.resize(unit, (96, 115), interpolation=cv2.INTER_AREA) * 255
    small = read_cxr_uint(tmp_path / "film.png", side=96)
    assert np.abs(small - expected).max() <= 0.51


def test_two_sizes_at_once_are_refused(tmp_path):
    (tmp_path / "film.jpg").write_bytes(coded(film(64, 64)))
    with pytest.raises(ConfigurationError, match="expected one of them"):
        read_cxr_uint(tmp_path / "film.jpg", max_side=40, side=32)
