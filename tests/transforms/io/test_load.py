# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Loading transforms: shapes, types, grids and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Flipd, Resized, ScaleIntensityd
from PIL import Image

from monai_cxrssl.data import read_cxr
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.transforms import CropToLungsd, LoadCXR, LoadCXRd, LoadLungMask, LoadLungMaskd, ResizeCXRd

FILM = np.random.default_rng(0).integers(0, 256, (30, 46), dtype=np.uint8)
MASK = np.zeros((15, 23), np.uint8)
MASK[4:11, 3:9] = MASK[4:11, 14:20] = 255


@pytest.fixture
def item(tmp_path):
    Image.fromarray(FILM).save(tmp_path / "film.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    return {"image": str(tmp_path / "film.png"), "lung_mask": str(tmp_path / "mask.png"), "label": 1}


@pytest.mark.parametrize("max_side", [None, 23])
def test_load_cxr(item, max_side):
    expected, _ = read_cxr(item["image"], max_side=max_side)
    image = LoadCXR(max_side=max_side)(item["image"])
    loaded = LoadCXRd(keys="image", max_side=max_side)(item)
    for tensor in (image, loaded["image"]):
        assert isinstance(tensor, MetaTensor)
        assert tensor.dtype == torch.float32
        assert tensor.shape == (1, *expected.shape)
        np.testing.assert_array_equal(tensor[0].numpy(), expected)
    assert loaded["label"] == 1
    assert isinstance(item["image"], str)


def test_mask_takes_the_grid_of_its_film(item):
    loaded = LoadLungMaskd()(LoadCXRd("image")(item))
    assert loaded["lung_mask"].dtype == torch.uint8
    np.testing.assert_array_equal(loaded["lung_mask"][0].numpy(), (MASK > 0).repeat(2, 0).repeat(2, 1))
    torch.testing.assert_close(loaded["lung_mask"].affine, loaded["image"].affine)
    own = LoadLungMaskd(image_key=None)(item)["lung_mask"]
    np.testing.assert_array_equal(own[0].numpy(), MASK > 0)
    np.testing.assert_array_equal(LoadLungMask()(item["lung_mask"])[0].numpy(), MASK > 0)


def test_pair_of_masks(item, tmp_path):
    for side, columns in (("left", slice(0, 12)), ("right", slice(12, 23))):
        half = np.zeros_like(MASK)
        half[:, columns] = MASK[:, columns]
        Image.fromarray(half).save(tmp_path / f"{side}.png")
    pair = [str(tmp_path / "left.png"), str(tmp_path / "right.png")]
    np.testing.assert_array_equal(LoadLungMask()(pair)[0].numpy(), MASK > 0)


def test_mask_before_its_film_is_an_error(item):
    with pytest.raises(TypeError, match="still a path"):
        LoadLungMaskd()(item)


@pytest.mark.parametrize(
    ("step", "refused"),
    [
        (ResizeCXRd("image", size=[15, 23], mode="stretch"), False),
        (Resized("image", (60, 50)), False),
        (ScaleIntensityd("image"), False),
        (ResizeCXRd("image", size=32, mode="pad"), True),
        (ResizeCXRd("image", size=32, mode="crop"), True),
        (CropToLungsd("image", without_lungs="expected", lung_mask_key="none"), True),
        (Flipd("image", 1), True),
    ],
)
def test_a_mask_is_not_laid_on_a_part_of_its_film(item, step, refused):
    moved = step(LoadCXRd("image")(item))
    if refused:
        with pytest.raises(ConfigurationError, match="no longer shows its whole image"):
            LoadLungMaskd()(moved)
    else:
        loaded = LoadLungMaskd()(moved)
        assert loaded["lung_mask"].shape == loaded["image"].shape
        torch.testing.assert_close(loaded["lung_mask"].affine, loaded["image"].affine)


def test_missing_keys(item):
    del item["lung_mask"]
    assert "lung_mask" not in LoadLungMaskd(allow_missing_keys=True)(
        LoadCXRd(["image", "other"], allow_missing_keys=True)(item)
    )
    with pytest.raises(KeyError):
        LoadCXRd("other")(item)


def test_errors_name_the_file(item, tmp_path):
    (tmp_path / "film.png").write_text("text\n" * 20)
    with pytest.raises(CXRReadError, match="text file"):
        LoadCXRd("image")(item)


def test_plain_tensors_without_metadata(item):
    set_track_meta(False)
    try:
        image = LoadCXR()(item["image"])
    finally:
        set_track_meta(True)
    assert not isinstance(image, MetaTensor)
    assert image.shape == (1, *FILM.shape)


def test_arguments_are_plain_json(item):
    config = {
        "load": {
            "_target_": "monai_cxrssl.transforms.LoadCXRd",
            "keys": "image",
            "window": [2048, 4096],
            "max_side": 23,
        },
        "mask": {"_target_": "monai_cxrssl.transforms.LoadLungMaskd", "keys": "lung_mask", "image_key": "image"},
    }
    parser = ConfigParser(json.loads(json.dumps(config)))
    loaded = parser.get_parsed_content("mask")(parser.get_parsed_content("load")(item))
    assert loaded["image"].shape == loaded["lung_mask"].shape == (1, 15, 23)
