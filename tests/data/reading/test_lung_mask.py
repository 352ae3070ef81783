# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks of any file format become uint8 {0, 1} on the grid of their image."""

from __future__ import annotations

import logging

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data.reading.lung_mask import binarise, read_lung_mask
from monai_cxrssl.errors import CXRReadError

SHAPE = (60, 84)


def lungs() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    left = ((rows - 30) / 22) ** 2 + ((columns - 60) / 14) ** 2 < 1
    right = ((rows - 30) / 22) ** 2 + ((columns - 22) / 14) ** 2 < 1
    return left, right


LEFT, RIGHT = lungs()
BOTH = (LEFT | RIGHT).astype(np.uint8)


@pytest.mark.parametrize(
    "values",
    [BOTH, BOTH * 255, LEFT * 1 + RIGHT * 2, LEFT * 128 + RIGHT * 255, BOTH * 200 + 20],
    ids=["0 1", "0 255", "labels", "grey labels", "offset"],
)
@pytest.mark.parametrize("extension", [".png", ".nii.gz", ".tiff"])
def test_marks_of_any_value(tmp_path, values, extension):
    path = tmp_path / f"mask{extension}"
    if extension == ".nii.gz":
        nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8).T, np.diag([-1.0, -1, 1, 1])), path)
    else:
        Image.fromarray(values.astype(np.uint8)).save(path)
    mask, metadata = read_lung_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, BOTH)
    assert metadata["warnings"] == []


def test_float_and_colour_and_jpeg(tmp_path):
    nibabel.save(nibabel.Nifti1Image(BOTH.T.astype(np.float32), np.diag([-1.0, -1, 1, 1])), tmp_path / "mask.nii")
    Image.fromarray(np.dstack([BOTH * 255, BOTH * 0, BOTH * 0])).save(tmp_path / "red.png")
    Image.fromarray(BOTH * 255).save(tmp_path / "lossy.jpg", quality=60)
    np.testing.assert_array_equal(read_lung_mask(tmp_path / "mask.nii")[0], BOTH)
    np.testing.assert_array_equal(read_lung_mask(tmp_path / "red.png")[0], BOTH)
    assert (read_lung_mask(tmp_path / "lossy.jpg")[0] != BOTH).mean() < 0.02


def test_left_and_right_are_merged(tmp_path):
    Image.fromarray(LEFT.astype(np.uint8) * 255).save(tmp_path / "left.png")
    Image.fromarray(RIGHT.astype(np.uint8) * 255).save(tmp_path / "right.png")
    np.testing.assert_array_equal(read_lung_mask([tmp_path / "left.png", tmp_path / "right.png"])[0], BOTH)


def test_inverted_mask_is_turned_round(tmp_path, caplog):
    Image.fromarray((1 - BOTH) * 255).save(tmp_path / "mask.png")
    with caplog.at_level(logging.WARNING):
        mask, metadata = read_lung_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask, BOTH)
    assert "turned round" in metadata["warnings"][0]
    assert "turned round" in caplog.text


@pytest.mark.parametrize("factor", [2, 3])
def test_nearest_resampling_to_the_grid_of_the_film(tmp_path, factor):
    Image.fromarray(BOTH * 255).save(tmp_path / "mask.png")
    mask, metadata = read_lung_mask(tmp_path / "mask.png", shape=(SHAPE[0] * factor, SHAPE[1] * factor))
    np.testing.assert_array_equal(mask, BOTH.repeat(factor, 0).repeat(factor, 1))
    assert metadata["spatial_shape"] == mask.shape


def test_empty_mask_warns(tmp_path):
    Image.fromarray(BOTH * 0).save(tmp_path / "mask.png")
    mask, metadata = read_lung_mask(tmp_path / "mask.png")
    assert not mask.any()
    assert "no lung" in metadata["warnings"][0]


def test_refused(tmp_path):
    (tmp_path / "mask.png").write_text("no mask\n" * 9)
    for path in (tmp_path / "mask.png", tmp_path / "missing.png", []):
        with pytest.raises(CXRReadError):
            read_lung_mask(path)


def test_binarise_of_one_value():
    assert not binarise(np.zeros((3, 4))).any()
    assert binarise(np.full((3, 4), 7)).all()


def test_real_masks(shared_data):
    paths = sorted((shared_data / "covid-chestxray-dataset" / "annotations" / "lungVAE-masks").glob("*_mask.png"))
    assert paths
    for path in paths[:12]:
        mask, _ = read_lung_mask(path)
        assert set(np.unique(mask)) <= {0, 1}
        assert 0.03 < mask.mean() < 0.7


def test_gif(tmp_path):
    path = tmp_path / "mask.gif"
    Image.fromarray(BOTH * 255).save(path)
    mask, metadata = read_lung_mask(path)
    np.testing.assert_array_equal(mask, BOTH)
    assert metadata["spatial_shape"] == SHAPE
    # A palette whose first colour, that of the lungs, is the bright one.
    picture = Image.fromarray(1 - BOTH, mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(path)
    np.testing.assert_array_equal(read_lung_mask(path)[0], BOTH)


@pytest.mark.parametrize("fault", ["truncated", "header", "frames", "size"])
def test_broken_gif(tmp_path, fault):
    path = tmp_path / "mask.gif"
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    more = {"save_all": True, "append_images": [Image.fromarray(255 - noise)]} if fault == "frames" else {}
    Image.fromarray(noise).save(path, **more)
    if fault in ("truncated", "header"):
        path.write_bytes(path.read_bytes()[: -2000 if fault == "truncated" else 9])
    message = {"frames": "holds 2 frames", "size": "more than the limit of 100"}.get(fault, "damaged GIF")
    with pytest.raises(CXRReadError, match=message):
        read_lung_mask(path, max_pixels=100 if fault == "size" else 10_000)
