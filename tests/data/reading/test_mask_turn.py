# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks and boxes of images that the reader turned upright lie where the image shows what they mark."""

from __future__ import annotations

import logging

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import DecodedImages, DecodedMasks
from monai_cxrssl.data.reading.lung_mask import read_lung_mask
from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.transforms.io.load import LoadCXR, LoadLungMask

STORED = np.random.default_rng(0).integers(0, 3000, (40, 60)).astype(np.uint16)
MASK = np.zeros(STORED.shape, np.uint8)
STORED[5:15, 30:50], MASK[5:15, 30:50] = 4000, 1
BOX = [30, 5, 50, 15]
QUARTERS = [("F", "R"), ("F", "L"), ("H", "R"), ("H", "L"), ("F", "A"), ("H", "P")]
OTHERS = [("R", "F"), ("L", "H"), ("R", "H"), ("A", "H")]


def film_of(dicom, path, orientation):
    return dicom.save(dicom.make_dicom(STORED, 12, PatientOrientation=list(orientation)), path)


@pytest.mark.parametrize("orientation", QUARTERS)
@pytest.mark.parametrize("extension", ["png", "nii"])
def test_a_mask_of_the_stored_pixels_is_turned(tmp_path, dicom, caplog, orientation, extension):
    path, mask = film_of(dicom, tmp_path / "film.dcm", orientation), tmp_path / f"mask.{extension}"
    if extension == "png":
        Image.fromarray(MASK).save(mask)
    else:
        nibabel.save(nibabel.Nifti1Image(MASK.T, np.diag([-1.0, -1, 1, 1])), mask)
    film = LoadCXR()(path)
    bright = film[0].numpy() > 0.9
    with caplog.at_level(logging.WARNING, "monai_cxrssl"):
        np.testing.assert_array_equal(LoadLungMask()(mask, film)[0].numpy() == 1, bright)
    assert "turned upright with it" in caplog.text
    turned, metadata = read_lung_mask(mask, image=path)
    np.testing.assert_array_equal(turned == 1, bright)
    assert metadata["spatial_shape"] == (60, 40)
    # Without the image's file nothing tells how it was turned.
    with pytest.raises(CXRReadError, match="40 x 60 pixels, but its image has 60 x 40 upright"):
        read_lung_mask(mask, shape=film.shape[1:])


@pytest.mark.parametrize("orientation", [*QUARTERS, *OTHERS])
def test_a_mask_of_the_upright_film_stays(tmp_path, dicom, caplog, orientation):
    path = film_of(dicom, tmp_path / "film.dcm", orientation)
    film = LoadCXR()(path)
    bright = film[0].numpy() > 0.9
    Image.fromarray(bright.astype(np.uint8)).save(tmp_path / "mask.png")
    with caplog.at_level(logging.WARNING, "monai_cxrssl"):
        np.testing.assert_array_equal(LoadLungMask()(tmp_path / "mask.png", film)[0].numpy() == 1, bright)
    assert "taken as drawn on the image turned upright" in caplog.text


@pytest.mark.parametrize("orientation", [("L", "F"), *QUARTERS, *OTHERS])
def test_boxes_and_masks_of_decoded_films(tmp_path, dicom, orientation):
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    path = film_of(dicom, tmp_path / "film.dcm", orientation)
    images = DecodedImages([{"image": str(path), "boxes": [BOX], "lesion_mask": str(tmp_path / "mask.png")}], 60)
    bright = images.image(0) > 0.9 * images.image(0).max()
    np.testing.assert_array_equal(DecodedMasks(images, "boxes").mask(0, bright.shape) == 1, bright)
    if orientation not in OTHERS:
        np.testing.assert_array_equal(DecodedMasks(images, "lesion").mask(0, bright.shape) == 1, bright)
