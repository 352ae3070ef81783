# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of every mode against an independent computation in Pillow, scikit-image and float64."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2gray

from monai_cxrssl.data import read_cxr, read_cxr_uint
from monai_cxrssl.errors import CXRReadError

SHAPE = (23, 37)
ONE_LEVEL = 1.01 / 255
GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, SHAPE, dtype=np.uint8)
DEEP = GENERATOR.integers(200, 4096, SHAPE).astype(np.uint16)
COLOUR = GENERATOR.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
ALPHA = GENERATOR.integers(0, 256, SHAPE, dtype=np.uint8)


def stretched(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


def luma(rgb: np.ndarray) -> np.ndarray:
    return (0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]) / 255


@pytest.mark.parametrize("extension", ["png", "tiff", "bmp"])
def test_8_bit_grey_is_divided_by_255(tmp_path, extension):
    path = tmp_path / f"film.{extension}"
    Image.fromarray(GREY).save(path)
    film, metadata = read_cxr(path)
    np.testing.assert_allclose(film, GREY / 255.0, atol=1e-7)
    assert metadata["bits_stored"] == 8
    assert metadata["photometric_interpretation"] == "L"
    np.testing.assert_array_equal(read_cxr_uint(path), GREY)
    np.testing.assert_array_equal(read_cxr_uint(path, bits=16), GREY.astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("film.png", DEEP),
        ("film.tiff", DEEP),
        ("big.tiff", DEEP.astype(">u2")),
        ("int32.tiff", DEEP.astype(np.int32) * 70000 - 10**7),
        ("int16.tiff", (DEEP.astype(np.int16) - 1000)),
        ("float.tiff", DEEP.astype(np.float32) / 7 - 100),
    ],
)
def test_deeper_values_span_minimum_to_maximum(tmp_path, name, values):
    path = tmp_path / name
    if name.endswith("png"):
        Image.fromarray(values).save(path)
    else:
        order = ">" if name.startswith("big") else "<"
        tifffile.imwrite(
            path, values.astype(values.dtype.newbyteorder(order)), byteorder=order, photometric="minisblack"
        )
    film, _ = read_cxr(path)
    expected = stretched(values)
    np.testing.assert_allclose(film, expected, atol=3e-7)
    np.testing.assert_allclose(read_cxr_uint(path, bits=16), expected * 65535, atol=0.51)
    np.testing.assert_allclose(read_cxr_uint(path), expected * 255, atol=0.51)


def test_one_bit(tmp_path):
    bits = GREY > 100
    Image.fromarray(bits).save(tmp_path / "film.png")
    film, metadata = read_cxr(tmp_path / "film.png")
    np.testing.assert_array_equal(film, bits.astype(np.float32))
    assert metadata["bits_stored"] == 1


@pytest.mark.parametrize("extension", ["png", "tiff", "bmp"])
def test_colours_become_luminance(tmp_path, extension):
    path = tmp_path / f"film.{extension}"
    Image.fromarray(COLOUR).save(path)
    film, _ = read_cxr(path)
    np.testing.assert_allclose(film, luma(COLOUR), atol=ONE_LEVEL)
    assert np.abs(film - rgb2gray(COLOUR)).max() < 0.12  # BT.709 weights: the same picture


def test_grey_stored_as_colour_is_unchanged(tmp_path):
    Image.fromarray(np.repeat(GREY[..., None], 3, axis=2)).save(tmp_path / "film.png")
    np.testing.assert_array_equal(read_cxr_uint(tmp_path / "film.png"), GREY)


def test_transparency_lies_over_black(tmp_path):
    Image.fromarray(np.dstack([COLOUR, ALPHA])).save(tmp_path / "rgba.png")
    np.testing.assert_allclose(read_cxr(tmp_path / "rgba.png")[0], luma(COLOUR) * ALPHA / 255, atol=3 / 255)
    Image.fromarray(np.dstack([GREY, ALPHA])).save(tmp_path / "la.png")
    np.testing.assert_allclose(read_cxr(tmp_path / "la.png")[0], GREY / 255 * (ALPHA / 255), atol=3 / 255)
    opaque = np.dstack([GREY, np.full(SHAPE, 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_cxr_uint(tmp_path / "opaque.png"), GREY)


def test_palette_is_resolved(tmp_path):
    palette = GENERATOR.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(palette.ravel().tolist())
    image.save(tmp_path / "film.png")
    np.testing.assert_allclose(read_cxr(tmp_path / "film.png")[0], luma(palette[GREY]), atol=ONE_LEVEL)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes(tmp_path, mode):
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    image = Image.fromarray(np.dstack([smooth, smooth[::-1], smooth])).convert(mode)
    image.save(tmp_path / "film.jpg", quality=95)
    with Image.open(tmp_path / "film.jpg") as stored:
        assert stored.mode == mode
        expected = np.asarray(stored.convert("RGB")).astype(np.float64)
    np.testing.assert_allclose(read_cxr(tmp_path / "film.jpg")[0], luma(expected), atol=ONE_LEVEL)


ORIENTED = {  # tag 274: what to do to the stored picture to see it upright
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("extension", ["jpg", "png", "tiff"])
def test_exif_orientation(tmp_path, extension, orientation):
    path = tmp_path / f"film.{extension}"
    smooth = np.add.outer(np.arange(40) * 4, np.arange(64)).astype(np.uint8)
    image = Image.fromarray(smooth)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if extension == "tiff":
        image.save(path, tiffinfo={274: orientation})
    else:
        image.save(path, exif=exif, **({"quality": 100} if extension == "jpg" else {}))
    expected = ORIENTED[orientation](smooth)
    film, metadata = read_cxr(path)
    assert metadata["spatial_shape"] == film.shape == expected.shape
    np.testing.assert_allclose(film * 255, expected, atol=3 if extension == "jpg" else 1e-4)
    small, metadata = read_cxr(path, max_side=32)
    assert metadata["spatial_shape"] == small.shape == ((32, 20) if orientation >= 5 else (20, 32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_tiff_is_bright_where_dense(tmp_path, dtype):
    values = GREY if dtype == np.uint8 else DEEP
    tifffile.imwrite(tmp_path / "film.tiff", values, photometric="miniswhite")
    film, _ = read_cxr(tmp_path / "film.tiff")
    expected = 1 - (GREY / 255.0 if dtype == np.uint8 else stretched(DEEP))
    np.testing.assert_allclose(film, expected, atol=3e-7)


def test_limit_of_pixels(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "film.png")
    with pytest.raises(CXRReadError, match="more than the limit of 800"):
        read_cxr(tmp_path / "film.png", max_pixels=800)


@pytest.mark.parametrize("value", [0, 255])
def test_one_value_loads(tmp_path, value):
    Image.fromarray(np.full(SHAPE, value, np.uint8)).save(tmp_path / "film.png")
    assert (read_cxr(tmp_path / "film.png")[0] == value / 255).all()


def test_real_films_are_upright(shared_data):
    """The top of a chest X-ray, with neck and air beside it, is darker at its sides than the abdomen at the bottom."""
    checked = 0
    for folder, pattern in (("kermany-pediatric", "**/*.jpeg"), ("nih-chestxray14-subset", "**/*.png")):
        for path in sorted((shared_data / folder).glob(pattern))[:8]:
            film, _ = read_cxr(path)
            assert film.ndim == 2
            columns = film.shape[1]
            middle = film[:, columns // 3 : 2 * columns // 3]
            sides = np.hstack([film[:, : columns // 6], film[:, -columns // 6 :]])
            assert middle.mean() > sides.mean()  # spine and heart between the lungs and the air
            checked += 1
    assert checked


def test_lookup_without_opencv_5_is_the_same(tmp_path, monkeypatch):
    Image.fromarray(DEEP).save(tmp_path / "film.png")
    fast, _ = read_cxr(tmp_path / "film.png")
    monkeypatch.setattr("monai_cxrssl.data.reading.film._LUT_16_BIT", False)
    np.testing.assert_array_equal(read_cxr(tmp_path / "film.png")[0], fast)
