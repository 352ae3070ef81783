# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""CropToLungs against boxes counted by hand, scikit-image's bounding boxes and points in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose, Invertd
from skimage.measure import regionprops

from monai_cxrssl.data.stores.expected_lungs import expected_lung_mask
from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.transforms import CropToLungs, CropToLungsd

AFFINE = np.array([[0.0, -0.2, 0, 7], [-0.3, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])


def lungs(shape=(40, 60)):
    mask = np.zeros((1, *shape), np.uint8)
    mask[0, 10:30, 12:22] = mask[0, 8:25, 32:42] = 1
    return mask


def film(shape=(40, 60)):
    pixels = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    return MetaTensor(pixels, affine=torch.from_numpy(AFFINE), meta={"spacing": np.array([0.3, 0.2]), "name": "film"})


@pytest.mark.parametrize(
    ("margin", "box"),
    [
        (0, (8, 12, 22, 30)),
        (0.1, (6, 9, 26, 36)),  # a tenth of 22 and of 30 on each side
        (0.5, (0, 0, 40, 57)),  # ended by the border
        (9, (0, 0, 40, 60)),
    ],
)
def test_box(margin, box):
    assert CropToLungs(margin=margin).box((40, 60), lungs()) == box


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, "tensor", "metatensor"])
def test_box_is_that_of_scikit_image(kind):
    mask = np.random.default_rng(3).random((1, 50, 70)) > 0.999
    given = torch.from_numpy(mask) if isinstance(kind, str) else mask.astype(kind)
    given = MetaTensor(given) if kind == "metatensor" else given
    top, left, bottom, right = regionprops(mask[0].astype(int))[0].bbox
    assert CropToLungs(margin=0).box((50, 70), given) == (top, left, bottom - top, right - left)


@pytest.mark.parametrize("mask", [None, np.zeros((1, 40, 60), np.uint8)], ids=["none", "empty"])
def test_films_without_lungs(mask):
    with pytest.raises(DatalistError, match="has no lung mask" if mask is None else "marks no lung"):
        CropToLungs().box((40, 60), mask)
    assert CropToLungs(without_lungs="whole").box((40, 60), mask) == (0, 0, 40, 60)
    expected = expected_lung_mask((40, 60))[None]
    assert CropToLungs(0.1, "expected").box((40, 60), mask) == CropToLungs(0.1).box((40, 60), expected)
    assert CropToLungs(without_lungs="expected").box((1, 1), None) == (0, 0, 1, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, bool, np.int64])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_pixels_and_types_stay(dtype, kind):
    image = (np.random.default_rng(0).random((3, 40, 60)) * 200).astype(dtype)
    result = CropToLungs(margin=0)(image if kind == "array" else torch.from_numpy(image), lungs())
    assert type(result) is torch.Tensor
    np.testing.assert_array_equal(result.numpy(), image[:, 8:30, 12:42])
    assert result.numpy().dtype == dtype
    before = image.copy()
    result[:] = 0
    np.testing.assert_array_equal(image, before)


def test_a_point_of_the_film_keeps_its_millimetres():
    image = film()
    crop = CropToLungs(margin=0)(image, lungs())
    assert crop.meta["name"] == "film"
    np.testing.assert_allclose(crop.meta["spacing"], [0.3, 0.2])
    np.testing.assert_allclose(crop.affine.numpy() @ [3, 5, 0, 1], AFFINE @ [11, 17, 0, 1])
    assert crop[0, 3, 5] == image[0, 11, 17]
    torch.testing.assert_close(image.affine.numpy(), AFFINE)
    assert image.applied_operations == []


def test_items_are_cropped_together_and_come_back():
    item = {"image": film(), "lung_mask": MetaTensor(torch.from_numpy(lungs())), "lesion": lungs() * 2, "label": 1}
    crop = CropToLungsd("image", mask_keys="lesion", margin=0)
    result = crop(item)
    assert {result[key].shape for key in ("image", "lung_mask", "lesion")} == {(1, 22, 30)}
    np.testing.assert_array_equal(result["lesion"], lungs()[:, 8:30, 12:42] * 2)
    assert result["label"] == 1
    del result["lesion"]
    crop = CropToLungsd("image", margin=0)
    result = crop({key: item[key] for key in ("image", "lung_mask")})
    back = crop.inverse(result)
    expected = item["image"].numpy().copy()
    inside = np.zeros((40, 60), bool)
    inside[8:30, 12:42] = True
    expected[:, ~inside] = 0
    np.testing.assert_array_equal(back["image"], expected)
    np.testing.assert_array_equal(back["lung_mask"], lungs())
    torch.testing.assert_close(back["image"].affine, item["image"].affine)
    assert back["image"].applied_operations == []
    assert len(result["image"].applied_operations) == 1, "the caller's record stays"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bool, torch.int64])
def test_predictions_of_several_channels_come_back_by_invertd(dtype):
    chain = Compose([CropToLungsd("image", margin=0.1)])
    result = chain({"image": film(), "lung_mask": lungs()})
    result["pred"] = (torch.cat([result["image"]] * 3) > 0.5).to(dtype)
    back = Invertd("pred", chain, orig_keys="image")(result)["pred"]
    assert back.shape == (3, 40, 60)
    assert back.dtype == dtype
    assert torch.equal(back[1, 6:32, 9:45], result["pred"][1])
    assert int((back != 0).sum()) == int((result["pred"] != 0).sum())


@pytest.mark.parametrize(
    ("item", "options", "error", "says"),
    [
        ({"picture": 1}, {}, KeyError, "no 'image'"),
        ({"image": film()}, {"mask_keys": "lesion"}, KeyError, "no 'lesion'"),
        ({"image": film()}, {}, DatalistError, "no lung mask"),
        ({"image": film(), "lung_mask": None}, {}, DatalistError, "no lung mask"),
        ({"image": film(), "lung_mask": lungs((4, 6))}, {}, DatalistError, "image 40 x 60, lung_mask 4 x 6"),
        ({"image": "film.png", "lung_mask": lungs()}, {}, ValueError, "LoadCXRd first"),
    ],
)
def test_refused_items(item, options, error, says):
    with pytest.raises(error, match=says):
        CropToLungsd("image", **options)(item)


def test_missing_items_that_may_be_missing():
    crop = CropToLungsd(["image", "other"], allow_missing_keys=True, without_lungs="whole")
    assert crop({"image": film(), "lung_mask": None})["image"].shape == (1, 40, 60)
    assert crop({"label": 1}) == {"label": 1}


def test_what_cannot_be_put_back():
    crop = CropToLungs(margin=0)
    with pytest.raises(TypeError, match="holds no record"):
        crop.inverse(crop(film().as_tensor(), lungs()))
    with pytest.raises(ValueError, match="10 x 30 pixels; the crop had 22 x 30"):
        crop.inverse(crop(film(), lungs())[:, :10])


def test_without_tracking():
    set_track_meta(False)
    try:
        result = CropToLungs()(film(), lungs())
    finally:
        set_track_meta(True)
    assert type(result) is torch.Tensor


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"margin": float("nan")}, {"without_lungs": "guess"}])
def test_refused_options(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        CropToLungsd("image", **options)
