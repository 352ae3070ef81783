# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images in memory against their files: the same small image, to the level."""

from __future__ import annotations

import cv2
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor

from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.transforms import LoadCXR, LoadSmallCXR, LoadSmallCXRd
from tests.data import conftest as dicom

WINDOW = {"WindowCenter": [1800, 300], "WindowWidth": [2600, 100]}


def stored(shape=(140, 96), dtype=np.uint16, top=4095) -> np.ndarray:
    """Smooth with some noise, and no two sides alike."""
    ramp = np.linspace(0, 0.8, shape[0])[:, None] + np.linspace(0, 0.15, shape[1])[None]
    noise = np.random.default_rng(0).random(shape) * 0.05
    return ((ramp + noise) * top).astype(dtype)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"photometric": "MONOCHROME1", **WINDOW},
        {"RescaleSlope": 2, "RescaleIntercept": -100, **WINDOW},
        {"PatientOrientation": ["F", "R"]},
        {"syntax": "1.2.840.10008.1.2.2"},
        {"syntax": "1.2.840.10008.1.2", "PresentationLUTShape": "INVERSE"},
        {"PixelPaddingValue": 0},
        {"bits_stored": 16, "VOILUTFunction": "SIGMOID", **WINDOW},
    ],
    ids=lambda options: ",".join(options),
)
@pytest.mark.parametrize("side", [48, 400])
def test_a_data_set_and_its_array_are_the_film_of_the_file(options, side, tmp_path):
    dicom.save(dicom.make_dicom(stored(), **options), tmp_path / "film.dcm")
    load, whole = LoadSmallCXR(side), pydicom.dcmread(tmp_path / "film.dcm")
    expected = load(tmp_path / "film.dcm")
    before = str(whole)
    header = pydicom.dcmread(tmp_path / "film.dcm", stop_before_pixels=True)
    words = {element.keyword: element.value for element in header}
    array = whole.pixel_array
    for image, about in (
        (whole, None),
        (array, whole),
        (array[None], header),
        (MetaTensor(torch.as_tensor(array.astype(np.int32))[None]), header),
        (array.astype(np.float64), words),
    ):
        found = load(image, about)
        np.testing.assert_array_equal(found, expected)
        for name in ("film_shape", "film_affine", "spacing", "affine", "view_position", "inverted", "window"):
            np.testing.assert_array_equal(found.meta[name], expected.meta[name])
    assert str(whole) == before


def test_signed_and_compressed_and_grey_in_colour(tmp_path):
    signed = stored(dtype=np.int16, top=3000) - 1000
    dicom.save(dicom.make_dicom(signed, bits_stored=16), tmp_path / "signed.dcm")
    words = (stored() >> 4).astype(np.uint8)
    syntax, frame = dicom.coded("rle", words)
    dicom.save(dicom.make_dicom(words, bits_stored=8, syntax=syntax, frame=frame), tmp_path / "coded.dcm")
    for name in ("signed.dcm", "coded.dcm"):
        expected, ds = LoadSmallCXR(64)(tmp_path / name), pydicom.dcmread(tmp_path / name)
        np.testing.assert_array_equal(LoadSmallCXR(64)(ds), expected)
        np.testing.assert_array_equal(LoadSmallCXR(64)(ds.pixel_array[None], ds), expected)
    grey = np.repeat(words[..., None], 3, axis=2)
    colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PixelData": grey.tobytes()}
    dicom.save(dicom.make_dicom(words, bits_stored=8, photometric="RGB", **colour), tmp_path / "rgb.dcm")
    ds = pydicom.dcmread(tmp_path / "rgb.dcm")
    np.testing.assert_array_equal(LoadSmallCXR(64)(ds.pixel_array, ds), LoadSmallCXR(64)(tmp_path / "rgb.dcm"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_upright_array_is_the_film_of_its_picture(dtype, tmp_path):
    pixels = stored(dtype=dtype, top=np.iinfo(dtype).max)
    cv2.imwrite(str(tmp_path / "film.png"), pixels)
    expected = LoadSmallCXR(48)(tmp_path / "film.png")
    np.testing.assert_array_equal(LoadSmallCXR(48)(pixels[None]), expected)
    loaded = LoadCXR()(tmp_path / "film.png")
    found = LoadSmallCXR(48)(loaded)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1 if dtype == np.uint16 else 0)
    np.testing.assert_allclose(found.meta["affine"], expected.meta["affine"])


def test_a_loaded_dicom_film_keeps_its_place(tmp_path):
    dicom.save(dicom.make_dicom(stored(), **WINDOW), tmp_path / "film.dcm")
    found, expected = LoadSmallCXR(48)(LoadCXR()(tmp_path / "film.dcm")), LoadSmallCXR(48)(tmp_path / "film.dcm")
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1)
    for name in ("spacing", "affine", "film_affine"):
        np.testing.assert_allclose(found.meta[name], expected.meta[name])


def test_the_dictionary_form_takes_the_header_beside(tmp_path):
    dicom.save(dicom.make_dicom(stored(), photometric="MONOCHROME1"), tmp_path / "film.dcm")
    ds = pydicom.dcmread(tmp_path / "film.dcm")
    load = LoadSmallCXRd("image", side=48)
    expected = load({"image": tmp_path / "film.dcm"})
    found = load({"image": ds.pixel_array[None], "image_header": ds, "id": 1})
    assert found["image_film"] == expected["image_film"]
    assert set(found) == {*expected, "id"}
    np.testing.assert_array_equal(found["image"], expected["image"])


@pytest.mark.parametrize(
    ("image", "header", "words"),
    [
        (np.zeros((2, 40, 40), np.uint8), None, r"array of shape \(2, 40, 40\)"),
        (np.linspace(-1024, 1024, 1600).reshape(40, 40), None, "from -1024 to 1024, of which nothing says"),
        (np.full((40, 40), np.nan), None, "of which nothing says"),
        (np.arange(1600, dtype=np.int16).reshape(40, 40), None, "array of int16"),
        (np.zeros((40, 40), np.uint8), None, "one value only"),
        (np.zeros((0, 40), np.uint8), None, "0 rows"),
        (stored(), {"Rows": 96, "Columns": 140}, "140 x 96 pixels, and its header says Rows 96"),
        (stored() / 3, {}, "no stored values"),
        (pydicom.Dataset(), None, "breaks off before its first image"),
    ],
    ids=str,
)
def test_what_is_no_film(image, header, words):
    with pytest.raises(CXRReadError, match=words):
        LoadSmallCXR(48)(image, header)
