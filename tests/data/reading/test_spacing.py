# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import cv2
import nibabel
import numpy as np
import pytest

from monai_cxrssl.data import read_cxr
from monai_cxrssl.data.reading.spacing import film_spacing, grid_spacing, plausible_spacing
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError
from monai_cxrssl.phantom import make_phantom_dataset
from monai_cxrssl.transforms import ResizeCXR


def dicom(path, **attributes):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.Rows, ds.Columns, ds.SamplesPerPixel = 400, 300, 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = np.arange(400 * 300, dtype=np.uint16).reshape(400, 300).tobytes()
    for name, value in attributes.items():
        setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": [0.8, 0.9]}, (0.8, 0.9)),
        # Calibrated: the patient's own millimetres, smaller than those at the detector.
        ({"ImagerPixelSpacing": [0.8, 0.8], "PixelSpacing": [0.7, 0.7]}, (0.7, 0.7)),
        ({"NominalScannedPixelSpacing": [0.5, 0.5]}, (0.5, 0.5)),
        ({"ImagerPixelSpacing": [0.8, 0.8], "PixelSpacing": [0, 0]}, (0.8, 0.8)),
        ({"ImagerPixelSpacing": [0.8, 0.8], "PixelSpacing": [100, 100]}, (0.8, 0.8)),
        ({"PixelSpacing": [0.0001, 0.0001]}, None),
        ({"PixelSpacing": [0.1, 1.0]}, None),
        ({"PixelSpacing": [-0.8, -0.8]}, None),
        ({"PixelSpacing": [0.8]}, None),
    ],
)
def test_dicom(tmp_path, attributes, expected):
    assert film_spacing(dicom(tmp_path / "film.dcm", **attributes)) == expected


def nifti(path, zooms):
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((300, 400, 1), dtype=np.uint8), np.diag([-zooms[0], -zooms[1], 1, 1])), path
    )
    return path


@pytest.mark.parametrize(("zooms", "expected"), [((0.9, 0.8), (0.8, 0.9)), ((1, 1), None), ((0.001, 0.001), None)])
@pytest.mark.parametrize("name", ["film.nii", "film.nii.gz"])
def test_nifti_counts_rows_first(tmp_path, name, zooms, expected):
    # The first axis of the file runs along the columns of the image.
    found = film_spacing(nifti(tmp_path / name, zooms))
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_metaimage(tmp_path):
    import itk

    image = itk.image_from_array(np.zeros((400, 300), dtype=np.uint8))
    image.SetSpacing([0.9, 0.8])
    itk.imwrite(image, str(tmp_path / "film.mha"))
    assert film_spacing(tmp_path / "film.mha") == pytest.approx((0.8, 0.9))


@pytest.mark.parametrize("name", ["film.png", "film.jpg", "film.tiff", "film.bmp"])
def test_pictures_have_none(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), np.zeros((20, 30), dtype=np.uint8))
    assert film_spacing(tmp_path / name) is None


def test_jsrt(tmp_path):
    (tmp_path / "JPCLN001.IMG").write_bytes(np.full(2048**2, 4095, dtype=">u2").tobytes())
    assert film_spacing(tmp_path / "JPCLN001.IMG") == (0.175, 0.175)


@pytest.mark.parametrize("content", [None, b"", b"some text"])
def test_what_is_no_film(tmp_path, content):
    if content is not None:
        (tmp_path / "film.dcm").write_bytes(content)
    with pytest.raises(CXRReadError):
        film_spacing(tmp_path / "film.dcm")


def test_agrees_with_the_reader_on_phantoms(tmp_path):
    make_phantom_dataset(tmp_path, patients=4, size=64, images_per_patient=(1, 1))
    films = sorted(tmp_path.rglob("*.dcm"))
    assert films
    for film in films:
        _, metadata = read_cxr(film)
        assert film_spacing(film) == pytest.approx(metadata["spacing"])


@pytest.mark.parametrize(
    "spacing", [None, (), (1,), (1, 2, 3), (math.nan, 1), (math.inf, math.inf), (0, 0.2), (0.2, -1)]
)
def test_implausible(spacing):
    assert plausible_spacing(spacing, (None, None)) is None


def test_plausible_by_the_size_of_the_film():
    assert plausible_spacing((1, 1), (350, 430)) == (1.0, 1.0)
    assert plausible_spacing((1, 1), (2048, 2048)) is None
    assert plausible_spacing((0.1, 0.1), (224, 224)) is None
    assert plausible_spacing((0.1, 0.1), (None, 3000)) == (0.1, 0.1)


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("film", [(300, 200), (211, 317), (90, 250), (64, 64), (40, 30)])
@pytest.mark.parametrize("grid", [(64, 64), (96, 48), (512, 512)])
def test_grid_measures_what_resizing_does(mode, film, grid):
    # Two dots whose distance on the image is known; spread so far that a pixel is a small part of it.
    rows, columns = film
    spacing = (0.4, 0.7)
    half = 2 if mode != "crop" else 6
    height, width = rows // half, columns // half
    top, left = (rows - height) // 2, (columns - width) // 2
    mask = np.zeros((1, rows, columns), dtype=np.uint8)
    mask[0, top : top + height, left : left + width] = 1
    resized = ResizeCXR(grid, mode).apply_mask(mask)[0].numpy()
    found = np.ptp(np.argwhere(resized), axis=0) + 1
    row, column = grid_spacing(film, grid, mode, spacing)
    for pixels, size, true in zip(found, (row, column), (height * spacing[0], width * spacing[1]), strict=True):
        assert abs(pixels * size - true) <= 1.01 * size
    in_pixels = grid_spacing(film, grid, mode)
    assert (in_pixels[0] * 0.4, in_pixels[1] * 0.7) == pytest.approx((row, column))


def test_grid_of_the_film_itself():
    for mode in ("pad", "stretch", "crop"):
        assert grid_spacing((100, 80), (100, 80), mode, (0.2, 0.3)) == (0.2, 0.3)


def test_refuses_what_cannot_be():
    with pytest.raises(ConfigurationError, match="'squash'"):
        grid_spacing((10, 10), (5, 5), "squash")
    with pytest.raises(DatalistError, match="film_shape"):
        grid_spacing((10, 0), (5, 5))
    with pytest.raises(DatalistError, match="spacing"):
        grid_spacing((10, 10), (5, 5), spacing=(math.nan, 1))
